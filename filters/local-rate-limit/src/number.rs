//! The status of a refusal, checked where it is read.

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::config::schema::Piece;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// 400 to 599.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status(pub(crate) u16);

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
