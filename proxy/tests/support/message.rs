//! HTTP/1 messages as a strict reader sees them. Deliberately not the proxy's codec: a
//! mistake in that must not hide here.

use std::io::{self, Read};

/// A request or a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) line: String,
    /// Fields as they came, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// Bytes of a connection, and those read too far.
#[derive(Debug)]
pub(crate) struct Reader<S> {
    pub(crate) stream: S,
    pub(crate) buffer: Vec<u8>,
}

// === impl Message ===

impl Message {
    /// The status, of a response.
    pub(crate) fn status(&self) -> u16 {
        let status = self.line.split(' ').nth(1).unwrap_or_default();
        status
            .parse()
            .unwrap_or_else(|_| panic!("not a status line: {:?}", self.line))
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| &value[..])
            .collect()
    }

    /// A field that must not be there twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() <= 1,
            "{name} is there {} times: {all:?}",
            all.len()
        );
        all.first().copied()
    }

    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| &value[..])
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn parse(head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head).into_owned();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter(|line| !line.is_empty()).map(split).collect();
        Self {
            line,
            fields,
            ..Self::default()
        }
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length")
            .map(|length| length.parse().expect("a length"))
    }

    fn is_chunked(&self) -> bool {
        self.field("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

fn split(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("no colon in {line:?}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

// === impl Reader ===

impl<S: Read> Reader<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// A head; `None` at the end of the connection.
    pub(crate) fn head(&mut self) -> io::Result<Option<Message>> {
        let Some(head) = self.until(b"\r\n\r\n")? else {
            return Ok(None);
        };
        Ok(Some(Message::parse(&head)))
    }

    /// A whole request; `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> io::Result<Option<Message>> {
        let Some(mut message) = self.head()? else {
            return Ok(None);
        };
        assert!(
            !(message.length().is_some() && message.is_chunked()),
            "two framings: {message:?}"
        );
        self.framed_body(&mut message)?;
        Ok(Some(message))
    }

    /// A whole response, to a request with this method; 1xx (but 101) are passed over.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Message> {
        loop {
            let Some(mut message) = self.head()? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let status = message.status();
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            if method == "HEAD" || matches!(status, 101 | 204 | 304) {
                return Ok(message);
            }
            if message.length().is_none() && !message.is_chunked() {
                message.body = std::mem::take(&mut self.buffer);
                self.stream.read_to_end(&mut message.body)?;
                return Ok(message);
            }
            self.framed_body(&mut message)?;
            return Ok(message);
        }
    }

    /// Reads what the head says, into the message.
    pub(crate) fn framed_body(&mut self, message: &mut Message) -> io::Result<()> {
        if message.is_chunked() {
            while let Some(chunk) = self.chunk()? {
                message.body.extend(chunk);
            }
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    return Ok(());
                }
                message.trailers.push(split(&line));
            }
        }
        message.body = self.exactly(message.length().unwrap_or(0))?;
        Ok(())
    }

    /// One chunk; `None` after the last (trailers are still to be read then).
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16)
            .unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.exactly(size)?;
        assert_eq!(self.exactly(2)?, b"\r\n", "after a chunk");
        Ok(Some(chunk))
    }

    pub(crate) fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn line(&mut self) -> io::Result<String> {
        let line = self.until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    /// Up to and with `end`; `None` when the connection ends before the first byte.
    fn until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..]
                .windows(end.len())
                .position(|window| window == end)
            {
                let rest = self.buffer.split_off(searched + at + end.len());
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            searched = self.buffer.len().saturating_sub(end.len() - 1);
            if self.fill()? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 << 10];
        let read = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(read)
    }
}
