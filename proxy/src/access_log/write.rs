//! From values to bytes that stay inside their quotes and their line.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Flags;

/// What a part has to say.
pub(super) enum Value<'a> {
    Absent,
    Address(SocketAddr),
    /// Without its port.
    Ip(SocketAddr),
    Bytes(&'a [u8]),
    Flags(Flags),
    /// The same in words.
    LongFlags(Flags),
    Number(u64),
    Owned(Vec<u8>),
    /// A value of JSON that is no text.
    Plain(String),
    /// Filter and callback.
    Place(&'a str, &'a str),
    Text(String),
    Time(SystemTime),
}

// === impl Value ===

impl<'a> Value<'a> {
    /// What is empty says nothing.
    pub(super) fn text(text: Option<&'a str>) -> Self {
        match text {
            Some(text) if !text.is_empty() => Self::Bytes(text.as_bytes()),
            _ => Self::Absent,
        }
    }

    /// As Envoy writes sentences where one word is wanted.
    pub(super) fn words(sentence: Option<&'a str>) -> Self {
        match sentence {
            Some(sentence) if sentence.contains(char::is_whitespace) => {
                Self::Text(sentence.replace(char::is_whitespace, "_"))
            }
            sentence => Self::text(sentence),
        }
    }

    /// With commas between them; nothing where there are none.
    pub(super) fn list(all: impl Iterator<Item = String>) -> Self {
        let all: Vec<String> = all.collect();
        match all.is_empty() {
            true => Self::Absent,
            false => Self::Text(all.join(",")),
        }
    }
}

/// Appends a JSON string.
pub(super) fn json_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    json_bytes(bytes, out);
    out.push(b'"');
}

/// Writes one value as text; `bytes` writes what somebody else chose.
pub(super) fn write_value(value: &Value<'_>, out: &mut Vec<u8>, bytes: fn(&[u8], &mut Vec<u8>)) {
    match *value {
        Value::Absent => out.push(b'-'),
        Value::Address(address) => write_display(address, out),
        Value::Ip(address) => write_display(address.ip(), out),
        Value::Bytes(text) => bytes(text, out),
        Value::Flags(flags) => write_display(flags, out),
        Value::LongFlags(flags) => {
            for (at, name) in flags.long_names().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b"," });
                out.extend_from_slice(name.as_bytes());
            }
        }
        Value::Number(number) => write_number(number, out),
        Value::Owned(ref text) => bytes(text, out),
        Value::Plain(ref plain) => out.extend_from_slice(plain.as_bytes()),
        Value::Place(filter, callback) => {
            bytes(filter.as_bytes(), out);
            out.push(b'/');
            bytes(callback.as_bytes(), out);
        }
        Value::Text(ref text) => bytes(text.as_bytes(), out),
        Value::Time(time) => write_time(time, out),
    }
}

fn write_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to a `Vec` does not fail.
    let _ = write!(out, "{value}");
}

pub(super) fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// nginx's rule for its logs: nothing passes that could end a line, close a quote or be
/// taken for anything but text.
pub(super) fn text_bytes(mut bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    loop {
        let plain = bytes.iter().position(|byte| !is_plain(byte));
        out.extend_from_slice(&bytes[..plain.unwrap_or(bytes.len())]);
        let Some(at) = plain else { return };
        out.extend_from_slice(b"\\x");
        hex(bytes[at], out);
        bytes = &bytes[at + 1..];
    }
}

/// What JSON wants escaped. Bytes that are no UTF-8 become the replacement character.
pub(super) fn json_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        loop {
            let special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f);
            let end = rest.iter().position(special);
            out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            let Some(at) = end else { break };
            match rest[at] {
                byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
                byte => {
                    out.extend_from_slice(b"\\u00");
                    hex(byte, out);
                }
            }
            rest = &rest[at + 1..];
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 0xf)]);
}

/// ISO 8601 in UTC with milliseconds. Times before 1970 read as 1970.
fn write_time(time: SystemTime, out: &mut Vec<u8>) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis(),
    );
}

/// The date of a day counted from 1970-01-01. Years are counted from March, so that the
/// leap day is the last one and months have a regular pattern of lengths.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}
