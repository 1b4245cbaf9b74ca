//! What filters share across VMs and threads, and where an operator sees it.

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::{Config, Filter, Http, PATIENCE, Proxy, Upstream, get, run, within};

const ADMIN: &str = "admin: { address: \"127.0.0.1:0\" }";

/// `$count` adds one to the number under a key, by CAS until nobody was faster, and answers
/// it; it is at address 28 then. `$answer` answers the request with that number's bytes.
/// `$path` is the second letter of the path.
const LIBRARY: &str = "raw
    (func $count (param $k i32) (param $kl i32) (result i32) (local $n i32)
        (loop $again
            (i32.store #24 #-1)
            (local.set $n #0)
            (if (i32.eqz (!get_shared_data (local.get $k) (local.get $kl) @out #24))
                (then (local.set $n (i32.load (i32.load #16)))))
            (i32.store #28 (i32.add (local.get $n) #1))
            (br_if $again (i32.eq #8
                (!set_shared_data (local.get $k) (local.get $kl) #28 #4 (i32.load #24)))))
        (i32.load #28))
    (func $answer (drop (!send_local_response #200 #0 #0 #28 #4 #0 #0 #-1)))
    (func $path (result i32)
        (drop (!get_header_map_value #0 {\":path\"} @out))
        (i32.load8_u (i32.add (i32.load #16) #1)))
";

fn wasm(source: &str) -> Vec<u8> {
    let wat = guest::module(&format!("{LIBRARY}{source}"), Shape::default());
    wat::parse_str(wat).expect("WAT")
}

fn filter(name: &str, source: &str) -> Filter {
    Filter::wasm(name, wasm(source))
}

/// One request on a connection of its own; the number it is answered with.
async fn ask(proxy: &Proxy, path: &str) -> u32 {
    let answer = proxy.client(Http::One).await.send(get(path)).await;
    assert_eq!(answer.status, 200);
    u32::from_le_bytes(answer.body.try_into().expect("four bytes"))
}

#[test]
fn workers_count_together_and_lose_nothing() {
    run(async {
        let upstream = Upstream::start();
        let counter = filter(
            "f",
            "on configure
                (drop (!count {\"vms\"}))
            on request_headers
                (if (i32.eq (!path) #118) (then (drop (!count {\"vms\"})))
                    (else (drop (!count {\"requests\"})) (global.set $g (i32.add (global.get $g) #1))))
                (if (i32.eq (!path) #111) (then (i32.store #28 (global.get $g))))
                (!answer)",
        );
        let config = Config::new(upstream.address).filter(counter).workers(2);
        let proxy = Proxy::start(&config).await;
        let (mut all, mut most_of_one) = (0, 0);
        for round in 0..20 {
            all = ask(&proxy, "/all").await;
            assert_eq!(all, round * 2 + 1);
            most_of_one = ask(&proxy, "/own").await.max(most_of_one);
        }
        assert_eq!(all, 39);
        assert!(most_of_one < 40, "both workers have served");
        // Two VMs and this question; the trial start of the module shares nothing.
        assert_eq!(ask(&proxy, "/vms").await, 3);
    });
}

#[test]
fn shared_data_outlives_a_crash_of_its_only_vm() {
    run(async {
        let upstream = Upstream::start();
        let counter = filter(
            "f",
            "on request_headers
                (drop (!count {\"requests\"}))
                (if (i32.eq (!path) #99) (then unreachable))
                (!answer)",
        );
        let proxy = Proxy::start(&Config::new(upstream.address).filter(counter)).await;
        assert_eq!(ask(&proxy, "/a").await, 1);
        let crash = proxy.client(Http::One).await.send(get("/crash")).await;
        assert_eq!(crash.status, 503);
        assert_eq!(ask(&proxy, "/a").await, 3);
    });
}

#[test]
fn every_item_of_a_queue_is_told_once_across_vms_and_workers() {
    run(async {
        let upstream = Upstream::start();
        let consumer = filter(
            "consumer",
            "on configure
                (drop (!register_shared_queue {\"jobs\"} #24))
            on queue_ready
                (if (!dequeue_shared_queue (local.get $b) @out) (then unreachable))
                (!text {\"job done\"})",
        )
        .with("vm_id: consumer");
        let producer = filter(
            "producer",
            "on request_headers
                (if (!resolve_shared_queue {\"consumer\"} {\"jobs\"} #24) (then unreachable))
                (if (!enqueue_shared_queue (i32.load #24) {\"job\"}) (then unreachable))
                (!answer)",
        )
        .with("vm_id: producer");
        let config = Config::new(upstream.address)
            .filter(consumer)
            .filter(producer)
            .with(ADMIN)
            .workers(2);
        let proxy = Proxy::start(&config).await;
        for _ in 0..30 {
            ask(&proxy, "/").await;
        }
        proxy.logged_times(&["job done"], 30).await;
        proxy
            .measured("cofferdam_shared_queue_items{vm_id=\"consumer\"} 0")
            .await;
        assert_eq!(proxy.lines(&["job done"]).len(), 30);
        assert!(proxy.lines(&["crashed"]).is_empty());
    });
}

#[test]
fn news_of_a_queue_lets_a_paused_request_go() {
    run(async {
        let upstream = Upstream::start();
        let waiting = filter(
            "f",
            "on configure
                (drop (!register_shared_queue {\"q\"} #24))
            on request_headers
                (if (i32.eq (!path) #103) (then
                    (drop (!enqueue_shared_queue (i32.load #24) {\"go\"})) (!answer) (return #0)))
                (global.set $g (local.get $a))
                (return #1)
            on queue_ready
                (drop (!set_effective_context (global.get $g)))
                (drop (!continue_stream #0))",
        );
        let proxy = Proxy::start(&Config::new(upstream.address).filter(waiting)).await;
        let mut paused = proxy.client(Http::One).await;
        let paused = paused.send(get("/wait"));
        tokio::pin!(paused);
        tokio::select! {
            answer = &mut paused => panic!("nobody let it go: {answer:?}"),
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
        }
        ask(&proxy, "/go").await;
        assert_eq!(within("the paused request", paused).await.status, 200);
    });
}

#[test]
fn a_guest_that_keeps_itself_busy_lets_others_be_served() {
    run(async {
        let upstream = Upstream::start();
        let busy = filter(
            "f",
            "on configure
                (drop (!register_shared_queue {\"q\"} #24))
                (drop (!enqueue_shared_queue (i32.load #24) {\"i\"}))
            on queue_ready
                (drop (!dequeue_shared_queue (local.get $b) @out))
                (global.set $heap #65536)
                (drop (!enqueue_shared_queue (local.get $b) {\"i\"}))",
        );
        let proxy = Proxy::start(&Config::new(upstream.address).filter(busy)).await;
        for _ in 0..20 {
            let answer = proxy.client(Http::One).await.send(get("/a")).await;
            assert_eq!(answer.status, 200);
        }
    });
}

#[test]
fn evictions_are_told_and_counted() {
    run(async {
        let upstream = Upstream::start();
        let writer = filter(
            "f",
            "on request_headers
                (drop (!count {\"a\"})) (drop (!count {\"b\"})) (drop (!count {\"c\"})) (drop (!count {\"d\"}))
                (!answer)",
        )
        .with("vm_id: v");
        let config = Config::new(upstream.address)
            .filter(writer)
            .with("shared_data: { entries: 2 }")
            .with(ADMIN);
        let proxy = Proxy::start(&config).await;
        ask(&proxy, "/").await;
        let line = proxy.logged(&["shared data outgrew its bounds"]).await;
        assert!(
            line.contains("vm_id=\"v\"") && line.contains("entries=2"),
            "{line}"
        );
        let page = proxy
            .measured("cofferdam_shared_data_evictions_total{vm_id=\"v\"} 2")
            .await;
        assert!(
            page.contains("\ncofferdam_shared_data_entries{vm_id=\"v\"} 2\n"),
            "{page}"
        );
        ask(&proxy, "/").await;
        proxy
            .measured("cofferdam_shared_data_evictions_total{vm_id=\"v\"} 6")
            .await;
        let told = proxy.lines(&["shared data outgrew its bounds"]);
        assert_eq!(told.len(), 1, "once a minute: {told:?}");
    });
}

#[test]
fn without_eviction_what_has_no_room_is_refused() {
    run(async {
        let upstream = Upstream::start();
        let writer = filter(
            "f",
            "on request_headers
                (drop (!set_shared_data {\"a\"} {\"1\"} #0))
                (i32.store #28 (!set_shared_data {\"b\"} {\"1\"} #0))
                (!answer)",
        );
        let config = Config::new(upstream.address)
            .filter(writer)
            .with("shared_data: { entries: 1, eviction: none }");
        let proxy = Proxy::start(&config).await;
        assert_eq!(ask(&proxy, "/").await, 10);
        assert!(proxy.lines(&["shared data outgrew"]).is_empty());
    });
}

#[test]
fn metrics_of_all_vms_are_on_one_page() {
    run(async {
        let upstream = Upstream::start();
        let source = "on configure
                (drop (!define_metric #0 {\"my.requests\"} #24))
                (drop (!define_metric #1 {\"level\"} #32))
                (drop (!define_metric #2 {\"size\"} #36))
                (drop (!increment_metric (i32.load #24) (i64.const 100)))
            on request_headers
                (drop (!increment_metric (i32.load #24) (i64.const 1)))
                (drop (!record_metric (i32.load #32) (i64.const -5)))
                (drop (!record_metric (i32.load #36) (i64.const 7)))
                (return #0)
            on log
                (drop (!increment_metric (i32.load #24) (i64.const 1)))";
        let config = Config::new(upstream.address)
            .filter(filter("one", source).with("vm_id: one"))
            .filter(filter("two", source).with("vm_id: two"))
            .with(ADMIN)
            .workers(2);
        let proxy = Proxy::start(&config).await;
        for _ in 0..10 {
            let answer = proxy.client(Http::One).await.send(get("/a")).await;
            assert_eq!(answer.status, 200);
        }
        // Four VMs (a trial start does not count), and two filters at both ends of a request.
        let page = proxy.measured("my_requests_total 440").await;
        for line in [
            "# TYPE my_requests counter",
            "# TYPE level gauge",
            "level -5",
            "size_bucket{le=\"5.0\"} 0",
            "size_bucket{le=\"10.0\"} 20",
            "size_sum 140",
            "size_count 20",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
        assert!(page.ends_with("# EOF\n"), "{page}");
        let answer = proxy.admin("/metrics").await;
        assert_eq!(
            answer.headers.get("content-type").expect("a type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
    });
}

#[test]
fn refusals_are_on_the_page() {
    run(async {
        let upstream = Upstream::start();
        let bound = filter(
            "bound",
            "on request_headers\n (drop (!set_shared_data {\"k\"} {\"v\"} #0))",
        )
        .with("capabilities: { hostcalls: [proxy_log] }");
        let config = Config::new(upstream.address).filter(bound).with(ADMIN);
        let proxy = Proxy::start(&config).await;
        for _ in 0..3 {
            proxy.client(Http::One).await.send(get("/a")).await;
        }
        proxy
            .measured("cofferdam_filter_refusals_total{filter=\"bound\"} 3")
            .await;
    });
}

#[test]
fn an_operator_is_told_what_there_is() {
    run(async {
        let upstream = Upstream::start();
        let proxy = Proxy::start(&Config::new(upstream.address).with(ADMIN)).await;
        let ready = proxy.admin("/ready").await;
        assert_eq!((ready.status, ready.text()), (200, "ready\n"));
        assert_eq!(proxy.admin("/ready?x=1").await.status, 200);
        for path in ["/metrics/", "/nothing"] {
            assert_eq!(proxy.admin(path).await.status, 404, "{path}");
        }
        let mut web = proxy.client(Http::One).await;
        assert_eq!(web.send(get("/metrics")).await.status, 200);
        assert_eq!(
            upstream.only("/metrics").method,
            "GET",
            "traffic is not told"
        );
    });
}

#[test]
fn a_proxy_that_drains_is_not_ready() {
    run(async {
        let upstream = Upstream::start();
        let mut proxy = Proxy::start(&Config::new(upstream.address).with(ADMIN)).await;
        let mut client = proxy.client(Http::One).await;
        let stuck = client.send(get("/held"));
        tokio::pin!(stuck);
        tokio::select! {
            answer = &mut stuck => panic!("{answer:?}"),
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
        }
        assert_eq!(proxy.admin("/ready").await.status, 200);
        proxy.terminate();
        proxy.logged(&["draining"]).await;
        // The log says it a little before it is so.
        let until = std::time::Instant::now() + PATIENCE;
        let mut answer = proxy.admin("/ready").await;
        while answer.status != 503 {
            assert!(std::time::Instant::now() < until, "it is still ready");
            answer = proxy.admin("/ready").await;
        }
        assert_eq!(answer.text(), "draining\n");
        upstream.gate.open();
        assert_eq!(within("the request", stuck).await.status, 200);
        assert!(
            proxy.ended().await.success(),
            "nothing of the operator's keeps it"
        );
    });
}
