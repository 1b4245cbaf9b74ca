//! The client: writes bytes as they are, reads what comes back, and tells how it ended.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::wire::{self, Chunked};
use crate::{Error, Result};

/// How long an answered connection must stay open to count as kept.
const QUIET: Duration = Duration::from_millis(300);
/// How long an answer, or an announced close, is waited for. Envoy lingers for a second.
const PATIENCE: Duration = Duration::from_millis(2500);
/// The most an exchange may take, whatever arrives.
const LIMIT: Duration = Duration::from_secs(10);
/// The most that is read.
const MOST_BYTES: usize = 1 << 20;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Every status line, interim ones included, in order.
    pub statuses: Vec<u16>,
    /// What became of the connection.
    pub ended: Ended,
    /// The bytes themselves.
    pub bytes: Vec<u8>,
}

/// What became of a connection after the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The other side closed or reset it.
    Closed,
    /// It was still open.
    Kept,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.statuses.is_empty() {
            f.write_str("no answer")?;
        }
        for (index, status) in self.statuses.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{status}")?;
        }
        f.write_str(match self.ended {
            Ended::Closed => ", closed",
            Ended::Kept => ", kept",
        })
    }
}

/// Sends bytes on a connection of its own and reads until it is closed or stays quiet.
///
/// # Errors
/// No connection can be made.
pub fn send(address: SocketAddr, bytes: &[u8]) -> Result<Answer> {
    let failed = |error| Error::failed(format!("connection to {address}"), error);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    // A refusal may come before the last byte was taken; the answer tells.
    let _ = stream.write_all(bytes);
    let (bytes, ended) = read(&mut stream);
    let statuses = Answers::parse(&bytes).statuses;
    Ok(Answer {
        statuses,
        ended,
        bytes,
    })
}

fn read(stream: &mut TcpStream) -> (Vec<u8>, Ended) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let start = Instant::now();
    let mut last = start;
    while start.elapsed() < LIMIT && bytes.len() < MOST_BYTES {
        match stream.read(&mut chunk) {
            Ok(0) => return (bytes, Ended::Closed),
            Ok(count) => {
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                last = Instant::now();
            }
            Err(error) if would_wait(error.kind()) => {
                let answers = Answers::parse(&bytes);
                let answered = answers.complete > 0 && !answers.partial && !answers.close;
                if last.elapsed() > if answered { QUIET } else { PATIENCE } {
                    break;
                }
            }
            Err(_) => return (bytes, Ended::Closed),
        }
    }
    (bytes, Ended::Kept)
}

fn would_wait(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Answers found in a stream of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Every status, interim ones included.
    pub statuses: Vec<u16>,
    /// Final answers whose body has ended.
    pub complete: usize,
    /// Whether the last answer goes on.
    pub partial: bool,
    /// Whether an answer announced that the connection closes.
    pub close: bool,
}

impl Answers {
    /// Reads answers until the bytes end or stop being HTTP/1.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut answers = Self::default();
        while !bytes.is_empty() {
            let head = wire::head_end(bytes).and_then(|end| bytes.split_at_checked(end));
            let Some((head, body)) = head else {
                answers.partial = true;
                break;
            };
            let Some(status) = status(head) else {
                answers.partial = true;
                break;
            };
            answers.statuses.push(status);
            answers.close |= wire::members(head, "connection")
                .iter()
                .any(|word| word == "close");
            let Some(length) = body_length(status, head, body) else {
                answers.partial = true;
                break;
            };
            answers.complete += usize::from(status >= 200);
            bytes = body.get(length..).unwrap_or_default();
        }
        answers
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// How long a body is; `None` while it has not ended (or ends with the connection).
fn body_length(status: u16, head: &[u8], body: &[u8]) -> Option<usize> {
    if status < 200 || status == 204 || status == 304 {
        return Some(0);
    }
    if wire::members(head, "transfer-encoding")
        .iter()
        .any(|word| word == "chunked")
    {
        return match wire::chunked(body) {
            Chunked::Complete(length) => Some(length),
            Chunked::Partial | Chunked::Broken => None,
        };
    }
    let length = wire::members(head, "content-length")
        .first()?
        .parse()
        .ok()?;
    (body.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_a_row_are_told_apart() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
            HTTP/1.1 400 Bad\r\nconnection: Close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        let answers = Answers::parse(bytes);
        assert_eq!(answers.statuses, [100, 200, 400]);
        assert_eq!(
            (answers.complete, answers.partial, answers.close),
            (2, false, true)
        );
    }

    #[test]
    fn an_answer_that_goes_on_is_partial() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok"[..],
            b"HTTP/1.1 200 OK\r\n\r\nuntil close",
            b"HTTP/1.1 200 OK\r\n",
            b"nonsense\r\n\r\n",
        ] {
            let answers = Answers::parse(bytes);
            assert!(answers.partial && answers.complete == 0, "{answers:?}");
        }
    }
}
