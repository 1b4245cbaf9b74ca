//! Header maps as filters see them, and what comes back of their changes: maps edited and
//! committed, without a guest.

use http::HeaderValue;

use super::*;

type Pairs = Vec<(Bytes, Bytes)>;

fn pairs(list: &[(&str, &str)]) -> Pairs {
    (list.iter())
        .map(|(name, value)| {
            (
                Bytes::copy_from_slice(name.as_bytes()),
                Bytes::copy_from_slice(value.as_bytes()),
            )
        })
        .collect()
}

fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for &(name, value) in list {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

const GET: [(&str, &str); 4] = [
    (":authority", "a.example"),
    (":path", "/x?q"),
    (":method", "GET"),
    (":scheme", "http"),
];

fn request(more: &[(&str, &str)]) -> Result<RequestHead, BadHeaders> {
    request_from_pairs(&pairs(&[&GET[..], more].concat()), Invalid::Drop)
}

#[test]
fn a_request_begins_with_its_pseudo_headers_and_hides_host() {
    let headers = headers(&[
        ("host", "a.example"),
        ("x-b", "2"),
        ("accept", "*/*"),
        ("x-b", ""),
    ]);
    let shown = request_map(&Method::GET, "http", "a.example", "/x?q", &headers);
    let expected = [&GET[..], &[("x-b", "2"), ("x-b", ""), ("accept", "*/*")]].concat();
    assert_eq!(shown.entries(), pairs(&expected));

    let back = request_from_pairs(shown.entries(), Invalid::Refuse).unwrap();
    assert_eq!(back.method, Method::GET);
    assert_eq!(back.path, "/x?q");
    assert_eq!(back.authority.unwrap(), "a.example");
    assert_eq!(back.scheme.unwrap().as_str(), "http");
    let values: Vec<_> = back.headers.get_all("x-b").iter().collect();
    assert_eq!(values, ["2", ""]);
    assert_eq!(back.headers.len(), 3);
    assert!(back.dropped.is_empty());
}

#[test]
fn what_is_not_there_is_not_shown() {
    let shown = request_map(&Method::OPTIONS, "https", "", "*", &HeaderMap::new());
    let expected = pairs(&[(":path", "*"), (":method", "OPTIONS"), (":scheme", "https")]);
    assert_eq!(shown.entries(), expected);
    let back = request_from_pairs(shown.entries(), Invalid::Refuse).unwrap();
    assert_eq!(back.path, "*");
    assert!(back.authority.is_none());
    assert!(trailers_map(&HeaderMap::new()).is_empty());
}

#[test]
fn values_are_slices_of_one_buffer_and_shared_on_the_way_back() {
    let shown = response_map(StatusCode::OK, &headers(&[("x-a", "one"), ("x-b", "two")]));
    assert_eq!(
        shown.entries(),
        pairs(&[(":status", "200"), ("x-a", "one"), ("x-b", "two")])
    );
    let start = shown.entries()[0].1.as_ptr() as usize;
    assert_eq!(
        shown.entries()[2].1.as_ptr() as usize - start,
        "200x-aonex-b".len()
    );
    let back = response_from_pairs(shown.entries(), Invalid::Refuse).unwrap();
    assert_eq!(back.status, StatusCode::OK);
    assert_eq!(
        back.headers["x-b"].as_bytes().as_ptr(),
        shown.entries()[2].1.as_ptr()
    );
}

#[test]
fn bytes_beyond_ascii_pass() {
    let mut map = HeaderMap::new();
    map.insert("x-a", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let shown = trailers_map(&map);
    let (back, dropped) = trailers_from_pairs(shown.entries(), Invalid::Refuse).unwrap();
    assert_eq!((back, dropped), (map, Vec::new()));
}

#[test]
fn a_guests_rewrites_take_effect() {
    let rewritten = pairs(&[
        (":method", "PURGE"),
        ("x-a", "  spaced\t"),
        (":path", "/y"),
        (":scheme", "https"),
        (":authority", "b.example:8443"),
    ]);
    let back = request_from_pairs(&rewritten, Invalid::Drop).unwrap();
    assert_eq!(back.method.as_str(), "PURGE");
    assert_eq!(back.path, "/y");
    assert_eq!(back.authority.unwrap(), "b.example:8443");
    assert_eq!(back.headers["x-a"], "spaced");
}

#[test]
fn host_stands_in_for_a_missing_authority() {
    let with_host = pairs(&[(":method", "GET"), (":path", "/"), ("host", "b.example")]);
    let back = request_from_pairs(&with_host, Invalid::Refuse).unwrap();
    assert_eq!(back.authority.unwrap(), "b.example");
    assert!(back.headers.is_empty());

    let back = request(&[("host", "b.example")]).unwrap();
    assert_eq!(back.authority.unwrap(), "a.example");
    assert_eq!(back.dropped[0].name, "host");
    assert!(
        request(&[("host", "a.example")])
            .unwrap()
            .dropped
            .is_empty()
    );
    let back = request(&[("host", "a.example"), ("host", "b.example")]).unwrap();
    assert_eq!(back.dropped.len(), 1);
}

#[test]
fn what_cannot_be_sent_is_left_out_and_reported_or_refused() {
    let bad = [
        ("", "x"),
        ("a b", "x"),
        ("x\r\nevil", "x"),
        ("x:y", "x"),
        ("\u{e9}", "x"),
        (":protocol", "websocket"),
        (":status", "200"),
        ("x-a", "1\r\nevil: 2"),
        ("x-a", "1\n2"),
        ("x-a", "nul\0"),
        ("x-a", "del\u{7f}"),
        ("content-length", "x"),
        ("content-length", ""),
        ("content-length", "+2"),
        ("content-length", "2, 2"),
        ("content-length", "18446744073709551616"),
    ];
    for (name, value) in bad {
        let back = request(&[(name, value), ("x-good", "1")]).unwrap();
        assert_eq!(back.dropped.len(), 1, "{name}: {value}");
        assert_eq!(back.dropped[0].name, name);
        assert_eq!(back.headers.len(), 1);
        let list = pairs(&[&GET[..], &[(name, value)]].concat());
        let refused = request_from_pairs(&list, Invalid::Refuse).unwrap_err();
        assert!(matches!(refused, BadHeaders::Field(_)), "{refused}");
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }
}

#[test]
fn framing_has_one_meaning() {
    let back = request(&[("content-length", "2"), ("content-length", "2")]).unwrap();
    assert_eq!(back.headers.get_all("content-length").iter().count(), 1);
    assert!(back.dropped.is_empty());
    let back = request(&[("content-length", "2"), ("content-length", "3")]).unwrap();
    assert!(back.headers.is_empty());
    assert_eq!(back.dropped.len(), 1);
    let back = request(&[("content-length", "2"), ("transfer-encoding", "chunked")]).unwrap();
    assert_eq!(back.headers.len(), 1);
    assert!(back.headers.contains_key("content-length"));
}

#[test]
fn a_bad_pseudo_header_ends_the_request() {
    for name in [":method", ":path"] {
        let list: Vec<_> = GET
            .into_iter()
            .filter(|&(known, _)| known != name)
            .collect();
        let error = request_from_pairs(&pairs(&list), Invalid::Drop).unwrap_err();
        assert!(
            matches!(error, BadHeaders::Missing(missing) if missing == name),
            "{error}"
        );
    }
    for (name, value) in GET {
        let error = request(&[(name, value)]).unwrap_err();
        assert!(
            matches!(error, BadHeaders::Repeated(again) if again == name),
            "{error}"
        );
    }
    let bad = [
        (":authority", "a b"),
        (":authority", "user@a"),
        (":authority", ""),
        (":method", ""),
        (":method", "GET /x"),
        (":path", ""),
        (":path", "x"),
        (":path", "http://a/"),
        (":path", "/a b"),
        (":path", "/a\r\nevil: 1"),
        (":scheme", "ftp"),
        (":scheme", "HTTP"),
    ];
    for (name, value) in bad {
        let mut list = GET.to_vec();
        list.retain(|&(known, _)| known != name);
        list.push((name, value));
        let error = request_from_pairs(&pairs(&list), Invalid::Drop).unwrap_err();
        assert!(
            matches!(error, BadHeaders::Malformed(wrong) if wrong == name),
            "{value}: {error}"
        );
    }
}

#[test]
fn a_bad_status_ends_the_response() {
    for status in ["", "abc", "99", "100", "199", "600", "2000", " 200", "+20"] {
        let error = response_from_pairs(&pairs(&[(":status", status)]), Invalid::Drop).unwrap_err();
        assert_eq!(error, BadHeaders::Malformed(STATUS), "{status}");
    }
    let error = response_from_pairs(&pairs(&[("x-a", "1")]), Invalid::Drop).unwrap_err();
    assert_eq!(error, BadHeaders::Missing(STATUS));
    for status in ["101", "200", "204", "503", "599"] {
        response_from_pairs(&pairs(&[(":status", status)]), Invalid::Refuse).unwrap();
    }
}

#[test]
fn trailers_do_not_frame_or_route() {
    let list = pairs(&[
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("host", "a"),
        (":path", "/"),
    ]);
    let (trailers, dropped) = trailers_from_pairs(&list, Invalid::Drop).unwrap();
    assert_eq!(trailers, headers(&[("grpc-status", "0")]));
    assert_eq!(dropped.len(), 4);
}

#[test]
fn a_guest_cannot_fill_a_header_map_to_the_brim() {
    let many = |count: usize| -> Pairs {
        (0..count)
            .map(|n| (Bytes::from(format!("x-{n}")), Bytes::new()))
            .collect()
    };
    let error = trailers_from_pairs(&many(40_000), Invalid::Drop).unwrap_err();
    assert_eq!(error, BadHeaders::TooMany(40_000));
    let (trailers, _) = trailers_from_pairs(&many(10_000), Invalid::Drop).unwrap();
    assert_eq!(trailers.len(), 10_000);
}
