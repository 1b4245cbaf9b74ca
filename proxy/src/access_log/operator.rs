//! From a template to its parts.
//!
//! `PLAIN` is the one list of operators without arguments; the parser, its suggestions and
//! the tests go by it. Adding one is a variant here, a row there and an arm in `render`,
//! which the compiler asks for.

use http::HeaderName;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Written as it stands.
    Literal(String),
    /// An operator without arguments.
    Plain(Operator),
    /// The first of these that is there, cut to a number of bytes.
    Field {
        from: Message,
        name: Name,
        alternative: Option<Name>,
        max: Option<usize>,
    },
}

/// An operator without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    BytesReceived,
    BytesSent,
    DownstreamLocalAddress,
    DownstreamLocalAddressWithoutPort,
    DownstreamLocalPort,
    DownstreamRemoteAddress,
    DownstreamRemoteAddressWithoutPort,
    DownstreamTlsVersion,
    Duration,
    Filter,
    Protocol,
    RequestId,
    RequestedServerName,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    RouteName,
    StartTime,
    UpstreamCluster,
    UpstreamHost,
}

/// Whose fields an operator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
    Trailers,
}

/// A field, or a pseudo-header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Authority,
    Field(HeaderName),
    Method,
    Path,
    Scheme,
    Status,
}

/// Cuts a template into its parts.
///
/// # Errors
/// One sentence: what is wrong, and what to do.
pub(super) fn parse(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find('%') {
        literal(&mut parts, &rest[..start]);
        let body = &rest[start + 1..];
        let Some(end) = body.find('%') else {
            return Err(format!(
                "`%{body}` has no closing `%`; close it, or write `%%` for a percent sign"
            ));
        };
        match &body[..end] {
            "" => literal(&mut parts, "%"),
            operator => parts.push(parse_operator(operator)?),
        }
        rest = &body[end + 1..];
    }
    literal(&mut parts, rest);
    Ok(parts)
}

/// Adds text, to the text before it if there is any.
fn literal(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Literal(before)) => before.push_str(text),
        _ => parts.push(Part::Literal(text.to_owned())),
    }
}

fn parse_operator(text: &str) -> Result<Part, String> {
    let name_end = text.find(['(', ':']).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if let Some(&(_, from)) = WITH_FIELD.iter().find(|(known, _)| *known == name) {
        return parse_field(text, from, rest);
    }
    let Some(&(_, operator)) = PLAIN.iter().find(|(known, _)| *known == name) else {
        return Err(format!(
            "`%{text}%` is not an operator; did you mean `{}`?",
            nearest(name)
        ));
    };
    if !rest.is_empty() {
        return Err(format!("`%{name}%` takes no arguments; leave `{rest}` out"));
    }
    Ok(Part::Plain(operator))
}

/// `(NAME)`, `(NAME?ALTERNATIVE)`, and `:LENGTH` after it.
fn parse_field(text: &str, from: Message, arguments: &str) -> Result<Part, String> {
    let wanted = || {
        format!(
            "`%{text}%` does not name a header; write it as `%REQ(NAME)%`, \
             `%REQ(NAME?OTHER)%` or `%REQ(NAME):LENGTH%`"
        )
    };
    let (names, length) = (arguments.strip_prefix('('))
        .and_then(|rest| rest.split_once(')'))
        .ok_or_else(wanted)?;
    let (name, alternative) = match names.split_once('?') {
        Some((name, alternative)) => (name, Some(alternative)),
        None => (names, None),
    };
    let max = match length.strip_prefix(':') {
        Some(digits) => Some(digits.parse().map_err(|_| {
            format!("`{digits}` in `%{text}%` is not a length; give a number of bytes")
        })?),
        None if length.is_empty() => None,
        None => return Err(wanted()),
    };
    Ok(Part::Field {
        from,
        name: parse_name(text, from, name)?,
        alternative: (alternative.map(|other| parse_name(text, from, other))).transpose()?,
        max,
    })
}

fn parse_name(text: &str, from: Message, name: &str) -> Result<Name, String> {
    let lower = name.to_ascii_lowercase();
    match (from, lower.as_str()) {
        (Message::Request, ":authority" | "host") => Ok(Name::Authority),
        (Message::Request, ":method") => Ok(Name::Method),
        (Message::Request, ":path") => Ok(Name::Path),
        (Message::Request, ":scheme") => Ok(Name::Scheme),
        (Message::Response, ":status") => Ok(Name::Status),
        _ => HeaderName::from_bytes(lower.as_bytes())
            .map(Name::Field)
            .map_err(|_| format!("`{name}` in `%{text}%` is not a header name; correct it")),
    }
}

/// The known operator that takes the fewest changes to reach.
fn nearest(name: &str) -> &'static str {
    let name = name.to_ascii_uppercase();
    (PLAIN.iter().map(|&(known, _)| known))
        .chain(WITH_FIELD.iter().map(|&(known, _)| known))
        .min_by_key(|known| distance(&name, known))
        .unwrap_or_default()
}

/// Letters to add, remove or replace on the way from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

const WITH_FIELD: [(&str, Message); 3] = [
    ("REQ", Message::Request),
    ("RESP", Message::Response),
    ("TRAILER", Message::Trailers),
];

/// Names are Envoy's, but for `FILTER` and `REQUEST_ID`.
pub(super) const PLAIN: [(&str, Operator); 20] = [
    ("BYTES_RECEIVED", Operator::BytesReceived),
    ("BYTES_SENT", Operator::BytesSent),
    ("DOWNSTREAM_LOCAL_ADDRESS", Operator::DownstreamLocalAddress),
    (
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Operator::DownstreamLocalAddressWithoutPort,
    ),
    ("DOWNSTREAM_LOCAL_PORT", Operator::DownstreamLocalPort),
    (
        "DOWNSTREAM_REMOTE_ADDRESS",
        Operator::DownstreamRemoteAddress,
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::DownstreamRemoteAddressWithoutPort,
    ),
    ("DOWNSTREAM_TLS_VERSION", Operator::DownstreamTlsVersion),
    ("DURATION", Operator::Duration),
    ("FILTER", Operator::Filter),
    ("PROTOCOL", Operator::Protocol),
    ("REQUESTED_SERVER_NAME", Operator::RequestedServerName),
    ("REQUEST_ID", Operator::RequestId),
    ("RESPONSE_CODE", Operator::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Operator::ResponseCodeDetails),
    ("RESPONSE_FLAGS", Operator::ResponseFlags),
    ("ROUTE_NAME", Operator::RouteName),
    ("START_TIME", Operator::StartTime),
    ("UPSTREAM_CLUSTER", Operator::UpstreamCluster),
    ("UPSTREAM_HOST", Operator::UpstreamHost),
];
