//! How long clients may take: for a head, for saying anything at all, for reading what they
//! asked for. And how long those may take who are only slow.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::admin::Watched;
use crate::support::frames::{END_HEADERS, END_STREAM, Frames, GET, HEADERS, WINDOW_UPDATE};
use crate::support::pki::Pki;
use crate::support::{Client, Setup, Upstream, proxy};

/// One listener with these keys more.
fn with(upstream: SocketAddr, keys: &str) -> String {
    let listener = "  address: 127.0.0.1:0\n";
    proxy::plain(upstream).replace(listener, &format!("{listener}{keys}"))
}

/// Heads in a moment, all else at leisure.
const HEADS: &str = "  header_timeout: 200ms\n  idle_timeout: 1h\n";

/// Sends a head without an end, byte by byte, until nobody takes any more of it.
fn dribble(client: &mut Client) {
    let endless = "GET / HTTP/1.1\r\nhost: t\r\n"
        .bytes()
        .chain("x: y\r\n".bytes().cycle());
    for byte in endless {
        if client.try_send([byte]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_ends_the_connection() {
    let upstream = Upstream::named("ok");
    let Watched { proxy, admin } = Watched::start(&with(upstream.address, HEADS));
    dribble(&mut proxy.client());
    admin.becomes_cut("downstream_rq_header_timeout", 1);
    // Nor behind a good one, on a connection that is known.
    let mut client = proxy.client();
    assert_eq!(client.get("/").status(), 200);
    dribble(&mut client);
    admin.becomes_cut("downstream_rq_header_timeout", 2);
    proxy.stdout.wait_for("0 DPE request_header_timeout - -");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_connection_without_a_request_and_a_slow_body_have_longer() {
    let upstream = Upstream::echo();
    let Watched { proxy, admin } = Watched::start(&with(upstream.address, HEADS));
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\n");
        for byte in ["a", "b", "c"] {
            std::thread::sleep(Duration::from_millis(150));
            client.send(byte);
        }
        assert_eq!(client.response_to("POST").text(), "abc");
        std::thread::sleep(Duration::from_millis(450));
    }
    admin.becomes_cut("downstream_rq_header_timeout", 0);
}

#[test]
fn http_2_that_does_not_begin_ends_the_connection() {
    let (pki, setup) = (Pki::new(&["proxy.test"]), Setup::new());
    pki.write(&setup.dir, "server");
    let tls = format!("{HEADS}  tls: {{ certificate: server.pem, key: server.key }}\n");
    let yaml = with(Upstream::nobody(), &tls);
    let Watched { proxy, admin } = Watched::of(setup, &yaml);
    // Agreed on, and then silence.
    let mut client = Client::connect_tls(proxy.web(), pki.client(&["h2"]), "proxy.test");
    while client.tls().is_handshaking() {
        client.send("");
    }
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n");
    client.rest();
    admin.becomes_cut("downstream_rq_header_timeout", 1);
    // Nor is a handshake waited for that does not go on.
    Client::connect(proxy.web()).send("\x16\x03\x01").rest();
}

#[test]
fn a_preface_without_settings_ends_the_connection() {
    let Watched { proxy, admin } = Watched::start(&with(Upstream::nobody(), HEADS));
    proxy
        .client()
        .send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .rest();
    admin.becomes_cut("downstream_rq_header_timeout", 1);
}

#[test]
fn an_idle_http_2_connection_is_told_good_bye_and_closed_whatever_it_says() {
    let upstream = Upstream::named("ok");
    let Watched { proxy, .. } = Watched::start(&with(upstream.address, "  idle_timeout: 200ms\n"));
    let mut client = Frames::connect(proxy.web(), &[]);
    client
        .send(HEADERS, END_HEADERS | END_STREAM, 1, GET)
        .unwrap();
    // It answers nothing, so that the proxy cannot know that it has heard.
    assert_eq!(client.end(), Some(0));
}

#[test]
fn an_http_2_connection_with_a_slow_answer_is_not_idle() {
    let upstream = Upstream::new(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
            std::thread::sleep(Duration::from_millis(800));
            conn.send("b");
        }
    });
    let Watched { proxy, .. } = Watched::start(&with(upstream.address, "  idle_timeout: 200ms\n"));
    let mut client = Frames::connect(proxy.web(), &[]);
    client
        .send(HEADERS, END_HEADERS | END_STREAM, 1, GET)
        .unwrap();
    client.until(|frame| frame.stream == 1 && frame.kind == 0 && frame.flags & END_STREAM != 0);
    assert_eq!(client.goaway, None);
}

/// Answers with a body that does not end.
pub(crate) fn endless() -> Upstream {
    Upstream::new(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let chunk = [&b"10000\r\n"[..], &[b'x'; 1 << 16], b"\r\n"].concat();
            while conn.send(&chunk) {}
        }
    })
}

#[test]
fn who_does_not_read_what_he_asked_for_is_cut_off() {
    let upstream = endless();
    let yaml = with(upstream.address, "  send_timeout: 200ms\n");
    let Watched { proxy, admin } = Watched::start(&yaml);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    upstream.wait_for_ended(1);
    admin.becomes_cut("tx_flush_timeout", 1);
    // Over HTTP/2 with all the room in the world.
    let mut client = Frames::connect(proxy.web(), &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    client.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]).unwrap();
    client
        .send(HEADERS, END_HEADERS | END_STREAM, 1, GET)
        .unwrap();
    upstream.wait_for_ended(2);
    admin.becomes_cut("tx_flush_timeout", 2);
}
