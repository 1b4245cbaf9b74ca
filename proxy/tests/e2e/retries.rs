//! Requests that are sent again: when, how often, with what body, and what is said of it.

use std::net::SocketAddr;

use crate::support::{Proxy, Setup, Upstream, guest, h2};

/// One route with these keys, to a cluster with these keys; the log says
/// `STATUS FLAGS DETAILS ATTEMPTS UPSTREAM`.
fn proxy(route: &str, cluster: &str, endpoints: &[SocketAddr]) -> Proxy {
    Proxy::start(&yaml(route, cluster, endpoints))
}

fn yaml(route: &str, cluster: &str, endpoints: &[SocketAddr]) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|it| format!("'{it}'")).collect();
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c, {route} }}] }}]\n\
         clusters: [{{ name: c, endpoints: [{}], {cluster} }}]\n\
         workers: 1\n\
         access_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_HOST%' }}\n",
        endpoints.join(", ")
    )
}

/// Answers its first requests with these statuses and every later one with 200 and its body;
/// nothing is left of a connection after a bad answer.
fn ailing(statuses: &'static [u16]) -> Upstream {
    let said = std::sync::atomic::AtomicUsize::new(0);
    Upstream::new(move |conn| {
        while let Some(request) = conn.request() {
            let number = said.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            match statuses.get(number) {
                Some(status) => {
                    conn.send(format!(
                        "HTTP/1.1 {status} Bad\r\ncontent-length: 3\r\n\r\nbad"
                    ));
                }
                None => {
                    conn.respond(&request.body);
                }
            }
        }
    })
}

const SOON: &str = "retry_back_off: { base_interval: 1ms }";

#[test]
fn a_bad_answer_is_not_the_last_word() {
    let upstream = ailing(&[503, 500]);
    let policy = format!("retry_policy: {{ retry_on: 5xx, num_retries: 2, {SOON} }}");
    let proxy = proxy(&policy, "", &[upstream.address]);
    assert_eq!(proxy.get("/x").status(), 200);
    assert_eq!(upstream.requests().len(), 3);
    proxy
        .stdout
        .wait_for(&format!("200 - via_upstream 3 {}", upstream.address));
}

#[test]
fn the_last_bad_answer_stands_and_the_log_says_why() {
    let upstream = ailing(&[503, 502, 500]);
    let policy = format!("retry_policy: {{ retry_on: 5xx, num_retries: 2, {SOON} }}");
    let proxy = proxy(&policy, "", &[upstream.address]);
    let answer = proxy.get("/x");
    assert_eq!((answer.status(), &answer.text()[..]), (500, "bad"));
    proxy.stdout.wait_for("500 URX via_upstream 3");
    // One more begins with all its retries.
    assert_eq!(proxy.get("/y").status(), 200);
    proxy.stdout.wait_for("200 - via_upstream 1");
}

#[test]
fn only_what_is_asked_for_is_tried_again() {
    for (condition, status, again) in [
        ("gateway-error", 502, true),
        ("gateway-error", 500, false),
        ("retriable-4xx", 409, true),
        ("retriable-4xx", 404, false),
        ("connect-failure", 503, false),
        ("reset", 503, false),
        ("5xx", 500, true),
        ("5xx", 404, false),
    ] {
        let upstream = match status {
            500 => ailing(&[500]),
            502 => ailing(&[502]),
            503 => ailing(&[503]),
            404 => ailing(&[404]),
            _ => ailing(&[409]),
        };
        let policy = format!("retry_policy: {{ retry_on: {condition}, {SOON} }}");
        let proxy = proxy(&policy, "", &[upstream.address]);
        let expected = if again { 200 } else { status };
        assert_eq!(proxy.get("/").status(), expected, "{condition} {status}");
        let attempts = if again { 2 } else { 1 };
        assert_eq!(upstream.requests().len(), attempts, "{condition} {status}");
    }
}

#[test]
fn statuses_headers_and_grpc_statuses_may_be_listed() {
    let again = |policy: &str, head: &'static str| {
        let upstream = Upstream::new(move |conn| {
            while let Some(request) = conn.request() {
                if request.field("x-envoy-attempt-count") == Some("1") {
                    conn.send(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n"));
                } else {
                    conn.respond("good");
                }
            }
        });
        let policy =
            format!("retry_policy: {{ {policy}, {SOON} }}, include_request_attempt_count: true");
        let proxy = proxy(&policy, "", &[upstream.address]);
        proxy.get("/").text() == "good"
    };
    let listed = "retry_on: retriable-status-codes, retriable_status_codes: [418, 429]";
    assert!(again(listed, "429 Busy"));
    assert!(!again(listed, "404 None"));
    let headers = "retry_on: retriable-headers, retriable_headers: [X-Again]";
    assert!(again(headers, "200 OK\r\nx-again: 1"));
    assert!(!again(headers, "200 OK\r\nx-other: 1"));
    let grpc = "retry_on: [unavailable, cancelled]";
    assert!(again(grpc, "200 OK\r\ngrpc-status: 14"));
    assert!(!again(grpc, "200 OK\r\ngrpc-status: 13"));
    // Who is asked too often is not asked again at once, unless that is wanted.
    assert!(!again(
        "retry_on: 5xx",
        "503 Busy\r\nx-envoy-ratelimited: true"
    ));
    assert!(again(
        "retry_on: envoy-ratelimited",
        "503 Busy\r\nx-envoy-ratelimited: true"
    ));
}

#[test]
fn an_endpoint_that_refuses_is_left_for_the_next() {
    let live = Upstream::named("live");
    let policy = format!("retry_policy: {{ retry_on: connect-failure, {SOON} }}");
    let nobody = Upstream::nobody();
    let proxy = proxy(&policy, "", &[nobody, live.address]);
    for _ in 0..6 {
        assert_eq!(proxy.get("/").text(), "live");
    }
    // What is said of a request after a retry is said of its last attempt.
    proxy
        .stdout
        .wait_for(&format!("200 - via_upstream 2 {}", live.address));
}

#[test]
fn nobody_anywhere_is_told_after_all_retries() {
    let policy = format!("retry_policy: {{ retry_on: connect-failure, num_retries: 3, {SOON} }}");
    let proxy = proxy(&policy, "", &[Upstream::nobody()]);
    assert_eq!(proxy.get("/").status(), 503);
    proxy
        .stdout
        .wait_for("503 UF,URX upstream_connection_failure 4");
}

#[test]
fn a_connection_that_is_reset_is_tried_again_if_that_is_asked_for() {
    for (condition, status) in [("reset", 200), ("connect-failure", 503)] {
        let upstream = Upstream::new(|conn| {
            while conn.request().is_some() {
                if conn.index == 0 {
                    conn.reset();
                    return;
                }
                conn.respond("good");
            }
        });
        let policy = format!("retry_policy: {{ retry_on: {condition}, {SOON} }}");
        let proxy = proxy(&policy, "", &[upstream.address]);
        assert_eq!(proxy.get("/").status(), status, "{condition}");
    }
}

#[test]
fn a_response_that_breaks_off_is_not_begun_anew() {
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    let policy = format!("retry_policy: {{ retry_on: '5xx,reset', num_retries: 3, {SOON} }}");
    let proxy = proxy(&policy, "", &[upstream.address]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    let (rest, _) = client.rest();
    assert_eq!(rest, b"half");
    proxy.stdout.wait_for("200 UC");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_body_is_sent_again_whole() {
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let upstream = ailing(&[503]);
        let policy = format!("retry_policy: {{ retry_on: 5xx, {SOON} }}");
        let proxy = proxy(&policy, "", &[upstream.address]);
        let body = if framing.contains("chunked") {
            "5\r\nfirst\r\n5\r\nagain\r\n0\r\n\r\n"
        } else {
            "firstagain"
        };
        let answer = proxy.client().request(&format!(
            "POST / HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n{body}"
        ));
        assert_eq!(answer.text(), "firstagain", "{framing}");
        let bodies: Vec<_> = upstream.requests().into_iter().map(|it| it.body).collect();
        assert_eq!(bodies, [b"firstagain", b"firstagain"], "{framing}");
    }
}

#[test]
fn a_body_past_the_bound_is_sent_once() {
    let upstream = ailing(&[503]);
    let policy = format!("retry_policy: {{ retry_on: 5xx, buffer_limit: 1KiB, {SOON} }}");
    let proxy = proxy(&policy, "", &[upstream.address]);
    let post = |length: usize| {
        let body = "x".repeat(length);
        proxy.client().request(&format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    };
    assert_eq!(post(1025).status(), 503);
    proxy.stdout.wait_for("503 - via_upstream 1");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn small_pieces_count_for_what_they_take() {
    let policy = format!("retry_policy: {{ retry_on: 5xx, buffer_limit: 1KiB, {SOON} }}");
    for (pieces, attempts) in [(8, 2), (9, 1)] {
        let upstream = ailing(&[503]);
        let proxy = proxy(&policy, "", &[upstream.address]);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send("1\r\nx\r\n".repeat(pieces) + "0\r\n\r\n");
        let answer = client.response();
        assert_eq!(
            upstream.requests().len(),
            attempts,
            "{pieces} pieces: {answer:?}"
        );
    }
}

#[test]
fn a_body_that_is_still_coming_goes_on_in_the_next_attempt() {
    // The first attempt is answered before all of the request is here.
    let upstream = Upstream::new(|conn| {
        if conn.index == 0 {
            conn.head();
            let _ = conn.bytes(5);
            conn.send("HTTP/1.1 503 Early\r\ncontent-length: 0\r\n\r\n");
            conn.rest();
        } else if let Some(request) = conn.request() {
            conn.respond(&request.body);
        }
    });
    let policy = format!("retry_policy: {{ retry_on: 5xx, {SOON} }}");
    let proxy = proxy(&policy, "", &[upstream.address]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nfirst");
    // The second attempt has the same beginning.
    upstream.wait_for_ended(1);
    client.send("again");
    assert_eq!(client.response().text(), "firstagain");
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    let upstream = Upstream::new(|conn| {
        while conn.request().is_some() {
            if conn.index == 0 {
                conn.rest();
                return;
            }
            conn.respond("good");
        }
    });
    let policy = format!(
        "retry_policy: {{ retry_on: 5xx, num_retries: 20, per_try_timeout: 300ms, {SOON} }}"
    );
    let proxy = proxy(&policy, "", &[upstream.address]);
    assert_eq!(proxy.get("/").text(), "good");
    upstream.wait_for_ended(1);
    assert!(upstream.connections() > 1);
}

#[test]
fn attempts_that_all_take_too_long_are_504_ut() {
    let silent = Upstream::new(|conn| {
        conn.request();
        conn.rest();
    });
    let policy = format!("retry_policy: {{ retry_on: reset, per_try_timeout: 100ms, {SOON} }}");
    let proxy = proxy(&policy, "", &[silent.address]);
    assert_eq!(proxy.get("/").status(), 504);
    proxy
        .stdout
        .wait_for("504 UT,URX upstream_per_try_timeout 2");
    silent.wait_for_ended(2);
}

#[test]
fn the_routes_timeout_is_over_all_attempts() {
    let upstream = ailing(&[503; 64]);
    let policy = "timeout: 500ms, retry_policy: { retry_on: 5xx, num_retries: 1000, \
                  retry_back_off: { base_interval: 100ms, max_interval: 100ms } }";
    let proxy = proxy(policy, "", &[upstream.address]);
    assert_eq!(proxy.get("/").status(), 504);
    proxy.stdout.wait_for("504 UT response_timeout");
    assert!(upstream.requests().len() < 64);
}

#[test]
fn filters_see_one_request_and_its_last_response() {
    let upstream = ailing(&[503]);
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let policy = format!("filters: [f], retry_policy: {{ retry_on: 5xx, {SOON} }}");
    let text = yaml(&policy, "", &[upstream.address])
        + "filters: [{ name: f, module: { file: guest.wasm } }]\n";
    let proxy = setup.start(&text);
    let answer = proxy
        .client()
        .request("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody");
    assert_eq!((answer.status(), &answer.text()[..]), (200, "body"));
    let bodies: Vec<_> = upstream.requests().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [b"body", b"body"]);
    proxy.stdout.wait_for("200 - via_upstream 2");
}

#[test]
fn attempts_are_counted_for_whoever_is_to_know() {
    let upstream = ailing(&[500]);
    let policy = format!(
        "retry_policy: {{ retry_on: 5xx, {SOON} }}, include_request_attempt_count: true, \
         include_attempt_count_in_response: true"
    );
    let proxy = proxy(&policy, "", &[upstream.address]);
    assert_eq!(proxy.get("/").field("x-envoy-attempt-count"), Some("2"));
    let told: Vec<_> = upstream
        .requests()
        .iter()
        .map(|it| it.field("x-envoy-attempt-count").map(str::to_owned))
        .collect();
    assert_eq!(told, [Some("1".to_owned()), Some("2".to_owned())]);
}

#[test]
fn retries_under_way_have_a_bound() {
    // The retry of the first request hangs, so that of the second has no room.
    let upstream = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            if request.line.contains("/held") && request.field("x-envoy-attempt-count") == Some("2")
            {
                conn.rest();
                return;
            }
            conn.send("HTTP/1.1 503 Bad\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let policy =
        format!("retry_policy: {{ retry_on: 5xx, {SOON} }}, include_request_attempt_count: true");
    for breakers in [
        "max_retries: 1",
        "retry_budget: { budget_percent: 0, min_retry_concurrency: 1 }",
    ] {
        let cluster = format!("circuit_breakers: {{ {breakers} }}");
        let proxy = proxy(&policy, &cluster, &[upstream.address]);
        let before = upstream.requests().len();
        let mut held = proxy.client();
        held.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
        upstream.wait_for_requests(before + 2);
        assert_eq!(proxy.get("/").status(), 503);
        proxy.stdout.wait_for("503 UO via_upstream 1");
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_is_tried_again() {
    // It takes one stream at a time and refuses the others.
    let upstream = refusing().await;
    let policy = "retry_policy: { retry_on: refused-stream, num_retries: 2, \
                  retry_back_off: { base_interval: 1ms } }";
    let proxy = proxy(policy, "protocol: http2", &[upstream]);
    let client = h2::connect(proxy.web()).await;
    let (head, whole) = h2::fetch(&client, h2::get("/")).await;
    assert_eq!(
        (head.status.as_u16(), &whole.body[..]),
        (200, &b"taken"[..])
    );
    proxy.stdout.wait_for("200 - via_upstream 2");
}

/// An HTTP/2 server that refuses its first stream.
async fn refusing() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = ::h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                if std::mem::take(&mut first) {
                    respond.send_reset(::h2::Reason::REFUSED_STREAM);
                    continue;
                }
                let mut body = respond
                    .send_response(http::Response::new(()), false)
                    .unwrap();
                body.send_data("taken".into(), true).unwrap();
            }
        }
    });
    address
}

#[test]
fn half_of_the_servers_being_slow_is_seen_by_no_client() {
    let slow = Upstream::new(|conn| {
        conn.request();
        conn.rest();
    });
    let live = Upstream::named("live");
    let policy = format!(
        "retry_policy: {{ retry_on: reset, per_try_timeout: 500ms, num_retries: 20, {SOON} }}"
    );
    let proxy = proxy(&policy, "", &[slow.address, live.address]);
    for _ in 0..6 {
        assert_eq!(proxy.get("/").text(), "live");
    }
}
