//! The server name (SNI) in a ClientHello that somebody else will answer.
//!
//! Not rustls': what is passed through may be of versions and with algorithms that rustls
//! refuses, and only the name is wanted. Nothing is believed but the structure (RFC 8446,
//! section 4.1.2; RFC 6066, section 3), and bounds on it.

/// Longest ClientHello that is looked at, in bytes: Envoy's bound. Those with keys that
/// quantum computers cannot break have about 2 KiB.
const LONGEST: usize = 16 << 10;
/// The same with the headers of the records it comes in, which may be many.
const LONGEST_RECORDS: usize = 32 << 10;
/// Longest piece of it in one record.
const LONGEST_RECORD: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// Too few to say.
    Partial,
    /// No TLS, or none that reads as a ClientHello.
    Other,
    /// More than is looked at.
    TooLong,
    /// A whole ClientHello, and the name that it asks for, in lower case.
    Hello(Option<Box<str>>),
}

/// Reads the ClientHello at the beginning of `bytes`.
pub(crate) fn look(bytes: &[u8]) -> Look {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        match *rest {
            [] => break,
            [kind, ..] if kind != HANDSHAKE => return Look::Other,
            [_, major, ..] if major != 3 => return Look::Other,
            [_, _, _, high, low, ref after @ ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length == 0 || length > LONGEST_RECORD {
                    return Look::Other;
                }
                message.extend_from_slice(&after[..length.min(after.len())]);
                if let Some(verdict) = judge(&message) {
                    // What follows the hello is none of ours.
                    return verdict;
                }
                match after.get(length..) {
                    Some(next) => rest = next,
                    None => break,
                }
            }
            _ => break,
        }
    }
    if bytes.len() > LONGEST_RECORDS {
        return Look::TooLong;
    }
    Look::Partial
}

/// What the beginning of a handshake message is, as soon as that can be said.
fn judge(message: &[u8]) -> Option<Look> {
    match *message {
        [kind, ..] if kind != CLIENT_HELLO => Some(Look::Other),
        [_, high, mid, low, ref body @ ..] => {
            let length = u32::from_be_bytes([0, high, mid, low]) as usize;
            if length > LONGEST {
                return Some(Look::TooLong);
            }
            let name = server_name(body.get(..length)?);
            Some(name.map_or(Look::Other, Look::Hello))
        }
        _ => None,
    }
}

/// The name in the body of a ClientHello; `None` where it is none.
fn server_name(mut body: &[u8]) -> Option<Option<Box<str>>> {
    // The version, and what is random.
    take(&mut body, 2 + 32)?;
    let _session_id = vector::<1>(&mut body)?;
    let _suites = vector::<2>(&mut body)?;
    let _compression = vector::<1>(&mut body)?;
    if body.is_empty() {
        return Some(None);
    }
    let mut extensions = vector::<2>(&mut body)?;
    if !body.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes(*take(&mut extensions, 2)?.first_chunk()?);
        let mut content = vector::<2>(&mut extensions)?;
        if kind != SERVER_NAME {
            continue;
        }
        let mut names = vector::<2>(&mut content)?;
        // Of two, another server may take the other.
        if found.is_some() || !content.is_empty() {
            return None;
        }
        let [kind] = *take(&mut names, 1)?.first_chunk()?;
        let name = vector::<2>(&mut names)?;
        if !names.is_empty() {
            return None;
        }
        found = Some((kind == HOST_NAME).then_some(name));
    }
    Some(found.flatten().and_then(host_name))
}

/// A name as it may stand in DNS, in lower case.
fn host_name(bytes: &[u8]) -> Option<Box<str>> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &[u8]| (1..=63).contains(&label.len()) && label.iter().all(allowed);
    if bytes.len() > 253 || !bytes.split(|byte| *byte == b'.').all(label) {
        return None;
    }
    let name = std::str::from_utf8(bytes).ok()?;
    Some(name.to_ascii_lowercase().into())
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

/// A vector whose length has so many bytes.
fn vector<'b, const N: usize>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take(rest, N)?;
    let length = length
        .iter()
        .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    take(rest, length)
}

#[cfg(test)]
mod tests;
