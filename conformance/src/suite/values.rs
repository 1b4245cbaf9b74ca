//! The small values of a case: bytes, headers, times.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _};

use super::case::unhex;

/// Bytes of a message: a text, or `{ hex: … }`, or `{ repeat: x, times: 1000 }`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Chunk(pub Bytes);

/// A body: one chunk with its length announced, or a list of chunks sent apart from each
/// other with their number unknown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged)]
pub enum Body {
    /// `body: text`
    Whole(Chunk),
    /// `body: [one, two]`
    Chunks(Vec<Chunk>),
}

/// A header or trailer, written `name: value`. Names may begin with a colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// As written: case is kept where the protocol keeps it.
    pub name: String,
    /// Without the blanks around it.
    pub value: String,
}

/// A length of time, written `120ms` or `2s`. Virtual where a host has virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

// === impl Chunk ===

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Hex { hex: String },
            Repeat { repeat: String, times: usize },
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into(),
            Form::Hex { hex } => unhex(&hex).map_err(D::Error::custom)?.into(),
            Form::Repeat { repeat, times } => repeat.repeat(times).into(),
        }))
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.0))
    }
}

/// Bytes as people read them: long ones cut.
#[must_use]
pub fn show(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let cut = &bytes[..bytes.len().min(LONGEST)];
    let more = if bytes.len() > LONGEST {
        format!(" … ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    format!("\"{}\"{more}", text(cut))
}

/// Bytes as a text: printable UTF-8 as it is, all else as `\n`, `\r`, `\t` or `\xNN`. This is
/// how records are written in cases.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                control if control.is_control() => {
                    out.push_str(&format!("\\x{:02x}", u32::from(control)));
                }
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

// === impl Body ===

impl Body {
    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Whole(chunk) => chunk.0.clone(),
            Self::Chunks(chunks) => {
                let all: Vec<&[u8]> = chunks.iter().map(|chunk| &*chunk.0).collect();
                all.concat().into()
            }
        }
    }

    /// Its pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Chunk] {
        match self {
            Self::Whole(chunk) => std::slice::from_ref(chunk),
            Self::Chunks(chunks) => chunks,
        }
    }

    /// Its length, where that is announced.
    #[must_use]
    pub fn announced(&self) -> Option<usize> {
        match self {
            Self::Whole(chunk) => Some(chunk.0.len()),
            Self::Chunks(_) => None,
        }
    }
}

// === impl Header ===

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = String::deserialize(deserializer)?;
        // A pseudo-header's own colon does not part name from value.
        let from = usize::from(line.starts_with(':'));
        let parted = line[from..].split_once(':');
        let (name, value) = parted
            .ok_or_else(|| D::Error::custom(format!("{line:?} is not like `name: value`")))?;
        Ok(Self {
            name: format!("{}{name}", &line[..from]),
            value: value.trim().to_owned(),
        })
    }
}

// === impl Wait ===

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
        let number = number.trim().parse::<u64>().ok();
        let time = match (number, unit) {
            (Some(ms), "ms") => Duration::from_millis(ms),
            (Some(s), "s") => Duration::from_secs(s),
            _ => {
                return Err(D::Error::custom(format!(
                    "{text:?} is not like 120ms or 2s"
                )));
            }
        };
        Ok(Self(time))
    }
}
