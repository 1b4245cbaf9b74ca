//! The little of HTTP/1 that client and upstream must read themselves. Lenient on purpose:
//! the recording upstream plays the naive server behind a proxy.

/// Where a chunked body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunked {
    /// The last chunk and its trailers ended at this length.
    Complete(usize),
    /// More bytes are needed.
    Partial,
    /// This is not chunked coding.
    Broken,
}

/// The length of a message head with its empty line, once that is there.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some((_, next)) = line(bytes, start) {
        let length = next - start;
        let empty = length == 1 || bytes.get(start..next) == Some(b"\r\n");
        // Empty lines before the first line are no end.
        if empty && start > 0 && bytes.get(..start).is_some_and(|head| !is_blank(head)) {
            return Some(next);
        }
        start = next;
    }
    None
}

/// The values of every field with this name (lower case), blanks around them removed.
pub fn values<'a>(head: &'a [u8], name: &str) -> Vec<&'a [u8]> {
    head.split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (field, value) = (line.get(..colon)?, line.get(colon + 1..)?);
            let same = field.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
            same.then(|| value.trim_ascii())
        })
        .collect()
}

/// The members of a list field over all its lines, in lower case.
pub fn members(head: &[u8], name: &str) -> Vec<String> {
    values(head, name)
        .into_iter()
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|member| String::from_utf8_lossy(member.trim_ascii()).to_ascii_lowercase())
        .collect()
}

/// Finds the end of a chunked body.
pub fn chunked(body: &[u8]) -> Chunked {
    let mut at = 0;
    loop {
        let Some((size, next)) = line(body, at) else {
            return Chunked::Partial;
        };
        let digits = size.split(|&byte| byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits.trim_ascii())
            .ok()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size) = size else {
            return Chunked::Broken;
        };
        if size == 0 {
            return trailers(body, next);
        }
        let Some(end) = next.checked_add(size).and_then(|end| end.checked_add(2)) else {
            return Chunked::Broken;
        };
        match body.get(end - 2..end) {
            Some(b"\r\n") => at = end,
            Some(_) => return Chunked::Broken,
            None => return Chunked::Partial,
        }
    }
}

fn trailers(body: &[u8], mut at: usize) -> Chunked {
    while let Some((text, next)) = line(body, at) {
        if text.trim_ascii().is_empty() {
            return Chunked::Complete(next);
        }
        at = next;
    }
    Chunked::Partial
}

/// The line that starts at `start` without its LF, and where the next one starts.
fn line(bytes: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(start..)?;
    let length = rest.iter().position(|&byte| byte == b'\n')?;
    Some((rest.get(..length)?, start + length + 1))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_at_an_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\na: b\r\n\r\nrest"), Some(24));
        assert_eq!(head_end(b"GET / HTTP/1.1\na: b\n\nrest"), Some(21));
        assert_eq!(head_end(b"\r\nGET / HTTP/1.1\r\n\r\n"), Some(20));
        assert_eq!(head_end(b"\r\n\r\n"), None);
        assert_eq!(head_end(b"GET / HTTP/1.1\r\na: b\r\n"), None);
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let head = b"GET / HTTP/1.1\r\nTE: x\r\nContent-Length: 5, 6\r\ncontent-length:7\r\n\r\n";
        assert_eq!(values(head, "content-length"), [b"5, 6".as_slice(), b"7"]);
        assert_eq!(members(head, "content-length"), ["5", "6", "7"]);
    }

    #[test]
    fn chunked_bodies_end_after_their_trailers() {
        assert_eq!(
            chunked(b"5\r\nhello\r\n0\r\n\r\nGET"),
            Chunked::Complete(15)
        );
        assert_eq!(
            chunked(b"5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n"),
            Chunked::Complete(25)
        );
        assert_eq!(chunked(b"5\r\nhel"), Chunked::Partial);
        assert_eq!(chunked(b"0\r\n"), Chunked::Partial);
        for broken in [
            &b"x\r\n"[..],
            b"5\r\nhello--\r\n",
            b"ffffffffffffffff\r\n",
            b"-1\r\n",
        ] {
            assert_eq!(chunked(broken), Chunked::Broken);
        }
    }
}
