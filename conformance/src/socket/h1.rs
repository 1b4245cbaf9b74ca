//! HTTP/1.1, both directions of both ends.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Ending, Frame, Orders, Pairs, Record};
use crate::raw::wire;

/// The most of one head.
const MOST_HEAD: usize = 1 << 20;

/// What reads messages from a connection.
#[derive(Debug)]
pub(super) struct Reader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(half: OwnedReadHalf) -> Self {
        let buffer = Vec::new();
        Self { half, buffer }
    }

    /// Reads more; false when there is no more.
    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.half.read_buf(&mut self.buffer).await? > 0)
    }

    /// The next head with its empty line; `None` when the connection ended before one began.
    pub(super) async fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = wire::head_end(&self.buffer) {
                return Ok(Some(self.buffer.drain(..end).collect()));
            }
            if self.buffer.len() > MOST_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if !self.fill().await? {
                let clean = self.buffer.is_empty();
                return if clean {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Reads a body into the record, and notes how it ended.
    pub(super) async fn body(&mut self, framing: Framing, to: &Record) {
        let read = match framing {
            Framing::Length(length) => self.exactly(length, to).await,
            Framing::Chunked => self.chunks(to).await,
            Framing::UntilClose => self.rest(to).await,
        };
        to.end(if read.is_ok() {
            Ending::Complete
        } else {
            Ending::Cut
        });
    }

    async fn exactly(&mut self, mut length: u64, to: &Record) -> io::Result<()> {
        while length > 0 {
            if self.buffer.is_empty() && !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let most = usize::try_from(length).unwrap_or(usize::MAX);
            let piece: Vec<u8> = self.buffer.drain(..most.min(self.buffer.len())).collect();
            length -= piece.len() as u64;
            to.note(|seen| seen.body.extend_from_slice(&piece));
        }
        Ok(())
    }

    async fn rest(&mut self, to: &Record) -> io::Result<()> {
        loop {
            let piece = std::mem::take(&mut self.buffer);
            to.note(|seen| seen.body.extend_from_slice(&piece));
            if !self.fill().await? {
                return Ok(());
            }
        }
    }

    async fn chunks(&mut self, to: &Record) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(digits.trim_ascii())
                .ok()
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or(io::ErrorKind::InvalidData)?;
            if size == 0 {
                break;
            }
            self.exactly(size, to).await?;
            if !self.line().await?.is_empty() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let mut trailers = Pairs::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            trailers.push(field(&line).ok_or(io::ErrorKind::InvalidData)?);
        }
        if !trailers.is_empty() {
            to.note(|seen| seen.trailers = Some(trailers));
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=at).collect();
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The fields of a request head, pseudo-headers first.
pub(super) fn request_fields(head: &[u8]) -> Option<Pairs> {
    let (line, rest) = first_line(head)?;
    let mut words = line.split(|&byte| byte == b' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut host = None;
    let mut others = Pairs::new();
    for (name, value) in fields(rest)? {
        if name == "host" && host.is_none() {
            host = Some(value);
        } else {
            others.push((name, value));
        }
    }
    let mut all = super::pairs([(":method", method), (":path", path)]);
    all.extend(host.map(|host| (Bytes::from_static(b":authority"), host)));
    all.extend(others);
    Some(all)
}

/// The status and the fields of an answer's head.
pub(super) fn response_fields(head: &[u8]) -> Option<(u16, Pairs)> {
    let (line, rest) = first_line(head)?;
    let digits = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let mut all = super::pairs([(":status", digits)]);
    all.extend(fields(rest)?);
    Some((status, all))
}

/// How the body of a request with this head ends.
pub(super) fn request_framing(head: &[u8]) -> Framing {
    framing(head).unwrap_or(Framing::Length(0))
}

/// How the body of an answer with this head ends.
pub(super) fn response_framing(head: &[u8], status: u16, to_head: bool) -> Framing {
    if to_head || status < 200 || status == 204 || status == 304 {
        return Framing::Length(0);
    }
    framing(head).unwrap_or(Framing::UntilClose)
}

fn framing(head: &[u8]) -> Option<Framing> {
    let codings = wire::members(head, "transfer-encoding");
    if codings.iter().any(|coding| coding == "chunked") {
        return Some(Framing::Chunked);
    }
    let length = wire::members(head, "content-length").first()?.parse();
    Some(Framing::Length(length.ok()?))
}

fn first_line(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = head.iter().position(|byte| !b"\r\n".contains(byte))?;
    let head = head.get(start..)?;
    let end = head.iter().position(|&byte| byte == b'\n')?;
    Some((head.get(..end)?.trim_ascii_end(), head.get(end + 1..)?))
}

fn fields(lines: &[u8]) -> Option<Pairs> {
    lines
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .filter(|line| !line.is_empty())
        .map(field)
        .collect()
}

fn field(line: &[u8]) -> Option<(Bytes, Bytes)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line.get(..colon)?.to_ascii_lowercase();
    let value = line.get(colon + 1..)?.trim_ascii();
    Some((name.into(), Bytes::copy_from_slice(value)))
}

// --- writing ----------------------------------------------------------------------------

/// Writes one message as frames of it are ordered; true when it came to its end. Notes
/// when it is a HEAD request, whose answer has no body.
pub(super) async fn write(
    half: &mut OwnedWriteHalf,
    orders: &mut Orders,
    to_head: &AtomicBool,
) -> io::Result<bool> {
    let mut chunked = false;
    // Interim answers and raw bytes may come first.
    while let Some(frame) = orders.recv().await {
        match frame {
            Frame::Head { fields, end } => {
                if fields
                    .iter()
                    .any(|(name, value)| name == ":method" && value == "HEAD")
                {
                    to_head.store(true, Ordering::SeqCst);
                }
                let interim = is_interim(&fields);
                let (head, is_chunked) = head(&fields, end);
                half.write_all(&head).await?;
                chunked = is_chunked;
                if end && !interim {
                    return Ok(true);
                }
            }
            Frame::Data { data, end } => {
                half.write_all(&piece(&data, end, chunked)).await?;
                if end {
                    return Ok(true);
                }
            }
            Frame::Trailers(fields) => {
                let mut bytes = b"0\r\n".to_vec();
                lines(&fields, &mut bytes);
                bytes.extend_from_slice(b"\r\n");
                half.write_all(&bytes).await?;
                return Ok(true);
            }
            Frame::Raw(bytes) => half.write_all(&bytes).await?,
            Frame::Reset => {
                // Closing with unsent time zero is a reset on the wire.
                half.as_ref().set_zero_linger()?;
                return Ok(false);
            }
            Frame::Close => return Ok(false),
        }
    }
    Ok(false)
}

fn is_interim(fields: &Pairs) -> bool {
    fields
        .iter()
        .any(|(name, value)| name == ":status" && value.starts_with(b"1"))
}

/// A head in bytes, and whether its body is chunked.
fn head(fields: &Pairs, end: bool) -> (Vec<u8>, bool) {
    let pseudo = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| value.clone())
    };
    let has = |name: &str| fields.iter().any(|(field, _)| field == name.as_bytes());
    let mut bytes = Vec::new();
    let status = pseudo(":status");
    if let Some(status) = &status {
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(status);
        bytes.extend_from_slice(b" -\r\n");
    } else {
        bytes.extend(pseudo(":method").unwrap_or_default());
        bytes.push(b' ');
        bytes.extend(pseudo(":path").unwrap_or_default());
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(host) = pseudo(":authority") {
            lines(&super::pairs([("host", host)]), &mut bytes);
        }
    }
    let plain: Pairs = fields
        .iter()
        .filter(|(name, _)| !name.starts_with(b":"))
        .cloned()
        .collect();
    lines(&plain, &mut bytes);
    let bodyless = status
        .as_ref()
        .is_some_and(|status| status.starts_with(b"1") || status == "204" || status == "304");
    let framed = has("content-length") || has("transfer-encoding");
    let chunked = !end && !has("content-length");
    if chunked && !framed && !bodyless {
        bytes.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if end && status.is_some() && !framed && !bodyless {
        bytes.extend_from_slice(b"content-length: 0\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    (bytes, chunked)
}

fn lines(fields: &Pairs, to: &mut Vec<u8>) {
    for (name, value) in fields {
        to.extend_from_slice(name);
        to.extend_from_slice(b": ");
        to.extend_from_slice(value);
        to.extend_from_slice(b"\r\n");
    }
}

fn piece(data: &[u8], end: bool, chunked: bool) -> Vec<u8> {
    if !chunked {
        return data.to_vec();
    }
    let mut bytes = Vec::new();
    // A chunk of no bytes would be the last one.
    if !data.is_empty() {
        bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"\r\n");
    }
    if end {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    bytes
}
