//! Values of properties as CEL has them, and back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cel::Value as Cel;
use cel::objects::{Key, Map};
use chrono::{DateTime, TimeDelta};

use crate::property::Value;

/// `None` for what CEL has no value for. Texts are strings wherever they can be one.
pub(super) fn to_cel(value: Value) -> Option<Cel> {
    Some(match value {
        Value::Bytes(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => Cel::String(Arc::new(text.to_owned())),
            Err(_) => Cel::Bytes(Arc::new(bytes.to_vec())),
        },
        Value::Int(value) => Cel::Int(value),
        Value::Uint(value) => Cel::UInt(value),
        Value::Double(value) => Cel::Float(value),
        Value::Bool(value) => Cel::Bool(value),
        Value::Timestamp(value) => {
            Cel::Timestamp(DateTime::from_timestamp_nanos(nanos(value)).fixed_offset())
        }
        Value::Duration(value) => Cel::Duration(TimeDelta::nanoseconds(nanos(value))),
        Value::Map(pairs) => map(pairs
            .into_iter()
            .map(|(name, value)| (name, Value::Bytes(value)))),
        Value::Struct(pairs) => map(pairs.into_iter()),
        Value::List(elements) => {
            Cel::List(Arc::new(elements.into_iter().filter_map(to_cel).collect()))
        }
        Value::Message(message) => map(message.fields().into_iter()),
        Value::Unserialisable => return None,
    })
}

fn map(pairs: impl Iterator<Item = (Bytes, Value)>) -> Cel {
    let entries: HashMap<Key, Cel> = pairs
        .filter_map(|(name, value)| {
            let name = String::from_utf8(name.to_vec()).ok()?;
            Some((Key::String(Arc::new(name)), to_cel(value)?))
        })
        .collect();
    Cel::Map(Map {
        map: Arc::new(entries),
    })
}

fn nanos(value: Duration) -> i64 {
    i64::try_from(value.as_nanos()).unwrap_or(i64::MAX)
}

/// The result, to be encoded as any property is. Maps come in the order of their keys.
pub(super) fn from_cel(value: Cel) -> Value {
    match value {
        Cel::String(text) => Value::text(&*text),
        Cel::Bytes(bytes) => Value::text(&*bytes),
        Cel::Int(value) => Value::Int(value),
        Cel::UInt(value) => Value::Uint(value),
        Cel::Float(value) => Value::Double(value),
        Cel::Bool(value) => Value::Bool(value),
        Cel::Timestamp(value) => value
            .timestamp_nanos_opt()
            .map_or(Value::Unserialisable, Value::Int),
        Cel::Duration(value) => value
            .num_nanoseconds()
            .map_or(Value::Unserialisable, Value::Int),
        Cel::List(elements) => Value::List(elements.iter().cloned().map(from_cel).collect()),
        Cel::Map(map) => {
            let mut pairs: Vec<(Bytes, Value)> = map
                .map
                .iter()
                .map(|(key, value)| (key_bytes(key), from_cel(value.clone())))
                .collect();
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Struct(pairs)
        }
        _ => Value::Unserialisable,
    }
}

fn key_bytes(key: &Key) -> Bytes {
    match key {
        Key::Int(value) => Bytes::copy_from_slice(&value.to_le_bytes()),
        Key::Uint(value) => Bytes::copy_from_slice(&value.to_le_bytes()),
        Key::Bool(value) => Bytes::copy_from_slice(&[u8::from(*value)]),
        Key::String(text) => Bytes::copy_from_slice(text.as_bytes()),
    }
}
