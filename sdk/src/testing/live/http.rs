//! HTTP/1.1 for tests: messages as they are sent, and as they come. No more of it than
//! proxies say.

use std::io::{BufRead, Error, Read, Result, Write};

use crate::pairs::Pairs;

/// A message without its first line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) headers: Pairs,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Pairs,
}

/// Where a body ends that says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silent {
    /// There is none: a request's, and that of some responses whatever they say.
    Empty,
    /// Where the connection does.
    UntilClosed,
}

const MOST: u64 = 64 << 20;

/// The first line of the next message, and its headers; `None` where no more comes.
pub(super) fn head(from: &mut impl BufRead) -> Result<Option<(String, Pairs)>> {
    let Some(first) = line(from)? else {
        return Ok(None);
    };
    Ok(Some((
        String::from_utf8_lossy(&first).into_owned(),
        fields(from)?,
    )))
}

/// What follows a head; no body at all, where `silent` is so and `headers` are not asked.
pub(super) fn rest(from: &mut impl BufRead, headers: &Pairs, silent: Silent) -> Result<Message> {
    let mut message = Message::default();
    let is_chunked = find(headers, b"transfer-encoding").is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.ends_with(b"chunked")
    });
    let length = find(headers, b"content-length");
    if is_chunked {
        loop {
            let size = line(from)?.unwrap_or_default();
            let size = size.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size).unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(Error::other)?;
            if size == 0 {
                message.trailers = fields(from)?;
                break;
            }
            take(from, size, &mut message.body)?;
            line(from)?;
        }
    } else if let Some(length) = length {
        let length = std::str::from_utf8(length).map_err(Error::other)?;
        take(
            from,
            length.parse().map_err(Error::other)?,
            &mut message.body,
        )?;
    } else if silent == Silent::UntilClosed {
        from.take(MOST).read_to_end(&mut message.body)?;
    }
    Ok(message)
}

/// Writes a message, its body piece by piece.
pub(super) fn write(
    to: &mut impl Write,
    first: &str,
    headers: &[(Vec<u8>, Vec<u8>)],
    pieces: &[Vec<u8>],
    trailers: &Pairs,
) -> Result<()> {
    let mut head = format!("{first}\r\n").into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
    }
    let has_body = !pieces.is_empty() || !trailers.is_empty();
    let declared = find(headers, b"content-length").is_some();
    let is_chunked = has_body && (!declared || !trailers.is_empty());
    if is_chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
        for (name, _) in trailers {
            head.extend_from_slice(&[b"trailer: ", &name[..], b"\r\n"].concat());
        }
    }
    head.extend_from_slice(b"\r\n");
    to.write_all(&head)?;
    to.flush()?;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        if is_chunked {
            let size = format!("{:x}\r\n", piece.len());
            to.write_all(&[size.as_bytes(), piece, b"\r\n"].concat())?;
        } else {
            to.write_all(piece)?;
        }
        to.flush()?;
    }
    if is_chunked {
        let mut end = b"0\r\n".to_vec();
        for (name, value) in trailers {
            end.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
        }
        end.extend_from_slice(b"\r\n");
        to.write_all(&end)?;
        to.flush()?;
    }
    Ok(())
}

/// Whether a field is of the connection, and not of the message.
pub(super) fn is_of_connection(name: &[u8]) -> bool {
    let names: [&[u8]; 5] = [
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
    ];
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

pub(super) fn find<'a>(headers: &'a [(Vec<u8>, Vec<u8>)], name: &[u8]) -> Option<&'a [u8]> {
    let mut same = headers
        .iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case(name));
    same.next().map(|(_, value)| &value[..])
}

/// Fields, up to the empty line.
fn fields(from: &mut impl BufRead) -> Result<Pairs> {
    let mut fields = Pairs::new();
    loop {
        let line = line(from)?.ok_or_else(|| Error::other("broken off in a head"))?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        fields.push((name.to_vec(), value.to_vec()));
    }
}

/// A line without its end; `None` where no more comes.
fn line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if from.take(1 << 20).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while line
        .last()
        .is_some_and(|last| matches!(last, b'\r' | b'\n'))
    {
        line.pop();
    }
    Ok(Some(line))
}

fn take(from: &mut impl BufRead, size: u64, into: &mut Vec<u8>) -> Result<()> {
    let before = into.len();
    from.take(size.min(MOST)).read_to_end(into)?;
    if (into.len() - before) as u64 == size {
        return Ok(());
    }
    Err(Error::other("broken off in a body"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        let bytes =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        pairs.iter().map(bytes).collect()
    }

    /// What is read of what is written.
    fn through(headers: &Pairs, pieces: &[&str], trailers: &Pairs, silent: Silent) -> Message {
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.as_bytes().into()).collect();
        let mut wire = Vec::new();
        write(&mut wire, "GET / HTTP/1.1", headers, &pieces, trailers).unwrap();
        let mut wire = &wire[..];
        let (first, headers) = head(&mut wire).unwrap().unwrap();
        assert_eq!(first, "GET / HTTP/1.1");
        let message = rest(&mut wire, &headers, silent).unwrap();
        assert_eq!(wire, b"", "all of it was read");
        Message { headers, ..message }
    }

    #[test]
    fn what_is_written_is_read() {
        let none = Pairs::new();
        let host = pairs(&[("host", "a"), ("x-empty", "")]);
        let empty = through(&host, &[], &none, Silent::Empty);
        assert_eq!((empty.headers, empty.body), (host.clone(), Vec::new()));
        let sized = pairs(&[("Content-Length", "5")]);
        let body = through(&sized, &["he", "llo"], &none, Silent::Empty).body;
        assert_eq!(body, b"hello");
        let trailers = pairs(&[("x-sum", "5")]);
        for headers in [&host, &sized] {
            let chunked = through(headers, &["he", "", "llo"], &trailers, Silent::Empty);
            assert_eq!(
                (&chunked.body[..], &chunked.trailers),
                (&b"hello"[..], &trailers)
            );
        }
        assert_eq!(
            through(&host, &["ab"], &none, Silent::UntilClosed).body,
            b"ab"
        );
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        for text in [
            "HTTP/1.1 200 OK\r\nx: y",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        ] {
            let mut wire = text.as_bytes();
            let read = head(&mut wire).and_then(|head| {
                let (_, headers) = head.unwrap_or_default();
                rest(&mut wire, &headers, Silent::UntilClosed)
            });
            assert!(read.is_err(), "{text:?}");
        }
        assert!(head(&mut &b""[..]).unwrap().is_none());
    }
}
