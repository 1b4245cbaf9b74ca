//! Numbers with a range of their own, checked where they are read.

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::config::schema::Piece;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// At least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u32);

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
