//! RESP 2, as far as a connection that is shared needs it: where a reply ends, and that a
//! command is one command.
//!
//! Replies are handed over as they came, so nothing is decoded. The codec crates that were
//! looked at either recurse into nested arrays without a limit (redis-protocol 6.0.0), so
//! that a few hundred kilobytes from a guest or a server end the process, or decode and do
//! not tell how many bytes it took (redis). This counts elements instead, and needs no stack;
//! a test holds where it ends against what redis-protocol says.

use bytes::BytesMut;

/// Commands after which replies would not match commands any more, or which would change
/// the connection for everybody.
const UNSHARED: [&[u8]; 18] = [
    b"AUTH",
    b"DISCARD",
    b"EXEC",
    b"HELLO",
    b"MONITOR",
    b"MULTI",
    b"PSUBSCRIBE",
    b"PSYNC",
    b"PUNSUBSCRIBE",
    b"QUIT",
    b"RESET",
    b"SELECT",
    b"SSUBSCRIBE",
    b"SUBSCRIBE",
    b"SUNSUBSCRIBE",
    b"SYNC",
    b"UNSUBSCRIBE",
    b"WATCH",
];

/// Longest line that is no payload: a type, a number, or a simple text.
const LINE: usize = 64 << 10;

/// Writes what logs a connection in; as many replies will come first.
pub(super) fn greeting(out: &mut BytesMut, database: u32, user: &[u8], password: &[u8]) -> usize {
    let mut count = 0;
    if !password.is_empty() {
        if user.is_empty() {
            command(out, &[b"AUTH", password]);
        } else {
            command(out, &[b"AUTH", user, password]);
        }
        count += 1;
    }
    if database != 0 {
        command(out, &[b"SELECT", database.to_string().as_bytes()]);
        count += 1;
    }
    count
}

fn command(out: &mut BytesMut, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// That a query is one whole command, an array of texts, which a shared connection can
/// carry.
pub(super) fn check(query: &[u8]) -> Result<(), &'static str> {
    const MALFORMED: &str = "it is not one array of bulk strings";
    let (b'*', count, mut at) = element(query, 0, 0)?.ok_or(MALFORMED)? else {
        return Err(MALFORMED);
    };
    if count < 1 {
        return Err(MALFORMED);
    }
    let mut words: [&[u8]; 2] = [b"", b""];
    for index in 0..count {
        let (b'$', length, start) = element(query, at, 0)?.ok_or(MALFORMED)? else {
            return Err(MALFORMED);
        };
        let end = text_end(start, length)?;
        if !is_whole(query, end)? {
            return Err(MALFORMED);
        }
        if let Some(word) = usize::try_from(index).ok().and_then(|at| words.get_mut(at)) {
            *word = &query[start..end - 2];
        }
        at = end;
    }
    if at != query.len() {
        return Err(MALFORMED);
    }
    let [name, first] = words;
    let is = |wanted: &&[u8]| name.eq_ignore_ascii_case(wanted);
    let mutes = name.eq_ignore_ascii_case(b"CLIENT") && first.eq_ignore_ascii_case(b"REPLY");
    if UNSHARED.iter().any(is) || mutes {
        return Err("a connection that is shared cannot carry it");
    }
    Ok(())
}

/// Where the parser is in the first reply of a connection. What has come of it is not looked at
/// again when more has: a server may send a megabyte of small elements, and then byte by byte.
#[derive(Debug)]
pub(super) struct Reply {
    /// Where the element begins that has not come whole.
    at: usize,
    /// Bytes of its line, behind its type, in which there is no line end.
    seen: usize,
    /// Where its text ends, if it is one whose line has come.
    text: Option<usize>,
    /// Elements that are still to come: those of nested arrays are counted with the others.
    left: u64,
    /// Bytes that were looked at.
    #[cfg(test)]
    work: usize,
}

// === impl Reply ===

impl Reply {
    /// The length of the reply, once it is whole; from then on the next one is meant. `bytes`
    /// are all that have come of it, those of the last time among them.
    pub(super) fn length(&mut self, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        while self.left > 0 {
            if let Some(end) = self.text {
                if !is_whole(bytes, end)? {
                    return Ok(None);
                }
                self.text = None;
                self.at = end;
                self.left -= 1;
                continue;
            }
            let Some((kind, number, after)) = self.element(bytes)? else {
                return Ok(None);
            };
            if kind == b'$' && number >= 0 {
                self.text = Some(text_end(after, number)?);
                continue;
            }
            if kind == b'*' {
                let more = u64::try_from(number).unwrap_or(0);
                self.left = self.left.checked_add(more).ok_or("an array has no end")?;
            }
            self.at = after;
            self.left -= 1;
        }
        Ok(Some(std::mem::take(self).at))
    }

    /// [`element`] where the parser is; notes how much of the line has been searched.
    fn element(&mut self, bytes: &[u8]) -> Result<Option<(u8, i64, usize)>, &'static str> {
        let line = bytes.get(self.at..).unwrap_or_default();
        let found = element(bytes, self.at, self.seen)?;
        #[cfg(test)]
        {
            let end = found.map_or(bytes.len(), |(_, _, after)| after);
            self.work += end.saturating_sub(self.at + self.seen);
        }
        // The last byte may be the first of the line end.
        self.seen = match found {
            Some(_) => 0,
            None => line.len().saturating_sub(2),
        };
        Ok(found)
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            at: 0,
            seen: 0,
            text: None,
            left: 1,
            #[cfg(test)]
            work: 0,
        }
    }
}

/// An element's type, its number if it has one, and where its line ends. In the first `seen`
/// bytes behind its type no line ends.
fn element(bytes: &[u8], at: usize, seen: usize) -> Result<Option<(u8, i64, usize)>, &'static str> {
    let Some((&kind, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    let window = &rest[..rest.len().min(LINE)];
    let fresh = window.get(seen..).unwrap_or_default();
    let Some(end) = fresh.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() == LINE {
            Err("a line is too long")
        } else {
            Ok(None)
        };
    };
    let end = seen + end;
    let number = match kind {
        b'+' | b'-' => 0,
        b':' | b'$' | b'*' => std::str::from_utf8(&rest[..end])
            .ok()
            .and_then(|digits| digits.parse::<i64>().ok())
            .filter(|number| kind == b':' || *number >= -1)
            .ok_or("a number is malformed")?,
        _ => return Err("it is not RESP 2"),
    };
    Ok(Some((kind, number, at + 1 + end + 2)))
}

/// Where a bulk string of that length ends, with its line end.
fn text_end(start: usize, length: i64) -> Result<usize, &'static str> {
    let length = usize::try_from(length).map_err(|_| "a length is malformed")?;
    let end = start.checked_add(length).and_then(|end| end.checked_add(2));
    end.ok_or("a length is malformed")
}

/// Whether a bulk string has come that ends there.
fn is_whole(bytes: &[u8], end: usize) -> Result<bool, &'static str> {
    match bytes.get(end - 2..end) {
        None => Ok(false),
        Some(b"\r\n") => Ok(true),
        Some(_) => Err("a text is longer than it says"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        Reply::default().length(bytes)
    }

    /// The same when the bytes come one by one.
    fn dripping(bytes: &[u8]) -> (Result<Option<usize>, &'static str>, usize) {
        let mut reply = Reply::default();
        for come in 0..=bytes.len() {
            let length = reply.length(&bytes[..come]);
            if length != Ok(None) {
                return (length, reply.work);
            }
        }
        (Ok(None), reply.work)
    }

    #[test]
    fn replies_end_where_they_end_however_much_has_come() {
        for text in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":-12\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$6\r\na\r\nb\r\n\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n*2\r\n:1\r\n$1\r\nx\r\n+y\r\n",
        ] {
            let whole = format!("{text}+next\r\n");
            for length in 0..=whole.len() {
                let wanted = (length >= text.len()).then_some(text.len());
                let come = &whole.as_bytes()[..length];
                assert_eq!(reply(come), Ok(wanted), "{text:?} {length}");
                assert_eq!(dripping(come).0, Ok(wanted), "{text:?} {length}");
                // In two pieces, cut anywhere.
                for first in 0..length.min(text.len()) {
                    let mut parser = Reply::default();
                    assert_eq!(parser.length(&come[..first]), Ok(None), "{text:?} {first}");
                    assert_eq!(parser.length(come), Ok(wanted), "{text:?} {first} {length}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for text in [
            "hello\r\n",
            "$x\r\n",
            "$-2\r\n",
            "*9999999999999999999\r\n",
            "$1\r\nxyz\r\n",
            "$9223372036854775807\r\n",
            ">1\r\n",
        ] {
            let read = reply(text.as_bytes());
            assert!(read.is_err() || read == Ok(None), "{text:?}");
            assert_eq!(dripping(text.as_bytes()).0, read, "{text:?}");
        }
        assert!(
            reply(b"*9223372036854775807\r\n*9223372036854775807\r\n*9223372036854775807\r\n")
                .is_err()
        );
        assert!(reply(&vec![b'+'; LINE + 2]).is_err());
        assert!(dripping(&vec![b'+'; LINE + 2]).0.is_err());
    }

    #[test]
    fn replies_end_where_a_codec_says() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut whole = 0;
        for _ in 0..3_000 {
            let mut text = Vec::new();
            some_reply(&mut rng, 4, &mut text);
            text.extend_from_slice(b"+next\r\n");
            let come = &text[..rng.usize(..=text.len())];
            let codec = redis_protocol::resp2::decode::decode_range(come).expect("it is RESP");
            let wanted = codec.map(|(_, length)| length);
            whole += usize::from(wanted.is_some());
            assert_eq!(reply(come), Ok(wanted), "{}", come.escape_ascii());
            assert_eq!(dripping(come).0, Ok(wanted), "{}", come.escape_ascii());
        }
        assert!((500..2_500).contains(&whole), "whole and cut ones: {whole}");
    }

    fn some_reply(rng: &mut fastrand::Rng, depth: usize, out: &mut Vec<u8>) {
        let text = "x\r\n*".repeat(rng.usize(..3));
        let made = match rng.u8(..if depth > 0 { 8 } else { 6 }) {
            0 => "+fine\r\n".to_owned(),
            1 => "-ERR no\r\n".to_owned(),
            2 => format!(":{}\r\n", rng.i64(..)),
            3 => "$-1\r\n".to_owned(),
            4 => "*-1\r\n".to_owned(),
            5 => format!("${}\r\n{text}\r\n", text.len()),
            _ => {
                let count = rng.usize(..4);
                out.extend_from_slice(format!("*{count}\r\n").as_bytes());
                (0..count).for_each(|_| some_reply(rng, depth - 1, out));
                return;
            }
        };
        out.extend_from_slice(made.as_bytes());
    }

    #[test]
    fn a_reply_that_drips_in_is_looked_at_once() {
        let mut tiny = b"*99999\r\n".to_vec();
        tiny.extend(b":1\r\n".repeat(30_000));
        let line = [&b"+"[..], &vec![b'x'; LINE - 2]].concat();
        let deep = b"*1\r\n".repeat(30_000);
        let text = [&b"$100000\r\n"[..], &[b'x'; 60_000]].concat();
        for bytes in [tiny, line, deep, text] {
            let (length, work) = dripping(&bytes);
            assert_eq!(length, Ok(None));
            assert!(work <= 4 * bytes.len(), "{work} of {}", bytes.len());
        }
    }

    #[test]
    fn one_reply_after_another_is_found() {
        let bytes = b"+a\r\n*2\r\n$1\r\nx\r\n$-1\r\n-ERR b\r\n:1\r\n";
        let (mut parser, mut inbox, mut found) = (Reply::default(), BytesMut::new(), Vec::new());
        for byte in bytes {
            inbox.extend_from_slice(&[*byte]);
            while let Some(length) = parser.length(&inbox).expect("it is RESP") {
                found.push(inbox.split_to(length));
            }
        }
        let wanted: [&[u8]; 4] = [
            b"+a\r\n",
            b"*2\r\n$1\r\nx\r\n$-1\r\n",
            b"-ERR b\r\n",
            b":1\r\n",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn nesting_needs_no_stack() {
        let deep = b"*1\r\n".repeat(300_000);
        assert_eq!(reply(&deep), Ok(None));
        assert!(check(&deep).is_err());
    }

    #[test]
    fn a_query_is_one_command_that_can_be_shared() {
        let query = |words: &[&[u8]]| {
            let mut out = BytesMut::new();
            command(&mut out, words);
            out
        };
        assert_eq!(check(&query(&[b"GET", b"a\r\nb"])), Ok(()));
        assert_eq!(check(&query(&[b"CLIENT", b"ID"])), Ok(()));
        for words in [
            &[&b"subscribe"[..], b"x"][..],
            &[b"MULTI"],
            &[b"client", b"reply", b"off"],
        ] {
            assert!(check(&query(words)).is_err(), "{words:?}");
        }
        for text in [
            &b""[..],
            b"GET a\r\n",
            b"*0\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$4\r\nPING",
            b"*2\r\n$4\r\nPING\r\n",
            b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
        ] {
            assert!(check(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_greeting_says_who_and_where() {
        let mut out = BytesMut::new();
        assert_eq!(greeting(&mut out, 0, b"", b""), 0);
        assert!(out.is_empty());
        assert_eq!(greeting(&mut out, 7, b"me", b"secret"), 2);
        let wanted =
            "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n";
        assert_eq!(out, wanted);
    }
}
