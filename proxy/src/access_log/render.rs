//! From parts and a record to bytes.

use std::time::SystemTime;

use chrono::{DateTime, Local, Utc};
use cofferdam_abi::FilterState;
use http::{HeaderMap, Version};
use percent_encoding::percent_decode_str;

use super::Record;
use super::moments::{Unit, between};
use super::noted::fields;
use super::operator::{Message, Name, Part, Which};
use super::peers::{address, address_of, attempted, host, network};
use super::plain::{Course, Field, Holder, Operator, Side, Whose};
use super::write::{Value, json_bytes, text_bytes, write_number, write_value};
use crate::tls::{Session, certificate};

/// Appends a line of text, without a line break.
pub(super) fn text(parts: &[Part], record: &Record<'_>, out: &mut Vec<u8>) {
    for part in parts {
        match value(part, record) {
            // The template is the operator's own and was checked when it was read.
            Value::Bytes(literal) if matches!(part, Part::Literal(_)) => {
                out.extend_from_slice(literal);
            }
            value => write_value(&value, out, text_bytes),
        }
    }
}

/// Appends a JSON object, without a line break.
pub(super) fn json(fields: &[(String, Vec<Part>)], record: &Record<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, parts)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        if let [part] = parts.as_slice() {
            match value(part, record) {
                Value::Absent => {
                    out.extend_from_slice(b"null");
                    continue;
                }
                Value::Number(number) => {
                    write_number(number, out);
                    continue;
                }
                Value::Plain(plain) => {
                    out.extend_from_slice(plain.as_bytes());
                    continue;
                }
                _ => {}
            }
        }
        out.push(b'"');
        for part in parts {
            write_value(&value(part, record), out, json_bytes);
        }
        out.push(b'"');
    }
    out.push(b'}');
}

fn value<'a>(part: &'a Part, record: &Record<'a>) -> Value<'a> {
    match part {
        Part::Literal(literal) => Value::Bytes(literal.as_bytes()),
        Part::Plain(operator) => plain(*operator, record),
        Part::Start(items) => {
            let start: DateTime<Utc> = record.start.into();
            Value::Text(start.format_with_items(items.iter()).to_string())
        }
        Part::Emitted(items) => {
            let now: DateTime<Utc> = SystemTime::now().into();
            Value::Text(now.format_with_items(items.iter()).to_string())
        }
        Part::Local { now, items } => {
            let time = if *now {
                SystemTime::now()
            } else {
                record.start
            };
            let time: DateTime<Local> = time.into();
            Value::Text(time.format_with_items(items.iter()).to_string())
        }
        Part::Network { whose, bits } => match address_of(*whose, record) {
            Some(address) => Value::Text(network(address.ip(), *bits)),
            None => Value::Absent,
        },
        Part::Expression {
            expression,
            typed,
            max,
        } => {
            let found = record.exchange.and_then(|it| expression.evaluate(it));
            found.map_or(Value::Absent, |found| evaluated(found, *typed, *max))
        }
        Part::DetailsAsSaid => Value::text(record.details),
        Part::Host { tls, which } => host(*tls, *which, record),
        Part::Between { from, to, unit } => {
            let taken = between(*from, *to, &record.times, record.duration);
            taken.map_or(Value::Absent, |taken| Value::Number(unit.count(taken)))
        }
        Part::Path { query, which, max } => cut(path(*query, *which, record), *max),
        Part::State { name, max } => {
            match record.filter_state.and_then(|state| stored(state, name)) {
                Some(value) => cut(Value::Bytes(value), *max),
                None => Value::Absent,
            }
        }
        Part::Coalesce(parts) => {
            let mut values = parts.iter().map(|part| value(part, record));
            let there = values.find(|value| !matches!(value, Value::Absent));
            there.unwrap_or(Value::Absent)
        }
        Part::Validity { side, field, items } => {
            let der = session(*side, record).and_then(|tls| shown(tls, Holder::Peer));
            match der.and_then(|der| edge(der, *field)) {
                Some(time) => Value::Text(time.format_with_items(items.iter()).to_string()),
                None => Value::Absent,
            }
        }
        Part::Parameter { name, max } => {
            let value = parameter(name, record.path).filter(|value| !value.is_empty());
            value.map_or(Value::Absent, |value| {
                let mut value: Vec<u8> = percent_decode_str(value).collect();
                value.truncate(max.unwrap_or(usize::MAX));
                Value::Owned(value)
            })
        }
        Part::Field {
            from,
            name,
            alternative,
            max,
        } => {
            let field = |name| field(*from, name, record);
            let found = match (field(name), alternative) {
                (Value::Absent, Some(other)) => field(other),
                (found, _) => found,
            };
            cut(found, *max)
        }
    }
}

/// What an expression came to; lists, maps and messages have no text.
fn evaluated(found: cofferdam_abi::Value, typed: bool, max: Option<usize>) -> Value<'static> {
    use cofferdam_abi::Value as Found;
    let plain = match found {
        Found::Bytes(bytes) => {
            let mut bytes = bytes.to_vec();
            bytes.truncate(max.unwrap_or(usize::MAX));
            return Value::Owned(bytes);
        }
        Found::Int(number) => number.to_string(),
        Found::Uint(number) => number.to_string(),
        Found::Double(number) if number.is_finite() => number.to_string(),
        Found::Bool(truth) => truth.to_string(),
        Found::Duration(length) => return Value::Text(format!("{}s", length.as_secs_f64())),
        Found::Timestamp(since) => {
            let time = SystemTime::UNIX_EPOCH.checked_add(since);
            return time.map_or(Value::Absent, Value::Time);
        }
        _ => return Value::Absent,
    };
    match typed {
        true => Value::Plain(plain),
        false => Value::Text(plain[..max.unwrap_or(usize::MAX).min(plain.len())].to_owned()),
    }
}

fn cut(value: Value<'_>, max: Option<usize>) -> Value<'_> {
    match (value, max) {
        (Value::Bytes(bytes), Some(max)) => Value::Bytes(&bytes[..bytes.len().min(max)]),
        (value, _) => value,
    }
}

fn path<'a>(query: bool, which: Which, record: &Record<'a>) -> Value<'a> {
    let original = || {
        let field = record.request_headers.get("x-envoy-original-path")?;
        Some(field.as_bytes())
    };
    let present = || Some(record.path.as_bytes());
    let found = match which {
        Which::Original => original(),
        Which::Present => present(),
        Which::OriginalOrPresent => original().or_else(present),
    };
    let Some(found) = found.filter(|path| !path.is_empty()) else {
        return Value::Absent;
    };
    let end = found.iter().position(|byte| !query && *byte == b'?');
    Value::Bytes(&found[..end.unwrap_or(found.len())])
}

/// Filters store by a bare name, which Envoy shows as `wasm.NAME`; and objects.
fn stored<'a>(state: &'a FilterState, name: &str) -> Option<&'a [u8]> {
    let bare = name.strip_prefix("wasm.").unwrap_or(name);
    let value = state.value(bare.as_bytes());
    let value = value.or_else(|| state.object(name.as_bytes()));
    value.map(|value| &value[..])
}

fn plain<'a>(operator: Operator, record: &Record<'a>) -> Value<'a> {
    let number = |number: Option<u64>| number.map_or(Value::Absent, Value::Number);
    match operator {
        Operator::Address(whose, form) => address(whose, form, record),
        Operator::Attempted(what) => attempted(what, record.noted.attempts),
        Operator::Attempts => Value::Number(record.attempts),
        Operator::Between(from, to) => {
            let taken = between(from, to, &record.times, record.duration);
            taken.map_or(Value::Absent, |taken| {
                Value::Number(Unit::Millis.count(taken))
            })
        }
        Operator::BytesReceived => Value::Number(record.bytes_received),
        Operator::BytesSent => Value::Number(record.bytes_sent),
        Operator::Certificate(side, holder, field) => {
            let der = session(side, record).and_then(|tls| shown(tls, holder));
            match (der, field) {
                (None, _) => Value::Absent,
                (Some(der), Field::From | Field::Until) => {
                    edge(der, field).map_or(Value::Absent, |time| Value::Time(time.into()))
                }
                (Some(der), _) => match certificate(der, field) {
                    Some(text) if !text.is_empty() => Value::Text(text),
                    _ => Value::Absent,
                },
            }
        }
        Operator::Chain(field) => {
            let chain = record.tls.map_or(&[][..], |tls| &tls.peer_issuers);
            let own = record.tls.and_then(|tls| tls.peer_certificate.as_deref());
            let all = own.into_iter().chain(chain.iter().map(|der| &**der));
            Value::list(all.filter_map(|der| certificate(der, field)))
        }
        Operator::ChainIssuer(field) => {
            let issuer = record.tls.and_then(|tls| tls.peer_issuers.first());
            let told = issuer.and_then(|der| certificate(der, field));
            told.map_or(Value::Absent, Value::Text)
        }
        Operator::CloseReason(Side::Downstream) => Value::text(record.closed_here.0),
        Operator::CloseReason(Side::Upstream) => Value::text(record.closed_here.1),
        Operator::CloseType(side) => {
            let (there, reset) = match side {
                Side::Downstream => (true, record.noted.client_reset),
                Side::Upstream => (record.attempts > 0, record.noted.upstream_reset),
            };
            match (there, reset) {
                (false, _) => Value::Absent,
                (true, true) => Value::Bytes(b"RemoteReset"),
                (true, false) => Value::Bytes(b"Normal"),
            }
        }
        Operator::ConnectionId => Value::Number(record.connection),
        Operator::Duration => {
            Value::Number(u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX))
        }
        Operator::EmitLocal => local(SystemTime::now()),
        Operator::EmitTime => Value::Time(SystemTime::now()),
        Operator::Empty => Value::Bytes(b""),
        Operator::FieldBytes(side, course) => Value::Number(size(side, course, record).fields),
        Operator::Filter => match record.decided_by {
            Some((filter, callback)) => Value::Place(filter, callback),
            None => Value::Absent,
        },
        Operator::GrpcStatus => match grpc_status(record) {
            Some(code) => match GRPC_STATUS.get(usize::try_from(code).unwrap_or(usize::MAX)) {
                Some(name) => Value::Bytes(name.as_bytes()),
                None => Value::Number(code),
            },
            None => Value::Absent,
        },
        Operator::GrpcStatusNumber => grpc_status(record).map_or(Value::Absent, Value::Number),
        Operator::GrpcStatusSnake => match grpc_status(record) {
            Some(code) => match GRPC_STATUS.get(usize::try_from(code).unwrap_or(usize::MAX)) {
                Some(name) => Value::Text(snake(name)),
                None => Value::Number(code),
            },
            None => Value::Absent,
        },
        Operator::Handshake => match (record.protocol, record.handshake) {
            (None, Some(taken)) => Value::Number(Unit::Millis.count(taken)),
            _ => Value::Absent,
        },
        Operator::HeadBytes(side, course) => match record.protocol {
            Some(_) => number(size(side, course, record).lines),
            None => Value::Number(0),
        },
        Operator::HeaderBytes(from) => Value::Number(header_bytes(from, record)),
        Operator::LogType => Value::Bytes(match record.protocol {
            Some(_) => b"DownstreamEnd",
            None => b"TcpConnectionEnd",
        }),
        Operator::PoolReady => match record.times.pool_ready {
            Some(taken) => Value::Number(Unit::Millis.count(taken)),
            None => Value::Absent,
        },
        // The parser has put it down.
        Operator::HostName | Operator::Never => Value::Absent,
        Operator::Protocol => Value::text(record.protocol.map(protocol)),
        Operator::Query => Value::text(record.path.split_once('?').map(|(_, query)| query)),
        Operator::RequestId => match record.request_headers.get("x-request-id") {
            Some(id) => Value::Bytes(id.as_bytes()),
            None => Value::Absent,
        },
        Operator::ServerName(Side::Downstream) => Value::text(record.server_name),
        Operator::ServerName(side) => {
            Value::text(session(side, record).and_then(|tls| tls.server_name.as_deref()))
        }
        Operator::ResponseCode => Value::Number(record.status.unwrap_or(0).into()),
        Operator::ResponseCodeDetails => Value::words(record.details),
        Operator::ResponseFlags | Operator::ResponseFlagsLong if record.flags.is_empty() => {
            Value::Absent
        }
        Operator::ResponseFlags => Value::Flags(record.flags),
        Operator::ResponseFlagsLong => Value::LongFlags(record.flags),
        Operator::RouteName => Value::text(record.route),
        Operator::SpanId => match record.span {
            Some((_, span)) => Value::Text(format!("{span:016x}")),
            None => Value::text(trace(record.request_headers).map(|(_, span)| span)),
        },
        Operator::StreamId => match (record.protocol, record.request_headers.get("x-request-id")) {
            (None, _) => Value::Number(record.connection),
            (_, Some(id)) => Value::Bytes(id.as_bytes()),
            (Some(_), None) => Value::Absent,
        },
        Operator::TerminationDetails if record.protocol.is_none() => Value::text(record.details),
        Operator::TerminationDetails => Value::Absent,
        Operator::TraceId => match record.span {
            Some((trace, _)) => Value::Text(format!("{trace:032x}")),
            None => Value::text(trace(record.request_headers).map(|(trace, _)| trace)),
        },
        Operator::UniqueId => {
            let id = crate::headers::uuid(fastrand::u128(..));
            Value::Text(String::from_utf8_lossy(&id).into_owned())
        }
        Operator::UpstreamProtocol => Value::text(record.upstream_protocol.map(protocol)),
        Operator::StartLocal => local(record.start),
        Operator::StartTime => Value::Time(record.start),
        Operator::TlsCipher(side) => Value::text(session(side, record).and_then(|tls| tls.cipher)),
        Operator::TlsGroup(side) => Value::text(session(side, record).and_then(|tls| tls.group)),
        Operator::TlsVersion(side) => {
            Value::text(session(side, record).and_then(|tls| tls.version))
        }
        Operator::TransportFailure => Value::words(record.transport_failure),
        Operator::UpstreamCluster => Value::text(record.upstream_cluster),
        Operator::UpstreamConnection => {
            let last = record.noted.attempts.last();
            Value::Number(last.and_then(|it| it.connection).unwrap_or(0))
        }
        Operator::UpstreamName(form) => {
            let last = record.noted.attempts.last();
            match last.and_then(|it| it.name.as_deref()) {
                // It has no port.
                Some(name) => Value::Text(name.to_owned()),
                None => address(Whose::Upstream, form, record),
            }
        }
        Operator::WireBytes(side, course) => number(size(side, course, record).wire),
        Operator::Zero => Value::Number(0),
    }
}

/// With the distance from UTC.
fn local(time: SystemTime) -> Value<'static> {
    let time: DateTime<Local> = time.into();
    Value::Text(time.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string())
}

fn size(side: Side, course: Course, record: &Record<'_>) -> super::Size {
    let both = match side {
        Side::Downstream => &record.noted.downstream,
        Side::Upstream => &record.noted.upstream,
    };
    match course {
        Course::Received => both.received,
        Course::Sent => both.sent,
    }
}

fn session<'a>(side: Side, record: &Record<'a>) -> Option<&'a Session> {
    match side {
        Side::Downstream => record.tls,
        Side::Upstream => record.upstream_tls,
    }
}

fn shown(tls: &Session, holder: Holder) -> Option<&[u8]> {
    match holder {
        Holder::Own => tls.own_certificate.as_deref(),
        Holder::Peer => tls.peer_certificate.as_deref(),
    }
}

fn certificate(der: &[u8], field: Field) -> Option<String> {
    Some(match field {
        Field::Subject => return certificate::subject(der),
        Field::Issuer => return certificate::issuer(der),
        Field::Serial => return certificate::serial(der),
        Field::Dns => certificate::dns_names(der).join(","),
        Field::Uri => certificate::uri_names(der).join(","),
        Field::Ip => certificate::ip_names(der).join(","),
        Field::Email => certificate::email_names(der).join(","),
        Field::Other => certificate::other_names(der).join(","),
        Field::Digest => certificate::digest(der),
        Field::Sha1 => certificate::digest_sha1(der),
        Field::Pem => certificate::pem_for_url(der),
        Field::From | Field::Until => return None,
    })
}

/// From when, or until when, a certificate is good.
fn edge(der: &[u8], field: Field) -> Option<DateTime<Utc>> {
    let (from, until) = certificate::validity(der)?;
    DateTime::from_timestamp(if field == Field::Until { until } else { from }, 0)
}

/// Of the trailers, or of a response that is over with its headers.
fn grpc_status(record: &Record<'_>) -> Option<u64> {
    let of = |headers: Option<&HeaderMap>| {
        let text = headers?.get("grpc-status")?.to_str().ok()?;
        text.parse().ok()
    };
    of(record.response_trailers).or_else(|| of(record.response_headers))
}

/// `NotFound` as `NOT_FOUND`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    // These two are words of their own in Envoy.
    if let "OK" | "Canceled" = name {
        return if name == "OK" { "OK" } else { "CANCELLED" }.to_owned();
    }
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// Names and values, as Envoy counts them, pseudo-headers among them.
fn header_bytes(from: Message, record: &Record<'_>) -> u64 {
    let (headers, pseudo): (_, usize) = match from {
        Message::Request => {
            let pseudo = [
                (":method", record.method),
                (":scheme", record.scheme),
                (":authority", record.authority),
                (":path", record.path),
            ];
            let there = pseudo.iter().filter(|(_, value)| !value.is_empty());
            let bytes = there.map(|(name, value)| name.len() + value.len()).sum();
            (Some(record.request_headers), bytes)
        }
        Message::Response if record.status.is_some() => {
            (record.response_headers, ":status".len() + 3)
        }
        Message::Response => (None, 0),
        Message::Trailers => (record.response_trailers, 0),
    };
    let Some(headers) = headers else {
        return pseudo as u64;
    };
    // In HTTP/1 the authority came as a field, which has been counted.
    let host = match from {
        Message::Request => headers.get(http::header::HOST),
        _ => None,
    };
    let again = host.map_or(0, |host| "host".len() + host.len());
    fields(headers) + pseudo as u64 - again as u64
}

/// Trace and span, from W3C's header or either form of B3's.
fn trace(headers: &HeaderMap) -> Option<(&str, &str)> {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(parent) = text("traceparent") {
        let mut parts = parent.split('-').skip(1);
        return Some((parts.next()?, parts.next()?));
    }
    if let Some(single) = text("b3") {
        let mut parts = single.split('-');
        return Some((parts.next()?, parts.next()?));
    }
    Some((text("x-b3-traceid")?, text("x-b3-spanid").unwrap_or("")))
}

/// By number, in Envoy's spelling.
const GRPC_STATUS: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The first value of a parameter of the query, still escaped.
fn parameter<'a>(name: &str, path: &'a str) -> Option<&'a str> {
    let (_, query) = path.split_once('?')?;
    let query = query.split('#').next()?;
    let mut pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let found = pairs.find(|(key, _)| *key == name);
    found.map(|(_, value)| value)
}

fn field<'a>(from: Message, name: &Name, record: &Record<'a>) -> Value<'a> {
    let headers = match from {
        Message::Request => Some(record.request_headers),
        Message::Response => record.response_headers,
        Message::Trailers => record.response_trailers,
    };
    let text = match name {
        Name::Authority => record.authority,
        Name::Method => record.method,
        Name::Path => record.path,
        Name::Scheme => record.scheme,
        Name::Status => {
            let status = record.status;
            return status.map_or(Value::Absent, |status| Value::Number(status.into()));
        }
        Name::Field(name) => {
            return match headers.and_then(|headers| headers.get(name)) {
                Some(value) => Value::Bytes(value.as_bytes()),
                None => Value::Absent,
            };
        }
    };
    if text.is_empty() {
        return Value::Absent;
    }
    Value::Bytes(text.as_bytes())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
