//! One process after the other under load: nobody is failed for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};

use super::*;
use crate::support::guest;
use crate::support::pki::Pki;

/// Between two upgrades.
const EACH: Duration = Duration::from_millis(500);
const UPGRADES: usize = 5;

struct Load {
    over: AtomicBool,
    requests: AtomicUsize,
    /// Of HTTP/2, that were not sent because of GOAWAY, and then were on another connection.
    moved: AtomicUsize,
    web: SocketAddr,
    secure: SocketAddr,
    unix: PathBuf,
    tls: Arc<rustls::ClientConfig>,
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
fn no_request_fails_while_one_process_follows_the_other() {
    let setup = Setup::new();
    let (upstream, pki) = (Upstream::echo(), Pki::new(&["proxy.test"]));
    pki.write(&setup.dir, "server");
    guest::write(&setup.dir, "kept", &guest::transparent());
    let unix = setup.dir.join("web.sock");
    let routes = "routes: [{ match: { prefix: /echo }, cluster: up }, { match: { prefix: / }, respond: { status: 200, body: hello } }]";
    let yaml = format!(
        "listeners:\n\
         - name: web\n  address: 127.0.0.1:0\n  filters: [kept]\n  {routes}\n\
         - name: secure\n  address: 127.0.0.1:0\n  tls: {{ certificate: server.pem, key: server.key }}\n  {routes}\n\
         - name: unix\n  address: 'unix:{}'\n  {routes}\n\
         filters:\n- {{ name: kept, module: {{ file: kept.wasm }} }}\n\
         clusters: [{{ name: up, endpoints: ['{}'] }}]\n\
         workers: 2\n{}",
        unix.display(),
        upstream.address,
        place(&setup.dir)
    );
    let line = Line::start(setup, &yaml);
    let load = Arc::new(Load {
        over: AtomicBool::new(false),
        requests: AtomicUsize::new(0),
        moved: AtomicUsize::new(0),
        web: line.web(),
        secure: line.address("secure"),
        unix,
        tls: pki.client(&[]),
    });
    let clients = [
        kept as fn(&Load),
        kept,
        fresh,
        secure,
        local,
        uploads,
        streams,
        sparse,
    ];
    let clients = clients.map(|client| {
        let load = load.clone();
        std::thread::spawn(move || client(&load))
    });
    let mut processes = vec![i32::try_from(line.id()).unwrap()];
    for _ in 0..UPGRADES {
        std::thread::sleep(EACH);
        if clients.iter().any(std::thread::JoinHandle::is_finished) {
            break;
        }
        processes.push(line.upgrade());
    }
    std::thread::sleep(EACH);
    load.over.store(true, Ordering::Relaxed);
    for client in clients {
        client
            .join()
            .expect("every request was answered as it should be");
    }
    println!(
        "{} requests, {} moved to another connection",
        load.requests.load(Ordering::Relaxed),
        load.moved.load(Ordering::Relaxed)
    );
    assert_eq!(processes.len(), UPGRADES + 1);
    // All but the last end by themselves.
    for pid in &processes[..UPGRADES] {
        until(&line, "the end of all but the last", || has_gone(*pid));
    }
    assert_eq!(line.log.count("ERROR"), 0, "{}", line.log.text());
    assert_eq!(line.log.count("drain_time is over"), 0);
}

/// Whether the connection goes on after that answer.
fn keeps(answer: &Message) -> bool {
    answer.field("connection") != Some("close")
}

/// Connections that are kept until they are closed.
fn kept(load: &Load) {
    while load.goes_on() {
        let mut client = Client::connect(load.web);
        for path in ["/echo", "/"].iter().cycle() {
            let answer = client.get(path);
            assert_eq!(answer.status(), 200, "{path}");
            load.done();
            if !keeps(&answer) || !load.goes_on() {
                break;
            }
        }
    }
}

/// A connection that is mostly idle.
fn sparse(load: &Load) {
    while load.goes_on() {
        let mut client = Client::connect(load.web);
        loop {
            let answer = client.get("/");
            assert_eq!(answer.status(), 200);
            load.done();
            if !keeps(&answer) || !load.goes_on() {
                break;
            }
            std::thread::sleep(EACH / 3);
        }
    }
}

/// One connection for each request.
fn fresh(load: &Load) {
    while load.goes_on() {
        assert_eq!(Client::connect(load.web).get("/echo").status(), 200);
        load.done();
    }
}

/// The same with TLS.
fn secure(load: &Load) {
    while load.goes_on() {
        let mut client = Client::connect_tls(load.secure, load.tls.clone(), "proxy.test");
        assert_eq!(client.get("/echo").status(), 200);
        load.done();
    }
}

/// By a unix socket.
fn local(load: &Load) {
    while load.goes_on() {
        let mut client = Client::connect_unix(&load.unix);
        for _ in 0..3 {
            let answer = client.get("/");
            assert_eq!(answer.status(), 200);
            load.done();
            if !keeps(&answer) {
                break;
            }
        }
    }
}

/// Bodies that are on their way for about as long as a process serves.
fn uploads(load: &Load) {
    while load.goes_on() {
        let mut client = Client::connect(load.web);
        loop {
            client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 16\r\n\r\n");
            for _ in 0..4 {
                std::thread::sleep(EACH / 5);
                client.send("four");
            }
            let answer = client.response();
            assert_eq!(answer.text(), "fourfourfourfour");
            load.done();
            if !keeps(&answer) || !load.goes_on() {
                break;
            }
        }
    }
}

/// Streams of HTTP/2, some of them with bodies that take their time.
fn streams(load: &Load) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        while load.goes_on() {
            let client = h2::connect(load.web).await;
            while load.goes_on() && streams_once(load, &client).await {}
        }
    });
}

/// Whether the connection goes on.
async fn streams_once(load: &Load, client: &h2::Client) -> bool {
    let (feeder, feed) = h2::feed();
    let slow = Request::post("http://test/echo").body(feed).unwrap();
    let slow = send(load, client, slow);
    let quick = async {
        feed_half(&feeder);
        let mut goes_on = true;
        for _ in 0..20 {
            let Some(answer) = send(load, client, h2::get("/")).await else {
                goes_on = false;
                break;
            };
            assert_eq!(answer.status(), StatusCode::OK);
            let whole = h2::whole(answer.into_body()).await.expect("a whole body");
            assert_eq!(whole.body, "hello");
            load.done();
            tokio::time::sleep(EACH / 50).await;
        }
        feed_half(&feeder);
        drop(feeder);
        goes_on
    };
    let (slow, goes_on) = tokio::join!(slow, quick);
    if let Some(answer) = slow {
        let whole = h2::whole(answer.into_body()).await.expect("a whole body");
        assert_eq!(whole.body, "halfhalf");
        load.done();
    }
    goes_on
}

/// Where the request was not sent nobody wants it.
fn feed_half(feeder: &h2::Feeder) {
    let _ = feeder.send(Ok(http_body::Frame::data(bytes::Bytes::from("half"))));
}

/// `None` where the request was not sent: it was given back for that.
async fn send(
    load: &Load,
    client: &h2::Client,
    request: Request<h2::Feed>,
) -> Option<http::Response<hyper::body::Incoming>> {
    match h2::soon(client.clone().try_send_request(request)).await {
        Ok(answer) => Some(answer),
        Err(mut error) => {
            assert!(
                error.take_message().is_some(),
                "sent, and failed: {error:?}"
            );
            load.moved.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}
