//! What an operator sees of each filter: what it costs, what it does, what it tells.

use std::time::Instant;

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::openmetrics::Page;
use crate::support::{Config, Filter, Http, PATIENCE, Proxy, Upstream, built_guest, get, run};

const ADMIN: &str = "admin: { address: \"127.0.0.1:0\" }";

/// `$path` is the second letter of the path.
const LIBRARY: &str = "raw
    (func $path (result i32)
        (drop (!get_header_map_value #0 {\":path\"} @out))
        (i32.load8_u (i32.add (i32.load #16) #1)))
";

fn filter(name: &str, source: &str) -> Filter {
    let wat = guest::module(&format!("{LIBRARY}{source}"), Shape::default());
    Filter::wasm(name, wat::parse_str(wat).expect("WAT")).with("engine: interpreter")
}

async fn page(proxy: &Proxy) -> Page {
    Page::parse(proxy.admin("/metrics").await.text())
}

/// Waits until the page is as it must become.
async fn becomes(proxy: &Proxy, what: &str, as_it_must: impl Fn(&Page) -> bool) -> Page {
    let until = Instant::now() + PATIENCE;
    loop {
        let page = page(proxy).await;
        if as_it_must(&page) {
            return page;
        }
        assert!(Instant::now() < until, "{what}: {:#?}", page.samples);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn what_a_filter_costs_and_does_is_on_the_page() {
    run(async {
        let upstream = Upstream::start();
        // `/d…` it answers itself, `/g…` makes its memory grow by a MiB.
        let source = "on request_headers
                (if (i32.eq (!path) #100) (then
                    (drop (!send_local_response #403 #0 #0 #0 #0 #0 #0 #-1))
                    (return #1)))
                (if (i32.eq (!path) #103) (then (drop (memory.grow #16))))
                (return #0)
            on log";
        let config = Config::new(upstream.address)
            .filter(filter("f", source))
            .with(ADMIN);
        let proxy = Proxy::start(&config).await;
        let vms = "cofferdam_filter_vms{filter=\"f\",engine=\"interpreter\"}";
        let first = becomes(&proxy, "a VM", |page| page.get(vms) == Some(1.0)).await;
        assert_eq!(
            first.get("cofferdam_filter_vms{filter=\"f\",engine=\"aot\"}"),
            Some(0.0)
        );
        let memory = "cofferdam_filter_memory_bytes{filter=\"f\"}";
        let size = first.get(memory).expect("its memory");
        assert!(size >= 65_536.0, "{size}");
        let mut client = proxy.client(Http::One).await;
        for _ in 0..3 {
            assert_eq!(client.send(get("/denied")).await.status, 403);
        }
        assert_eq!(client.send(get("/grows")).await.status, 200);
        for _ in 0..200 {
            assert_eq!(client.send(get("/plain")).await.status, 200);
        }
        let calls = "cofferdam_filter_calls_total{filter=\"f\",callback=\"proxy_on_log\",engine=\"interpreter\"}";
        let page = becomes(&proxy, "all is over", |page| page.get(calls) == Some(204.0)).await;
        let of = |name: &str| page.get(&format!("{name}{{filter=\"f\"}}"));
        assert_eq!(of("cofferdam_filter_local_replies_total"), Some(3.0));
        assert_eq!(page.get(memory), Some(size + 1_048_576.0));
        assert_eq!(of("cofferdam_filter_memory_peak_bytes"), page.get(memory));
        // One call of sixteen is timed and counted as sixteen: of more than 128 some are.
        let timed = page.sum(
            "cofferdam_filter_call_duration_seconds_count",
            &[("filter", "f"), ("callback", "proxy_on_request_headers")],
        );
        assert!(timed > 0.0 && timed % 16.0 == 0.0, "{timed}");
        let start = "{filter=\"f\",callback=\"start\",engine=\"interpreter\"}";
        for family in ["calls", "fuel"] {
            let series = format!("cofferdam_filter_{family}_total{start}");
            assert!(page.get(&series).is_some(), "{series}: {:#?}", page.samples);
        }
        assert_eq!(page.families["cofferdam_filter_calls"], "counter");
        assert_eq!(
            page.families["cofferdam_filter_call_duration_seconds"],
            "histogram"
        );
        let stats = proxy.admin("/stats?filter=%5Efilter%5C.f%5C.local").await;
        assert_eq!(stats.text(), "filter.f.local_replies: 3\n");
    });
}

#[test]
fn calls_of_filters_are_timed_and_told_apart() {
    let Some(module) = built_guest("callouts") else {
        return;
    };
    run(async {
        let (upstream, callee) = (Upstream::start(), Upstream::start());
        let config = Config::new(upstream.address)
            .filter(Filter::file("f", &module))
            .cluster(format!(
                "{{ name: one, endpoints: ['{}'] }}",
                callee.address
            ))
            .cluster("{ name: nowhere, endpoints: [] }")
            .with(ADMIN);
        let proxy = Proxy::start(&config).await;
        for (call, times) in [("http one GET /a", 2), ("http nowhere GET /b", 1)] {
            for _ in 0..times {
                let mut request = get("/asked");
                let headers = request.headers_mut();
                headers.insert("x-call", call.parse().expect("a value"));
                let answer = proxy.client(Http::One).await.send(request).await;
                assert_eq!(answer.status, 200);
            }
        }
        let ended = |result| {
            format!(
                "cofferdam_filter_callouts_total{{filter=\"f\",kind=\"http\",result=\"{result}\"}}"
            )
        };
        let page = becomes(&proxy, "three calls", |page| {
            page.get(&ended("ok")) == Some(2.0) && page.get(&ended("failed")) == Some(1.0)
        })
        .await;
        let count = "cofferdam_filter_callout_duration_seconds_count{filter=\"f\",kind=\"http\"}";
        assert_eq!(page.get(count), Some(3.0));
    });
}

#[test]
fn labels_in_names_of_guests_are_labels_on_the_page() {
    run(async {
        let upstream = Upstream::start();
        let source = "on configure
                (drop (!define_metric #0 {\"rq_from=a_to=x\\22y\\0a\"} #24))
                (drop (!define_metric #0 {\"rq_from=b\"} #32))
                (drop (!define_metric #1 {\"level_from=b\"} #36))
                (drop (!define_metric #0 {\"cofferdam_rq_from=a\"} #40))
                (drop (!increment_metric (i32.load #24) (i64.const 3)))
                (drop (!increment_metric (i32.load #32) (i64.const 5)))
                (drop (!record_metric (i32.load #36) (i64.const -2)))";
        let admin = "admin: { address: \"127.0.0.1:0\", tags: [\
            { name: from, regex: '(_from=([a-z]+))' }, { name: to, regex: '(?s)(_to=(.+))$' }] }";
        let config = Config::new(upstream.address)
            .filter(filter("f", source))
            .with(admin);
        let proxy = Proxy::start(&config).await;
        let second = "rq_total{from=\"b\"}";
        let page = becomes(&proxy, "metrics", |page| page.get(second).is_some()).await;
        for (series, value) in [
            ("rq_total{from=\"a\"}", None),
            (second, Some(5.0)),
            ("level{from=\"b\"}", Some(-2.0)),
            ("wasmcustom_cofferdam_rq_total{from=\"a\"}", Some(0.0)),
        ] {
            assert_eq!(page.get(series), value, "{series}: {:#?}", page.samples);
        }
        assert_eq!(page.sum("rq_total", &[("from", "a")]), 3.0);
        let stats = proxy.admin("/stats?filter=from%3Db").await;
        assert_eq!(
            stats.text(),
            "wasmcustom.level_from=b: -2\nwasmcustom.rq_from=b: 5\n"
        );
    });
}

#[test]
fn no_guest_can_make_a_page_that_nobody_reads() {
    run(async {
        let upstream = Upstream::start();
        let source = "on configure
                (drop (!define_metric #0 {\"m\"} #24))
                (drop (!define_metric #1 {\"m_total\"} #28))
                (drop (!define_metric #2 {\"m\"} #32))
                (drop (!define_metric #1 {\"m_histogram_sum\"} #36))
                (drop (!define_metric #0 {\"m_histogram_bucket\"} #40))
                (drop (!define_metric #1 {\"caf\\c3\\a9\"} #44))
                (drop (!define_metric #1 {\"caf\\c3\\28\"} #48))
                (drop (!define_metric #1 {\"caf\\e9\\28\"} #52))
                (drop (!define_metric #1 {\"last\"} #56))";
        let config = Config::new(upstream.address)
            .filter(filter("f", source))
            .with(ADMIN);
        let proxy = Proxy::start(&config).await;
        // All of them are held against each other there.
        let page = becomes(&proxy, "metrics", |page| page.get("last").is_some()).await;
        for series in [
            "m_total",
            "m_total_gauge",
            "m_histogram_count",
            "m_histogram_sum_gauge",
            "m_histogram_bucket_counter_total",
            "caf__",
            "caf__{name=\"caf\u{e9}\"}",
            "caf__{name=\"caf\\xe9(\"}",
        ] {
            assert!(page.get(series).is_some(), "{series}: {:#?}", page.samples);
        }
    });
}
