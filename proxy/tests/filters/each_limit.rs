//! Every limit of a filter, on both engines: past it there is a line in the log and a counter
//! on the operator's page, each of which names filter, limit and callback.

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::{Body, Config, Filter, Http, Proxy, Upstream, get, post, run};

/// Who comes up against its limit, and what is seen of that.
struct Case {
    /// The filter's name; its limit's, unless there are two of that.
    name: &'static str,
    limit: &'static str,
    /// Of the configuration.
    limits: &'static str,
    /// What its guest does.
    source: &'static str,
    callback: &'static str,
    status: u16,
}

const HEADERS: &str = "proxy_on_request_headers";

/// Ends the call, and so the stream.
const fn crash(limit: &'static str, limits: &'static str, source: &'static str) -> Case {
    Case {
        name: limit,
        limit,
        limits,
        source,
        callback: HEADERS,
        status: 503,
    }
}

/// The guest is told, or what is too much is left out.
const fn refusal(limit: &'static str, limits: &'static str, source: &'static str) -> Case {
    Case {
        status: 200,
        ..crash(limit, limits, source)
    }
}

const CASES: [Case; 13] = [
    crash(
        "callback",
        "callback: 20ms",
        "on request_headers\n (loop $again (br $again))",
    ),
    crash(
        "stream_cpu",
        "stream_cpu: 20ms, callback: 1h",
        "on request_headers\n (loop $again (br $again))",
    ),
    crash(
        "fuel",
        "fuel: 10000",
        "on request_headers\n (loop $again (br $again))",
    ),
    crash(
        "memory",
        "memory: 1MiB",
        "on request_headers\n (loop $more (drop (memory.grow #1)) (br $more))",
    ),
    crash(
        "table",
        "table: 5",
        "raw\n (table 1 funcref)
        on request_headers\n (drop (table.grow 0 (ref.null func) #10))",
    ),
    crash(
        "stack",
        "stack: 16KiB",
        "raw
        (func $down (param i32) (call $deeper (i32.add (local.get 0) #1)) (drop (!done)))
        (func $deeper (param i32) (call $down (local.get 0)) (drop (!done)))
        on request_headers\n (!down #0)",
    ),
    Case {
        name: "request",
        limit: "body",
        limits: "body: 64KiB",
        source: "on request_body\n (return #1)",
        callback: "proxy_on_request_body",
        status: 413,
    },
    Case {
        name: "response",
        limit: "body",
        limits: "body: 64KiB",
        // Held with its headers, so that there still is an answer.
        source: "on response_headers\n (return #3)",
        callback: "proxy_on_response_body",
        status: 500,
    },
    refusal(
        "callouts",
        "callouts: 1",
        "on request_headers
        (drop (!http_call {\"up\"} {pairs \":method\" \"GET\" \":path\" \"/a\" \":authority\" \"a\"} #0 #0 #0 #0 #9000 #16))
        (drop (!http_call {\"up\"} {pairs \":method\" \"GET\" \":path\" \"/b\" \":authority\" \"a\"} #0 #0 #0 #0 #9000 #16))",
    ),
    refusal(
        "log",
        "log: 50B/s",
        "on request_headers
        (!text {\"a record that is longer than what there may be of them in one second\"})
        (!text {\"one more\"})",
    ),
    refusal(
        "metrics",
        "metrics: 1",
        "on request_headers
        (drop (!define_metric #0 {\"one\"} #16))
        (drop (!define_metric #0 {\"two\"} #16))",
    ),
    refusal(
        "shared_entries",
        "shared_entries: 1",
        "on request_headers
        (drop (!set_shared_data {\"one\"} {\"1\"} #0))
        (drop (!set_shared_data {\"two\"} {\"2\"} #0))",
    ),
    // Fewer than there may be, but of more bytes than a VM has.
    Case {
        name: "callout_bytes",
        limit: "callouts",
        limits: "memory: 192KiB",
        source: "on request_headers
        (drop (!http_call {\"up\"} {pairs \":method\" \"POST\" \":path\" \"/a\" \":authority\" \"a\"} #0 #120000 #0 #0 #9000 #16))
        (drop (!http_call {\"up\"} {pairs \":method\" \"POST\" \":path\" \"/b\" \":authority\" \"a\"} #0 #120000 #0 #0 #9000 #16))",
        callback: HEADERS,
        status: 200,
    },
];

fn filter(case: &Case, engine: &str) -> Filter {
    let wat = guest::module(case.source, Shape::default());
    Filter::wasm(case.name, wat::parse_str(wat).expect("WAT"))
        .with(format!("vm_id: {}", case.name))
        .with(format!("engine: {engine}"))
        .with(format!("limits: {{ {} }}", case.limits))
}

async fn each_limit(engine: &str) {
    let upstream = Upstream::start();
    // A path for each; one of them says what it wants of the upstream.
    let path = |case: &Case| match case.name {
        "response" => "/large?200000".to_owned(),
        name => format!("/{name}"),
    };
    let route = |case: &Case| {
        let path = path(case);
        let path = path.split('?').next().expect("a path");
        let name = case.name;
        format!("{{ match: {{ path: {path} }}, cluster: up, filters: [{name}] }}")
    };
    let routes: Vec<String> = CASES.iter().map(route).collect();
    let mut routes: Vec<&str> = routes.iter().map(|route| &route[..]).collect();
    routes.push("{ match: { prefix: / }, cluster: up }");
    let config = Config::new(upstream.address).chain("").routes(&routes);
    let config = CASES
        .iter()
        .fold(config, |config, case| config.filter(filter(case, engine)))
        .with("admin: { address: \"127.0.0.1:0\" }\nartifacts: { directory: artifacts }");
    let proxy = Proxy::start(&config).await;
    for case in &CASES {
        let Case {
            name,
            limit,
            callback,
            ..
        } = case;
        let body = match *limit {
            "body" if *name == "request" => Body::whole(vec![b'x'; 200_000]),
            _ => Body::whole(Vec::new()),
        };
        let mut client = proxy.client(Http::One).await;
        let answer = client.send(post(&path(case), body)).await;
        assert_eq!(answer.status, case.status, "{engine} {name}: {answer:?}");
        // Nobody else has lost anything.
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/next")).await.status, 200, "{name}");

        let level = if case.status == 503 { "ERROR" } else { "WARN" };
        let words = [
            level,
            &format!("filter=\"{name}\""),
            &format!("limit=\"{limit}\""),
            &format!("callback=\"{callback}\""),
        ];
        let lines = proxy.logged_times(&words, 1).await;
        assert_eq!(lines.len(), 1, "{engine} {name}: {lines:#?}");
        proxy
            .measured(&format!(
                "cofferdam_filter_limit_hits_total{{filter=\"{name}\",limit=\"{limit}\",callback=\"{callback}\"}} 1"
            ))
            .await;
        let ran =
            format!("cofferdam_filter_vm_starts_total{{filter=\"{name}\",engine=\"{engine}\"}} ");
        let page = proxy.admin("/metrics").await;
        assert!(page.text().contains(&ran), "{engine} {name}");
    }
}

#[test]
fn past_each_limit_of_an_interpreted_filter_there_is_a_line_and_a_count() {
    run(each_limit("interpreter"));
}

#[test]
fn past_each_limit_of_native_code_there_is_a_line_and_a_count() {
    run(each_limit("aot"));
}
