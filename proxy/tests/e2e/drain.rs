//! The end of the process: nobody is cut who can still be served, and nobody waits for
//! nothing. What comes after what is what is tested, not how long it takes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Client, LONGEST, Proxy, Setup, Upstream, client::Ended, guest, h2, proxy};

/// An upstream that answers the head and `first` at once, and `last` when it is told to;
/// the rest of the length it promises is nothing.
fn held(first: &'static str, last: &'static str) -> (Upstream, Sender<()>) {
    let (go, wait) = channel::<()>();
    let wait: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(wait));
    let upstream = Upstream::new(move |conn| {
        while conn.request().is_some() {
            let length = first.len() + last.len();
            if !first.is_empty() {
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{first}"
                ));
            }
            if wait.lock().unwrap().recv_timeout(LONGEST).is_err() {
                return;
            }
            if first.is_empty() {
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
                ));
            }
            conn.send(last);
        }
    });
    (upstream, go)
}

#[test]
fn an_idle_proxy_ends_with_status_0_and_closes_kept_connections() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = Proxy::in_front_of(Upstream::named("ok").address);
        let mut client = proxy.client();
        assert_eq!(client.get("/").status(), 200);
        proxy.signal(signal);
        assert_eq!(proxy.exit().code(), Some(0));
        client.assert_ended();
    }
}

#[test]
fn a_response_under_way_is_finished_before_the_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let (upstream, go) = held("one ", "two");
        let mut proxy = Proxy::in_front_of(upstream.address);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(
            (client.head().status(), client.bytes(4)),
            (200, b"one ".to_vec())
        );
        proxy.begin_to_end(signal);
        assert!(proxy.is_running());
        go.send(()).unwrap();
        assert_eq!(client.bytes(3), b"two");
        client.assert_ended();
        assert_eq!(proxy.exit().code(), Some(0));
        proxy.stdout.wait_for("200 - via_upstream GET /");
    }
}

#[test]
fn an_answer_that_comes_while_draining_says_close() {
    let (upstream, go) = held("", "late");
    let mut proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    upstream.wait_for_requests(1);
    proxy.begin_to_end(Signal::TERM);
    go.send(()).unwrap();
    let answer = client.response();
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("late".to_owned(), Some("close"))
    );
    client.assert_ended();
    assert_eq!(proxy.exit().code(), Some(0));
}

/// A client that is at work has its next request on its way when the signal comes.
#[test]
fn a_client_at_work_is_answered_once_more() {
    let mut proxy = Proxy::in_front_of(Upstream::named("ok").address);
    let mut client = proxy.client();
    assert_eq!(client.get("/a").field("connection"), None);
    proxy.begin_to_end(Signal::TERM);
    let answer = client.get("/b");
    assert_eq!(
        (answer.status(), answer.field("connection")),
        (200, Some("close"))
    );
    client.assert_ended();
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn an_upload_under_way_is_finished_before_the_end() {
    let upstream = Upstream::echo();
    let mut proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf");
    upstream.wait_for_bytes(4);
    proxy.begin_to_end(Signal::TERM);
    assert!(proxy.is_running());
    client.send("half");
    assert_eq!(client.response().text(), "halfhalf");
    assert_eq!(proxy.exit().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_streams_under_way_are_finished_and_new_ones_refused() {
    let (upstream, go) = held("one ", "two");
    let mut proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let answer = h2::send(&client, h2::get("/")).await;
    let proxy = tokio::task::spawn_blocking(move || {
        proxy.begin_to_end(Signal::TERM);
        assert!(proxy.is_running());
        proxy
    });
    let mut proxy = proxy.await.unwrap();
    // The GOAWAY is on its way; once it is here the client sends nothing more.
    let until = Instant::now() + LONGEST;
    while h2::try_send(&client, h2::get("/new")).await.is_ok() {
        assert!(Instant::now() < until, "new streams are still taken");
    }
    go.send(()).unwrap();
    assert_eq!(h2::whole(answer.into_body()).await.unwrap().body, "one two");
    let status = tokio::task::spawn_blocking(move || proxy.exit())
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_tunnel_is_waited_for() {
    let upstream = Upstream::new(|conn| {
        let Some(_) = conn.request() else { return };
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        );
        while let Ok(byte) = conn.bytes(1) {
            conn.send(byte);
        }
    });
    let mut proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    proxy.begin_to_end(Signal::TERM);
    assert_eq!(client.send("still").bytes(5), b"still");
    assert!(proxy.is_running());
    drop(client);
    assert_eq!(proxy.exit().code(), Some(0));
    proxy.stdout.wait_for("101 - ");
}

#[test]
fn a_connection_that_has_sent_nothing_is_not_waited_for() {
    let mut proxy = Proxy::in_front_of(Upstream::nobody());
    let mut silent = proxy.client();
    // Accepted for sure once a later one has been answered.
    proxy.get("/");
    assert_eq!(proxy.drain().code(), Some(0));
    silent.assert_ended();
}

#[test]
fn drain_time_ends_what_does_not_end_by_itself() {
    let (upstream, _never) = held("one ", "two");
    let yaml = proxy::plain(upstream.address) + "drain_time: 300ms\n";
    let mut proxy = Proxy::start(&yaml);
    let mut client = proxy.client();
    client.send("GET /cut HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(
        (client.head().status(), client.bytes(4)),
        (200, b"one ".to_vec())
    );
    assert_eq!(proxy.drain().code(), Some(0));
    assert!(matches!(client.rest(), (rest, Ended::Closed | Ended::Reset) if rest.is_empty()));
    proxy.log.wait_for("drain_time is over");
    proxy.stdout.wait_for("GET /cut");
}

/// The log does not blame who is cut, but whoever leaves.
#[test]
fn what_drain_time_ends_is_logged_as_ended_here() {
    for filtered in [false, true] {
        let (upstream, _never) = held("one ", "two");
        let setup = Setup::new();
        guest::write(&setup.dir, "guest", &guest::transparent());
        let yaml = match filtered {
            true => proxy::filtered(upstream.address, "guest.wasm"),
            false => proxy::plain(upstream.address),
        };
        let silent = Upstream::new(|conn| while conn.request().is_some() {});
        let yaml = yaml
            .replace(
                "routes: [",
                "routes: [{ match: { prefix: /silent }, cluster: silent }, ",
            )
            .replace(
                "clusters: [",
                &format!(
                    "clusters: [{{ name: silent, endpoints: ['{}'] }}, ",
                    silent.address
                ),
            );
        let mut proxy = setup.start(&(yaml + "drain_time: 300ms\n"));
        let begun = |path: &str| {
            let mut client = proxy.client();
            client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
            client
        };
        let half = |path: &str| {
            let mut client = begun(path);
            assert_eq!(
                (client.head().status(), client.bytes(4)),
                (200, b"one ".to_vec())
            );
            client
        };
        drop(half("/half/left"));
        proxy
            .stdout
            .wait_for("200 DC downstream_remote_disconnect GET /half/left");
        let left = begun("/silent/left");
        silent.wait_for_requests(1);
        drop(left);
        proxy
            .stdout
            .wait_for("0 DC downstream_remote_disconnect GET /silent/left");
        let _half = half("/half/cut");
        let _silent = begun("/silent/cut");
        silent.wait_for_requests(2);
        assert_eq!(proxy.drain().code(), Some(0));
        for (status, path) in [("200", "/half/cut"), ("0", "/silent/cut")] {
            let details = "downstream_local_disconnect(drain_time_is_over)";
            proxy
                .stdout
                .wait_for(&format!("{status} DC {details} GET {path}"));
        }
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let (upstream, _never) = held("one ", "two");
        let yaml = proxy::plain(upstream.address) + "drain_time: 1h\n";
        let mut proxy = Proxy::start(&yaml);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        proxy.begin_to_end(Signal::TERM);
        assert!(proxy.is_running());
        proxy.signal(second);
        assert_eq!(proxy.exit().code(), Some(1));
        proxy.log.wait_for("second signal");
    }
}

/// How often the threads of a process have gone to sleep.
fn sleeps(pid: u32) -> u64 {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .unwrap();
        sum += line.trim().parse::<u64>().unwrap();
    }
    sum
}

#[test]
fn an_idle_proxy_does_not_wake_up() {
    let upstream = Upstream::named("ok");
    stays_asleep(&Proxy::start(&two_workers(&proxy::plain(upstream.address))));
}

#[cfg(feature = "compiler")]
#[test]
fn native_filters_do_not_wake_an_idle_proxy() {
    let upstream = Upstream::named("ok");
    let setup = Setup::new();
    let module = guest::transparent();
    guest::write(&setup.dir, "f", &module);
    let yaml = proxy::filtered(upstream.address, "f.wasm").replace(
        "module: { file: 'f.wasm' }",
        "engine: aot, module: { file: 'f.wasm' }",
    );
    let proxy = setup.start(&two_workers(&yaml));
    stays_asleep(&proxy);
    let threads = std::fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    let ticks = threads.into_iter().any(|thread| {
        let name = std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap();
        name.trim() == "ticker"
    });
    assert!(ticks, "there is something that could have woken it");
}

fn two_workers(yaml: &str) -> String {
    yaml.replace("workers: 1", "workers: 2")
}

fn stays_asleep(proxy: &Proxy) {
    let mut kept = proxy.client();
    for _ in 0..10 {
        assert_eq!(kept.get("/").status(), 200);
        assert_eq!(proxy.get("/").status(), 200);
    }
    // What the requests left behind comes to rest first.
    let until = Instant::now() + LONGEST;
    let mut before = sleeps(proxy.id());
    loop {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = sleeps(proxy.id());
        if now == before {
            break;
        }
        assert!(Instant::now() < until, "it never came to rest");
        before = now;
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let woken = sleeps(proxy.id()) - before;
    // Anything periodic, once a second on any of its threads, is 3 or more. One is left for
    // a timer of tokio's wheel that comes round once (they are rounded, and re-armed) while
    // connections are kept.
    assert!(woken <= 2, "{woken} wake-ups in 3 s");
}

/// Clients come again all the time, most of all those that have just been told `close`: each is
/// turned away, or is answered.
#[test]
fn whoever_is_let_in_is_answered_though_the_process_ends() {
    let two: fn(&str) -> String = two_workers;
    for workers in [two, str::to_owned] {
        let upstream = Upstream::named("ok");
        let mut proxy = Proxy::start(&workers(&proxy::plain(upstream.address)));
        let web = proxy.web();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut answered = 0;
                    while let Ok(mut client) = Client::try_connect(web) {
                        assert_eq!(client.get("/").text(), "ok");
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        upstream.wait_for_requests(200);
        assert_eq!(proxy.drain().code(), Some(0));
        let answered: usize = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum();
        assert!(answered >= 200, "{answered}");
    }
}
