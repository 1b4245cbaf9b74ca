//! Numbers with a range of their own, checked where they are read.

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::config::schema::Piece;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// At least 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count(pub(crate) u32);

/// 400 to 599.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status(pub(crate) u16);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u32::deserialize(from)? {
            0 => Err(D::Error::custom("must be at least 1")),
            count => Ok(Self(count)),
        }
    }
}

impl Schema for Count {
    const SCHEMA: &'static Piece =
        &Piece::Text(r#""type":"integer","minimum":1,"maximum":4294967295"#);
}

impl Default for Status {
    fn default() -> Self {
        Self(429)
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u16::deserialize(from)? {
            status @ 400..=599 => Ok(Self(status)),
            _ => Err(D::Error::custom("must be 400 to 599")),
        }
    }
}

impl Schema for Status {
    const SCHEMA: &'static Piece = &Piece::Text(r#""type":"integer","minimum":400,"maximum":599"#);
}
