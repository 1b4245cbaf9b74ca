//! Another configuration ten times a second under load: nobody is failed for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use rustix::process::Signal;

use super::{cluster, forwarding, responding};
use crate::support::{Client, Dir, Upstream, guest, h2};

/// How long, and how often.
const WHOLE: Duration = Duration::from_secs(5);
const EACH: Duration = Duration::from_millis(100);

/// What changes from one to the next: the order and number of routes, which of two upstreams
/// answers, a filter's settings, a listener that comes and goes.
fn configuration(round: usize, upstreams: [SocketAddr; 2], more: SocketAddr) -> String {
    let mut routes = vec![forwarding("/same", "same"), forwarding("/turn", "turn")];
    if round % 2 == 1 {
        routes.insert(0, responding("/odd", "odd"));
    }
    routes.push(responding("/", "hello"));
    let more = match round % 3 {
        0 => format!(
            "- {{ name: more, address: '{more}', routes: [{}] }}\n",
            responding("/", "more")
        ),
        _ => String::new(),
    };
    format!(
        "listeners:\n- name: web\n  address: 127.0.0.1:0\n  filters: [kept, changed]\n  routes: [{}]\n{more}\
         filters:\n- {{ name: kept, module: {{ file: kept.wasm }} }}\n\
         - {{ name: changed, module: {{ file: changed.wasm }}, configuration: {{ round: {round} }} }}\n\
         clusters: [{}, {}]\nworkers: 2\n",
        routes.join(", "),
        cluster("same", upstreams[0]),
        cluster("turn", upstreams[round % 2]),
    )
}

struct Load {
    over: AtomicBool,
    requests: AtomicUsize,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn done(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_request_fails_while_the_configuration_changes_ten_times_a_second() {
    let upstreams = [Upstream::echo(), Upstream::echo()].map(|upstream| upstream.address);
    let more = Upstream::free();
    let setup = crate::support::proxy::Setup::new();
    write_guests(&setup.dir);
    let proxy = setup.start(&configuration(1, upstreams, more));
    let load = Arc::new(Load {
        over: AtomicBool::new(false),
        requests: AtomicUsize::new(0),
    });
    let web = proxy.web();
    let clients: Vec<_> = [kept as fn(SocketAddr, &Load), kept, fresh, uploads, streams]
        .into_iter()
        .map(|client| {
            let load = load.clone();
            std::thread::spawn(move || client(web, &load))
        })
        .collect();
    let until = Instant::now() + WHOLE;
    let mut round = 1;
    while Instant::now() < until && clients.iter().all(|client| !client.is_finished()) {
        round += 1;
        let aside = proxy
            .dir
            .write("config.new", configuration(round, upstreams, more));
        std::fs::rename(aside, proxy.dir.join("config.yaml")).unwrap();
        proxy.signal(Signal::HUP);
        std::thread::sleep(EACH);
    }
    load.over.store(true, Ordering::Relaxed);
    for client in clients {
        client
            .join()
            .expect("every request was answered as it should be");
    }
    let (requests, reloads) = (
        load.requests.load(Ordering::Relaxed),
        proxy.log.count("reload: the configuration has come to run"),
    );
    println!("{requests} requests, {reloads} reloads of {round}");
    assert!(reloads > 5, "{}", proxy.log.text());
    assert_eq!(proxy.log.count("ERROR"), 0, "{}", proxy.log.text());
}

/// Two modules, so that they do not share a VM.
fn write_guests(dir: &Dir) {
    let transparent = guest::transparent();
    guest::write(dir, "kept", &transparent);
    let other = transparent.replace("(memory ", "(global i32 (i32.const 7))\n  (memory ");
    guest::write(dir, "changed", &other);
}

/// A connection that is kept.
fn kept(web: SocketAddr, load: &Load) {
    let mut client = Client::connect(web);
    while load.goes_on() {
        for path in ["/same", "/turn", "/other"] {
            assert_eq!(client.get(path).status(), 200, "{path}");
            load.done();
        }
    }
}

/// One connection for each request.
fn fresh(web: SocketAddr, load: &Load) {
    while load.goes_on() {
        assert_eq!(Client::connect(web).get("/turn").status(), 200);
        load.done();
    }
}

/// Bodies that are on their way for longer than a configuration lasts.
fn uploads(web: SocketAddr, load: &Load) {
    let mut client = Client::connect(web);
    while load.goes_on() {
        client.send("POST /turn HTTP/1.1\r\nhost: test\r\ncontent-length: 16\r\n\r\n");
        for _ in 0..4 {
            std::thread::sleep(EACH / 2);
            client.send("four");
        }
        assert_eq!(client.response().text(), "fourfourfourfour");
        load.done();
    }
}

/// Streams of HTTP/2, some of them with bodies that take their time.
fn streams(web: SocketAddr, load: &Load) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = h2::connect(web).await;
        while load.goes_on() {
            let (feeder, feed) = h2::feed();
            let slow = Request::post("http://test/turn").body(feed).unwrap();
            let slow = h2::try_send(&client, slow);
            let quick = async {
                h2::data(&feeder, "half");
                for _ in 0..20 {
                    let (head, whole) = h2::fetch(&client, h2::get("/other")).await;
                    assert_eq!(
                        (head.status, &whole.body[..]),
                        (StatusCode::OK, &b"hello"[..])
                    );
                    load.done();
                    tokio::time::sleep(EACH / 10).await;
                }
                h2::data(&feeder, "half");
                drop(feeder);
            };
            let (slow, ()) = tokio::join!(slow, quick);
            let body = slow.expect("an answer").into_body();
            assert_eq!(h2::whole(body).await.expect("a body").body, "halfhalf");
            load.done();
        }
    });
}
