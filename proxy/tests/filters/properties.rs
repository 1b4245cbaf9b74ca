//! What filters can ask about a request, in the encodings of the ABI, from the real proxy.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Body, Config, Filter, Guest, Http, Proxy, Upstream, get, post, run};

/// Everything asked for, with `/` between the parts.
const PATHS: &[&str] = &[
    "request/path",
    "request/url_path",
    "request/query",
    "request/host",
    "request/scheme",
    "request/method",
    "request/referer",
    "request/useragent",
    "request/id",
    "request/headers",
    "request/headers/X-Twice",
    "request/headers/x-none",
    "request/headers_bytes",
    "request/time",
    "request/protocol",
    "request/size",
    "request/total_size",
    "request/duration",
    "response/code",
    "response/code_details",
    "response/flags",
    "response/grpc_status",
    "response/headers/content-type",
    "response/headers_bytes",
    "response/size",
    "response/total_size",
    "connection/id",
    "connection_id",
    "connection/mtls",
    "connection/requested_server_name",
    "connection/tls_version",
    "source/address",
    "source/port",
    "destination/address",
    "destination/port",
    "upstream/address",
    "upstream/port",
    "upstream/local_address",
    "upstream/num_endpoints",
    "upstream/request_attempt_count",
    "upstream/transport_failure_reason",
    "upstream/cx_pool_ready_duration",
    "upstream/locality",
    "upstream/tls_version",
    "response/backend_latency",
    "metadata",
    "metadata/filter_metadata",
    "xds/virtual_host_name",
    "xds/route_metadata",
    "xds/filter_chain_name",
    "xds/upstream_host_metadata",
    "xds/cluster_name",
    "xds/route_name",
    "xds/listener_direction",
    "cluster_name",
    "plugin_name",
    "plugin_root_id",
    "plugin_vm_id",
    "no_such_thing",
    "request.path",
];

/// Property values by callback and path: the status and the bytes.
type Values = BTreeMap<(String, String), (u32, Vec<u8>)>;

fn guest() -> Vec<u8> {
    let ask: String = PATHS
        .iter()
        .map(|path| format!("(call $property «{}»)", path.replace('/', "\0")))
        .collect();
    let callbacks = ["request_headers", "response_headers", "log", "configure"];
    callbacks
        .into_iter()
        .fold(Guest::new(), |guest, callback| guest.on(callback, &ask))
        .build()
}

/// What the guest has written down of one context.
fn values(proxy: &Proxy, context: u32) -> Values {
    let mut values = Values::new();
    let mut callback = String::new();
    let own = format!("context={context}");
    for line in proxy
        .lines(&[" filter: "])
        .iter()
        .filter(|line| line.ends_with(&own))
    {
        let Some((said, _)) = line
            .split(" filter: ")
            .nth(1)
            .and_then(|rest| rest.split_once(". filter="))
        else {
            continue;
        };
        let Some((path, rest)) = said.split_once("= ") else {
            said.split(' ')
                .next()
                .unwrap_or_default()
                .clone_into(&mut callback);
            continue;
        };
        let (status, hex) = rest.split_once(' ').expect("a status and a value");
        let bytes = hex.as_bytes().chunks(2).map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")
        });
        let value = (status.parse().expect("a status"), bytes.collect());
        values.insert((callback.clone(), path.to_owned()), value);
    }
    values
}

const NOT_FOUND: (u32, Vec<u8>) = (1, Vec::new());

/// Values of one callback.
struct At<'v>(&'v Values, &'v str);

impl At<'_> {
    fn found(&self, path: &str) -> &(u32, Vec<u8>) {
        let key = (self.1.to_owned(), path.to_owned());
        self.0
            .get(&key)
            .unwrap_or_else(|| panic!("{} was not asked in {}", path, self.1))
    }

    fn bytes(&self, path: &str) -> &[u8] {
        let (status, bytes) = self.found(path);
        assert_eq!(*status, 0, "{path} in {}", self.1);
        bytes
    }

    fn text(&self, path: &str) -> &str {
        std::str::from_utf8(self.bytes(path)).expect("text")
    }

    /// Eight bytes, the lowest first.
    fn number(&self, path: &str) -> i64 {
        i64::from_le_bytes(
            self.bytes(path)
                .try_into()
                .unwrap_or_else(|_| panic!("{path} has eight bytes")),
        )
    }

    fn absent(&self, paths: &[&str]) {
        for path in paths {
            assert_eq!(*self.found(path), NOT_FOUND, "{path} in {}", self.1);
        }
    }
}

async fn start() -> (Upstream, Proxy) {
    let upstream = Upstream::start();
    let filter = Filter::wasm("asker", guest())
        .with("root_id: my-root")
        .with("vm_id: my-vm")
        // A VM of native code would count contexts anew.
        .with("engine: interpreter");
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    (upstream, proxy)
}

fn nanos_now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262")
}

#[test]
fn request_properties_are_there_in_every_callback() {
    run(async {
        for (http, protocol) in [(Http::One, "HTTP/1.1"), (Http::Two, "HTTP/2")] {
            let (_upstream, proxy) = start().await;
            let mut request = post("/some/path?and=query", Body::whole("12345"));
            let headers = [
                ("x-twice", "a"),
                ("x-twice", "b"),
                ("referer", "http://from.test/"),
                ("user-agent", "tests"),
                ("x-request-id", "the-id"),
            ];
            for (name, value) in headers {
                request
                    .headers_mut()
                    .append(name, value.parse().expect("a value"));
            }
            let before = nanos_now();
            assert_eq!(proxy.client(http).await.send(request).await.status, 200);
            proxy.logged(&["delete 2."]).await;
            let after = nanos_now();
            let values = values(&proxy, 2);
            for callback in ["request_headers", "response_headers", "log"] {
                let at = At(&values, callback);
                let texts = [
                    ("request/path", "/some/path?and=query"),
                    ("request/url_path", "/some/path"),
                    ("request/query", "and=query"),
                    ("request/host", "proxy.test"),
                    ("request/scheme", "http"),
                    ("request/method", "POST"),
                    ("request/referer", "http://from.test/"),
                    ("request/useragent", "tests"),
                    ("request/id", "the-id"),
                    ("request/headers/X-Twice", "a,b"),
                    ("request/protocol", protocol),
                ];
                for (path, text) in texts {
                    assert_eq!(at.text(path), text, "{path} in {callback}");
                }
                assert!(
                    (before..=after).contains(&at.number("request/time")),
                    "{callback}"
                );
                assert_eq!(
                    at.number("request/size"),
                    5,
                    "content-length, in {callback}"
                );
                assert!(at.number("request/headers_bytes") > 100);
                let headers = at.bytes("request/headers");
                assert!(headers.len() > 100 && headers[0] >= 10, "{headers:?}");
                at.absent(&["request/headers/x-none", "no_such_thing", "request.path"]);
            }
            At(&values, "request_headers").absent(&["request/duration"]);
            let at = At(&values, "log");
            let duration = at.number("request/duration");
            assert!(duration > 0 && duration < after - before, "{duration}");
            assert_eq!(
                at.number("request/total_size"),
                5 + at.number("request/headers_bytes")
            );
        }
    });
}

#[test]
fn response_properties_come_with_the_response() {
    run(async {
        for http in [Http::One, Http::Two] {
            let (_upstream, proxy) = start().await;
            let answer = proxy.client(http).await.send(get("/a")).await;
            proxy.logged(&["delete 2."]).await;
            let values = values(&proxy, 2);
            let at = At(&values, "request_headers");
            at.absent(&[
                "response/code",
                "response/code_details",
                "response/grpc_status",
            ]);
            assert_eq!(
                (
                    at.number("response/flags"),
                    at.number("response/headers_bytes")
                ),
                (0, 0)
            );
            let at = At(&values, "response_headers");
            assert_eq!(
                (at.number("response/code"), at.number("response/size")),
                (200, 0)
            );
            // Without a grpc-status, what HTTP's 200 is to gRPC: unknown.
            assert_eq!(at.number("response/grpc_status"), 2);
            let at = At(&values, "log");
            assert_eq!(at.number("response/code"), 200);
            assert_eq!(at.text("response/code_details"), "via_upstream");
            assert_eq!(at.number("response/flags"), 0);
            assert_eq!(at.text("response/headers/content-type"), "text/plain");
            let size = i64::try_from(answer.body.len()).expect("a size");
            assert_eq!(at.number("response/size"), size);
            assert_eq!(
                at.number("response/total_size"),
                size + at.number("response/headers_bytes")
            );
        }
    });
}

#[test]
fn an_answer_made_here_has_its_code_and_its_reason() {
    run(async {
        let filter = Filter::wasm("asker", guest());
        let config = Config::new(Upstream::nowhere()).filter(filter);
        let proxy = Proxy::start(&config).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            503
        );
        proxy.logged(&["delete 2."]).await;
        let values = values(&proxy, 2);
        for callback in ["response_headers", "log"] {
            let at = At(&values, callback);
            assert_eq!(at.number("response/code"), 503, "{callback}");
            assert_eq!(
                at.text("response/code_details"),
                "upstream_connection_failure",
                "{callback}"
            );
            // UF, as Envoy numbers it.
            assert_eq!(at.number("response/flags"), 1 << 5, "{callback}");
        }
        // Whom it could not reach is known; where from, of course not.
        At(&values, "log").absent(&["upstream/local_address"]);
    });
}

#[test]
fn connections_are_told_from_each_other() {
    run(async {
        let (upstream, proxy) = start().await;
        let mut client = proxy.client(Http::Two).await;
        assert_eq!(client.send(get("/a")).await.status, 200);
        assert_eq!(client.send(get("/b")).await.status, 200);
        assert_eq!(
            proxy.client(Http::One).await.send(get("/c")).await.status,
            200
        );
        proxy.logged_times(&["filter: delete "], 3).await;
        let [first, second, third] = [2, 3, 4].map(|context| values(&proxy, context));
        let id = |values| At(values, "log").number("connection/id");
        assert_eq!(id(&first), id(&second));
        assert_ne!(id(&first), id(&third));
        let at = At(&first, "request_headers");
        assert_eq!(at.number("connection_id"), id(&first));
        assert_eq!(at.bytes("connection/mtls"), [0]);
        assert_eq!(at.text("connection/requested_server_name"), "");
        at.absent(&["connection/tls_version"]);
        let source = at.text("source/address");
        assert_eq!(source, format!("127.0.0.1:{}", at.number("source/port")));
        assert_eq!(at.text("destination/address"), proxy.address.to_string());
        assert_eq!(
            at.number("destination/port"),
            i64::from(proxy.address.port())
        );

        // The upstream is known once there is one; its cluster as soon as there is a route.
        at.absent(&[
            "upstream/address",
            "upstream/port",
            "upstream/local_address",
        ]);
        assert_eq!(
            (
                at.number("upstream/num_endpoints"),
                at.number("upstream/request_attempt_count")
            ),
            (1, 0)
        );
        assert_eq!(
            (at.text("xds/cluster_name"), at.text("xds/route_name")),
            ("up", "web/routes[0]")
        );
        assert_eq!(
            (at.text("cluster_name"), at.number("xds/listener_direction")),
            ("up", 0)
        );
        let at = At(&first, "response_headers");
        assert_eq!(at.text("upstream/address"), upstream.address.to_string());
        assert_eq!(
            at.number("upstream/port"),
            i64::from(upstream.address.port())
        );
        assert!(at.text("upstream/local_address").starts_with("127.0.0.1:"));
        assert_eq!(at.number("upstream/request_attempt_count"), 1);
    });
}

#[test]
fn a_root_knows_its_plugin_and_nothing_of_streams() {
    run(async {
        let (_upstream, proxy) = start().await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
        proxy.logged(&["delete 2."]).await;
        for (context, callback) in [(1, "configure"), (2, "request_headers"), (2, "log")] {
            let values = values(&proxy, context);
            let at = At(&values, callback);
            let names = ["plugin_name", "plugin_root_id", "plugin_vm_id"]
                .map(|path| at.text(path).to_owned());
            assert_eq!(names, ["asker", "my-root", "my-vm"], "{callback}");
        }
        let values = values(&proxy, 1);
        let at = At(&values, "configure");
        let own = ["plugin_name", "plugin_root_id", "plugin_vm_id"];
        let others: Vec<&str> = PATHS
            .iter()
            .copied()
            .filter(|path| !own.contains(path))
            .collect();
        at.absent(&others);
    });
}

#[test]
fn the_way_to_the_upstream_is_told() {
    run(async {
        let (_upstream, proxy) = start().await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
        proxy.logged(&["delete 2."]).await;
        let values = values(&proxy, 2);
        let at = At(&values, "request_headers");
        at.absent(&[
            "upstream/transport_failure_reason",
            "upstream/cx_pool_ready_duration",
            "upstream/locality",
            "response/backend_latency",
            "xds/upstream_host_metadata",
        ]);
        for callback in ["request_headers", "response_headers"] {
            let at = At(&values, callback);
            assert_eq!(at.text("xds/virtual_host_name"), "web");
            assert_eq!(at.bytes("xds/filter_chain_name"), b"");
            assert_eq!(at.bytes("xds/route_metadata"), b"");
            assert_eq!(at.bytes("metadata"), b"");
            assert_eq!(at.bytes("metadata/filter_metadata"), [0; 4]);
        }
        let at = At(&values, "response_headers");
        assert_eq!(at.bytes("upstream/transport_failure_reason"), b"");
        assert_eq!(at.bytes("upstream/locality"), b"");
        assert!(at.number("upstream/cx_pool_ready_duration") > 0);
        // A null, as in Envoy.
        assert_eq!(at.found("xds/upstream_host_metadata").0, 3);
        at.absent(&["upstream/tls_version", "response/backend_latency"]);
        let at = At(&values, "log");
        let (latency, whole) = (
            at.number("response/backend_latency"),
            at.number("request/duration"),
        );
        assert!(0 < latency && latency <= whole, "{latency} of {whole}");
    });
}

#[test]
fn an_upstream_that_cannot_be_reached_is_explained() {
    run(async {
        let filter = Filter::wasm("asker", guest());
        let config = Config::new(Upstream::nowhere()).filter(filter);
        let proxy = Proxy::start(&config).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            503
        );
        proxy.logged(&["delete 2."]).await;
        let values = values(&proxy, 2);
        let at = At(&values, "log");
        let reason = at.text("upstream/transport_failure_reason");
        assert!(reason.contains("refused"), "{reason}");
        at.absent(&[
            "upstream/cx_pool_ready_duration",
            "response/backend_latency",
        ]);
    });
}

#[test]
fn a_node_is_what_its_operator_says() {
    run(async {
        let upstream = Upstream::start();
        let paths = [
            "xds/node/id",
            "xds/node/cluster",
            "xds/node/metadata/region",
            "xds/node/metadata/ports/1",
            "xds/node/metadata/ports/2",
            "xds/node/metadata/deep/er",
            "xds/node/metadata/none",
            "xds/node/metadata/on",
            "node/id",
        ];
        let ask: String = paths
            .iter()
            .map(|path| format!("(call $property «{}»)", path.replace('/', "\0")))
            .collect();
        let guest = Guest::new().on("configure", &ask).on("log", &ask);
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("asker", guest.build()))
            .with("node: { id: me, cluster: us, metadata: { region: north, ports: [1, x], deep: { er: 2.5 }, none: null, on: true } }");
        let proxy = Proxy::start(&config).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
        proxy.logged(&["delete 2."]).await;
        for (context, callback) in [(1, "configure"), (2, "log")] {
            let values = values(&proxy, context);
            let at = At(&values, callback);
            assert_eq!(at.text("xds/node/id"), "me", "{callback}");
            assert_eq!(at.text("node/id"), "me");
            assert_eq!(at.text("xds/node/cluster"), "us");
            assert_eq!(at.text("xds/node/metadata/region"), "north");
            assert_eq!(at.text("xds/node/metadata/ports/1"), "x");
            assert_eq!(at.bytes("xds/node/metadata/deep/er"), 2.5_f64.to_le_bytes());
            assert_eq!(at.bytes("xds/node/metadata/on"), [1]);
            assert_eq!(at.found("xds/node/metadata/none").0, 3);
            at.absent(&["xds/node/metadata/ports/2"]);
        }
    });
}

#[test]
fn values_of_a_connection_are_there_for_its_next_request_alone() {
    run(async {
        // declare_property { name: "c", span: DownstreamConnection }
        let guest = Guest::new()
            .import(
                r#"(import "env" "proxy_call_foreign_function"
                    (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
                (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))"#,
            )
            .on(
                "configure",
                "(drop (call $foreign «declare_property» «\u{a}\u{1}c\u{28}\u{2}» (i32.const 0) (i32.const 0)))",
            )
            .on(
                "request_headers",
                "(call $property «c») (drop (call $set «c» «kept»)) (call $property «r») (drop (call $set «r» «kept»))",
            );
        let upstream = Upstream::start();
        let config = Config::new(upstream.address).filter(Filter::wasm("keeper", guest.build()));
        let proxy = Proxy::start(&config).await;
        for http in [Http::One, Http::Two] {
            let before = proxy.lines(&[" filter: delete "]).len();
            let mut client = proxy.client(http).await;
            assert_eq!(client.send(get("/a")).await.status, 200);
            client.ready().await.expect("still there");
            assert_eq!(client.send(get("/b")).await.status, 200);
            proxy.client(http).await.send(get("/c")).await;
            proxy.logged_times(&["filter: delete "], before + 3).await;
            let context = u32::try_from(before).expect("few") + 2;
            let [first, second, other] = [0, 1, 2].map(|more| values(&proxy, context + more));
            for fresh in [&first, &other] {
                At(fresh, "request_headers").absent(&["c", "r"]);
            }
            let at = At(&second, "request_headers");
            assert_eq!(at.text("c"), "kept");
            at.absent(&["r"]);
        }
    });
}
