//! From a template to its parts.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::format::{Item, StrftimeItems};
use cofferdam_abi::Expression;
use http::HeaderName;

use super::coalesce;
use super::moments::{Moment, Unit};
use super::plain::{self, Field, Form, Operator, Side, Whose};

/// One piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// Written as it stands.
    Literal(String),
    /// An operator without arguments.
    Plain(Operator),
    /// When the request began, as a format of strftime has it, in UTC.
    Start(Vec<Item<'static>>),
    /// When the peer's certificate begins or ceases to be good, in the same way.
    Validity {
        side: Side,
        field: Field,
        items: Vec<Item<'static>>,
    },
    /// When the line is written, in the same way.
    Emitted(Vec<Item<'static>>),
    /// Either in local time.
    Local {
        now: bool,
        items: Vec<Item<'static>>,
    },
    /// The network that an address is in, by the number of its first bits.
    Network { whose: Whose, bits: u8 },
    /// A CEL expression; `typed` keeps its type in JSON.
    Expression {
        expression: Arc<Expression>,
        typed: bool,
        max: Option<usize>,
    },
    /// Why the response is what it is, as it was said.
    DetailsAsSaid,
    /// What the client asked for, by TLS or by its request.
    Host { tls: Turn, which: Which },
    /// How long it took from one to the other.
    Between {
        from: Moment,
        to: Moment,
        unit: Unit,
    },
    /// The path, with or without its query; as it came first, or as it is; cut to a number of
    /// bytes.
    Path {
        query: bool,
        which: Which,
        max: Option<usize>,
    },
    /// What filters have stored under a name, cut to a number of bytes.
    State { name: String, max: Option<usize> },
    /// The first of these that is there.
    Coalesce(Vec<Self>),
    /// A parameter of the query as it was sent, cut to a number of bytes.
    Parameter { name: String, max: Option<usize> },
    /// The first of these that is there, cut to a number of bytes.
    Field {
        from: Message,
        name: Name,
        alternative: Option<Name>,
        max: Option<usize>,
    },
}

/// Whether what TLS was asked for comes first, last or alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Only,
    First,
    Last,
}

/// Which path, or which host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// That of `x-envoy-original-path`, or of `x-envoy-original-host`.
    Original,
    Present,
    OriginalOrPresent,
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

impl Part {
    /// Whether it asks for the exchange as filters see it.
    pub(super) fn is_evaluated(&self) -> bool {
        match self {
            Self::Expression { .. } => true,
            Self::Coalesce(parts) => parts.iter().any(Self::is_evaluated),
            _ => false,
        }
    }

    /// Whether it tells of what is noted of a request only where somebody asks.
    pub(super) fn is_noted(&self) -> bool {
        match self {
            Self::Plain(operator) => operator.is_noted(),
            Self::Between { from, to, .. } => from.is_noted() || to.is_noted(),
            Self::Coalesce(parts) => parts.iter().any(Self::is_noted),
            _ => false,
        }
    }
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
        let Some(end) = end_of(body) else {
            return Err(format!(
                "`%{}` has no closing `%`; close it, or write `%%` for a percent sign",
                short(body)
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

/// Where the operator ends: formats of times have percent signs of their own.
fn end_of(body: &str) -> Option<usize> {
    // Whose name another sign ends has no argument; a parenthesis further on is not its own.
    let name = match body.find(['(', '%', ':']) {
        Some(at) if body[at..].starts_with('(') => &body[..at],
        _ => "",
    };
    if name == "COALESCE" {
        // Its argument is JSON, whose text may have percent signs.
        let close = body.find("})")? + 2;
        return Some(close + body[close..].find('%')?);
    }
    if matches!(name, "CEL" | "TYPED_CEL") {
        // It may have parentheses, and percent signs.
        return body.match_indices(')').find_map(|(at, _)| {
            let behind = &body[at + 1..];
            let length = behind.find('%')?;
            let digits = behind[..length].strip_prefix(':');
            let ends = length == 0
                || digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            ends.then_some(at + 1 + length)
        });
    }
    if matches!(
        name.strip_suffix("_LOCAL").unwrap_or(name),
        "START_TIME" | "EMIT_TIME"
    ) || name.ends_with("_CERT_V_START")
        || name.ends_with("_CERT_V_END")
    {
        return Some(body.find(")%")? + 1);
    }
    body.find('%')
}

pub(super) fn parse_operator(text: &str) -> Result<Part, String> {
    let name_end = text.find(['(', ':']).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if let Some(&(_, from)) = WITH_FIELD.iter().find(|(known, _)| *known == name) {
        return parse_field(text, from, rest);
    }
    if let Some(format) = rest.strip_prefix('(') {
        let items = || parse_time(text, format.strip_suffix(')').unwrap_or(format));
        if name == "START_TIME" {
            return items().map(Part::Start);
        }
        if name == "EMIT_TIME" {
            return items().map(Part::Emitted);
        }
        if let Some(what @ ("START_TIME" | "EMIT_TIME")) = name.strip_suffix("_LOCAL") {
            let (now, items) = (what == "EMIT_TIME", items()?);
            return Ok(Part::Local { now, items });
        }
        match plain::find(name) {
            Some(Operator::Certificate(side, _, field @ (Field::From | Field::Until))) => {
                let items = items()?;
                return Ok(Part::Validity { side, field, items });
            }
            Some(Operator::Address(whose, Form::Ip)) => return parse_network(text, whose, rest),
            _ => {}
        }
    }
    if let "CEL" | "TYPED_CEL" = name {
        return parse_expression(text, name == "TYPED_CEL", rest);
    }
    if METADATA.contains(&name) {
        return parse_metadata(text, name, rest);
    }
    match (name, in_braces(rest)) {
        ("QUERY_PARAM", Some((name, length))) => {
            let name = name.to_owned();
            let max = parse_length(text, length)?;
            return Ok(Part::Parameter { name, max });
        }
        ("ENVIRONMENT", Some((name, length))) => {
            let max = parse_length(text, length)?;
            let value = std::env::var(name).unwrap_or_else(|_| "-".to_owned());
            let cut = max.map_or(value.len(), |max| value.floor_char_boundary(max));
            return Ok(Part::Literal(plain_text(&value[..cut])));
        }
        ("COMMON_DURATION", Some((points, ""))) => return parse_duration(text, points),
        ("RESPONSE_CODE_DETAILS", Some(("ALLOW_WHITESPACES", ""))) => {
            return Ok(Part::DetailsAsSaid);
        }
        ("REQUESTED_SERVER_NAME", Some((words, ""))) => return parse_host(text, words),
        // Envoy writes the same for both.
        ("QUERY_PARAMS", Some(("ORIG" | "DECODED", ""))) => {
            return Ok(Part::Plain(Operator::Query));
        }
        ("PATH", Some((words, length))) => return parse_path(text, words, length),
        ("PATH", None) if rest.is_empty() => return parse_path(text, "WQ", ""),
        ("FILTER_STATE" | "UPSTREAM_FILTER_STATE", Some((key, length))) => {
            // What form a value has is its filter's business.
            let key = key.split(':').next().unwrap_or(key).to_owned();
            let max = parse_length(text, length)?;
            return Ok(match name {
                "FILTER_STATE" => Part::State { name: key, max },
                // Nothing on the upstream's side stores any.
                _ => Part::Plain(Operator::Never),
            });
        }
        ("GRPC_STATUS", Some((form, ""))) => return parse_grpc(text, form),
        ("COALESCE", _) => return coalesce::parse(text, rest),
        ("COMMON_DURATION", _) => return Err(duration_wanted(text)),
        ("QUERY_PARAM" | "ENVIRONMENT" | "FILTER_STATE" | "UPSTREAM_FILTER_STATE", None) => {
            return Err(format!(
                "`%{text}%` names nothing; write it as `%{name}(NAME)%`"
            ));
        }
        _ => {}
    }
    let Some(operator) = plain::find(name) else {
        return Err(format!(
            "`%{}%` is not an operator; did you mean `{}`?",
            short(name),
            nearest(name)
        ));
    };
    if !rest.is_empty() {
        return Err(format!("`%{name}%` takes no arguments; leave `{rest}` out"));
    }
    Ok(match operator {
        // The same for every line.
        Operator::HostName => Part::Literal(plain_text(&host_name())),
        operator => Part::Plain(operator),
    })
}

/// Enough to find the place by: who forgets a sign has written a long operator.
fn short(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn parse_grpc(text: &str, form: &str) -> Result<Part, String> {
    match form {
        "CAMEL_STRING" => Ok(Part::Plain(Operator::GrpcStatus)),
        "SNAKE_STRING" => Ok(Part::Plain(Operator::GrpcStatusSnake)),
        "NUMBER" => Ok(Part::Plain(Operator::GrpcStatusNumber)),
        _ => Err(format!(
            "`{form}` in `%{text}%` is no form; write CAMEL_STRING, SNAKE_STRING or NUMBER"
        )),
    }
}

/// `(EXPRESSION)`, `(EXPRESSION):LENGTH`.
fn parse_expression(text: &str, typed: bool, rest: &str) -> Result<Part, String> {
    let inner = rest
        .strip_prefix('(')
        .and_then(|rest| rest.rsplit_once(')'));
    let (source, length) = inner
        .filter(|(source, _)| !source.is_empty())
        .ok_or_else(|| format!("`%{text}%` has no expression; write it as `%CEL(EXPRESSION)%`"))?;
    let max = parse_length(text, length)?;
    let parsed = Expression::parse(source);
    let expression = parsed.map_err(|why| {
        // One sentence, whatever the parser draws beside it.
        let why: Vec<_> = why.split_whitespace().collect();
        let why = why.join(" ");
        format!("`{source}` in `%{text}%` is no expression of CEL ({why}); correct it")
    })?;
    Ok(Part::Expression {
        expression: Arc::new(expression),
        typed,
        max,
    })
}

/// `(BITS)` behind an address.
fn parse_network(text: &str, whose: Whose, rest: &str) -> Result<Part, String> {
    let bits = match in_braces(rest) {
        Some((digits, "")) => digits.parse().ok().filter(|bits| *bits <= 128),
        _ => None,
    };
    let bits = bits.ok_or_else(|| {
        format!(
            "`%{text}%` names no network; give the number of its first bits,              up to 32 (128 for IPv6), or leave `{rest}` out"
        )
    })?;
    Ok(Part::Network { whose, bits })
}

/// `(TURN)`, `(TURN:WHICH)`.
fn parse_host(text: &str, words: &str) -> Result<Part, String> {
    let (turn, which) = words.split_once(':').unwrap_or((words, "ORIG_OR_HOST"));
    let tls = match turn {
        "SNI_ONLY" | "" => Turn::Only,
        "SNI_FIRST" => Turn::First,
        "HOST_FIRST" => Turn::Last,
        _ => {
            return Err(format!(
                "`{turn}` in `%{text}%`: write SNI_ONLY, SNI_FIRST or HOST_FIRST"
            ));
        }
    };
    let which = match which {
        "ORIG" => Which::Original,
        "HOST" => Which::Present,
        "ORIG_OR_HOST" | "" => Which::OriginalOrPresent,
        _ => {
            return Err(format!(
                "`{which}` in `%{text}%` is no host; write ORIG, HOST or ORIG_OR_HOST"
            ));
        }
    };
    Ok(Part::Host { tls, which })
}

/// Metadata is Envoy's own: no filter that speaks proxy-wasm can set any, and the configuration
/// here has none. What is well written is taken, so that a format carries over.
const METADATA: [&str; 4] = [
    "CLUSTER_METADATA",
    "DYNAMIC_METADATA",
    "METADATA",
    "UPSTREAM_METADATA",
];

fn parse_metadata(text: &str, name: &str, rest: &str) -> Result<Part, String> {
    const TYPES: [&str; 7] = [
        "DYNAMIC",
        "CLUSTER",
        "ROUTE",
        "UPSTREAM_HOST",
        "LISTENER",
        "LISTENER_FILTER_CHAIN",
        "VIRTUAL_HOST",
    ];
    let (path, length) = in_braces(rest)
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| {
            format!("`%{text}%` names nothing; write it as `%{name}(NAMESPACE:KEY)%`")
        })?;
    parse_length(text, length)?;
    let kind = path.split(':').next().unwrap_or(path);
    if name == "METADATA" && !TYPES.contains(&kind) {
        return Err(format!(
            "`{kind}` in `%{text}%` is no kind of metadata; write one of {}",
            TYPES.join(", ")
        ));
    }
    Ok(Part::Plain(Operator::Never))
}

fn parse_duration(text: &str, points: &str) -> Result<Part, String> {
    let wanted = || duration_wanted(text);
    let mut words = points.split(':');
    let mut moment = || Moment::of(words.next()?);
    let (from, to) = (moment().ok_or_else(wanted)?, moment().ok_or_else(wanted)?);
    let unit = words.next().map_or(Some(Unit::Millis), Unit::of);
    match (unit, words.next()) {
        (Some(unit), None) => Ok(Part::Between { from, to, unit }),
        _ => Err(wanted()),
    }
}

fn duration_wanted(text: &str) -> String {
    let names: Vec<_> = Moment::NAMES.iter().map(|(name, _)| *name).collect();
    format!(
        "`%{text}%` is no duration; write it as `%COMMON_DURATION(FROM:TO:UNIT)%`, with two of {} and ms, us or ns",
        names.join(", ")
    )
}

fn parse_path(text: &str, words: &str, length: &str) -> Result<Part, String> {
    let (query, which) = words.split_once(':').unwrap_or((words, "ORIG_OR_PATH"));
    let query = match query {
        "WQ" | "" => true,
        "NQ" => false,
        _ => {
            return Err(format!(
                "`{query}` in `%{text}%`: write WQ, with its query, or NQ"
            ));
        }
    };
    let which = match which {
        "ORIG" => Which::Original,
        "PATH" => Which::Present,
        "ORIG_OR_PATH" | "" => Which::OriginalOrPresent,
        _ => {
            return Err(format!(
                "`{which}` in `%{text}%` is no path; write ORIG, PATH or ORIG_OR_PATH"
            ));
        }
    };
    let max = parse_length(text, length)?;
    Ok(Part::Path { query, which, max })
}

/// What is in braces, and what comes after them.
fn in_braces(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('(')?.split_once(')')
}

fn parse_time(text: &str, format: &str) -> Result<Vec<Item<'static>>, String> {
    StrftimeItems::new(format).parse_to_owned().map_err(|_| {
        format!("`{format}` in `%{text}%` is no format of strftime; correct it, or leave it out")
    })
}

/// What the environment says must not tear a line apart either.
fn plain_text(value: &str) -> String {
    value.replace(|char: char| char.is_control() || char == '"', "?")
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// `:LENGTH`, or nothing.
fn parse_length(text: &str, length: &str) -> Result<Option<usize>, String> {
    match length.strip_prefix(':') {
        Some(digits) => digits.parse().map(Some).map_err(|_| {
            format!("`{digits}` in `%{text}%` is not a length; give a number of bytes")
        }),
        None if length.is_empty() => Ok(None),
        None => Err(format!(
            "`{length}` in `%{text}%` is not a length; leave it out, or give `:` and a number"
        )),
    }
}

/// `(NAME)`, `(NAME?ALTERNATIVE)`, and `:LENGTH` after it.
fn parse_field(text: &str, from: Message, arguments: &str) -> Result<Part, String> {
    let wanted = || {
        format!(
            "`%{text}%` does not name a header; write it as `%REQ(NAME)%`, \
             `%REQ(NAME?OTHER)%` or `%REQ(NAME):LENGTH%`"
        )
    };
    let (names, length) = in_braces(arguments).ok_or_else(wanted)?;
    let (name, alternative) = match names.split_once('?') {
        Some((name, alternative)) => (name, Some(alternative)),
        None => (names, None),
    };
    if !length.is_empty() && !length.starts_with(':') {
        return Err(wanted());
    }
    let max = parse_length(text, length)?;
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
    (plain::rows().map(|row| row.name))
        .chain(METADATA)
        .chain(WITH_FIELD.iter().map(|&(known, _)| known))
        .chain([
            "CEL",
            "COALESCE",
            "COMMON_DURATION",
            "ENVIRONMENT",
            "FILTER_STATE",
            "PATH",
            "QUERY_PARAM",
            "TYPED_CEL",
            "UPSTREAM_FILTER_STATE",
        ])
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

const WITH_FIELD: [(&str, Message); 6] = [
    ("REQ", Message::Request),
    ("RESP", Message::Response),
    ("TRAILER", Message::Trailers),
    ("REQUEST_HEADER", Message::Request),
    ("RESPONSE_HEADER", Message::Response),
    ("RESPONSE_TRAILER", Message::Trailers),
];
