//! Spans as collectors get them: over real sockets, read by OpenTelemetry's own messages.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::sync::mpsc::UnboundedSender;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;

use crate::support::{
    Config, Filter, Guest, Http, PATIENCE, Proxy, Upstream, built_guest, check, get, run, within,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn traced(upstream: &Upstream, collector: &Upstream, more: &str) -> Config {
    let address = collector.address;
    Config::new(upstream.address)
        .cluster(format!("{{ name: otel, endpoints: ['{address}'] }}"))
        .with(&format!("tracing: {{ cluster: otel{more} }}"))
}

/// All spans a collector has been sent, once there are so many.
async fn spans(collector: &Upstream, count: usize) -> Vec<Span> {
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = collector.seen_at("/v1/traces");
        let messages = seen.iter().map(|seen| {
            assert_eq!(seen.header("content-type"), Some("application/x-protobuf"));
            ExportTraceServiceRequest::decode(&seen.body[..]).expect("OTLP")
        });
        let spans = of(messages);
        if spans.len() >= count {
            assert_eq!(spans.len(), count, "{spans:#?}");
            return spans;
        }
        assert!(Instant::now() < until, "{count} spans: {spans:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn of(messages: impl Iterator<Item = ExportTraceServiceRequest>) -> Vec<Span> {
    let resources = messages.flat_map(|message| message.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn said(attributes: &[KeyValue], name: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    Some(match pair.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{name}: {other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

async fn send(proxy: &Proxy, http: Http, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    let mut request = get(path);
    for (name, value) in headers {
        let value = value.parse().expect("a value");
        request.headers_mut().insert(*name, value);
    }
    let answer = proxy.client(http).await.send(request).await;
    answer.status
}

#[test]
fn a_request_is_a_span_and_its_upstream_is_told_of_it() {
    run(async {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let more = ", service_name: edge, resource: { deployment.environment.name: test }, \
                    headers: { authorization: Bearer secret }";
        let proxy = Proxy::start(&traced(&upstream, &collector, more)).await;
        for (http, path) in [(Http::One, "/one?a=b"), (Http::Two, "/two?a=b")] {
            let headers = [("user-agent", "tests")];
            assert_eq!(send(&proxy, http, path, &headers).await, 200);
        }
        let all = spans(&collector, 2).await;
        assert_ne!(all[0].trace_id, all[1].trace_id);
        for (span, path, version) in [(&all[0], "/one", "1.1"), (&all[1], "/two", "2")] {
            assert_eq!((&span.name[..], span.kind), ("GET web/routes[0]", 2));
            assert!(span.parent_span_id.is_empty() && span.status.is_none());
            assert!(span.end_time_unix_nano > span.start_time_unix_nano);
            let up = upstream.address.to_string();
            for (name, value) in [
                ("http.request.method", "GET"),
                ("url.path", path),
                ("url.query", "a=b"),
                ("url.scheme", "http"),
                ("user_agent.original", "tests"),
                ("client.address", "127.0.0.1"),
                ("network.protocol.version", version),
                ("network.peer.address", &up),
                ("http.response.status_code", "200"),
                ("cofferdam.route", "web/routes[0]"),
                ("cofferdam.cluster", "up"),
            ] {
                let found = said(&span.attributes, name);
                assert_eq!(found.as_deref(), Some(value), "{name}");
            }
            let seen = upstream.only(path);
            let (trace, id) = (hex(&span.trace_id), hex(&span.span_id));
            let told = format!("00-{trace}-{id}-01");
            assert_eq!(seen.header("traceparent"), Some(&told[..]));
            proxy.access(&[path, &format!("\"span\":\"{id}\"")]).await;
            let id = said(&span.attributes, "cofferdam.request_id");
            assert_eq!(seen.header("x-request-id"), id.as_deref());
        }
        let message = &collector.seen_at("/v1/traces")[0];
        assert_eq!(message.header("authorization"), Some("Bearer secret"));
        let message = ExportTraceServiceRequest::decode(&message.body[..]).expect("OTLP");
        let resource = message.resource_spans[0].resource.clone();
        let resource = resource.expect("a resource").attributes;
        assert_eq!(said(&resource, "service.name").as_deref(), Some("edge"));
        let environment = said(&resource, "deployment.environment.name");
        assert_eq!(environment.as_deref(), Some("test"));
    });
}

#[test]
fn a_callers_decision_is_followed_and_what_is_not_sampled_goes_on_all_the_same() {
    run(async {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let proxy = Proxy::start(&traced(&upstream, &collector, ", sampling: 0%")).await;
        let parent = |flags: &str| format!("00-{TRACE}-{SPAN}-{flags}");
        for (path, headers) in [
            ("/nobody", vec![]),
            ("/no", vec![("traceparent", parent("00"))]),
            ("/bad", vec![("traceparent", parent("zz"))]),
            (
                "/yes",
                vec![
                    ("traceparent", parent("01")),
                    ("tracestate", "a=b".to_owned()),
                ],
            ),
        ] {
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, &value[..]))
                .collect();
            assert_eq!(send(&proxy, Http::One, path, &headers).await, 200);
        }
        // What was not sampled came before.
        let all = spans(&collector, 1).await;
        let (trace, span) = (hex(&all[0].trace_id), hex(&all[0].span_id));
        assert_eq!(
            (&trace[..], &hex(&all[0].parent_span_id)[..]),
            (TRACE, SPAN)
        );
        let told = |path: &str| {
            let seen = upstream.only(path);
            seen.header("traceparent").expect("it is told").to_owned()
        };
        assert_eq!(told("/yes"), format!("00-{TRACE}-{span}-01"));
        assert_eq!(upstream.only("/yes").header("tracestate"), Some("a=b"));
        let no = told("/no");
        assert!(
            no.starts_with(&format!("00-{TRACE}-")) && no.ends_with("-00"),
            "{no}"
        );
        assert!(!no.contains(SPAN), "a span of its own: {no}");
        for path in ["/nobody", "/bad"] {
            let told = told(path);
            assert!(told.ends_with("-00") && !told.contains(TRACE), "{told}");
        }
    });
}

#[test]
fn b3_comes_in_and_goes_out_in_both_forms() {
    run(async {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let more = ", sampling: 0%, propagation: [b3, b3_single]";
        let proxy = Proxy::start(&traced(&upstream, &collector, more)).await;
        let several = [
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-parentspanid", "00f067aa0ba902b7"),
            ("x-b3-sampled", "1"),
        ];
        let single = format!("{TRACE}-{SPAN}-1");
        assert_eq!(send(&proxy, Http::One, "/several", &several).await, 200);
        let one = [("b3", &single[..]), ("traceparent", "untouched")];
        assert_eq!(send(&proxy, Http::One, "/single", &one).await, 200);
        let all = spans(&collector, 2).await;
        for (span, path) in all.iter().zip(["/several", "/single"]) {
            assert_eq!(hex(&span.trace_id), TRACE);
            assert_eq!(hex(&span.parent_span_id), SPAN);
            let (seen, id) = (upstream.only(path), hex(&span.span_id));
            let single = format!("{TRACE}-{id}-1");
            for (name, value) in [
                ("x-b3-traceid", Some(TRACE)),
                ("x-b3-spanid", Some(&id[..])),
                ("x-b3-parentspanid", None),
                ("x-b3-sampled", Some("1")),
                ("b3", Some(&single[..])),
            ] {
                assert_eq!(seen.header(name), value, "{path} {name}");
            }
        }
        let untouched = upstream.only("/single");
        assert_eq!(untouched.header("traceparent"), Some("untouched"));
    });
}

#[test]
fn filters_and_their_calls_have_spans_below_it() {
    let Some(module) = built_guest("callouts") else {
        return;
    };
    run(async {
        let (upstream, collector, callee) =
            (Upstream::start(), Upstream::start(), Upstream::start());
        let config = traced(&upstream, &collector, "")
            .cluster(format!(
                "{{ name: other, endpoints: ['{}'] }}",
                callee.address
            ))
            .cluster(format!(
                "{{ name: away, endpoints: ['{}'] }}",
                Upstream::nowhere()
            ))
            .filter(Filter::file("asks", &module));
        let proxy = Proxy::start(&config).await;
        let headers = [
            ("x-call", "http other GET /called"),
            ("x-then", "http away GET /never"),
        ];
        assert_eq!(send(&proxy, Http::One, "/asked", &headers).await, 200);
        let all = spans(&collector, 5).await;
        let root = named(&all, "GET web/routes[0]");
        for span in &all {
            assert_eq!(span.trace_id, root.trace_id);
            if span.span_id != root.span_id {
                assert_eq!(span.parent_span_id, root.span_id, "{}", span.name);
            }
            assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        }
        let (there, back) = (
            named(&all, "filter asks request"),
            named(&all, "filter asks response"),
        );
        assert_eq!((there.kind, back.kind), (1, 1));
        let (called, never) = (
            named(&all, "callout cluster:other"),
            named(&all, "callout cluster:away"),
        );
        // The head waits in the filter for both calls, one after the other.
        assert!(there.start_time_unix_nano <= called.start_time_unix_nano);
        assert!(called.end_time_unix_nano <= never.start_time_unix_nano);
        assert!(never.end_time_unix_nano <= there.end_time_unix_nano);
        assert!(there.end_time_unix_nano <= back.start_time_unix_nano);
        for span in [called, never, there] {
            let filter = said(&span.attributes, "cofferdam.filter");
            assert_eq!(filter.as_deref(), Some("asks"), "{}", span.name);
        }
        let status = said(&called.attributes, "http.response.status_code");
        assert_eq!((called.kind, status.as_deref()), (3, Some("200")));
        let why = said(&never.attributes, "error.type");
        assert_eq!(why.as_deref(), Some("connect_failed"));
        assert_eq!(never.status.as_ref().map(|status| status.code), Some(2));
        let told = format!("00-{}-{}-01", hex(&root.trace_id), hex(&called.span_id));
        assert_eq!(
            callee.only("/called").header("traceparent"),
            Some(&told[..])
        );
    });
}

#[test]
fn a_filter_that_breaks_a_request_is_named_in_its_span() {
    run(async {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let guest = Guest::new().on("request_headers", "unreachable");
        let config = traced(&upstream, &collector, "").filter(Filter::wasm("bad", guest.build()));
        let proxy = Proxy::start(&config).await;
        assert_eq!(send(&proxy, Http::One, "/broken", &[]).await, 503);
        let all = spans(&collector, 3).await;
        let root = named(&all, "GET web/routes[0]");
        let error = |span: &Span| span.status.as_ref().map(|status| status.code) == Some(2);
        assert!(error(root));
        for (name, value) in [
            ("cofferdam.decided_by", "bad"),
            ("cofferdam.callback", "proxy_on_request_headers"),
            ("error.type", "503"),
        ] {
            let found = said(&root.attributes, name);
            assert_eq!(found.as_deref(), Some(value), "{name}");
        }
        assert!(error(named(&all, "filter bad request")));
    });
}

#[test]
fn a_filter_that_answers_is_named_though_there_is_no_access_log() {
    run(async {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let guest = Guest::new().on(
            "request_headers",
            "(call $reply (i32.const 418) «teapot») (return (i32.const 1))",
        );
        let config = traced(&upstream, &collector, "")
            .filter(Filter::wasm("pot", guest.build()))
            .without_access_log();
        let proxy = Proxy::start(&config).await;
        assert_eq!(send(&proxy, Http::One, "/tea", &[]).await, 418);
        let all = spans(&collector, 3).await;
        let root = named(&all, "GET web/routes[0]");
        let who = said(&root.attributes, "cofferdam.decided_by");
        assert_eq!(who.as_deref(), Some("pot"));
    });
}

#[test]
fn requests_do_not_wait_for_a_collector_that_is_away_and_it_is_said_once() {
    run(async {
        let upstream = Upstream::start();
        let config = Config::new(upstream.address)
            .cluster(format!(
                "{{ name: otel, endpoints: ['{}'] }}",
                Upstream::nowhere()
            ))
            .with("tracing: { cluster: otel }\nadmin: { address: 127.0.0.1:0 }");
        let mut proxy = Proxy::start(&config).await;
        assert_eq!(send(&proxy, Http::One, "/a", &[]).await, 200);
        proxy.logged(&["WARN", "spans are lost", "otel"]).await;
        let count = "cofferdam_tracing_spans_total{result=\"failed\"} 1";
        proxy.measured(count).await;
        for _ in 0..50 {
            assert_eq!(send(&proxy, Http::One, "/b", &[]).await, 200);
        }
        proxy.terminate();
        assert!(proxy.ended().await.success());
        assert_eq!(proxy.lines(&["spans are lost"]).len(), 1);
    });
}

#[test]
fn the_collectors_cluster_may_become_another_while_the_proxy_runs() {
    run(async {
        let upstream = Upstream::start();
        let collectors = [Upstream::start(), Upstream::start()];
        let configs = collectors.each_ref().map(|one| traced(&upstream, one, ""));
        let proxy = Proxy::start(&configs[0]).await;
        assert_eq!(send(&proxy, Http::One, "/before", &[]).await, 200);
        spans(&collectors[0], 1).await;
        proxy.reconfigure(&configs[1]).await;
        assert_eq!(send(&proxy, Http::One, "/after", &[]).await, 200);
        let after = spans(&collectors[1], 1).await;
        let path = said(&after[0].attributes, "url.path");
        assert_eq!(path.as_deref(), Some("/after"));
        spans(&collectors[0], 1).await;
    });
}

#[test]
fn what_is_known_when_the_proxy_ends_is_sent() {
    run(async {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let mut proxy = Proxy::start(&traced(&upstream, &collector, "")).await;
        for _ in 0..20 {
            assert_eq!(send(&proxy, Http::One, "/a", &[]).await, 200);
        }
        proxy.terminate();
        assert!(proxy.ended().await.success());
        spans(&collector, 20).await;
    });
}

#[test]
fn a_request_that_the_end_of_the_proxy_cuts_is_an_error_of_its_own() {
    run(async {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let holds = Guest::new().on("request_headers", "(return (i32.const 1))");
        let config = traced(&upstream, &collector, "")
            .filter(Filter::wasm("f", holds.build()))
            .with("drain_time: 300ms");
        let mut proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::Two).await;
        let held = tokio::spawn(client.start(get("/a")));
        proxy.logged(&["request_headers 2 "]).await;
        proxy.terminate();
        assert!(proxy.ended().await.success());
        assert!(within("the client", held).await.expect("a task").is_err());
        let all = spans(&collector, 2).await;
        let span = named(&all, "GET web/routes[0]");
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
        let kind = said(&span.attributes, "error.type");
        assert_eq!(kind.as_deref(), Some("downstream_local_disconnect"));
    });
}

/// A collector as OpenTelemetry's own stubs make one.
struct Collector(UnboundedSender<ExportTraceServiceRequest>);

#[async_trait::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let _ = self.0.send(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn spans_go_over_grpc_where_that_is_asked_for() {
    run(async {
        let upstream = Upstream::start();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let server = tonic::transport::Server::builder().serve_with_incoming(
            TraceServiceServer::new(Collector(sender)),
            TcpListenerStream::new(listener),
        );
        tokio::spawn(async move { server.await.expect("a server") });
        let config = Config::new(upstream.address)
            .cluster(format!(
                "{{ name: otel, endpoints: ['{address}'], protocol: http2 }}"
            ))
            .with("tracing: { cluster: otel, protocol: grpc }\nadmin: { address: 127.0.0.1:0 }");
        let proxy = Proxy::start(&config).await;
        assert_eq!(send(&proxy, Http::One, "/a", &[]).await, 200);
        let message = within("a message", messages.recv()).await.expect("one");
        let all = of(std::iter::once(message));
        assert_eq!(said(&all[0].attributes, "url.path").as_deref(), Some("/a"));
        let sent = "cofferdam_tracing_spans_total{result=\"sent\"} 1";
        proxy.measured(sent).await;
        assert_eq!(proxy.lines(&["spans are lost"]), [""; 0]);
    });
}

#[test]
fn what_cannot_be_traced_is_told_with_its_place() {
    run(async {
        let upstream = Upstream::start();
        for (yaml, place, what) in [
            ("{}", "tracing: ", "`cluster` is missing"),
            (
                "{ cluster: nobody }",
                "tracing.cluster: ",
                "there is no cluster",
            ),
            (
                "{ cluster: up, sampling: 101% }",
                "tracing.sampling: ",
                "0% to 100%",
            ),
            (
                "{ cluster: up, sampling: '+1%' }",
                "tracing.sampling: ",
                "0% to 100%",
            ),
            (
                "{ cluster: up, sampling: 1 }",
                "tracing.sampling: ",
                "1% or 0.05%",
            ),
            (
                "{ cluster: up, protocol: grpc }",
                "tracing.cluster: ",
                "HTTP/2",
            ),
            ("{ cluster: up, path: v1 }", "tracing.path: ", "/"),
            (
                "{ cluster: up, host: 'a b' }",
                "tracing.host: ",
                "is not a host",
            ),
            (
                "{ cluster: up, propagation: [b4] }",
                "tracing.propagation[0]: ",
                "w3c",
            ),
            (
                "{ cluster: up, headers: { content-length: 1 } }",
                "tracing.headers.content-length: ",
                "set by the proxy itself",
            ),
            (
                "{ cluster: up, resource: { service.name: a } }",
                "tracing.resource",
                "`service_name`",
            ),
        ] {
            let config = Config::new(upstream.address).with(&format!("tracing: {yaml}"));
            let (code, said) = check(&config, "check");
            assert_ne!(code, Some(0), "{yaml}");
            assert!(
                said.contains(place) && said.contains(what),
                "{yaml}: {said}"
            );
        }
    });
}
