//! Operators of what was asked for and answered.

use super::super::moments::Moment;
use super::super::operator::Message;
use super::{Operator, Row, row};

pub(super) const ROWS: &[Row] = &[
    row(
        "ACCESS_LOG_TYPE",
        Operator::LogType,
        "`DownstreamEnd`, or `TcpConnectionEnd` of a connection that is not HTTP.",
    ),
    row(
        "BYTES_RECEIVED",
        Operator::BytesReceived,
        "Body bytes from the client.",
    ),
    row(
        "BYTES_SENT",
        Operator::BytesSent,
        "Body bytes to the client.",
    ),
    row(
        "DURATION",
        Operator::Duration,
        "Milliseconds from the request's head to the end of the response.",
    ),
    row(
        "EMIT_TIME",
        Operator::EmitTime,
        "When the line is written, as ISO 8601 in UTC with milliseconds.",
    ),
    row(
        "EMIT_TIME_LOCAL",
        Operator::EmitLocal,
        "When the line is written, in local time with its distance from UTC.",
    ),
    row(
        "FILTER",
        Operator::Filter,
        "Ours: the filter that decided the answer, and in which callback.",
    ),
    row(
        "GRPC_STATUS",
        Operator::GrpcStatus,
        "The response's `grpc-status` as a word, such as `NotFound`.",
    ),
    row(
        "GRPC_STATUS_NUMBER",
        Operator::GrpcStatusNumber,
        "The response's `grpc-status` as a number.",
    ),
    row("HOSTNAME", Operator::HostName, "The name of this machine."),
    row(
        "PROTOCOL",
        Operator::Protocol,
        "What the client speaks: `HTTP/1.1`.",
    ),
    row("QUERY_PARAMS", Operator::Query, "The query as it was sent."),
    row(
        "REQUEST_DURATION",
        Operator::Between(Moment::RequestBegun, Moment::RequestComplete),
        "Milliseconds from the request's head to its last byte.",
    ),
    row(
        "REQUEST_HEADERS_BYTES",
        Operator::HeaderBytes(Message::Request),
        "Bytes of the request's header names and values, `:method` and its like among them.",
    ),
    row(
        "REQUEST_ID",
        Operator::RequestId,
        "Ours: `%REQ(X-REQUEST-ID)%`.",
    ),
    row(
        "REQUEST_TX_DURATION",
        Operator::Between(Moment::RequestBegun, Moment::RequestComplete),
        "Milliseconds from the request's head until its last byte had been handed to the upstream.",
    ),
    row(
        "RESPONSE_CODE",
        Operator::ResponseCode,
        "The status; 0 when none was sent.",
    ),
    row(
        "RESPONSE_CODE_DETAILS",
        Operator::ResponseCodeDetails,
        "In a word or two, why the response is what it is.",
    ),
    row(
        "RESPONSE_DURATION",
        Operator::Between(Moment::RequestBegun, Moment::ResponseBegun),
        "Milliseconds from the request's head to that of the upstream's response.",
    ),
    row(
        "RESPONSE_FLAGS",
        Operator::ResponseFlags,
        "What went wrong, in letters: `UT,WF`.",
    ),
    row(
        "RESPONSE_FLAGS_LONG",
        Operator::ResponseFlagsLong,
        "What went wrong, in words: `UpstreamRequestTimeout`.",
    ),
    row(
        "RESPONSE_HEADERS_BYTES",
        Operator::HeaderBytes(Message::Response),
        "Bytes of the response's header names and values.",
    ),
    row(
        "RESPONSE_TRAILERS_BYTES",
        Operator::HeaderBytes(Message::Trailers),
        "Bytes of the names and values of the response's trailers.",
    ),
    row(
        "RESPONSE_TX_DURATION",
        Operator::Between(Moment::ResponseBegun, Moment::Over),
        "Milliseconds from the head of the upstream's response to the last byte to the client.",
    ),
    row(
        "ROUTE_NAME",
        Operator::RouteName,
        "The route's position in the configuration: `web/routes[2]`.",
    ),
    row(
        "SPAN_ID",
        Operator::SpanId,
        "Our span of the request, where requests are traced; else the one that the client's `traceparent` or B3 headers name.",
    ),
    row(
        "START_TIME",
        Operator::StartTime,
        "When the request's head was complete, as ISO 8601 in UTC with milliseconds.",
    ),
    row(
        "START_TIME_LOCAL",
        Operator::StartLocal,
        "When the request's head was complete, in local time with its distance from UTC.",
    ),
    row(
        "STREAM_ID",
        Operator::StreamId,
        "The request's `x-request-id`; of a connection that is not HTTP its number.",
    ),
    row(
        "TRACE_ID",
        Operator::TraceId,
        "The trace that the request is in; where requests are not traced, the one that the client's `traceparent` or B3 headers name.",
    ),
    row(
        "UNIQUE_ID",
        Operator::UniqueId,
        "A random UUID, another for each line.",
    ),
];
