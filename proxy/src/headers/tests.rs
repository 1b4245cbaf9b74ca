//! What becomes of a head on its way through: header maps before and after, and one `Date` for
//! all.

use std::time::Duration;

use http::header::{CONNECTION, HOST, TE, UPGRADE};
use http::request::Parts;
use http::{Request, Version};

use super::*;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    (fields.iter())
        .map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

/// Lines in order of name, which removal does not keep.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = (headers.iter())
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

fn stripped(fields: &[(&'static str, &'static str)], keep_upgrade: bool) -> Vec<String> {
    let mut headers: HeaderMap = HeaderMap::new();
    for &(name, value) in fields {
        headers.append(name, HeaderValue::from_static(value));
    }
    strip_hop_by_hop(&mut headers, keep_upgrade);
    lines(&headers)
}

#[test]
fn fields_of_the_connection_go() {
    let fields = [
        ("accept", "*/*"),
        ("connection", "close, X-Own ,, keep-alive"),
        ("connection", "x-two"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("x-own", "1"),
        ("x-own", "2"),
        ("x-two", "1"),
        ("trailer", "x-t"),
    ];
    assert_eq!(stripped(&fields, false), ["accept: */*", "trailer: x-t"]);
    assert_eq!(stripped(&fields, true), ["accept: */*", "trailer: x-t"]);
}

#[test]
fn a_connection_cannot_claim_what_the_next_hop_relies_on() {
    let fields = [
        ("authorization", "secret"),
        (
            "connection",
            "X-Forwarded-For, host, Content-Length, authorization, x-request-id, cookie",
        ),
        ("content-length", "3"),
        ("cookie", "a=b"),
        ("host", "a.example"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-request-id", "7"),
    ];
    let left = stripped(&fields, true);
    assert_eq!(left.len(), fields.len() - 1);
    assert!(
        !left.iter().any(|line| line.starts_with("connection")),
        "{left:?}"
    );
}

#[test]
fn te_keeps_trailers_alone() {
    for value in ["trailers", "gzip, Trailers;q=0.5", "trailers, deflate"] {
        assert_eq!(
            stripped(&[("te", value)], false),
            ["te: trailers"],
            "{value}"
        );
        let named = [("connection", "te"), ("te", value)];
        assert_eq!(stripped(&named, false), ["te: trailers"], "{value}");
    }
    let several = [("te", "gzip"), ("te", "trailers")];
    assert_eq!(stripped(&several, false), ["te: trailers"]);
    let mut headers = map(&[("te", "deflate")]);
    strip_hop_by_hop(&mut headers, false);
    assert!(!headers.contains_key(TE));
}

#[test]
fn an_upgrade_stays_only_when_it_is_named_and_wanted() {
    let websocket = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
    ];
    assert_eq!(
        stripped(&websocket, true),
        ["connection: upgrade", "upgrade: websocket"]
    );
    assert!(stripped(&websocket, false).is_empty());
    assert!(stripped(&[("upgrade", "websocket")], true).is_empty());
    let mut headers = map(&[("connection", "upgrade")]);
    strip_hop_by_hop(&mut headers, true);
    assert!(!headers.contains_key(CONNECTION) && !headers.contains_key(UPGRADE));
}

#[test]
fn odd_connection_lines_do_no_harm() {
    let mut headers = HeaderMap::new();
    headers.append(
        CONNECTION,
        HeaderValue::from_bytes(b"\xff, x y, :path, x-a").unwrap(),
    );
    headers.append("x-a", HeaderValue::from_static("1"));
    headers.append("close", HeaderValue::from_static("1"));
    strip_hop_by_hop(&mut headers, true);
    assert_eq!(lines(&headers), ["close: 1"]);
}

#[test]
fn a_request_id_is_kept_or_made() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut headers = map(&[("x-request-id", "mine")]);
    request_id(&mut headers, &mut rng);
    assert_eq!(lines(&headers), ["x-request-id: mine"]);

    let mut made = || {
        let mut headers = map(&[("x-request-id", "")]);
        request_id(&mut headers, &mut rng);
        headers[X_REQUEST_ID].to_str().unwrap().to_owned()
    };
    let (one, two) = (made(), made());
    assert_ne!(one, two);
    for id in [one, two] {
        let shape: String = (id.chars())
            .map(|char| if char.is_ascii_hexdigit() { 'x' } else { char })
            .collect();
        assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}

#[test]
fn uuids_keep_every_other_bit() {
    assert_eq!(&uuid(0), b"00000000-0000-4000-8000-000000000000");
    assert_eq!(&uuid(u128::MAX), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
    let counted = uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(&counted, b"01234567-89ab-4def-8123-456789abcdef");
}

#[test]
fn the_peer_is_added_to_the_last_line() {
    let mut headers = HeaderMap::new();
    append_forwarded_for(&mut headers, [10, 0, 0, 1].into());
    assert_eq!(lines(&headers), ["x-forwarded-for: 10.0.0.1"]);
    append_forwarded_for(&mut headers, "::ffff:10.0.0.2".parse().unwrap());
    assert_eq!(lines(&headers), ["x-forwarded-for: 10.0.0.1, 10.0.0.2"]);

    let mut headers = HeaderMap::new();
    for value in ["10.0.0.1", "10.0.0.2", ""] {
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
    }
    append_forwarded_for(&mut headers, "2001:db8::1".parse().unwrap());
    append_forwarded_for(&mut headers, [10, 0, 0, 3].into());
    let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    assert_eq!(values, ["10.0.0.1", "10.0.0.2", "2001:db8::1, 10.0.0.3"]);
}

#[test]
fn the_scheme_is_the_connections_whatever_the_client_says() {
    let mut headers = map(&[("x-forwarded-proto", "https")]);
    set_forwarded_proto(&mut headers, false);
    assert_eq!(lines(&headers), ["x-forwarded-proto: http"]);
    set_forwarded_proto(&mut headers, true);
    assert_eq!(lines(&headers), ["x-forwarded-proto: https"]);
}

#[test]
fn edits_remove_then_set_then_add() {
    let pair = |name: &'static str, value: &'static str| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let edits = HeaderEdits {
        remove: vec![
            HeaderName::from_static("x-a"),
            HeaderName::from_static("x-b"),
        ],
        set: vec![pair("x-b", "set"), pair("x-c", "set")],
        add: vec![pair("x-c", "added")],
    };
    let mut headers = map(&[("x-a", "1"), ("x-b", "1"), ("x-c", "1"), ("x-d", "1")]);
    apply_edits(&mut headers, &edits);
    assert_eq!(
        lines(&headers),
        ["x-b: set", "x-c: added", "x-c: set", "x-d: 1"]
    );
}

#[test]
fn the_date_is_made_once_a_second() {
    let mut cache = DateCache::default();
    let at = |seconds: u64, millis: u64| {
        UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis)
    };
    let first = cache.value(at(784_111_777, 0));
    assert_eq!(first, "Sun, 06 Nov 1994 08:49:37 GMT");
    let again = cache.value(at(784_111_777, 999));
    assert_eq!(first.as_bytes().as_ptr(), again.as_bytes().as_ptr());
    assert_eq!(
        cache.value(at(784_111_778, 0)),
        "Sun, 06 Nov 1994 08:49:38 GMT"
    );
    assert_eq!(cache.value(at(0, 0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(cache.value(UNIX_EPOCH - Duration::from_secs(5)), EPOCH);
    assert_eq!(
        cache.value(at(LAST_SECOND + 1, 0)),
        "Fri, 31 Dec 9999 23:59:59 GMT"
    );
}

fn request(version: Version, uri: &str, hosts: &[&str]) -> Parts {
    let mut request = Request::builder().version(version).uri(uri);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_request_ends_up_with_one_host() {
    let cases = [
        (Version::HTTP_11, "/", &["a.example:80"][..], "a.example:80"),
        (
            Version::HTTP_11,
            "http://b.example/x",
            &["a.example"],
            "b.example",
        ),
        (Version::HTTP_11, "http://b.example/x", &[], "b.example"),
        (
            Version::HTTP_2,
            "https://b.example/x",
            &["a.example"],
            "b.example",
        ),
        (Version::HTTP_2, "/", &["a.example"], "a.example"),
        (Version::HTTP_11, "/", &["[::1]:8080"], "[::1]:8080"),
        (Version::HTTP_11, "/", &["under_score"], "under_score"),
        (Version::HTTP_10, "/", &[], ""),
    ];
    for (version, uri, hosts, expected) in cases {
        let mut parts = request(version, uri, hosts);
        normalise_host(&mut parts).unwrap();
        assert_eq!(authority(&parts.uri, &parts.headers), expected);
        let both = parts.uri.authority().is_some() && parts.headers.contains_key(HOST);
        assert!(!both, "{uri}");
    }
}

#[test]
fn a_request_that_could_have_another_host_is_refused() {
    let cases = [
        (Version::HTTP_11, "/", &[][..], BadHost::Missing),
        (Version::HTTP_2, "/", &[], BadHost::Missing),
        (Version::HTTP_11, "/", &["a", "a"], BadHost::Repeated),
        (
            Version::HTTP_11,
            "http://a/",
            &["a", "b"],
            BadHost::Repeated,
        ),
        (Version::HTTP_11, "http://user@a/", &[], BadHost::Malformed),
    ];
    for (version, uri, hosts, expected) in cases {
        assert_eq!(
            normalise_host(&mut request(version, uri, hosts)),
            Err(expected),
            "{uri}"
        );
    }
    let malformed = [
        "", ":80", "a b", "a/b", "a\\b", "a?b", "a#b", "user@a", "a:80:80", "a:x", "a\"", "[::1",
        "[::1]x", "[]", "[::g]", "a]", "\u{e9}",
    ];
    for host in malformed {
        let mut parts = request(Version::HTTP_11, "/", &[]);
        parts
            .headers
            .insert(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        assert_eq!(
            normalise_host(&mut parts),
            Err(BadHost::Malformed),
            "{host}"
        );
    }
}
