//! The client: does what a case says, writes down every frame that comes, and tells how the
//! connection ended.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::case::{Allowed, Case, Code, MARK, Step, marker};
use super::frame::{
    ACK, DATA, END_STREAM, GOAWAY, HEADERS, PADDED, PING, RST_STREAM, SETTINGS, frame,
};
use crate::{Error, Result};

/// How long something more is waited for once there is what must come.
const QUIET: Duration = Duration::from_millis(150);
/// The most that is read.
const MOST: usize = 1 << 20;

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Frames, in order.
    pub frames: Vec<Frame>,
    /// Statuses of answers, as far as their first byte tells them.
    pub statuses: Vec<u16>,
    /// Whether the other side has closed or reset the connection.
    pub closed: bool,
    /// An answer in HTTP/1.
    pub http1: Option<u16>,
    rest: Vec<u8>,
    /// Answers whose trailers may follow are not told apart from those.
    begun: Vec<u32>,
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Does what a case says on a connection of its own.
///
/// # Errors
/// No connection can be made.
pub fn send(address: SocketAddr, case: &Case, patience: Duration) -> Result<Answer> {
    let failed = |error| Error::failed(format!("connection to {address}"), error);
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(failed)?;
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    let soon = Some(Duration::from_millis(10));
    stream.set_read_timeout(soon).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let mut answer = Answer::default();
    for step in &case.steps {
        match step {
            // A refusal may come before the last byte was taken; the answer tells.
            Step::Send(bytes) => drop(stream.write_all(bytes)),
            Step::Settled => {
                answer.read(&mut stream, patience, Answer::is_settled);
                let _ = stream.write_all(&frame(SETTINGS, ACK, 0, &[]));
            }
            Step::Begun => answer.read(&mut stream, patience, Answer::has_data),
            Step::Answered(wanted) => {
                answer.read(&mut stream, patience, |answer| answer.has_ended(*wanted));
            }
        }
    }
    if case.steps.len() > 1 {
        let _ = stream.write_all(&marker());
    }
    let good = |answer: &Answer| case.allowed.iter().any(|allowed| answer.is(*allowed));
    answer.read(&mut stream, patience, good);
    // What it does then.
    answer.read(&mut stream, QUIET, |_| false);
    Ok(answer)
}

// === impl Answer ===

impl Answer {
    fn read(&mut self, stream: &mut TcpStream, patience: Duration, enough: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        let mut chunk = [0; 16 << 10];
        let mut taken = 0;
        while !self.closed && !enough(self) && begun.elapsed() < patience && taken < MOST {
            match stream.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(count) => {
                    taken += count;
                    self.rest.extend_from_slice(&chunk[..count]);
                    while self.take() {}
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => self.closed = true,
                },
            }
        }
    }

    /// One frame of what has come.
    fn take(&mut self) -> bool {
        if self.frames.is_empty() && self.rest.starts_with(b"HTTP/1.") {
            let status = self.rest.get(9..12).map(String::from_utf8_lossy);
            self.http1 = status.and_then(|status| status.parse().ok());
            return false;
        }
        let &[a, b, c, kind, flags, s, t, u, v, ..] = &self.rest[..] else {
            return false;
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if self.rest.len() < 9 + length {
            return false;
        }
        let payload = self.rest.drain(..9 + length).skip(9).collect();
        let frame = Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s, t, u, v]),
            payload,
        };
        if kind == HEADERS && !self.begun.contains(&frame.stream) {
            self.begun.push(frame.stream);
            self.statuses.push(status(&frame));
        }
        self.frames.push(frame);
        true
    }

    fn is_settled(&self) -> bool {
        let theirs = |frame: &Frame| frame.kind == SETTINGS && frame.flags & ACK == 0;
        self.frames.iter().any(theirs)
    }

    fn has_data(&self) -> bool {
        self.frames.iter().any(|frame| frame.kind == DATA)
    }

    fn has_ended(&self, stream: u32) -> bool {
        let ends = |frame: &Frame| {
            frame.stream == stream
                && (frame.kind == RST_STREAM
                    || matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0)
        };
        self.frames.iter().any(ends)
    }

    /// Whether that has come.
    pub fn is(&self, allowed: Allowed) -> bool {
        match allowed {
            Allowed::Connection(code) => match self.goaway() {
                Some(told) => told == code as u32,
                None => self.closed,
            },
            Allowed::Stream(code) => {
                self.resets().any(|told| told == code as u32)
                    || self.goaway() == Some(code as u32)
                    || self.closed && self.goaway().is_none()
            }
            Allowed::Status(class) => {
                let class = u16::from(class);
                self.statuses.iter().any(|status| status / 100 == class)
                    || self.http1.is_some_and(|status| status / 100 == class)
            }
            Allowed::Data(lengths) => {
                let data = self.frames.iter().filter(|frame| frame.kind == DATA);
                let found: Vec<usize> = data.map(|frame| frame.payload.len()).collect();
                found.starts_with(lengths)
            }
            Allowed::Alive => self.is_marked(),
            Allowed::Acknowledged => {
                let acknowledged = |frame: &Frame| frame.kind == SETTINGS && frame.flags & ACK != 0;
                self.is_settled() && self.frames.iter().any(acknowledged)
            }
            Allowed::End => self.closed || self.goaway().is_some(),
        }
    }

    fn is_marked(&self) -> bool {
        let mark = |frame: &Frame| frame.kind == PING && frame.flags & ACK != 0;
        let mut marks = self.frames.iter().filter(|frame| mark(frame));
        marks.any(|frame| frame.payload == MARK)
    }

    /// The code of a GOAWAY that tells of an error, or of the connection's end.
    fn goaway(&self) -> Option<u32> {
        let mut frames = self.frames.iter().filter(|frame| frame.kind == GOAWAY);
        let code = |frame: &Frame| {
            Some(u32::from_be_bytes(
                frame.payload.get(4..8)?.try_into().ok()?,
            ))
        };
        frames.find_map(code)
    }

    fn resets(&self) -> impl Iterator<Item = u32> {
        let frames = self.frames.iter().filter(|frame| frame.kind == RST_STREAM);
        frames
            .filter_map(|frame| Some(u32::from_be_bytes(frame.payload.get(..4)?.try_into().ok()?)))
    }
}

/// What the first field of an answer says, which is its status: by number, or as text in
/// Huffman's code or without.
fn status(frame: &Frame) -> u16 {
    let padded = usize::from(frame.flags & PADDED != 0);
    let block = frame.payload.get(padded..).unwrap_or_default();
    match block {
        // A table size update comes first, where it comes.
        [size, rest @ ..] if size & 0xe0 == 0x20 => status(&Frame {
            payload: rest.to_vec(),
            flags: 0,
            ..*frame
        }),
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [_, 3, a, b, c, ..] => [a, b, c].iter().fold(0, |status, digit| {
            status * 10 + u16::from(digit.wrapping_sub(b'0'))
        }),
        [_, length, text @ ..] if length & 0x80 != 0 => {
            digits(text.get(..usize::from(length & 0x7f)).unwrap_or_default())
        }
        _ => 0,
    }
}

/// Three digits in Huffman's code: 0 to 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<bool> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .collect();
    let number = |range: std::ops::Range<usize>| {
        let bits = bits.get(range)?;
        Some(
            bits.iter()
                .fold(0_u16, |number, bit| number << 1 | u16::from(*bit)),
        )
    };
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let Some(five) = number(at..at + 5) else {
            return 0;
        };
        let digit = if five <= 2 {
            at += 5;
            five
        } else {
            let Some(six) = number(at..at + 6) else {
                return 0;
            };
            at += 6;
            six.wrapping_sub(0x19) + 3
        };
        status = status * 10 + digit;
    }
    status
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.http1.map(|status| format!("HTTP/1 {status}")));
        parts.extend(self.statuses.iter().map(u16::to_string));
        parts.extend(
            self.resets()
                .map(|code| format!("RST_STREAM {}", name(code))),
        );
        parts.extend(self.goaway().map(|code| format!("GOAWAY {}", name(code))));
        if parts.is_empty() && self.is_marked() {
            parts.push("goes on".to_owned());
        }
        if parts.is_empty() {
            parts.push("nothing".to_owned());
        }
        let end = if self.closed { "closed" } else { "kept" };
        write!(f, "{}, {end}", parts.join(", "))
    }
}

/// An error code by its name.
fn name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = NAMES.get(code as usize);
    name.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

impl Allowed {
    /// For the table.
    pub fn text(self) -> String {
        let code = |code: Code| name(code as u32);
        match self {
            Self::Connection(error) => format!("GOAWAY {} or close", code(error)),
            Self::Stream(error) => format!("RST_STREAM {}", code(error)),
            Self::Status(class) => format!("{class}xx"),
            Self::Data(lengths) => format!("DATA of {lengths:?}"),
            Self::Alive => "goes on".to_owned(),
            Self::Acknowledged => "SETTINGS".to_owned(),
            Self::End => "close".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_any_form() {
        let of = |payload: &[u8]| {
            status(&Frame {
                kind: HEADERS,
                flags: 0,
                stream: 1,
                payload: payload.to_vec(),
            })
        };
        assert_eq!(of(b"\x88"), 200);
        assert_eq!(of(b"\x3f\x00\x8c"), 0, "a size of two bytes is not read");
        assert_eq!(of(b"\x20\x8c"), 400);
        assert_eq!(of(b"\x48\x03503"), 503);
        assert_eq!(of(&[0x48, 0x83, 0x69, 0x90, 0xff]), 431);
        assert_eq!(of(&[0x48, 0x82, 0x10, 0x01]), 200);
    }
}
