//! A trap in each callback under each `on_failure`: the stream it happened in ends as it
//! should, a stream beside it does not notice, and the next request finds the filter back.

use crate::support::{
    Answer, Body, Client, Config, Filter, Guest, Http, Proxy, Upstream, check, get, post, run,
    within,
};

const POLICIES: [&str; 3] = ["closed", "open", "reload"];

/// Traps in `callback` while the request says so.
fn guest(callback: &str) -> Vec<u8> {
    // At the time of the request's headers it is noted whether the stream is the one; other
    // callbacks only look.
    let marked = "(i32.eq (global.get $marked) (local.get $0))";
    let crash = match callback {
        "request_headers" => format!("(if {MARKS} (then unreachable))"),
        _ => format!("(if {marked} (then unreachable))"),
    };
    let mark = format!("(if {MARKS} (then (global.set $marked (local.get $0))))");
    let guest = Guest::new().define("(global $marked (mut i32) (i32.const -1))");
    let guest = if callback == "request_headers" {
        guest
    } else {
        guest.on("request_headers", mark)
    };
    guest.on(callback, crash).build()
}

/// Whether the request carries `x-crash`.
const MARKS: &str = "(i32.eqz (call $get (i32.const 0) «x-crash» (i32.const 0) (i32.const 4)))";

struct Case {
    callback: &'static str,
    path: &'static str,
    /// The status of the stream that crashed; `None` where it is cut.
    status: Option<u16>,
}

/// What a trap in each stream callback comes to: 503 while something can be said.
const CASES: [Case; 10] = [
    Case {
        callback: "request_headers",
        path: "/a",
        status: Some(503),
    },
    Case {
        callback: "request_body",
        path: "/a",
        status: Some(503),
    },
    Case {
        callback: "request_trailers",
        path: "/a",
        status: Some(503),
    },
    Case {
        callback: "response_headers",
        path: "/a",
        status: Some(503),
    },
    Case {
        callback: "response_body",
        path: "/chunked",
        status: None,
    },
    Case {
        callback: "response_body",
        path: "/a",
        status: None,
    },
    Case {
        callback: "response_trailers",
        path: "/trailers",
        status: None,
    },
    Case {
        callback: "log",
        path: "/a",
        status: Some(200),
    },
    Case {
        callback: "done",
        path: "/a",
        status: Some(200),
    },
    Case {
        callback: "delete",
        path: "/a",
        status: Some(200),
    },
];

/// Crashes one stream while another is under way, and looks at both and at the next.
async fn crash(case: &Case, policy: &str, http: Http) {
    let Case {
        callback,
        path,
        status,
    } = *case;
    let about = format!("{callback} under {policy} over {http:?}");
    let upstream = Upstream::start();
    let filter = Filter::wasm("faulty", guest(callback)).with(format!("on_failure: {policy}"));
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;

    let mut beside = proxy.client(http).await;
    let held = tokio::spawn(beside.start(get("/held")));
    proxy
        .logged(&["filter=\"faulty\"", "request_headers 2 "])
        .await;

    let mut client = proxy.client(http).await;
    let mut request = post(path, Body::with_trailer("body", "x-t", "1"));
    request
        .headers_mut()
        .insert("x-crash", "1".parse().expect("a value"));
    request
        .headers_mut()
        .insert("trailer", "x-t".parse().expect("a value"));
    request
        .headers_mut()
        .insert("te", "trailers".parse().expect("a value"));
    let answer = client.try_send(request).await;
    let seen = match (status, answer) {
        (Some(status), Ok(answer)) => {
            assert_eq!(answer.status, status, "{about}: {answer:?}");
            status
        }
        (Some(_), Err(error)) => panic!("{about}: {error}"),
        (None, Ok(answer)) => {
            assert!(answer.cut, "{about}: {answer:?}");
            answer.status
        }
        (None, Err(_)) => 0,
    };
    let logged = proxy.access(&[&format!("\"path\":\"{path}\"")]).await;
    let logged: serde_json::Value = serde_json::from_str(&logged).expect("JSON");
    assert_eq!(logged["status"], seen, "{about}: {logged}");
    if status.is_none() {
        assert_eq!(logged["flags"], "LR,WF", "{about}: {logged}");
    }
    let callback_name = format!("callback=\"proxy_on_{callback}\"");
    proxy
        .logged(&[
            "ERROR",
            "filter=\"faulty\"",
            &callback_name,
            "filter crashed",
        ])
        .await;

    upstream.gate.open();
    let response = within("the stream beside", held)
        .await
        .expect("a task")
        .expect("a response");
    let answer = within("its body", Answer::read(response)).await;
    assert_eq!(
        (answer.status, answer.cut),
        (200, false),
        "{about}: the stream beside"
    );

    if matches!(callback, "done" | "delete") {
        // At its end a stream takes nothing along: the VM stays as it is, once it has shown
        // that it still opens contexts (the fourth).
        let answer = proxy.client(http).await.send(get("/next")).await;
        assert_eq!(answer.status, 200, "{about}: the next request");
        proxy.logged(&["request_headers 5 "]).await;
        assert_eq!(proxy.lines(&["vm_start "]).len(), 1, "{about}");
    } else {
        next_is_served(&proxy, http, &about).await;
    }
    // The stream beside ends in the VM that crashed, like any other.
    proxy
        .logged_times(&["filter=\"faulty\"", "delete 2."], 1)
        .await;
}

#[test]
fn a_trap_at_the_end_of_a_stream_is_for_good_in_envoys_way() {
    run(async {
        for callback in ["done", "delete"] {
            let upstream = Upstream::start();
            let guest = Guest::new().on(callback, "unreachable").build();
            let filter = Filter::wasm("faulty", guest).with("compat: envoy");
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(Http::One).await;
            assert_eq!(
                client.send(get("/a")).await.status,
                200,
                "its own exchange is well"
            );
            proxy.logged(&["filter crashed", callback]).await;
            assert_eq!(client.send(get("/b")).await.status, 503, "{callback}");
        }
    });
}

#[test]
fn a_guest_that_locks_itself_up_at_the_end_of_a_stream_costs_no_request() {
    run(async {
        // As a Rust guest that panics: what was borrowed for the call stays borrowed.
        let upstream = Upstream::start();
        let guest = Guest::new()
            .define("(global $locked (mut i32) (i32.const 0))")
            .on("done", "(global.set $locked (i32.const 1)) unreachable")
            .on(
                "context_create",
                "(if (global.get $locked) (then unreachable))",
            )
            .build();
        let filter = Filter::wasm("faulty", guest);
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        let mut client = proxy.client(Http::One).await;
        for path in ["/a", "/b", "/c"] {
            assert_eq!(client.send(get(path)).await.status, 200, "{path}");
        }
        proxy.logged_times(&["vm_start "], 3).await;
    });
}

async fn next_is_served(proxy: &Proxy, http: Http, about: &str) {
    let mut client: Client = proxy.client(http).await;
    let answer = client.send(get("/next")).await;
    assert_eq!(answer.status, 200, "{about}: the next request: {answer:?}");
    // Through the filter, in a VM of its own.
    let headers = proxy
        .logged_times(&["filter=\"faulty\"", "request_headers 2 "], 2)
        .await;
    assert_eq!(
        headers.len(),
        2,
        "{about}: the next request went through a new VM"
    );
}

async fn crash_everywhere(policy: &str, http: Http) {
    for case in &CASES {
        crash(case, policy, http).await;
    }
}

#[test]
fn a_trap_in_any_stream_callback_ends_its_own_stream_only_when_closed() {
    run(crash_everywhere(POLICIES[0], Http::One));
}

#[test]
fn a_trap_in_any_stream_callback_ends_its_own_stream_only_when_open() {
    run(crash_everywhere(POLICIES[1], Http::One));
}

#[test]
fn a_trap_in_any_stream_callback_ends_its_own_stream_only_when_reload() {
    run(crash_everywhere(POLICIES[2], Http::One));
}

#[test]
fn a_trap_in_any_stream_callback_ends_its_own_stream_only_over_http2() {
    run(crash_everywhere(POLICIES[0], Http::Two));
}

#[test]
fn a_trap_before_the_filter_runs_is_a_configuration_error_whatever_the_policy() {
    for policy in POLICIES {
        for callback in ["context_create", "vm_start", "configure"] {
            let guest = Guest::new().on(callback, "unreachable").build();
            let filter = Filter::wasm("faulty", guest).with(format!("on_failure: {policy}"));
            let config = Config::new(Upstream::nowhere()).filter(filter);
            for command in ["check", "run"] {
                let (status, said) = check(&config, command);
                let about = format!("{command} with a trap in {callback} under {policy}: {said}");
                assert_eq!(status, Some(64), "{about}");
                let line = said
                    .lines()
                    .find(|line| line.contains("filters[0].module"))
                    .expect(&about);
                assert!(line.contains("proxy.yaml:9:13:"), "{about}");
                assert!(
                    line.contains("filter faulty")
                        && line.contains(&format!("proxy_on_{callback}")),
                    "{about}"
                );
            }
        }
    }
}

#[test]
fn a_trap_in_the_creation_of_a_stream_is_answered_503_whatever_the_policy() {
    run(async {
        for (policy, http) in POLICIES.into_iter().zip([Http::One, Http::Two, Http::One]) {
            // The third context of a VM: its root, one that is well, and then this one.
            let crash = "(if (i32.eq (local.get $0) (i32.const 3)) (then unreachable))";
            let guest = Guest::new().on("context_create", crash).build();
            let filter = Filter::wasm("faulty", guest).with(format!("on_failure: {policy}"));
            let upstream = Upstream::start();
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut beside = proxy.client(http).await;
            let held = tokio::spawn(beside.start(get("/held")));
            proxy.logged(&["request_headers 2 "]).await;
            let mut client = proxy.client(http).await;
            assert_eq!(client.send(get("/a")).await.status, 503, "{policy}");
            proxy
                .logged(&[
                    "ERROR",
                    "faulty",
                    "proxy_on_context_create",
                    "filter crashed",
                ])
                .await;
            proxy.access(&["\"/a\"", "503", "WF"]).await;
            upstream.gate.open();
            let response = within("the stream beside", held)
                .await
                .expect("a task")
                .expect("a response");
            assert_eq!(response.status(), 200, "{policy}");
            next_is_served(&proxy, http, policy).await;
        }
    });
}

#[test]
fn a_trap_in_a_tick_costs_no_stream_anything() {
    run(async {
        for policy in POLICIES {
            // The first tick of the first VM; the tick starts once a stream is under way.
            let guest = Guest::new()
                .on(
                    "request_headers",
                    format!("(if {MARKS} (then (drop (call $tick_period (i32.const 5)))))"),
                )
                .on("tick", "unreachable")
                .build();
            let filter = Filter::wasm("faulty", guest).with(format!("on_failure: {policy}"));
            let upstream = Upstream::start();
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(Http::One).await;
            let mut request = get("/held");
            request
                .headers_mut()
                .insert("x-crash", "1".parse().expect("a value"));
            let held = tokio::spawn(client.start(request));
            proxy
                .logged(&[
                    "ERROR",
                    "filter=\"faulty\"",
                    "proxy_on_tick",
                    "filter crashed",
                ])
                .await;
            upstream.gate.open();
            let response = within("the stream beside", held)
                .await
                .expect("a task")
                .expect("a response");
            assert_eq!(response.status(), 200, "{policy}");
            next_is_served(&proxy, Http::One, policy).await;
        }
    });
}
