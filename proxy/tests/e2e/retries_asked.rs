//! What clients may ask for in `x-envoy-` headers, and what becomes of those who may not.

use crate::support::{Proxy, Setup, Upstream, guest};

fn yaml(listener: &str, route: &str, upstream: &Upstream) -> String {
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, {listener} \
         routes: [{{ cluster: c, {route} }}] }}]\n\
         clusters: [{{ name: c, endpoints: ['{}'] }}]\n\
         workers: 1\n\
         access_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%' }}\n",
        upstream.address
    )
}

fn get(proxy: &Proxy, headers: &str) -> u16 {
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
    proxy.client().request(&request).status()
}

const ALL: &str = "x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 2\r\n\
                   x-envoy-upstream-rq-timeout-ms: 5000\r\n\
                   x-envoy-upstream-rq-per-try-timeout-ms: 4000\r\n\
                   x-envoy-retry-grpc-on: internal\r\n\
                   x-envoy-retriable-status-codes: 418\r\n\
                   x-envoy-retriable-header-names: x-again\r\n";

/// What Envoy itself says of a request.
const FORGED: &str = "x-envoy-external-address: 192.0.2.1\r\nx-envoy-internal: true\r\n\
                      x-envoy-original-path: /public\r\nx-envoy-original-host: a.test\r\n";

fn sick() -> Upstream {
    Upstream::answering("HTTP/1.1 503 Sick\r\ncontent-length: 0\r\n\r\n")
}

fn passed(upstream: &Upstream) -> Vec<String> {
    let requests = upstream.requests();
    let names = requests.iter().flat_map(|it| it.fields.iter());
    names
        .filter(|(name, _)| name.starts_with("x-envoy-"))
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn strangers_may_ask_for_nothing() {
    let upstream = sick();
    let proxy = Proxy::start(&yaml("", "", &upstream));
    assert_eq!(get(&proxy, &(ALL.to_owned() + FORGED)), 503);
    proxy.stdout.wait_for("503 - 1");
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(passed(&upstream), [""; 0]);
}

#[test]
fn others_of_their_headers_are_left_alone() {
    let upstream = Upstream::echo();
    let proxy = Proxy::start(&yaml("", "", &upstream));
    assert_eq!(get(&proxy, "x-envoy-peer-metadata-id: me\r\n"), 200);
    assert_eq!(passed(&upstream), ["x-envoy-peer-metadata-id"]);
}

#[test]
fn the_trusted_are_heard_and_the_upstream_is_not_told() {
    let upstream = sick();
    let proxy = Proxy::start(&yaml("trust_envoy_headers: true,", "", &upstream));
    assert_eq!(get(&proxy, ALL), 503);
    proxy.stdout.wait_for("503 URX 3");
    assert_eq!(upstream.requests().len(), 3);
    assert_eq!(passed(&upstream), [""; 0]);
}

#[test]
fn conditions_are_added_to_the_routes() {
    let route = "retry_policy: { retry_on: connect-failure, num_retries: 3, \
                 retry_back_off: { base_interval: 1ms } }";
    for (headers, attempts) in [
        ("", 1),
        ("x-envoy-retry-on: gateway-error, nonsense\r\n", 4),
        ("x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 0\r\n", 1),
        (
            "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 503\r\n",
            4,
        ),
        (
            "x-envoy-retry-on: retriable-headers\r\nx-envoy-retriable-header-names: content-length\r\n",
            4,
        ),
        ("x-envoy-retry-grpc-on: unavailable\r\n", 1),
        ("x-envoy-max-retries: many\r\nx-envoy-retry-on: 5xx\r\n", 4),
    ] {
        let upstream = sick();
        let proxy = Proxy::start(&yaml("trust_envoy_headers: true,", route, &upstream));
        assert_eq!(get(&proxy, headers), 503, "{headers}");
        assert_eq!(upstream.requests().len(), attempts, "{headers}");
    }
}

#[test]
fn times_are_the_requests_own() {
    let silent = || {
        Upstream::new(|conn| {
            conn.request();
            conn.rest();
        })
    };
    let upstream = silent();
    let proxy = Proxy::start(&yaml("trust_envoy_headers: true,", "", &upstream));
    assert_eq!(get(&proxy, "x-envoy-upstream-rq-timeout-ms: 200\r\n"), 504);
    proxy.stdout.wait_for("504 UT 1");
    let headers = "x-envoy-upstream-rq-per-try-timeout-ms: 100\r\nx-envoy-retry-on: reset\r\n";
    assert_eq!(get(&proxy, headers), 504);
    proxy.stdout.wait_for("504 UT,URX 2");
}

#[test]
fn filters_may_ask_whoever_the_client_is() {
    let upstream = sick();
    let setup = Setup::new();
    let imports = r#"(import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))"#;
    let callbacks = r#"(data (i32.const 16) "x-envoy-retry-on5xx")
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $add (i32.const 0) (i32.const 16) (i32.const 16) (i32.const 32) (i32.const 3)))
        (i32.const 0))"#;
    guest::write(&setup.dir, "asks", &guest::with(imports, callbacks));
    let text = yaml("filters: [asks],", "", &upstream)
        + "filters: [{ name: asks, module: { file: asks.wasm } }]\n";
    let proxy = setup.start(&text);
    assert_eq!(get(&proxy, "x-envoy-max-retries: 9\r\n"), 503);
    proxy.stdout.wait_for("503 URX 2");
    assert_eq!(passed(&upstream), [""; 0]);
}
