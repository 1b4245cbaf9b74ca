//! Values of properties and their encodings (`abi/ABI.md`, section 5.3).

mod message;

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;

use crate::codec;
use crate::filter_state::FilterState;

pub use message::{Locality, Message, Metadata, Node};
pub use prost_types::{
    ListValue as ProtoList, Struct as ProtoStruct, Value as ProtoValue, value::Kind as ProtoKind,
};

/// A property's value before it is put into bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text or bytes, as they are.
    Bytes(Bytes),
    /// Eight bytes, little-endian.
    Int(i64),
    /// Eight bytes, little-endian.
    Uint(u64),
    /// Eight bytes, little-endian.
    Double(f64),
    /// One byte.
    Bool(bool),
    /// Nanoseconds since the epoch, as [`Value::Int`].
    Timestamp(Duration),
    /// Nanoseconds, as [`Value::Int`].
    Duration(Duration),
    /// Serialised pairs; an empty map is four zero bytes.
    Map(Vec<(Bytes, Bytes)>),
    /// Likewise, each value encoded by these same rules.
    Struct(Vec<(Bytes, Self)>),
    /// Serialised pairs: the elements are the names, the values are empty.
    List(Vec<Self>),
    /// Its protobuf encoding; paths go on into its fields.
    Message(Message),
    /// Something that has no bytes (a whole virtual map such as `request`, a null).
    Unserialisable,
}

/// Where the properties come from that only the embedder knows: connection, source,
/// destination, upstream, xds, and the counts and times of the request.
pub trait Attributes {
    /// The value of `path`, if there is one now. `path` has at least one part; parts that
    /// are derived from header maps and the plugin itself never get here. Of a value that
    /// has parts of its own (a [`Value::Message`]) the whole is asked for as well: a path
    /// that leads into it may be answered either way.
    fn attribute(&self, path: &[&[u8]]) -> Option<Value>;

    /// Bytes of a certificate that are read to answer `path`, there or not: whoever asks is
    /// charged for them. None where the answer lies ready.
    fn bytes_read(&self, path: &[&[u8]]) -> usize {
        let _ = path;
        0
    }

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

    /// What filters have stored for as long as the client's connection lasts. `None`:
    /// there is no such place, and such values live as long as the exchange.
    fn connection_state(&self) -> Option<&RefCell<FilterState>> {
        None
    }
}

// === impl Value ===

impl Value {
    /// Text or bytes.
    #[must_use]
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Bytes::copy_from_slice(text.as_ref()))
    }

    /// What lies at the end of `path` inside this value; itself for an empty path.
    #[must_use]
    pub fn descend(self, path: &[&[u8]]) -> Option<Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self);
        };
        let inner = match self {
            Self::Map(pairs) => pairs
                .into_iter()
                .find(|(name, _)| name == first)
                .map(|(_, value)| Self::Bytes(value)),
            Self::Struct(pairs) => pairs
                .into_iter()
                .find(|(name, _)| name == first)
                .map(|(_, value)| value),
            Self::List(elements) => {
                let index: usize = std::str::from_utf8(first).ok()?.parse().ok()?;
                elements.into_iter().nth(index)
            }
            Self::Message(message) => message.field(first),
            _ => None,
        };
        inner?.descend(rest)
    }

    /// The value in the ABI's bytes; `None` where it has none.
    #[must_use]
    pub fn encode(self) -> Option<Bytes> {
        Some(match self {
            Self::Bytes(bytes) => bytes,
            Self::Int(value) => Bytes::copy_from_slice(&value.to_le_bytes()),
            Self::Uint(value) => Bytes::copy_from_slice(&value.to_le_bytes()),
            Self::Double(value) => Bytes::copy_from_slice(&value.to_le_bytes()),
            Self::Bool(value) => Bytes::from_static(if value { b"\x01" } else { b"\0" }),
            Self::Timestamp(value) | Self::Duration(value) => {
                let nanos = i64::try_from(value.as_nanos()).unwrap_or(i64::MAX);
                Bytes::copy_from_slice(&nanos.to_le_bytes())
            }
            Self::Map(pairs) => codec::pairs_to_vec(&pairs).into(),
            Self::Struct(pairs) => {
                let encoded = pairs
                    .into_iter()
                    .map(|(name, value)| Some((name, value.encode()?)));
                codec::pairs_to_vec(&encoded.collect::<Option<Vec<_>>>()?).into()
            }
            Self::List(elements) => {
                let encoded = elements
                    .into_iter()
                    .map(|element| Some((element.encode()?, Bytes::new())));
                codec::pairs_to_vec(&encoded.collect::<Option<Vec<_>>>()?).into()
            }
            Self::Message(message) => message.encode(),
            Self::Unserialisable => return None,
        })
    }
}

/// As messages show a `google.protobuf.Value`: not as a message but as what is in it.
impl From<&ProtoValue> for Value {
    fn from(value: &ProtoValue) -> Self {
        match &value.kind {
            None | Some(ProtoKind::NullValue(_)) => Self::Unserialisable,
            Some(ProtoKind::NumberValue(number)) => Self::Double(*number),
            Some(ProtoKind::StringValue(text)) => Self::text(text),
            Some(ProtoKind::BoolValue(value)) => Self::Bool(*value),
            Some(ProtoKind::StructValue(inner)) => inner.into(),
            Some(ProtoKind::ListValue(list)) => {
                Self::List(list.values.iter().map(Self::from).collect())
            }
        }
    }
}

impl From<&ProtoStruct> for Value {
    fn from(value: &ProtoStruct) -> Self {
        let fields = value.fields.iter();
        Self::Struct(
            fields
                .map(|(name, value)| (Bytes::copy_from_slice(name.as_bytes()), value.into()))
                .collect(),
        )
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

    fn bytes(value: Value) -> Option<Vec<u8>> {
        value.encode().map(|bytes| bytes.to_vec())
    }

    #[test]
    fn encodings_are_those_of_the_table() {
        assert_eq!(bytes(Value::text("x")), Some(b"x".to_vec()));
        assert_eq!(bytes(Value::Int(-2)), Some((-2_i64).to_le_bytes().to_vec()));
        assert_eq!(bytes(Value::Uint(2)), Some(2_u64.to_le_bytes().to_vec()));
        assert_eq!(
            bytes(Value::Double(0.5)),
            Some(0.5_f64.to_le_bytes().to_vec())
        );
        assert_eq!(bytes(Value::Bool(true)), Some(vec![1]));
        assert_eq!(
            bytes(Value::Timestamp(Duration::from_secs(1))),
            Some(1_000_000_000_i64.to_le_bytes().to_vec())
        );
        assert_eq!(bytes(Value::Map(vec![])), Some(vec![0; 4]));
        assert_eq!(bytes(Value::Unserialisable), None);
    }

    #[test]
    fn lists_and_nested_maps_are_pairs_of_what_is_in_them() {
        let list = Value::List(vec![Value::text("a"), Value::Bool(true)]);
        let expected = b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0a\0\0\x01\0\0";
        assert_eq!(bytes(list.clone()), Some(expected.to_vec()));
        let nested = Value::Struct(vec![("k".into(), list.clone())]);
        let encoded = bytes(nested.clone()).expect("encodes");
        assert!(encoded.windows(expected.len()).any(|part| part == expected));
        assert_eq!(nested.descend(&[b"k", b"1"]), Some(Value::Bool(true)));
        assert_eq!(list.clone().descend(&[b"2"]), None);
        assert_eq!(list.descend(&[b"-1"]), None);
        let hole = Value::List(vec![Value::Unserialisable]);
        assert_eq!(bytes(hole), None, "one part without bytes leaves none");
    }
}
