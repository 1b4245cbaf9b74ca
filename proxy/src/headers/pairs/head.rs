//! From pairs back to a message that can be sent.

use std::fmt;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode};

use super::super::host::is_authority;
use super::{AUTHORITY, METHOD, PATH, SCHEME, STATUS, names};
use crate::reports;

/// What happens to a field that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// It is left out, and reported in the result.
    Drop,
    /// The whole message is refused, as Envoy does.
    Refuse,
}

/// A field that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Its name as the guest wrote it: any bytes at all.
    pub name: Bytes,
    /// Why it cannot be sent.
    pub why: &'static str,
}

/// Why a message cannot be sent: the stream ends with 500 (a request) or 502 (a response).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadHeaders {
    /// A field cannot be sent and [`Invalid::Refuse`] was asked for.
    Field(Dropped),
    /// This pseudo-header has a value that cannot be sent.
    Malformed(&'static str),
    /// This pseudo-header is not there.
    Missing(&'static str),
    /// This pseudo-header is there more than once.
    Repeated(&'static str),
    /// More fields than any peer accepts.
    TooMany(usize),
}

/// A request head made from pairs. Fields of the connection are still in it:
/// [`strip_hop_by_hop`](crate::headers::strip_hop_by_hop) is the caller's next step.
#[derive(Debug)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:path`. It begins with a slash or is `*`.
    pub path: PathAndQuery,
    /// `:authority`, or `host` where there is none. The caller writes it into the URI
    /// (HTTP/2) or a `host` field (HTTP/1.1).
    pub authority: Option<Authority>,
    /// `:scheme`: `http` or `https`.
    pub scheme: Option<Scheme>,
    /// The fields, without `host`.
    pub headers: HeaderMap,
    /// What was left out, for the log.
    pub dropped: Vec<Dropped>,
}

/// A response head made from pairs; as [`RequestHead`].
#[derive(Debug)]
pub struct ResponseHead {
    /// `:status`: 101 or 200..=599.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// What was left out, for the log.
    pub dropped: Vec<Dropped>,
}

/// A request from what filters left of it. A plain CONNECT has no path and is refused.
///
/// # Errors
/// [`BadHeaders`]: a pseudo-header is missing or bad, or a field is and `invalid` says so.
pub fn request_from_pairs(
    pairs: &[(Bytes, Bytes)],
    invalid: Invalid,
) -> Result<RequestHead, BadHeaders> {
    let mut fields = Fields::new(pairs, invalid)?;
    let [mut authority, mut host, mut method, mut path, mut scheme] = [const { None }; 5];
    for (name, value) in pairs {
        match name.as_ref() {
            b":authority" => set(&mut authority, AUTHORITY, value)?,
            b":method" => set(&mut method, METHOD, value)?,
            b":path" => set(&mut path, PATH, value)?,
            b":scheme" => set(&mut scheme, SCHEME, value)?,
            // Guests of other hosts write `host`; the first one counts.
            b"host" if host.is_none() => host = Some(value),
            b"host" if host == Some(value) => {}
            b"host" => fields.leave_out(name, "a request has one host")?,
            _ => fields.add(name, value)?,
        }
    }
    if let (Some(authority), Some(host)) = (authority, host)
        && authority != host
    {
        let name = Bytes::from_static(b"host");
        fields.leave_out(&name, "`:authority` says something else")?;
    }
    let method = method.ok_or(BadHeaders::Missing(METHOD))?;
    let path = path.ok_or(BadHeaders::Missing(PATH))?;
    let (headers, dropped) = fields.finish()?;
    Ok(RequestHead {
        method: Method::from_bytes(method).map_err(|_| BadHeaders::Malformed(METHOD))?,
        path: path_and_query(path)?,
        authority: authority.or(host).map(parse_authority).transpose()?,
        scheme: scheme.map(parse_scheme).transpose()?,
        headers,
        dropped,
    })
}

/// A response from what filters left of it.
///
/// # Errors
/// As [`request_from_pairs`].
pub fn response_from_pairs(
    pairs: &[(Bytes, Bytes)],
    invalid: Invalid,
) -> Result<ResponseHead, BadHeaders> {
    let mut fields = Fields::new(pairs, invalid)?;
    let mut status = None;
    for (name, value) in pairs {
        match name.as_ref() {
            b":status" => set(&mut status, STATUS, value)?,
            _ => fields.add(name, value)?,
        }
    }
    let status = status.ok_or(BadHeaders::Missing(STATUS))?;
    let (headers, dropped) = fields.finish()?;
    Ok(ResponseHead {
        status: parse_status(status)?,
        headers,
        dropped,
    })
}

/// Trailers from what filters left of them, and what was left out.
///
/// # Errors
/// As [`request_from_pairs`].
pub fn trailers_from_pairs(
    pairs: &[(Bytes, Bytes)],
    invalid: Invalid,
) -> Result<(HeaderMap, Vec<Dropped>), BadHeaders> {
    let mut fields = Fields::new(pairs, invalid)?;
    for (name, value) in pairs {
        if NOT_IN_TRAILERS.contains(&name.as_ref()) {
            fields.leave_out(name, "this field has no place in trailers")?;
        } else {
            fields.add(name, value)?;
        }
    }
    fields.finish()
}

/// A header map in the making.
struct Fields {
    headers: HeaderMap,
    dropped: Vec<Dropped>,
    invalid: Invalid,
}

// === impl Fields ===

impl Fields {
    fn new(pairs: &[(Bytes, Bytes)], invalid: Invalid) -> Result<Self, BadHeaders> {
        // A header map panics beyond its capacity; this is far below it, with room for
        // whatever the proxy itself adds.
        if pairs.len() > MAX_FIELDS {
            return Err(BadHeaders::TooMany(pairs.len()));
        }
        Ok(Self {
            headers: HeaderMap::with_capacity(pairs.len()),
            dropped: Vec::new(),
            invalid,
        })
    }

    fn add(&mut self, name: &Bytes, value: &Bytes) -> Result<(), BadHeaders> {
        let Some(field) = names::field(name) else {
            let why = match name.first() {
                Some(b':') => "no such pseudo-header in this message",
                _ => "the name is not a field name",
            };
            return self.leave_out(name, why);
        };
        let Ok(value) = HeaderValue::from_maybe_shared(trim(value)) else {
            return self.leave_out(name, "the value has control bytes");
        };
        self.headers.append(field, value);
        Ok(())
    }

    fn leave_out(&mut self, name: &Bytes, why: &'static str) -> Result<(), BadHeaders> {
        let name = name.clone();
        let dropped = Dropped { name, why };
        match self.invalid {
            Invalid::Drop => self.dropped.push(dropped),
            Invalid::Refuse => return Err(BadHeaders::Field(dropped)),
        }
        Ok(())
    }

    /// Framing belongs to the codec: it alone writes `transfer-encoding`, and a
    /// `content-length` that says two things says nothing.
    fn finish(mut self) -> Result<(HeaderMap, Vec<Dropped>), BadHeaders> {
        self.headers.remove(header::TRANSFER_ENCODING);
        let mut lines = self.headers.get_all(header::CONTENT_LENGTH).iter();
        if let Some(first) = lines.next() {
            let again = lines.next().is_some();
            let mut rest = self.headers.get_all(header::CONTENT_LENGTH).iter();
            if !is_length(first.as_bytes()) || rest.any(|other| other != first) {
                self.headers.remove(header::CONTENT_LENGTH);
                let name = Bytes::from_static(b"content-length");
                self.leave_out(&name, "it is not one number")?;
            } else if again {
                let first = first.clone();
                self.headers.insert(header::CONTENT_LENGTH, first);
            }
        }
        Ok((self.headers, self.dropped))
    }
}

fn set<'a>(
    slot: &mut Option<&'a Bytes>,
    name: &'static str,
    value: &'a Bytes,
) -> Result<(), BadHeaders> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(BadHeaders::Repeated(name)),
    }
}

/// Blanks around a value are not part of it, and HTTP/2 peers may refuse them.
fn trim(value: &Bytes) -> Bytes {
    let trimmed = value.trim_ascii();
    if trimmed.len() == value.len() {
        value.clone()
    } else {
        value.slice_ref(trimmed)
    }
}

fn is_length(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(text).is_ok_and(|digits| digits.parse::<u64>().is_ok())
}

fn path_and_query(value: &Bytes) -> Result<PathAndQuery, BadHeaders> {
    if !value.starts_with(b"/") && value.as_ref() != b"*" {
        return Err(BadHeaders::Malformed(PATH));
    }
    PathAndQuery::from_maybe_shared(value.clone()).map_err(|_| BadHeaders::Malformed(PATH))
}

fn parse_authority(value: &Bytes) -> Result<Authority, BadHeaders> {
    if !is_authority(value) {
        return Err(BadHeaders::Malformed(AUTHORITY));
    }
    Authority::from_maybe_shared(value.clone()).map_err(|_| BadHeaders::Malformed(AUTHORITY))
}

fn parse_scheme(value: &Bytes) -> Result<Scheme, BadHeaders> {
    match value.as_ref() {
        b"http" => Ok(Scheme::HTTP),
        b"https" => Ok(Scheme::HTTPS),
        _ => Err(BadHeaders::Malformed(SCHEME)),
    }
}

fn parse_status(value: &Bytes) -> Result<StatusCode, BadHeaders> {
    match StatusCode::from_bytes(value) {
        Ok(status) if matches!(status.as_u16(), 101 | 200..=599) => Ok(status),
        _ => Err(BadHeaders::Malformed(STATUS)),
    }
}

// === impl BadHeaders ===

impl fmt::Display for BadHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(dropped) => dropped.fmt(f),
            Self::Malformed(name) => write!(f, "`{name}` has a value that cannot be sent"),
            Self::Missing(name) => write!(f, "`{name}` is missing"),
            Self::Repeated(name) => write!(f, "`{name}` is there more than once"),
            Self::TooMany(count) => {
                write!(f, "{count} header fields, and {MAX_FIELDS} are the most")
            }
        }
    }
}

impl std::error::Error for BadHeaders {}

// === impl Dropped ===

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = reports::short(&self.name);
        write!(f, "the field `{name}` cannot be sent: {}", self.why)
    }
}

const MAX_FIELDS: usize = 10_000;
/// Framing and routing are over by the time trailers come.
const NOT_IN_TRAILERS: [&[u8]; 7] = [
    b"connection",
    b"content-length",
    b"host",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];
