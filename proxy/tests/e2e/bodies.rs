//! Bodies over HTTP/1.1: every framing, any size, nothing held whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Proxy, Setup, Upstream, client::Ended, guest, proxy};

/// How much more memory a stream of any length may take. Buffers of a connection (64 KiB
/// of head, what the codec reads ahead) and the allocator's slack, with room to spare, and
/// far below the streams that are sent.
const ROOM_KIB: u64 = 12 << 10;
const STREAM: usize = 64 << 20;

fn assert_echoes(client: &mut crate::support::Client, request: &str, body: &str) {
    let answer = client.request(request);
    assert_eq!(
        (answer.status(), answer.text()),
        (200, body.to_owned()),
        "{request}"
    );
}

#[test]
fn every_framing_of_a_request_reaches_the_upstream() {
    let upstream = Upstream::echo();
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    assert_echoes(
        &mut client,
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhello",
        "hello",
    );
    assert_echoes(
        &mut client,
        "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "hello",
    );
    assert_echoes(
        &mut client,
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n",
        "",
    );
    let framings: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| {
            let of = |name| request.field(name).map(ToOwned::to_owned);
            (of("content-length"), of("transfer-encoding"))
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        framings,
        [
            (some("5"), None),
            (None, some("chunked")),
            (some("0"), None)
        ]
    );
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn every_framing_of_a_response_reaches_the_client() {
    let upstream = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            match request.line.split(' ').nth(1) {
                Some("/length") => conn.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
                Some("/chunked") => {
                    conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
                }
                _ => {
                    conn.send("HTTP/1.1 200 OK\r\n\r\nhello");
                    return;
                }
            };
        }
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    for path in ["/length", "/chunked", "/until-close", "/length"] {
        let answer = client.get(path);
        assert_eq!(
            (answer.status(), answer.text()),
            (200, "hello".to_owned()),
            "{path}"
        );
        assert_eq!(
            answer.field("content-length"),
            (path == "/length").then_some("5"),
            "{path}"
        );
    }
    assert_eq!(
        upstream.connections(),
        2,
        "only the one that ended with its body"
    );
}

#[test]
fn a_large_body_streams_through_both_ways_in_bounded_memory() {
    let upstream = Upstream::new(|conn| {
        conn.head();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {STREAM}\r\n\r\n"
        ));
        let mut left = STREAM;
        while left > 0 {
            let bytes = conn.bytes(left.min(64 << 10)).unwrap();
            left -= bytes.len();
            assert!(conn.send(&bytes));
        }
        conn.rest();
    });
    for yaml in [
        proxy::plain(upstream.address),
        proxy::filtered(upstream.address, "guest.wasm"),
    ] {
        let setup = Setup::new();
        guest::write(&setup.dir, "guest", &guest::transparent());
        let proxy = setup.start(&yaml);
        let before = proxy.status("VmHWM");
        let mut client = proxy.client();
        let mut writer = client.stream().try_clone().unwrap();
        let upload = std::thread::spawn(move || {
            use std::io::Write as _;
            let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {STREAM}\r\n\r\n");
            writer.write_all(head.as_bytes()).unwrap();
            for block in 0..STREAM >> 16 {
                writer.write_all(&vec![block as u8; 64 << 10]).unwrap();
            }
        });
        assert_eq!(client.head().status(), 200);
        for block in 0..STREAM >> 16 {
            assert!(
                client
                    .bytes(64 << 10)
                    .iter()
                    .all(|byte| *byte == block as u8),
                "block {block}"
            );
        }
        upload.join().unwrap();
        let grown = proxy.status("VmHWM") - before;
        assert!(grown < ROOM_KIB, "{grown} KiB for a stream");
    }
}

/// An upstream that sends a long body and says how much of it went out before nobody took
/// any more.
fn endless() -> (Upstream, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let upstream = Upstream::new(move |conn| {
        conn.write_timeout(Duration::from_millis(300));
        conn.request();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {STREAM}\r\n\r\n"
        ));
        while counter.load(Ordering::Relaxed) < STREAM && conn.send([b'x'; 16 << 10]) {
            counter.fetch_add(16 << 10, Ordering::Relaxed);
        }
    });
    (upstream, sent)
}

#[test]
fn a_client_that_never_reads_stops_the_upstream_instead_of_filling_memory() {
    for filtered in [false, true] {
        let (upstream, sent) = endless();
        let setup = Setup::new();
        guest::write(&setup.dir, "guest", &guest::transparent());
        let proxy = setup.start(&if filtered {
            proxy::filtered(upstream.address, "guest.wasm")
        } else {
            proxy::plain(upstream.address)
        });
        let before = proxy.status("VmHWM");
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        upstream.wait_for_ended(1);
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < STREAM, "all of it was taken");
        let grown = proxy.status("VmHWM") - before;
        assert!(
            grown < ROOM_KIB,
            "{grown} KiB held for a client that does not read"
        );
    }
}

#[test]
fn a_client_that_sends_requests_and_never_reads_is_not_read_either() {
    let body = "x".repeat(64 << 10);
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let proxy = Proxy::in_front_of(upstream.address);
    let before = proxy.status("VmHWM");
    let mut client = proxy.client();
    client
        .stream()
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: test\r\nx-padding: {}\r\n\r\n",
        "p".repeat(4000)
    )
    .repeat(16);
    let mut refused = false;
    for _ in 0..STREAM / request.len() {
        if client.try_send(&request).is_err() {
            refused = true;
            break;
        }
    }
    assert!(
        refused,
        "64 MiB of requests were taken from a client that reads no answer"
    );
    let grown = proxy.status("VmHWM") - before;
    assert!(grown < ROOM_KIB, "{grown} KiB");
}

#[test]
fn a_response_cut_short_is_cut_short_for_the_client_too() {
    let heads = [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ];
    for (reset, head) in heads
        .into_iter()
        .flat_map(|head| [(false, head), (true, head)])
    {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let upstream = Upstream::new(move |conn| {
            conn.request();
            conn.send(head);
            // A reset takes what is not yet read with it.
            let _ = wait.lock().unwrap().recv();
            if reset {
                conn.reset();
            }
        });
        let proxy = Proxy::in_front_of(upstream.address);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        let answer = client.head();
        assert_eq!(answer.status(), 200);
        let chunked = answer.field("transfer-encoding").is_some();
        if chunked {
            assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"abc"[..]));
        } else {
            assert_eq!(client.bytes(3), b"abc");
        }
        drop(go);
        let (rest, ended) = client.rest();
        assert_eq!(
            (&rest[..], ended),
            (&b""[..], Ended::Closed),
            "no last chunk, nothing made up"
        );
        proxy.stdout.wait_for("200 UC ");
    }
}
