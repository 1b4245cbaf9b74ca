//! Spans in OpenTelemetry's encoding (`opentelemetry/proto/trace/v1`): only the messages
//! and fields that are used, with the numbers of version 1 of the protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::span::{Kind, Span, Value};
use crate::config::Tracing;

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Encoded>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Encoded {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyKind", tags = "1, 3")]
    value: Option<AnyKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AnyKind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Integer(i64),
}

const ERROR: i32 = 2;

/// An `ExportTraceServiceRequest`.
pub(super) fn encode(config: &Tracing, spans: Vec<Span>) -> Vec<u8> {
    let mut resource = vec![text("service.name", &config.service_name)];
    resource.extend(config.resource.iter().map(|(key, value)| text(key, value)));
    let export = Export {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource,
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                }),
                spans: spans.into_iter().map(encoded).collect(),
            }],
        }],
    };
    export.encode_to_vec()
}

fn encoded(span: Span) -> Encoded {
    let attributes = span.attributes.into_iter().map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(match value {
                Value::Text(text) => AnyKind::Text(text),
                Value::Integer(number) => AnyKind::Integer(number),
            }),
        }),
    });
    Encoded {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: span
            .parent
            .map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
        name: span.name,
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: nanoseconds(span.begun),
        // A clock that was set back must not make a span that no collector takes.
        end_time_unix_nano: nanoseconds(span.ended.max(span.begun)),
        attributes: attributes.collect(),
        status: span.error.then_some(Status { code: ERROR }),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(AnyKind::Text(value.to_owned())),
        }),
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value;

    use super::*;

    /// What is written here is read by OpenTelemetry's own messages.
    #[test]
    fn others_read_what_is_encoded() {
        let begun = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let span = Span {
            trace: 0x0102,
            id: 0x0304,
            parent: Some(0x0506),
            name: "GET web/routes[0]".to_owned(),
            kind: Kind::Server,
            begun,
            ended: begun + Duration::from_millis(5),
            attributes: vec![
                ("url.path", Value::from("/a")),
                ("http.response.status_code", Value::Integer(503)),
            ],
            error: true,
        };
        let inner = Span {
            parent: None,
            kind: Kind::Internal,
            ended: begun - Duration::from_secs(1),
            attributes: Vec::new(),
            error: false,
            ..span.clone()
        };
        let config = Tracing {
            service_name: "edge".to_owned(),
            resource: vec![("deployment.environment".to_owned(), "test".to_owned())],
            ..Tracing::for_tests()
        };
        let bytes = encode(&config, vec![span, inner]);
        let read = ExportTraceServiceRequest::decode(&bytes[..]).expect("it decodes");

        let [resource] = &read.resource_spans[..] else {
            panic!("{read:?}");
        };
        let attributes = &resource.resource.as_ref().expect("a resource").attributes;
        let said: Vec<_> = attributes
            .iter()
            .map(|pair| {
                let value = pair.value.clone().and_then(|value| value.value);
                (pair.key.as_str(), value)
            })
            .collect();
        let text = |text: &str| Some(any_value::Value::StringValue(text.to_owned()));
        assert_eq!(
            said,
            [
                ("service.name", text("edge")),
                ("deployment.environment", text("test"))
            ]
        );
        let scope = &resource.scope_spans[0];
        assert_eq!(scope.scope.as_ref().expect("a scope").name, "cofferdam");
        let [first, second] = &scope.spans[..] else {
            panic!("{scope:?}");
        };
        assert_eq!(first.trace_id, 0x0102_u128.to_be_bytes());
        assert_eq!(first.span_id, 0x0304_u64.to_be_bytes());
        assert_eq!(first.parent_span_id, 0x0506_u64.to_be_bytes());
        assert_eq!((first.kind, &first.name[..]), (2, "GET web/routes[0]"));
        assert_eq!(first.start_time_unix_nano, 1_700_000_000_123_456_789);
        assert_eq!(first.end_time_unix_nano, 1_700_000_000_128_456_789);
        assert_eq!(first.status.as_ref().expect("a status").code, 2);
        let status = first.attributes[1].value.clone().and_then(|it| it.value);
        assert_eq!(status, Some(any_value::Value::IntValue(503)));
        assert!(second.parent_span_id.is_empty() && second.status.is_none());
        assert_eq!(second.end_time_unix_nano, second.start_time_unix_nano);
    }
}
