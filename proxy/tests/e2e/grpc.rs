//! What is answered here to a client of gRPC: in its own form, with a filter and without.

use std::net::SocketAddr;

use http::Request;

use crate::support::admin::Watched;
use crate::support::{Message, Setup, Upstream, guest, h2};

/// A request's path, what Envoy answers, and what the access log says of that.
const ANSWERS: [(&str, &[&str], &str); 5] = [
    (
        "/refused",
        &[
            "grpc-status: 14",
            "grpc-message: upstream connection failed",
        ],
        "/refused 200 Unavailable UF upstream_connection_failure",
    ),
    (
        "/slow",
        &["grpc-status: 14", "grpc-message: upstream request timeout"],
        "/slow 200 Unavailable UT response_timeout",
    ),
    (
        // The operator's own words go as they are.
        "/denied",
        &["grpc-status: 7", "grpc-message: no 100%25%0A"],
        "/denied 200 PermissionDenied - direct_response",
    ),
    (
        "/moved",
        &["grpc-status: 2", "location: http://test/new"],
        "/moved 200 Unknown - direct_response",
    ),
    (
        "/nowhere",
        &["grpc-status: 12"],
        "/nowhere 200 Unimplemented NR route_not_found",
    ),
];

/// A proxy, and the same with a filter that changes nothing.
fn both(silent: SocketAddr) -> [Watched; 2] {
    ["", "filters: [guest], "].map(|filters| {
        let setup = Setup::new();
        guest::write(&setup.dir, "guest", &guest::transparent());
        let yaml = format!(
            "listeners:\n\
             - name: web\n\
             \x20 address: 127.0.0.1:0\n\
             \x20 routes:\n\
             \x20 - {{ match: {{ path: /refused }}, {filters}cluster: nobody }}\n\
             \x20 - {{ match: {{ path: /slow }}, {filters}cluster: silent, timeout: 100ms }}\n\
             \x20 - {{ match: {{ path: /denied }}, {filters}respond: {{ status: 403, body: \"no 100%\\n\" }} }}\n\
             \x20 - {{ match: {{ path: /moved }}, {filters}redirect: {{ path: /new }} }}\n\
             clusters:\n\
             - {{ name: nobody, endpoints: ['{}'] }}\n\
             - {{ name: silent, endpoints: ['{silent}'] }}\n\
             filters: [{{ name: guest, module: {{ file: guest.wasm }} }}]\n\
             workers: 1\n\
             access_log: {{ format: '%REQ(:PATH)% %RESPONSE_CODE% %GRPC_STATUS% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' }}\n",
            Upstream::nobody()
        );
        Watched::of(setup, &yaml)
    })
}

fn silent() -> Upstream {
    Upstream::new(|conn| {
        conn.request();
        conn.rest();
    })
}

fn asked(path: &str, kind: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\ncontent-length: 5\r\n\r\nhello"
    )
}

/// Its fields but those that every response has.
fn told(answer: &Message) -> Vec<String> {
    let common = ["content-length", "content-type", "date", "server"];
    let fields = answer.fields.iter();
    fields
        .filter(|(name, _)| !common.contains(&&name[..]))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect()
}

#[test]
fn answers_made_here_have_the_form_of_grpc_with_and_without_filters() {
    let upstream = silent();
    for Watched { proxy, admin } in both(upstream.address) {
        for kind in ["application/grpc", "application/grpc+proto"] {
            for (path, fields, logged) in ANSWERS {
                let answer = proxy.client().request(&asked(path, kind));
                assert_eq!(
                    (answer.status(), told(&answer)),
                    (
                        200,
                        fields.iter().map(|field| (*field).to_owned()).collect()
                    ),
                    "{path}"
                );
                assert_eq!(answer.field("content-type"), Some("application/grpc"));
                assert_eq!(answer.text(), "");
                proxy.stdout.wait_for(logged);
            }
        }
        for route in ["web/routes[0]", "none"] {
            let family = "cofferdam_downstream_requests_total";
            let series = format!("{family}{{listener=\"web\",route=\"{route}\",class=\"2xx\"}}");
            admin.becomes(&series, |value| value == 2.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_they_are_a_head_and_nothing_else() {
    let upstream = silent();
    let address = upstream.address;
    let proxies = tokio::task::spawn_blocking(move || both(address));
    for watched in proxies.await.unwrap() {
        let client = h2::connect(watched.proxy.web()).await;
        for (path, fields, _) in ANSWERS {
            let request = Request::post(format!("http://test{path}"))
                .header("content-type", "application/grpc")
                .body(h2::full("hello"))
                .unwrap();
            let answer = h2::send(&client, request).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert!(http_body::Body::is_end_stream(answer.body()), "{path}");
            for field in fields {
                let (name, value) = field.split_once(": ").unwrap();
                assert_eq!(answer.headers()[name], value, "{path}");
            }
        }
    }
}

/// As in Envoy, which was sent each of them.
#[test]
fn what_only_begins_like_grpc_is_answered_as_any_other_request() {
    let upstream = silent();
    for Watched { proxy, .. } in both(upstream.address) {
        for kind in [
            "application/grpc-web",
            "application/grpc;x",
            "Application/grpc",
            "text/plain",
        ] {
            let ask = |path| proxy.client().request(&asked(path, kind));
            let answer = ask("/denied");
            assert_eq!(
                (answer.status(), answer.text()),
                (403, "no 100%\n".to_owned())
            );
            assert_eq!(answer.field("content-type"), Some("text/plain"));
            assert_eq!(answer.field("grpc-status"), None, "{kind}");
            let answer = ask("/refused");
            assert_eq!(
                (answer.status(), answer.text()),
                (503, "upstream connection failed\n".to_owned())
            );
            let answer = ask("/moved");
            assert_eq!(
                (answer.status(), answer.field("location")),
                (301, Some("http://test/new"))
            );
        }
    }
}
