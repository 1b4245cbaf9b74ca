//! One HTTP/1.1 connection that sends finished bytes and reads whole answers, one at a time.
//!
//! It reads what the proxies and upstreams of this crate's measurements send: heads of any
//! size, bodies by `content-length` or in chunks.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Error, Result};

/// The longest one read may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Header lines without their ends, as they came.
    pub headers: Vec<String>,
    /// Its whole body.
    pub body: Vec<u8>,
}

// === impl Client ===

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::open(address).map_err(|error| Error::failed("a client", error))
    }

    /// Connects; the system's own error.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The connection ends before the answer does, or the answer is none.
    pub fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.exchange(request)
            .map_err(|error| Error::failed("a request", error))
    }

    /// The same; the system's own error.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub fn exchange(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        self.0.get_mut().write_all(request)?;
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or(ErrorKind::InvalidData)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            headers.push(line);
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer.body)?;
        } else {
            let length = answer.header("content-length");
            let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            self.part(length, &mut answer.body)?;
        }
        Ok(answer)
    }

    /// How long a read may take from now on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_limit(&self, limit: Duration) -> std::io::Result<()> {
        self.0.get_ref().set_read_timeout(Some(limit))
    }

    /// Gives the connection up for its socket.
    pub fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> std::io::Result<()> {
        loop {
            let length = u64::from_str_radix(&self.line()?, 16);
            let length = length.map_err(|_| ErrorKind::InvalidData)?;
            self.part(length, body)?;
            self.line()?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn part(&mut self, length: u64, body: &mut Vec<u8>) -> std::io::Result<()> {
        let read = self.0.by_ref().take(length).read_to_end(body)?;
        if read as u64 == length {
            return Ok(());
        }
        Err(ErrorKind::UnexpectedEof.into())
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}

// === impl Answer ===

impl Answer {
    /// The value of the first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_one_after_the_other() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
                      HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
                      HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut",
                )
                .unwrap();
            // Ending with something unread would be a reset.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let mut client = Client::connect(address).unwrap();
        let first = client.send(b"x").unwrap();
        assert_eq!((first.status, &first.body[..]), (200, &b"abc"[..]));
        let second = client.send(b"x").unwrap();
        assert_eq!((second.status, &second.body[..]), (503, &b"de"[..]));
        assert!(client.send(b"x").is_err());
        drop(client);
        server.join().unwrap();
    }
}
