//! Whether a program does what is about to be measured: a proxy that leaves its filters out
//! is cheap.

use super::cases::Case;
use super::world::Guest;
use crate::client::{Answer, Client};
use crate::load::{self, Shape};
use crate::peer::{Running, nginx};
use crate::{Error, Result};

/// The requests that load consists of, to `path`.
pub(super) fn request(method: &str, path: &str, more: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: bench.test\r\n{more}");
    for (name, value) in load::HEADERS {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Sends one request through the program's filters and looks at what they did.
///
/// # Errors
/// It was not proxied, or not filtered; the answer is in the message.
pub(super) fn check(proxy: &Running, case: &Case) -> Result<()> {
    let (shape, guest) = (case.shape, case.guest);
    let more = case
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let more: String = more.collect();
    let mut client = Client::connect(proxy.http1)?;
    let (answer, right) = match shape {
        Shape::Http1 | Shape::Http2 => {
            let answer = client.send(&request("GET", "/seen", &more))?;
            let right = headers_are_right(&answer, guest);
            (answer, right)
        }
        Shape::Bodies => {
            let size = nginx::LARGE_BODY;
            let length = format!("content-length: {size}\r\n{more}");
            let mut bytes = request("POST", "/seen/body", &length);
            bytes.extend(std::iter::repeat_n(b'a', size));
            let answer = client.send(&bytes)?;
            let right = bodies_are_right(&answer, guest);
            (answer, right)
        }
    };
    if answer.status == 200 && right {
        return Ok(());
    }
    let head = answer.headers.join("; ");
    let body: String = String::from_utf8_lossy(&answer.body)
        .chars()
        .take(80)
        .collect();
    Err(Error::Failed(format!(
        "{} does not do what is measured ({guest:?}): it answered {} ({head}) {body}",
        proxy.name, answer.status
    )))
}

fn headers_are_right(answer: &Answer, guest: Option<Guest>) -> bool {
    let body = String::from_utf8_lossy(&answer.body);
    let fields: Vec<&str> = body.split(',').map(str::trim).collect();
    let [hello, .., internal] = *fields else {
        return false;
    };
    let one = fields.get(1).copied().unwrap_or_default();
    let response = answer.header("x-bench");
    match guest.map(|guest| guest.name) {
        None | Some("bench_noop") => (hello, one, internal, response) == ("", "", "1", None),
        Some("bench_transform") => {
            (hello, one, internal, response) == ("", "the first of two", "", Some("transformed"))
        }
        Some("bench_hello") => (hello, one, internal, response) == ("world", "", "1", None),
        Some(_) => true,
    }
}

fn bodies_are_right(answer: &Answer, guest: Option<Guest>) -> bool {
    let (sent, got) = match guest.map(|guest| guest.configuration) {
        Some("replace") => ("o", b'o'),
        Some("rewrite") => ("A", b'B'),
        _ => ("a", b'b'),
    };
    answer.header("x-seen") == Some(sent)
        && answer.body.len() == nginx::LARGE_BODY
        && answer.body.iter().all(|&byte| byte == got)
}
