//! What the proxy owes to headers: who asked, what stays on one connection, what is ours.

use crate::support::{Proxy, Upstream, proxy};

/// Sends these fields and returns the request as the upstream saw it.
fn forwarded(fields: &str) -> crate::support::Message {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let answer = proxy
        .client()
        .request(&format!("GET / HTTP/1.1\r\nhost: test\r\n{fields}\r\n"));
    assert_eq!(answer.status(), 200);
    upstream.only_request()
}

/// Answers with these fields and returns the response as the client saw it.
fn returned(setting: &str, fields: &str) -> crate::support::Message {
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{fields}\r\nok"
    ));
    let listener = "  address: 127.0.0.1:0\n";
    let yaml = proxy::plain(upstream.address).replace(listener, &format!("{listener}{setting}"));
    Proxy::start(&yaml).get("/")
}

fn is_uuid_v4(id: &str) -> bool {
    let shape = "xxxxxxxx-xxxx-4xxx-Yxxx-xxxxxxxxxxxx";
    id.len() == shape.len()
        && id
            .chars()
            .zip(shape.chars())
            .all(|(is, wanted)| match wanted {
                'x' => is.is_ascii_digit() || ('a'..='f').contains(&is),
                'Y' => "89ab".contains(is),
                _ => is == wanted,
            })
}

#[test]
fn a_request_id_is_kept_when_present_and_made_when_not() {
    assert_eq!(
        forwarded("x-request-id: mine\r\n").field("x-request-id"),
        Some("mine")
    );
    let (one, other) = (forwarded(""), forwarded("x-request-id:\r\n"));
    let (one, other) = (
        one.field("x-request-id").unwrap(),
        other.field("x-request-id").unwrap(),
    );
    assert!(is_uuid_v4(one), "{one}");
    assert!(is_uuid_v4(other), "{other}");
    assert_ne!(one, other);
}

#[test]
fn the_peer_is_appended_to_x_forwarded_for() {
    assert_eq!(forwarded("").field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(
        forwarded("x-forwarded-for: 192.0.2.1\r\n").field("x-forwarded-for"),
        Some("192.0.2.1, 127.0.0.1")
    );
    let twice = forwarded("x-forwarded-for: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2\r\n");
    assert_eq!(
        twice.all("x-forwarded-for").join(", "),
        "192.0.2.1, 192.0.2.2, 127.0.0.1"
    );
}

#[test]
fn x_forwarded_proto_is_what_was_spoken_whatever_the_client_claims() {
    assert_eq!(
        forwarded("x-forwarded-proto: https\r\n").field("x-forwarded-proto"),
        Some("http")
    );
}

#[test]
fn what_belongs_to_the_clients_connection_does_not_reach_the_upstream() {
    let request = forwarded(
        "connection: keep-alive, x-mine, x-forwarded-for\r\nkeep-alive: timeout=5\r\nproxy-connection: close\r\n\
         x-mine: 1\r\nte: gzip, trailers\r\nupgrade: h2c\r\nx-end-to-end: 1\r\n",
    );
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "x-mine",
        "upgrade",
    ] {
        assert_eq!(request.field(name), None, "{name}");
    }
    assert_eq!(request.field("te"), Some("trailers"));
    assert_eq!(
        request.field("x-forwarded-for"),
        Some("127.0.0.1"),
        "cannot be taken away by naming it"
    );
    assert_eq!(request.field("x-end-to-end"), Some("1"));
}

#[test]
fn what_belongs_to_the_upstreams_connection_does_not_reach_the_client() {
    let answer = returned(
        "",
        "connection: x-mine, close\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\nx-mine: 1\r\nx-end-to-end: 1\r\n",
    );
    for name in ["connection", "keep-alive", "proxy-connection", "x-mine"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert_eq!(answer.field("x-end-to-end"), Some("1"));
}

#[test]
fn repeated_fields_keep_their_order_both_ways() {
    let request = forwarded("x-a: 1\r\nx-b: 2\r\nx-a: 3\r\n");
    assert_eq!(request.all("x-a"), ["1", "3"]);
    let answer = returned("", "set-cookie: a=1\r\nx: y\r\nset-cookie: b=2\r\n");
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn the_server_header_follows_the_setting() {
    for (setting, theirs, expected) in [
        ("", "server: theirs\r\n", Some("cofferdam")),
        ("", "", Some("cofferdam")),
        (
            "  server_header: if_absent\n",
            "server: theirs\r\n",
            Some("theirs"),
        ),
        ("  server_header: if_absent\n", "", Some("cofferdam")),
        (
            "  server_header: pass\n",
            "server: theirs\r\n",
            Some("theirs"),
        ),
        ("  server_header: pass\n", "", None),
    ] {
        assert_eq!(
            returned(setting, theirs).field("server"),
            expected,
            "{setting:?} {theirs:?}"
        );
    }
}

#[test]
fn a_date_is_added_only_where_there_is_none() {
    let theirs = "Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(
        returned("", &format!("date: {theirs}\r\n")).field("date"),
        Some(theirs)
    );
    let answer = returned("", "");
    let date = answer.field("date").unwrap();
    assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
}

#[test]
fn a_request_without_exactly_one_host_is_refused() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    for fields in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a\r\nhost: a\r\n",
        "host: a b/c\r\n",
        "host: user@a\r\n",
    ] {
        let mut client = proxy.client();
        let answer = client.request(&format!("GET /refused HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(answer.status(), 400, "{fields:?}");
        assert_eq!(
            client.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n").status(),
            200,
            "the connection goes on"
        );
    }
    assert_eq!(upstream.requests().len(), 5);
    proxy.stdout.wait_for("400 DPE bad_host GET /refused");
}

#[test]
fn a_header_block_over_the_limit_is_refused() {
    let upstream = Upstream::named("ok");
    let listener = "  address: 127.0.0.1:0\n";
    let yaml = proxy::plain(upstream.address)
        .replace(listener, &format!("{listener}  max_header_bytes: 16KiB\n"));
    let proxy = Proxy::start(&yaml);
    let padded = |length: usize| {
        format!(
            "GET / HTTP/1.1\r\nhost: test\r\nx-long: {}\r\n\r\n",
            "x".repeat(length)
        )
    };
    assert_eq!(proxy.client().request(&padded(15 << 10)).status(), 200);
    let mut client = proxy.client();
    // The answer may come, and the connection close, before all of it is sent.
    let _ = client.try_send(padded(64 << 10));
    assert_eq!(client.response().status(), 431);
    assert_eq!(upstream.requests().len(), 1);
    proxy.stdout.wait_for("431 DPE ");
}

#[test]
fn more_than_a_hundred_fields_are_refused_as_envoy_does() {
    let fields = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: {n}\r\n"))
            .collect::<String>()
    };
    assert_eq!(forwarded(&fields(90)).field("x-89"), Some("89"));
    assert_eq!(returned("", &fields(90)).field("x-89"), Some("89"));
    let proxy = Proxy::in_front_of(Upstream::nobody());
    let answer = proxy.client().request(&format!(
        "GET / HTTP/1.1\r\nhost: test\r\n{}\r\n",
        fields(100)
    ));
    assert_eq!(answer.status(), 431);
    assert_eq!(returned("", &fields(100)).status(), 502);
}
