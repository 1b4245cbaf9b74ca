//! HTTP/2, both directions of both ends.

use std::io;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Ending, Frame, Orders, Pairs, Record};

/// Reads a body and its trailers into the record, and notes how they ended.
pub(super) async fn body(mut stream: RecvStream, to: &Record) {
    while let Some(data) = stream.data().await {
        let Ok(data) = data else {
            return to.end(Ending::Cut);
        };
        // Windows are given back at once: how fast a peer reads is no case's business.
        let _ = stream.flow_control().release_capacity(data.len());
        to.note(|seen| seen.body.extend_from_slice(&data));
    }
    match stream.trailers().await {
        Ok(Some(trailers)) => to.note(|seen| seen.trailers = Some(fields(&trailers))),
        Ok(None) => {}
        Err(_) => return to.end(Ending::Cut),
    }
    to.end(Ending::Complete);
}

/// Sends what follows a head; true when the message came to its end.
pub(super) async fn write(stream: &mut SendStream<Bytes>, orders: &mut Orders) -> io::Result<bool> {
    while let Some(frame) = orders.recv().await {
        match frame {
            Frame::Data { data, end } => {
                send_all(stream, data, end).await?;
                if end {
                    return Ok(true);
                }
            }
            Frame::Trailers(fields) => {
                stream
                    .send_trailers(map(&fields)?)
                    .map_err(io::Error::other)?;
                return Ok(true);
            }
            Frame::Reset | Frame::Close => {
                stream.send_reset(Reason::CANCEL);
                return Ok(false);
            }
            Frame::Head { .. } | Frame::Raw(_) => return Err(unfit("a second head")),
        }
    }
    Ok(false)
}

/// Sends a piece as far as the peer's window lets it, and waits for more of that.
async fn send_all(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> io::Result<()> {
    if data.is_empty() {
        return stream.send_data(data, end).map_err(io::Error::other);
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room
            .ok_or_else(|| unfit("the stream is closed"))?
            .map_err(io::Error::other)?;
        let piece = data.split_to(room.min(data.len()));
        let last = end && data.is_empty();
        stream.send_data(piece, last).map_err(io::Error::other)?;
    }
    Ok(())
}

/// A request of those fields.
pub(super) fn request(fields: &Pairs) -> io::Result<http::Request<()>> {
    let pseudo = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| value.as_ref())
    };
    let mut uri = http::uri::Parts::default();
    if let Some(authority) = pseudo(":authority") {
        uri.authority = Some(authority.try_into().map_err(io::Error::other)?);
        let scheme = pseudo(":scheme").unwrap_or(b"http");
        uri.scheme = Some(scheme.try_into().map_err(io::Error::other)?);
    }
    let path = pseudo(":path").unwrap_or(b"/");
    uri.path_and_query = Some(path.try_into().map_err(io::Error::other)?);
    let method = pseudo(":method").unwrap_or(b"GET");
    let mut request = http::Request::builder()
        .method(method)
        .uri(http::Uri::from_parts(uri).map_err(io::Error::other)?)
        .body(())
        .map_err(io::Error::other)?;
    *request.headers_mut() = map(fields)?;
    Ok(request)
}

/// An answer of those fields.
pub(super) fn response(fields: &Pairs) -> io::Result<http::Response<()>> {
    let status = fields.iter().find(|(name, _)| name == ":status");
    let status = status.map_or(&b"200"[..], |(_, value)| value);
    let mut response = http::Response::builder()
        .status(status)
        .body(())
        .map_err(io::Error::other)?;
    *response.headers_mut() = map(fields)?;
    Ok(response)
}

/// The fields of a request that came in.
pub(super) fn request_fields(parts: &http::request::Parts) -> Pairs {
    let mut all = super::pairs([(":method", parts.method.as_str())]);
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    all.extend(super::pairs([(":path", path)]));
    if let Some(authority) = parts.uri.authority() {
        all.extend(super::pairs([(":authority", authority.as_str())]));
    }
    all.extend(fields(&parts.headers));
    all
}

/// The fields of an answer that came in.
pub(super) fn response_fields(parts: &http::response::Parts) -> Pairs {
    let mut all = super::pairs([(":status", parts.status.as_str())]);
    all.extend(fields(&parts.headers));
    all
}

fn fields(map: &HeaderMap) -> Pairs {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = Bytes::copy_from_slice(name.as_str().as_bytes());
        (name, Bytes::copy_from_slice(value.as_bytes()))
    };
    map.iter().map(pair).collect()
}

fn map(fields: &Pairs) -> io::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let name = HeaderName::from_bytes(name).map_err(io::Error::other)?;
        let value = HeaderValue::from_bytes(value).map_err(io::Error::other)?;
        map.append(name, value);
    }
    Ok(map)
}

fn unfit(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
