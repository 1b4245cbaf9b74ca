//! From parts and a record to bytes.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use cofferdam_abi::FilterState;
use http::{HeaderMap, Version};

use super::moments::{Unit, between};
use super::operator::{Message, Name, Part, Which};
use super::plain::{Field, Form, Holder, Operator, Side, Whose};
use super::{Flags, Record};
use crate::tls::{Session, certificate};

/// What a part has to say.
enum Value<'a> {
    Absent,
    Address(SocketAddr),
    /// Without its port.
    Ip(SocketAddr),
    Bytes(&'a [u8]),
    Flags(Flags),
    /// The same in words.
    LongFlags(Flags),
    Number(u64),
    /// Filter and callback.
    Place(&'a str, &'a str),
    Text(String),
    Time(SystemTime),
}

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

/// Appends a JSON string.
pub(super) fn json_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    json_bytes(bytes, out);
    out.push(b'"');
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
        Part::Parameter { name, max } => match parameter(name, record.path) {
            Some(value) if !value.is_empty() => {
                Value::Bytes(&value[..max.unwrap_or(usize::MAX).min(value.len())])
            }
            _ => Value::Absent,
        },
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
    let text = |text: Option<&'a str>| match text {
        Some(text) if !text.is_empty() => Value::Bytes(text.as_bytes()),
        _ => Value::Absent,
    };
    match operator {
        Operator::Address(whose, form) => address(whose, form, record),
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
        Operator::ConnectionId => Value::Number(record.connection),
        Operator::Duration => {
            Value::Number(u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX))
        }
        Operator::EmitTime => Value::Time(SystemTime::now()),
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
        Operator::HostName => Value::Absent,
        Operator::Protocol => text(record.protocol.map(protocol)),
        Operator::RequestId => match record.request_headers.get("x-request-id") {
            Some(id) => Value::Bytes(id.as_bytes()),
            None => Value::Absent,
        },
        Operator::ServerName(Side::Downstream) => text(record.server_name),
        Operator::ServerName(side) => {
            text(session(side, record).and_then(|tls| tls.server_name.as_deref()))
        }
        Operator::ResponseCode => Value::Number(record.status.unwrap_or(0).into()),
        Operator::ResponseCodeDetails => text(record.details),
        Operator::ResponseFlags | Operator::ResponseFlagsLong if record.flags.is_empty() => {
            Value::Absent
        }
        Operator::ResponseFlags => Value::Flags(record.flags),
        Operator::ResponseFlagsLong => Value::LongFlags(record.flags),
        Operator::RouteName => text(record.route),
        Operator::SpanId => match record.span {
            Some((_, span)) => Value::Text(format!("{span:016x}")),
            None => text(trace(record.request_headers).map(|(_, span)| span)),
        },
        Operator::StreamId => match (record.protocol, record.request_headers.get("x-request-id")) {
            (None, _) => Value::Number(record.connection),
            (_, Some(id)) => Value::Bytes(id.as_bytes()),
            (Some(_), None) => Value::Absent,
        },
        Operator::TerminationDetails if record.protocol.is_none() => text(record.details),
        Operator::TerminationDetails => Value::Absent,
        Operator::TraceId => match record.span {
            Some((trace, _)) => Value::Text(format!("{trace:032x}")),
            None => text(trace(record.request_headers).map(|(trace, _)| trace)),
        },
        Operator::UniqueId => {
            let id = crate::headers::uuid(fastrand::u128(..));
            Value::Text(String::from_utf8_lossy(&id).into_owned())
        }
        Operator::UpstreamProtocol => text(record.upstream_protocol.map(protocol)),
        Operator::StartTime => Value::Time(record.start),
        Operator::TlsCipher(side) => text(session(side, record).and_then(|tls| tls.cipher)),
        Operator::TlsGroup(side) => text(session(side, record).and_then(|tls| tls.group)),
        Operator::TlsSessionId => Value::Absent,
        Operator::TlsVersion(side) => text(session(side, record).and_then(|tls| tls.version)),
        Operator::TransportFailure => text(record.transport_failure),
        Operator::UpstreamCluster => text(record.upstream_cluster),
    }
}

fn address<'a>(whose: Whose, form: Form, record: &Record<'a>) -> Value<'a> {
    let address = match whose {
        Whose::Downstream => record.downstream_remote,
        Whose::Direct => record.downstream_direct,
        Whose::Listener => record.downstream_local,
        Whose::Upstream => record.upstream_host,
        Whose::UpstreamLocal => record.upstream_local,
    };
    match (address, form) {
        (None, _) => Value::Absent,
        (Some(address), Form::Whole) => Value::Address(address),
        (Some(address), Form::Ip) => Value::Ip(address),
        (Some(address), Form::Port) => Value::Number(address.port().into()),
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
    let (fields, pseudo) = match from {
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
    // In HTTP/1 the authority came as a field, which has been counted.
    let fields = fields.into_iter().flatten();
    let fields = fields.filter(|(name, _)| from != Message::Request || *name != http::header::HOST);
    let bytes: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    (bytes + pseudo) as u64
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

/// The first value of a parameter of the query, as it was sent.
fn parameter<'a>(name: &str, path: &'a str) -> Option<&'a [u8]> {
    let (_, query) = path.split_once('?')?;
    let query = query.split('#').next()?;
    let mut pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.as_bytes())
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

/// Writes one value as text; `bytes` writes what somebody else chose.
fn write_value(value: &Value<'_>, out: &mut Vec<u8>, bytes: fn(&[u8], &mut Vec<u8>)) {
    match *value {
        Value::Absent => out.push(b'-'),
        Value::Address(address) => write_display(address, out),
        Value::Ip(address) => write_display(address.ip(), out),
        Value::Bytes(text) => bytes(text, out),
        Value::Flags(flags) => write_display(flags, out),
        Value::LongFlags(flags) => {
            for (at, name) in flags.long_names().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b"," });
                out.extend_from_slice(name.as_bytes());
            }
        }
        Value::Number(number) => write_number(number, out),
        Value::Place(filter, callback) => {
            bytes(filter.as_bytes(), out);
            out.push(b'/');
            bytes(callback.as_bytes(), out);
        }
        Value::Text(ref text) => bytes(text.as_bytes(), out),
        Value::Time(time) => write_time(time, out),
    }
}

fn write_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to a `Vec` does not fail.
    let _ = write!(out, "{value}");
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// nginx's rule for its logs: nothing passes that could end a line, close a quote or be
/// taken for anything but text.
fn text_bytes(mut bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    loop {
        let plain = bytes.iter().position(|byte| !is_plain(byte));
        out.extend_from_slice(&bytes[..plain.unwrap_or(bytes.len())]);
        let Some(at) = plain else { return };
        out.extend_from_slice(b"\\x");
        hex(bytes[at], out);
        bytes = &bytes[at + 1..];
    }
}

/// What JSON wants escaped. Bytes that are no UTF-8 become the replacement character.
fn json_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        loop {
            let special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f);
            let end = rest.iter().position(special);
            out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            let Some(at) = end else { break };
            match rest[at] {
                byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
                byte => {
                    out.extend_from_slice(b"\\u00");
                    hex(byte, out);
                }
            }
            rest = &rest[at + 1..];
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 0xf)]);
}

/// ISO 8601 in UTC with milliseconds. Times before 1970 read as 1970.
fn write_time(time: SystemTime, out: &mut Vec<u8>) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    );
}

/// The date of a day counted from 1970-01-01. Years are counted from March, so that the
/// leap day is the last one and months have a regular pattern of lengths.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}
