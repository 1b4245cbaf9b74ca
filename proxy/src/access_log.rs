//! One line per request.
//!
//! [`Format`] is compiled once from Envoy's operators, so that formats and the tools that
//! read them carry over; a mistake in it is a configuration error that names the nearest
//! operator. A line is rendered from a borrowed [`Record`] straight into the buffer of a
//! worker's [`Sink`], which hands whole lines to the file.
//!
//! A log line is a record that people and programs trust, and most of what it holds was
//! sent by strangers. So a value can never end the line, close the quotes around it or
//! drive a terminal: in text, control bytes, `"`, `\` and everything beyond ASCII are
//! written as `\xHH` (as nginx does); in JSON they are escaped as JSON wants.

mod coalesce;
mod file;
mod flags;
mod moments;
mod noted;
mod operator;
mod peers;
mod plain;
mod render;
mod sink;
#[cfg(test)]
mod tests;
mod write;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use cofferdam_abi::{Exchange, FilterState};
use http::{HeaderMap, Version};

use operator::Part;

use crate::tls::Session;

pub use file::LogFile;
pub use flags::Flags;
pub use moments::Times;
pub use noted::{Attempt, Both, Noted, Size};
pub use sink::Sink;

/// What one line looks like.
#[derive(Debug, Clone)]
pub struct Format {
    shape: Shape,
    /// Whether it asks for what is noted only then,
    noted: bool,
    /// and for the exchange as filters see it.
    evaluated: bool,
}

#[derive(Debug, Clone)]
enum Shape {
    Text(Vec<Part>),
    /// Each field with its name as JSON text, quotes and colon included.
    Json(Vec<(String, Vec<Part>)>),
}

/// What is known about a request, or a connection that is not HTTP, when it is over. What is
/// absent is written as `-`, in JSON as `null`.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// When its head was complete.
    pub start: SystemTime,
    /// From then to the end of the response.
    pub duration: Duration,
    /// The client's protocol; `None` where it is not HTTP.
    pub protocol: Option<Version>,
    /// `:method`.
    pub method: &'a str,
    /// `:scheme`.
    pub scheme: &'a str,
    /// `:authority` or `host`, with its port; empty where there was none.
    pub authority: &'a str,
    /// `:path`, query included.
    pub path: &'a str,
    /// The request's fields.
    pub request_headers: &'a HeaderMap,
    /// The response's fields, once there is a response.
    pub response_headers: Option<&'a HeaderMap>,
    /// The response's trailers, if it had any.
    pub response_trailers: Option<&'a HeaderMap>,
    /// The response's status; `None` (written as 0, as Envoy does) when none was sent.
    pub status: Option<u16>,
    /// In a word or two, why the response is what it is.
    pub details: Option<&'a str>,
    /// What went wrong.
    pub flags: Flags,
    /// Body bytes from the client.
    pub bytes_received: u64,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// The endpoint that was tried last.
    pub upstream_host: Option<SocketAddr>,
    /// The cluster it belongs to.
    pub upstream_cluster: Option<&'a str>,
    /// The client; `None` on a unix socket.
    pub downstream_remote: Option<SocketAddr>,
    /// Who connected to this proxy: the client, or a proxy that speaks for it.
    pub downstream_direct: Option<SocketAddr>,
    /// Where the client connected to; `None` on a unix socket.
    pub downstream_local: Option<SocketAddr>,
    /// Where this proxy listens; another where a proxy before this one has said so.
    pub direct_local: Option<SocketAddr>,
    /// How long its TLS handshake took, from the first byte on.
    pub handshake: Option<Duration>,
    /// Why the client's connection, and that to the upstream, were closed here.
    pub closed_here: (Option<&'static str>, Option<&'static str>),
    /// What is there only where the format asks for it.
    pub noted: Noted<'a>,
    /// The number of the client's connection.
    pub connection: u64,
    /// Its TLS session, if any.
    pub tls: Option<&'a Session>,
    /// The name it has asked for (SNI), here or of an upstream that its TLS is passed to.
    pub server_name: Option<&'a str>,
    /// This end of the connection to the upstream.
    pub upstream_local: Option<SocketAddr>,
    /// How often the request was sent.
    pub attempts: u64,
    /// Our span of it, and the trace that it is in; `None` where requests are not traced.
    pub span: Option<(u128, u64)>,
    /// Why there was no connection to the upstream; may be empty.
    pub transport_failure: Option<&'a str>,
    /// The TLS session with the upstream, if any.
    pub upstream_tls: Option<&'a Session>,
    /// The route's position in the configuration, such as `web/routes[2]`.
    pub route: Option<&'a str>,
    /// The filter that decided the answer, and in which callback.
    pub decided_by: Option<(&'a str, &'a str)>,
    /// When what happened.
    pub times: Times,
    /// What is spoken to the upstream.
    pub upstream_protocol: Option<Version>,
    /// What filters have stored beside the request.
    pub filter_state: Option<&'a FilterState>,
    /// All of it as filters see it, where the format asks for that.
    pub exchange: Option<&'a Exchange>,
}

// === impl Format ===

impl Format {
    /// A line of text with operators in it. One line break at the end is left out, since
    /// every line gets its own.
    ///
    /// # Errors
    /// One sentence: what is wrong with the template, and what to do.
    pub fn text(template: &str) -> Result<Self, String> {
        let line = template.strip_suffix('\n').unwrap_or(template);
        if line.contains(|char: char| char.is_control()) {
            return Err(
                "a line break or control character inside the format would tear its \
                        lines apart; write it as one line"
                    .to_owned(),
            );
        }
        Ok(Self::of(Shape::Text(operator::parse(line)?)))
    }

    /// One JSON object per line. A value that is a single operator keeps its type (numbers
    /// for status, sizes and duration; `null` for what is absent); any other is a string.
    ///
    /// # Errors
    /// As [`Format::text`], with the name of the field.
    pub fn json(fields: Vec<(String, String)>) -> Result<Self, String> {
        let mut compiled: Vec<(String, Vec<Part>)> = Vec::with_capacity(fields.len());
        for (name, template) in fields {
            let parts = operator::parse(&template).map_err(|why| format!("`{name}`: {why}"))?;
            let mut text = Vec::new();
            write::json_string(&mut text, name.as_bytes());
            text.push(b':');
            let text = String::from_utf8_lossy(&text).into_owned();
            if compiled.iter().any(|(known, _)| *known == text) {
                return Err(format!(
                    "`{name}` is there twice; give each field its own name"
                ));
            }
            compiled.push((text, parts));
        }
        if compiled.is_empty() {
            return Err("no fields; name at least one, or leave `json` out".to_owned());
        }
        Ok(Self::of(Shape::Json(compiled)))
    }

    fn of(shape: Shape) -> Self {
        let any = |asks: fn(&Part) -> bool| match &shape {
            Shape::Text(parts) => parts.iter().any(asks),
            Shape::Json(fields) => fields.iter().flat_map(|(_, parts)| parts).any(asks),
        };
        let (noted, evaluated) = (any(Part::is_noted), any(Part::is_evaluated));
        Self {
            shape,
            noted,
            evaluated,
        }
    }

    /// Whether it asks for [`Record::exchange`].
    #[must_use]
    pub const fn is_evaluated(&self) -> bool {
        self.evaluated
    }

    /// Whether it asks for what is noted of a request only then ([`Noted`] and some of
    /// [`Times`]).
    #[must_use]
    pub const fn is_noted(&self) -> bool {
        self.noted
    }

    /// Appends one line, line break included. Allocates nothing unless `out` has to grow.
    pub fn render(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Text(parts) => render::text(parts, record, out),
            Shape::Json(fields) => render::json(fields, record, out),
        }
        out.push(b'\n');
    }
}

/// The operators without arguments and what each writes, in the order of their names.
pub(crate) fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut rows: Vec<_> = plain::rows().map(|row| (row.name, row.doc)).collect();
    rows.sort_unstable();
    rows.into_iter()
}

impl Default for Format {
    /// Envoy's default line, then why the response is what it is, and the filter that
    /// decided it.
    fn default() -> Self {
        Self::of(Shape::Text(operator::parse(DEFAULT).unwrap_or_default()))
    }
}

const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
    \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %RESPONSE_CODE_DETAILS% %FILTER%";
