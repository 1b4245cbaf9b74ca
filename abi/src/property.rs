//! Values of properties and their encodings (ABI notes, section 5.3).

use std::time::Duration;

use bytes::Bytes;

use crate::codec;

/// A property's value before it is put into bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text or bytes, as they are.
    Bytes(Bytes),
    /// Eight bytes, little-endian.
    Int(i64),
    /// Eight bytes, little-endian.
    Uint(u64),
    /// One byte.
    Bool(bool),
    /// Nanoseconds since the epoch, as [`Value::Int`].
    Timestamp(Duration),
    /// Nanoseconds, as [`Value::Int`].
    Duration(Duration),
    /// Serialised pairs; an empty map is four zero bytes.
    Map(Vec<(Bytes, Bytes)>),
    /// Something that has no bytes (a whole virtual map such as `request`).
    Unserialisable,
}

/// Where the properties come from that only the embedder knows: connection, source,
/// destination, upstream, xds, and the counts and times of the request.
pub trait Attributes {
    /// The value of `path`, if there is one now. `path` has at least one part; parts that
    /// are derived from header maps and the plugin itself never get here.
    fn attribute(&self, path: &[&[u8]]) -> Option<Value>;

    /// The endpoints of the stream's cluster as `address:port`; `None` while it has none
    /// (section 13).
    fn upstream_hosts(&self) -> Option<Vec<String>> {
        None
    }

    /// Sends the stream to that endpoint, if its cluster has it when the time comes. Answers
    /// whether `address` can be one (section 13).
    fn override_upstream(&self, address: &str) -> bool {
        let _ = address;
        false
    }
}

// === impl Value ===

impl Value {
    /// Text or bytes.
    #[must_use]
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_ref()))
    }

    /// The value in the ABI's bytes; `None` where it has none.
    #[must_use]
    pub fn encode(self) -> Option<Bytes> {
        Some(match self {
            Self::Bytes(bytes) => bytes,
            Self::Int(value) => Bytes::copy_from_slice(&value.to_le_bytes()),
            Self::Uint(value) => Bytes::copy_from_slice(&value.to_le_bytes()),
            Self::Bool(value) => Bytes::from_static(if value { b"\x01" } else { b"\0" }),
            Self::Timestamp(value) | Self::Duration(value) => {
                let nanos = i64::try_from(value.as_nanos()).unwrap_or(i64::MAX);
                Bytes::copy_from_slice(&nanos.to_le_bytes())
            }
            Self::Map(pairs) => codec::pairs_to_vec(&pairs).into(),
            Self::Unserialisable => return None,
        })
    }
}

/// No attributes at all, for streams that have none and for tests.
impl Attributes for () {
    fn attribute(&self, _path: &[&[u8]]) -> Option<Value> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_of_the_table() {
        let bytes = |value: Value| value.encode().map(|b| b.to_vec());
        assert_eq!(bytes(Value::text("x")), Some(b"x".to_vec()));
        assert_eq!(bytes(Value::Int(-2)), Some((-2_i64).to_le_bytes().to_vec()));
        assert_eq!(bytes(Value::Uint(2)), Some(2_u64.to_le_bytes().to_vec()));
        assert_eq!(bytes(Value::Bool(true)), Some(vec![1]));
        assert_eq!(
            bytes(Value::Timestamp(Duration::from_secs(1))),
            Some(1_000_000_000_i64.to_le_bytes().to_vec())
        );
        assert_eq!(bytes(Value::Map(vec![])), Some(vec![0; 4]));
        assert_eq!(bytes(Value::Unserialisable), None);
    }
}
