//! Which route a request finds, and what of it is rewritten or redirected: tables of routes, made
//! by hand and asked.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::config::{Address, AttemptCount, HeaderEdits, ServerHeader};

fn route(matcher: Match, action: Action) -> Route {
    Route {
        matcher,
        filters: Vec::new(),
        action,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        timeout: None,
        idle_timeout: None,
        max_stream_duration: None,
        upgrades: true,
        retry: None,
        hash_policy: Vec::new(),
        attempt_count: AttemptCount::default(),
    }
}

fn table(matchers: Vec<Match>) -> RouteTable {
    RouteTable::new(&Listener {
        tcp: None,
        name: "web".to_owned(),
        address: Address::Tcp(([127, 0, 0, 1], 0).into()),
        place: String::new(),
        proxy_protocol: None,
        tls: None,
        forward_client_cert: Default::default(),
        client_cert_details: Default::default(),
        filters: Vec::new(),
        routes: (matchers.into_iter())
            .map(|matcher| route(matcher, forward(None)))
            .collect(),
        max_header_bytes: 64 << 10,
        idle_timeout: Duration::from_secs(60),
        header_timeout: Duration::from_secs(10),
        send_timeout: Duration::from_secs(300),
        request_timeout: None,
        max_concurrent_streams: 100,
        server_header: ServerHeader::Overwrite,
        access_log_filters: Vec::new(),
        trust_envoy_headers: false,
    })
}

fn forward(prefix_rewrite: Option<&str>) -> Action {
    Action::Forward {
        clusters: vec![(0, 1)],
        prefix_rewrite: prefix_rewrite.map(str::to_owned),
        host_rewrite: None,
    }
}

fn host(host: &str) -> Match {
    let host = match host.strip_prefix('*') {
        Some(suffix) => HostMatch::Suffix(suffix.to_owned()),
        None => HostMatch::Exact(host.to_owned()),
    };
    Match {
        host: Some(host),
        ..Match::default()
    }
}

fn path(path: PathMatch) -> Match {
    Match {
        path: Some(path),
        ..Match::default()
    }
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(text.to_owned())
}

fn exact(text: &str) -> PathMatch {
    PathMatch::Exact(text.to_owned())
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

fn get(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
    table.find(host, path, &Method::GET, &HeaderMap::new())
}

#[test]
fn hosts_match_without_port_case_or_final_dot() {
    let table = table(vec![
        host("a.example"),
        host("[::1]"),
        host("*.example.com"),
    ]);
    for name in [
        "a.example",
        "A.Example",
        "a.example:8080",
        "a.example.",
        "a.example.:80",
    ] {
        assert_eq!(get(&table, name, "/"), Some(0), "{name}");
    }
    assert_eq!(get(&table, "[::1]:443", "/"), Some(1));
    assert_eq!(get(&table, "[::1]", "/"), Some(1));
    for name in ["x.example.com", "x.y.EXAMPLE.com:1"] {
        assert_eq!(get(&table, name, "/"), Some(2), "{name}");
    }
    for name in [
        "",
        "example.com",
        ".example.com",
        "xexample.com",
        "b.example",
        "[::1",
        "a.example.evil",
    ] {
        assert_eq!(get(&table, name, "/"), None, "{name}");
    }
}

#[test]
fn the_first_match_wins_whatever_kind_of_host_it_has() {
    let with = |name: &str, wanted: &str| Match {
        path: Some(prefix(wanted)),
        ..host(name)
    };
    let table = table(vec![
        with("a.example.com", "/one"),
        with("*.example.com", "/one"),
        with("a.example.com", "/"),
        with("*.example.com", "/two"),
        path(prefix("/")),
        with("b.example.com", "/"),
    ]);
    assert_eq!(get(&table, "a.example.com", "/one"), Some(0));
    assert_eq!(get(&table, "b.example.com", "/one"), Some(1));
    assert_eq!(get(&table, "a.example.com", "/two"), Some(2));
    assert_eq!(get(&table, "b.example.com", "/two"), Some(3));
    assert_eq!(get(&table, "b.example.com", "/"), Some(4));
    assert_eq!(get(&table, "", "/"), Some(4));
}

#[test]
fn many_hosts_are_each_found() {
    let names: Vec<String> = (0..300).map(|n| format!("h{n}.Example")).collect();
    let table = table(
        names
            .iter()
            .map(|name| host(&name.to_lowercase()))
            .collect(),
    );
    for (index, name) in names.iter().enumerate() {
        assert_eq!(get(&table, name, "/"), Some(index));
    }
}

#[test]
fn prefixes_end_at_segment_borders() {
    let table = table(vec![path(prefix("/api")), path(prefix("/dir/"))]);
    for wanted in ["/api", "/api/", "/api/x", "/api?x=/y"] {
        assert_eq!(get(&table, "h", wanted), Some(0), "{wanted}");
    }
    assert_eq!(get(&table, "h", "/dir/x"), Some(1));
    for other in ["/apix", "/", "/ap", "/API", "/dir", "*"] {
        assert_eq!(get(&table, "h", other), None, "{other}");
    }
}

#[test]
fn exact_paths_ignore_only_the_query() {
    let table = table(vec![path(exact("/health"))]);
    assert_eq!(get(&table, "h", "/health?full"), Some(0));
    assert_eq!(get(&table, "h", "/health/"), None);
}

#[test]
fn regular_expressions_match_the_whole_path() {
    let table = table(vec![
        path(PathMatch::Regex(regex("/a|/ab"))),
        path(PathMatch::Regex(regex(r"/user/\d+"))),
        path(PathMatch::Regex(regex("(?x) /v # with a comment"))),
    ]);
    assert_eq!(get(&table, "h", "/ab"), Some(0));
    assert_eq!(get(&table, "h", "/abc"), None);
    assert_eq!(get(&table, "h", "/user/42?x"), Some(1));
    assert_eq!(get(&table, "h", "/user/42/x"), None);
    assert_eq!(get(&table, "h", "/x/user/42"), None);
    assert_eq!(get(&table, "h", "/user/42\n"), None);
    // A pattern that cannot be anchored still has to span the path.
    assert_eq!(get(&table, "h", "/v"), Some(2));
    assert_eq!(get(&table, "h", "/vv"), None);
}

#[test]
fn methods_and_headers_must_all_hold() {
    let header = |name: &'static str, value| HeaderMatch {
        name: HeaderName::from_static(name),
        value,
    };
    let one = Match {
        methods: vec![Method::GET, Method::HEAD],
        headers: vec![
            header("x-a", ValueMatch::Exact("1".to_owned())),
            header("x-b", ValueMatch::Prefix("v".to_owned())),
            header("x-c", ValueMatch::Regex(regex("a|ab"))),
            header("x-d", ValueMatch::Present(true)),
            header("x-e", ValueMatch::Present(false)),
            header("host", ValueMatch::Prefix("a.".to_owned())),
        ],
        ..Match::default()
    };
    let table = table(vec![one]);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-a", "0"),
        ("x-a", "1"),
        ("x-b", "v2"),
        ("x-c", "ab"),
        ("x-d", ""),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let find = |method: &Method, headers: &HeaderMap| table.find("a.example", "/", method, headers);
    assert_eq!(find(&Method::GET, &headers), Some(0));
    assert_eq!(find(&Method::HEAD, &headers), Some(0));
    assert_eq!(find(&Method::POST, &headers), None);
    assert_eq!(table.find("b.example", "/", &Method::GET, &headers), None);
    for (name, value) in [("x-a", "2"), ("x-b", "w"), ("x-c", "abc"), ("x-e", "")] {
        let mut headers = headers.clone();
        headers.insert(name, HeaderValue::from_static(value));
        assert_eq!(find(&Method::GET, &headers), None, "{name}");
    }
    headers.remove("x-d");
    assert_eq!(find(&Method::GET, &headers), None);
}

#[test]
fn clusters_are_picked_by_weight() {
    assert_eq!(pick_cluster(&[(7, 1)], u64::MAX), 7);
    assert_eq!(pick_cluster(&[(7, 0), (8, 5)], 0), 8);
    assert_eq!(pick_cluster(&[(7, 5), (8, 0)], u64::MAX), 7);
    assert_eq!(pick_cluster(&[(7, 0)], 3), 7);
    let clusters = [(1, 10), (2, 30), (3, 60)];
    let mut counts = [0; 4];
    for step in 0..1000 {
        counts[pick_cluster(&clusters, u64::MAX / 1000 * step)] += 1;
    }
    for (count, expected) in counts.into_iter().zip([0_i32, 100, 300, 600]) {
        assert!((count - expected).abs() <= 1, "{counts:?}");
    }
    let most = [(0, 1_000_000); 256];
    assert_eq!(pick_cluster(&most, u64::MAX), 0);
}

#[test]
fn rewriting_joins_with_one_slash_and_keeps_the_query() {
    let cases = [
        (Some(prefix("/api")), "/", "/api", "/"),
        (Some(prefix("/api")), "/", "/api/", "/"),
        (Some(prefix("/api")), "/", "/api/x?q=/y", "/x?q=/y"),
        (
            Some(prefix("/api")),
            "/",
            "/api//evil.example",
            "/evil.example",
        ),
        (Some(prefix("/api")), "/v1", "/api/x", "/v1/x"),
        (Some(prefix("/api")), "/v1/", "/api/x", "/v1/x"),
        (Some(prefix("/api")), "/v1", "/api", "/v1"),
        (Some(prefix("/api")), "/v1", "/api?q", "/v1?q"),
        (Some(prefix("/api")), "", "/api", "/"),
        (Some(prefix("/api")), "v1", "/api/x", "/v1/x"),
        (Some(prefix("/api/")), "/v1", "/api/x", "/v1/x"),
        (Some(prefix("/api/")), "/v1/", "/api/x", "/v1/x"),
        (Some(prefix("/")), "/v1", "/x", "/v1/x"),
        (Some(prefix("/")), "/v1", "/", "/v1"),
        (None, "/v1", "/x", "/v1/x"),
        (Some(exact("/old")), "/new", "/old?q", "/new?q"),
        (
            Some(PathMatch::Regex(regex("/o.*"))),
            "/new",
            "/old/x",
            "/new",
        ),
    ];
    for (wanted, rewrite, from, to) in cases {
        let matcher = Match {
            path: wanted,
            ..Match::default()
        };
        let route = route(matcher, forward(Some(rewrite)));
        assert_eq!(
            rewrite_path(&route, from).as_deref(),
            Some(to),
            "{from} by {rewrite}"
        );
    }
    assert_eq!(
        rewrite_path(&route(Match::default(), forward(None)), "/x"),
        None
    );
}

#[test]
fn redirects_keep_what_they_do_not_replace() {
    let redirect =
        |scheme: Option<&str>, host: Option<&str>, path: Option<&str>| Action::Redirect {
            status: StatusCode::MOVED_PERMANENTLY,
            scheme: scheme.map(str::to_owned),
            host: host.map(str::to_owned),
            path: path.map(str::to_owned),
        };
    let from = |scheme, authority, path_and_query| Target {
        scheme,
        authority,
        path_and_query,
    };
    let cases = [
        (
            redirect(Some("https"), None, None),
            from("http", "a.example", "/x?q"),
            "https://a.example/x?q",
        ),
        (
            redirect(Some("https"), None, None),
            from("http", "a.example:80", "/"),
            "https://a.example/",
        ),
        (
            redirect(Some("https"), None, None),
            from("http", "[::1]:80", "/"),
            "https://[::1]/",
        ),
        (
            redirect(Some("https"), None, None),
            from("http", "a.example:8080", "/"),
            "https://a.example:8080/",
        ),
        (
            redirect(Some("http"), None, None),
            from("https", "a.example:443", "/"),
            "http://a.example/",
        ),
        (
            redirect(None, Some("b.example:81"), None),
            from("http", "a.example:80", "/x"),
            "http://b.example:81/x",
        ),
        (
            redirect(None, None, Some("/new")),
            from("http", "a.example:80", "/x?q"),
            "http://a.example:80/new?q",
        ),
        (
            redirect(None, None, Some("/new?own")),
            from("http", "a", "/x?q"),
            "http://a/new?own",
        ),
        (
            redirect(None, None, Some("new")),
            from("http", "a", "/x"),
            "http://a/new",
        ),
        (
            redirect(None, None, None),
            from("http", "", "//evil.example/x?q"),
            "/evil.example/x?q",
        ),
        (
            redirect(None, None, None),
            from("http", "", "/\\evil.example"),
            "/evil.example",
        ),
    ];
    for (action, target, location) in cases {
        assert_eq!(
            redirect_location(&action, &target).as_deref(),
            Some(location)
        );
    }
    assert_eq!(
        redirect_location(&forward(None), &from("http", "a", "/")),
        None
    );
}
