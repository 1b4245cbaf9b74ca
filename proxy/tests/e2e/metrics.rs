//! What an operator sees of traffic, on the page as a strict reader reads it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::support::openmetrics::Page;
use crate::support::{Client, LONGEST, Proxy, Setup, Upstream, client};

/// Two listeners and the operator's page.
fn start(address: SocketAddr, log: &str) -> (Proxy, SocketAddr) {
    let yaml = format!(
        "listeners:\n\
         - name: web\n\
         \x20 address: 127.0.0.1:0\n\
         \x20 routes:\n\
         \x20 - {{ match: {{ path: /ok }}, respond: {{ body: '0123456789' }} }}\n\
         \x20 - {{ match: {{ path: /moved }}, redirect: {{ path: /ok }} }}\n\
         \x20 - {{ match: {{ path: /down }}, cluster: down }}\n\
         \x20 - {{ match: {{ path: /held }}, cluster: up }}\n\
         - name: raw\n\
         \x20 address: 127.0.0.1:0\n\
         \x20 tcp: {{ cluster: up }}\n\
         clusters: [{{ name: up, endpoints: ['{address}'] }}, {{ name: down, endpoints: [] }}]\n\
         workers: 2\n\
         access_log: {log}\n\
         admin: {{ address: '127.0.0.1:0' }}\n"
    );
    let proxy = Setup::new().with(&["--log", "info"]).start(&yaml);
    let line = proxy.log.wait_for("listening: admin ");
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    (proxy, address)
}

fn read(admin: SocketAddr) -> Page {
    let page = client::get(admin, "/metrics");
    assert_eq!(page.status(), 200);
    Page::parse(&page.text())
}

/// Waits until these series have these values: what is over is counted a little later than
/// it is heard of.
fn becomes(admin: SocketAddr, wanted: &[(&str, f64)]) -> Page {
    let until = Instant::now() + LONGEST;
    loop {
        let page = read(admin);
        let is = |(series, value): &(&str, f64)| page.get(series) == Some(*value);
        if wanted.iter().all(is) {
            return page;
        }
        assert!(Instant::now() < until, "{wanted:?}: {:#?}", page.samples);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn requests_are_told_by_listener_route_and_class() {
    let up = Upstream::echo();
    let (proxy, admin) = start(up.address, "stdout");
    for (path, status, times) in [
        ("/ok", 200, 3),
        ("/moved", 301, 2),
        ("/down", 503, 1),
        ("/nothing", 404, 4),
        ("/held", 200, 1),
    ] {
        for _ in 0..times {
            assert_eq!(proxy.get(path).status(), status, "{path}");
        }
    }
    let mut broken = proxy.client();
    broken.send("nonsense\r\n\r\n");
    broken.rest();
    let route = |route: &str, class: &str| {
        format!(
            "cofferdam_downstream_requests_total{{listener=\"web\",route=\"{route}\",class=\"{class}\"}}"
        )
    };
    let flag = |flag: &str| {
        format!("cofferdam_downstream_response_flags_total{{listener=\"web\",flag=\"{flag}\"}}")
    };
    let page = becomes(
        admin,
        &[
            (&route("web/routes[0]", "2xx"), 3.0),
            (&route("web/routes[1]", "3xx"), 2.0),
            (&route("web/routes[2]", "5xx"), 1.0),
            (&route("none", "4xx"), 4.0),
            (&flag("NR"), 4.0),
            (&flag("UH"), 1.0),
            (&flag("DPE"), 1.0),
            (
                "cofferdam_downstream_protocol_errors_total{listener=\"web\"}",
                1.0,
            ),
            (
                "cofferdam_downstream_connections_total{listener=\"web\"}",
                12.0,
            ),
            (
                "cofferdam_downstream_connections_active{listener=\"web\"}",
                0.0,
            ),
            (
                "cofferdam_downstream_requests_active{listener=\"web\"}",
                0.0,
            ),
            (
                "cofferdam_downstream_sent_bytes_total{listener=\"web\"}",
                50.0,
            ),
            (
                "cofferdam_downstream_request_duration_seconds_count{listener=\"web\",route=\"web/routes[0]\"}",
                3.0,
            ),
            (
                "cofferdam_cluster_endpoints{cluster=\"up\",state=\"total\"}",
                1.0,
            ),
            (
                "cofferdam_cluster_endpoints{cluster=\"down\",state=\"healthy\"}",
                0.0,
            ),
            ("cofferdam_cluster_requests_total{cluster=\"up\"}", 1.0),
            ("cofferdam_cluster_connections_total{cluster=\"up\"}", 1.0),
            (
                "cofferdam_cluster_requests_successful_total{cluster=\"up\"}",
                1.0,
            ),
            (
                "cofferdam_cluster_events_total{cluster=\"up\",event=\"upstream_rq_retry\"}",
                0.0,
            ),
            ("cofferdam_access_log_dropped_lines_total", 0.0),
            ("cofferdam_ready", 1.0),
        ],
    );
    assert_eq!(page.sum("cofferdam_downstream_requests_total", &[]), 11.0);
    assert!(page.get("cofferdam_process_resident_memory_bytes") > Some(1e6));
    assert!(page.get("cofferdam_process_open_fds") > Some(3.0));
}

#[test]
fn what_is_there_now_goes_up_and_down() {
    let up = Upstream::echo();
    let (proxy, admin) = start(up.address, "stdout");
    let mut idle = proxy.client();
    assert_eq!(idle.get("/ok").status(), 200);
    let mut held = proxy.client();
    held.send("POST /held HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nab");
    let mut raw = Client::connect(proxy.address("raw"));
    let request = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    assert_eq!(raw.request(request).status(), 200);
    let now = |listener: &str, what: &str| {
        format!("cofferdam_downstream_{what}{{listener=\"{listener}\"}}")
    };
    becomes(
        admin,
        &[
            (&now("web", "connections_active"), 2.0),
            (&now("web", "requests_active"), 1.0),
            (&now("raw", "connections_active"), 1.0),
        ],
    );
    drop((idle, held, raw));
    becomes(
        admin,
        &[
            (&now("web", "connections_active"), 0.0),
            (&now("web", "requests_active"), 0.0),
            (&now("raw", "connections_active"), 0.0),
            (&now("raw", "received_bytes_total"), request.len() as f64),
        ],
    );
    assert!(read(admin).get(&now("raw", "sent_bytes_total")) > Some(20.0));
}

#[test]
fn a_full_disk_costs_lines_of_the_log_and_no_request() {
    let up = Upstream::echo();
    let (proxy, admin) = start(up.address, "{ file: /dev/full }");
    for _ in 0..20 {
        assert_eq!(proxy.get("/ok").status(), 200);
    }
    becomes(admin, &[("cofferdam_access_log_dropped_lines_total", 20.0)]);
    proxy
        .log
        .wait_for("the access log cannot be written; lines are lost");
    assert_eq!(proxy.get("/ok").status(), 200);
}

#[test]
fn stats_are_the_same_by_other_names() {
    let up = Upstream::echo();
    let (proxy, admin) = start(up.address, "stdout");
    for _ in 0..3 {
        assert_eq!(proxy.get("/ok").status(), 200);
    }
    becomes(
        admin,
        &[(
            "cofferdam_downstream_requests_total{listener=\"web\",route=\"web/routes[0]\",class=\"2xx\"}",
            3.0,
        )],
    );
    let stats = |query: &str| client::get(admin, &format!("/stats{query}"));
    let all = stats("").text();
    for line in [
        "http.web.web/routes[0].downstream_rq_2xx: 3",
        "listener.web.downstream_cx_total: 3",
        "listener.raw.downstream_cx_total: 0",
        "server.live: 1",
    ] {
        assert!(all.lines().any(|other| other == line), "{line} in\n{all}");
    }
    assert!(all.lines().is_sorted());
    let some = stats("?filter=downstream_cx_total%24").text();
    assert_eq!(
        some,
        "listener.raw.downstream_cx_total: 0\nlistener.web.downstream_cx_total: 3\n"
    );
    let json = stats("?filter=web.downstream_cx_total&format=json");
    assert_eq!(json.field("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(&json.text()).unwrap();
    let wanted = serde_json::json!({
        "stats": [{ "name": "listener.web.downstream_cx_total", "value": 3 }]
    });
    assert_eq!(json, wanted);
    let time = stats("?filter=rq_time").text();
    assert!(time.contains("count(3)"), "{time}");
    for query in ["?filter=(", "?format=prometheus", "?filter=(a{1000}){1000}"] {
        assert_eq!(stats(query).status(), 400, "{query}");
    }
}
