//! `proxy_http_call`.

use std::time::Duration;

use bytes::Bytes;

use super::{begin, charge_callout, map, pairs, target};
use crate::callout::{Callout, HttpCall, Token, TokenKind};
use crate::guest::{self, GuestCaller, Outcome};
use crate::headers::Headers;
use crate::state::HostState;
use crate::types::Status;

#[expect(clippy::too_many_arguments, reason = "the ABI has that many")]
pub(crate) fn http_call<C: GuestCaller>(
    caller: &mut C,
    upstream: u32,
    upstream_len: u32,
    headers: u32,
    headers_len: u32,
    body: u32,
    body_len: u32,
    trailers: u32,
    trailers_len: u32,
    timeout: u32,
    token: u32,
) -> Outcome {
    charge_callout(caller)?;
    for length in [upstream_len, body_len] {
        guest::charge_bytes(caller, length as usize)?;
    }
    guest::charge_pairs(caller, headers, headers_len)?;
    guest::charge_pairs(caller, trailers, trailers_len)?;
    let (memory, state) = caller.split();
    let request = Request {
        upstream: guest::bytes(memory, upstream, upstream_len)?,
        headers: guest::bytes(memory, headers, headers_len)?,
        body: guest::bytes(memory, body, body_len)?,
        trailers: guest::bytes(memory, trailers, trailers_len)?,
        timeout: timeout.cast_signed(),
    };
    // Unlike anywhere else, before what the arguments mean.
    guest::bytes(memory, token, 4)?;
    let begun = request
        .call(state)
        .and_then(|call| begin(state, TokenKind::Http, Callout::Http(call)));
    // And what is refused is token 0.
    guest::write_u32(memory, token, begun.map_or(0, Token::number))?;
    begun?;
    Ok(())
}

/// The arguments, as they lie in the guest's memory.
struct Request<'a> {
    upstream: &'a [u8],
    headers: &'a [u8],
    body: &'a [u8],
    trailers: &'a [u8],
    timeout: i32,
}

impl Request<'_> {
    fn call(&self, state: &HostState) -> Result<HttpCall, Status> {
        let timeout = u64::try_from(self.timeout).map_err(|_| Status::BadArgument)?;
        let target = target(state, self.upstream, Status::BadArgument)?;
        let headers = request_headers(pairs(state, "headers of a callout", self.headers));
        let complete = [":path", ":method", ":authority"]
            .iter()
            .all(|name| headers.get(name.as_bytes()).is_some());
        if !complete {
            return Err(Status::BadArgument);
        }
        let trailers = pairs(state, "trailers of a callout", self.trailers);
        Ok(HttpCall {
            target,
            headers: sized(headers, self.body),
            body: Bytes::copy_from_slice(self.body),
            trailers: (!trailers.is_empty()).then(|| map(trailers)),
            timeout: (timeout != 0).then(|| Duration::from_millis(timeout)),
        })
    }
}

/// The request's headers, where `host` is another name of `:authority`.
fn request_headers(pairs: Vec<(Bytes, Bytes)>) -> Headers {
    let named = |(name, value): (Bytes, Bytes)| {
        let host = name.eq_ignore_ascii_case(b"host");
        let name = if host {
            Bytes::from_static(b":authority")
        } else {
            name
        };
        (name, value)
    };
    map(pairs.into_iter().map(named).collect())
}

/// The length of a body is the host's to say.
fn sized(mut headers: Headers, body: &[u8]) -> Headers {
    const NAME: &[u8] = b"content-length";
    if !body.is_empty() {
        headers.replace(NAME, body.len().to_string().into());
    } else if headers.get(NAME).is_some_and(|value| value != "0") {
        headers.remove(NAME);
    }
    headers
}
