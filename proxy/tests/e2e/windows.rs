//! HTTP/2 clients that give a stream no window: it ends like any silent one, and nothing of it
//! is kept. And those that give little of it, again and again.

use std::net::SocketAddr;
use std::time::Duration;

use crate::patience::endless;
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GET, HEADERS, RST_STREAM, WINDOW_UPDATE, frame,
};
use crate::support::{Proxy, Setup, Upstream, guest, proxy};

/// Their code for a stream that is given up.
const CANCEL: u32 = 8;

/// Another key of the only route.
fn route(yaml: &str, more: &str) -> String {
    let known = "cluster: backend }";
    assert!(yaml.contains(known));
    yaml.replace(known, &format!("cluster: backend, {more} }}"))
}

/// Plain, and through a filter that looks at everything.
fn both(upstream: SocketAddr, more: &str) -> [Proxy; 2] {
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let filtered = setup.start(&route(&proxy::filtered(upstream, "guest.wasm"), more));
    [
        Proxy::start(&route(&proxy::plain(upstream), more)),
        filtered,
    ]
}

/// A client whose streams begin with so much window.
fn with_window(proxy: &Proxy, window: u32) -> Frames {
    let mut settings = vec![0, 4];
    settings.extend(window.to_be_bytes());
    Frames::connect(proxy.web(), &settings)
}

fn ask(client: &mut Frames, stream: u32) {
    client
        .send(HEADERS, END_HEADERS | END_STREAM, stream, GET)
        .unwrap();
}

fn widen(client: &mut Frames, stream: u32, by: u32) {
    client
        .send(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
        .unwrap();
}

#[test]
fn a_stream_without_window_is_reset_and_its_upstream_let_go() {
    let upstream = endless();
    for (number, proxy) in both(upstream.address, "idle_timeout: 300ms")
        .iter()
        .enumerate()
    {
        // None at all, and one that holds a piece of what comes.
        for (round, window) in [0, 5].into_iter().enumerate() {
            let mut client = with_window(proxy, window);
            ask(&mut client, 1);
            let reset = client.until(|frame| frame.kind == RST_STREAM);
            assert_eq!(
                (reset.stream, reset.payload),
                (1, CANCEL.to_be_bytes().into())
            );
            upstream.wait_for_ended(2 * number + round + 1);
        }
        proxy.stdout.wait_for("200 SI stream_idle_timeout GET /");
        assert_eq!(proxy.stdout.count(" DC "), 0);
    }
}

#[test]
fn other_streams_of_the_connection_go_on() {
    let upstream = Upstream::named("some words");
    let yaml = route(&proxy::plain(upstream.address), "idle_timeout: 300ms");
    let proxy = Proxy::start(&yaml);
    let mut client = with_window(&proxy, 0);
    for stream in [1, 3, 5] {
        ask(&mut client, stream);
        if stream != 3 {
            widen(&mut client, stream, 100);
            let last = |kind, flags| kind == DATA && flags & END_STREAM != 0;
            client.until(|frame| frame.stream == stream && last(frame.kind, frame.flags));
        } else {
            client.until(|frame| frame.stream == 3 && frame.kind == RST_STREAM);
        }
    }
    assert_eq!(client.goaway, None);
    proxy.stdout.wait_for("200 SI stream_idle_timeout GET /");
}

#[test]
fn what_is_answered_here_waits_no_longer() {
    let yaml = proxy::plain(Upstream::nobody()).replace(
        "cluster: backend }",
        "respond: { body: hi }, idle_timeout: 200ms }",
    );
    let proxy = Proxy::start(&yaml);
    let mut client = with_window(&proxy, 0);
    ask(&mut client, 1);
    client.until(|frame| frame.stream == 1 && frame.kind == RST_STREAM);
    proxy.stdout.wait_for("200 SI stream_idle_timeout GET /");
}

#[test]
fn a_little_window_now_and_then_is_enough() {
    let body = vec![b'x'; 100 << 10];
    let upstream = Upstream::new(move |conn| {
        while conn.request().is_some() {
            conn.respond(&body);
        }
    });
    for proxy in both(upstream.address, "idle_timeout: 1s") {
        let mut client = with_window(&proxy, 0);
        // Room for all of it on the connection.
        widen(&mut client, 0, 1 << 20);
        ask(&mut client, 1);
        client.until(|frame| frame.kind == HEADERS);
        let mut read = 0;
        // The piece that waits takes longer than the stream may be silent.
        while read < 100 << 10 {
            std::thread::sleep(Duration::from_millis(50));
            widen(&mut client, 1, 2 << 10);
            let given = read + (2 << 10);
            while read < given {
                let data = client.until(|frame| frame.kind == DATA || frame.kind == RST_STREAM);
                assert_eq!(data.kind, DATA, "after {read} bytes");
                read += data.payload.len();
            }
        }
        proxy.stdout.wait_for("200 - via_upstream GET /");
    }
}

/// A body so short that the codec has all of it with the first byte of window.
fn short() -> (Upstream, String) {
    let upstream = Upstream::named("some words");
    let yaml = proxy::plain(upstream.address);
    (upstream, route(&yaml, "idle_timeout: 300ms"))
}

#[test]
fn the_end_of_a_response_that_waits_for_window_ends_a_connection_that_is_not_idle() {
    let (upstream, yaml) = short();
    let address = "  address: 127.0.0.1:0\n";
    let proxy = Proxy::start(&yaml.replace(address, &format!("{address}  idle_timeout: 200ms\n")));
    let mut client = with_window(&proxy, 1);
    ask(&mut client, 1);
    client.until(|frame| frame.kind == DATA);
    // Others are asked for and come, so that it is never idle; in the end none is begun.
    let mut reader = client.twin();
    let reading = std::thread::spawn(move || reader.end());
    let mut streams = (3..3_000).step_by(2);
    for stream in streams.by_ref() {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        let window = frame(WINDOW_UPDATE, 0, stream, &100_u32.to_be_bytes());
        if client.send_bytes(&[request, window].concat()).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        streams.next().is_some(),
        "it went on for as long as it was used"
    );
    assert_eq!(reading.join().unwrap(), Some(0));
    assert!(upstream.requests().len() > 2);
}

#[test]
fn the_end_of_a_response_that_moves_keeps_its_connection() {
    let (_upstream, yaml) = short();
    let address = "  address: 127.0.0.1:0\n";
    let proxy = Proxy::start(&yaml.replace(address, &format!("{address}  idle_timeout: 1s\n")));
    let mut client = with_window(&proxy, 1);
    ask(&mut client, 1);
    for byte in 1..="some words".len() {
        let data = client.until(|frame| frame.kind == DATA && !frame.payload.is_empty());
        assert_eq!((data.stream, data.payload.len()), (1, 1), "byte {byte}");
        // Longer in all than it may be idle.
        std::thread::sleep(Duration::from_millis(200));
        if byte < "some words".len() {
            assert_eq!(client.goaway, None);
            widen(&mut client, 1, 1);
        }
    }
}

#[test]
fn a_stream_without_window_has_its_time_like_any_other() {
    let upstream = endless();
    for proxy in both(
        upstream.address,
        "idle_timeout: none, max_stream_duration: 300ms",
    ) {
        let mut client = with_window(&proxy, 0);
        ask(&mut client, 1);
        client.until(|frame| frame.stream == 1 && frame.kind == RST_STREAM);
        proxy.stdout.wait_for("200 - max_duration_timeout GET /");
    }
    upstream.wait_for_ended(2);
}
