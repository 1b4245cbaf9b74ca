//! Properties that are protobuf messages, as Envoy's API defines them (only the fields
//! that this host can fill).

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Struct;

use super::Value;

/// A message, shared by whoever asks for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// `envoy.config.core.v3.Node`.
    Node(Arc<Node>),
    /// `envoy.config.core.v3.Metadata`.
    Metadata(Rc<Metadata>),
    /// `envoy.config.core.v3.Locality`.
    Locality(Rc<Locality>),
}

/// Who this proxy is: `xds.node`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Its own name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The group it belongs to.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// Whatever else its operator says of it.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
    /// Where it runs.
    #[prost(message, optional, tag = "4")]
    pub locality: Option<Locality>,
    /// Which program it is.
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
    /// Which version of it.
    #[prost(string, tag = "7")]
    pub user_agent_version: String,
}

/// Values by the name of whoever they are for, and their own.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metadata {
    /// By name space.
    #[prost(btree_map = "string, message", tag = "1")]
    pub filter_metadata: std::collections::BTreeMap<String, Struct>,
}

/// Where something runs.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Locality {
    /// Region.
    #[prost(string, tag = "1")]
    pub region: String,
    /// Zone of the region.
    #[prost(string, tag = "2")]
    pub zone: String,
    /// Part of the zone.
    #[prost(string, tag = "3")]
    pub sub_zone: String,
}

// === impl Message ===

impl Message {
    /// The field of that name; those that are not set have their type's empty value.
    pub(super) fn field(&self, name: &[u8]) -> Option<Value> {
        Some(match (self, name) {
            (Self::Node(node), b"id") => Value::text(&node.id),
            (Self::Node(node), b"cluster") => Value::text(&node.cluster),
            (Self::Node(node), b"user_agent_name") => Value::text(&node.user_agent_name),
            (Self::Node(node), b"user_agent_version") => Value::text(&node.user_agent_version),
            (Self::Node(node), b"metadata") => match &node.metadata {
                Some(metadata) => metadata.into(),
                None => Value::Struct(Vec::new()),
            },
            (Self::Node(node), b"locality") => {
                let locality = node.locality.clone().unwrap_or_default();
                Value::Message(Self::Locality(Rc::new(locality)))
            }
            (Self::Metadata(metadata), b"filter_metadata") => {
                let spaces = metadata.filter_metadata.iter();
                Value::Struct(
                    spaces
                        .map(|(name, value)| {
                            (Bytes::copy_from_slice(name.as_bytes()), value.into())
                        })
                        .collect(),
                )
            }
            (Self::Metadata(_), b"typed_filter_metadata") => Value::Struct(Vec::new()),
            (Self::Locality(locality), b"region") => Value::text(&locality.region),
            (Self::Locality(locality), b"zone") => Value::text(&locality.zone),
            (Self::Locality(locality), b"sub_zone") => Value::text(&locality.sub_zone),
            _ => return None,
        })
    }

    /// All fields that it has, by name.
    #[cfg(feature = "foreign")]
    pub(crate) fn fields(&self) -> Vec<(Bytes, Value)> {
        let names: &[&'static str] = match self {
            Self::Node(_) => &[
                "id",
                "cluster",
                "metadata",
                "locality",
                "user_agent_name",
                "user_agent_version",
            ],
            Self::Metadata(_) => &["filter_metadata", "typed_filter_metadata"],
            Self::Locality(_) => &["region", "zone", "sub_zone"],
        };
        let names = names.iter().map(|name| name.as_bytes());
        names
            .filter_map(|name| Some((Bytes::from_static(name), self.field(name)?)))
            .collect()
    }

    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Node(node) => node.encode_to_vec(),
            Self::Metadata(metadata) => metadata.encode_to_vec(),
            Self::Locality(locality) => locality.encode_to_vec(),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use prost_types::value::Kind;

    use super::*;

    fn node() -> Value {
        let kind = Some(Kind::StringValue("v".to_owned()));
        let fields = [("k".to_owned(), prost_types::Value { kind })].into();
        Value::Message(Message::Node(Arc::new(Node {
            id: "i".to_owned(),
            metadata: Some(Struct { fields }),
            ..Node::default()
        })))
    }

    #[test]
    fn a_path_goes_on_into_fields_and_maps() {
        let at = |path: &[&[u8]]| node().descend(path).and_then(Value::encode);
        assert_eq!(at(&[b"id"]).as_deref(), Some(&b"i"[..]));
        assert_eq!(at(&[b"cluster"]).as_deref(), Some(&b""[..]));
        assert_eq!(at(&[b"metadata", b"k"]).as_deref(), Some(&b"v"[..]));
        assert_eq!(at(&[b"locality", b"zone"]).as_deref(), Some(&b""[..]));
        assert_eq!(at(&[b"metadata", b"none"]), None);
        assert_eq!(at(&[b"id", b"more"]), None);
        assert_eq!(at(&[b"nothing"]), None);
    }

    #[test]
    fn a_whole_message_is_its_wire_form() {
        let encoded = node().encode().expect("encodes");
        // id = "i"; metadata { fields { key: "k" value { string_value: "v" } } }
        assert_eq!(
            encoded[..],
            *b"\n\x01i\x1a\x0a\n\x08\n\x01k\x12\x03\x1a\x01v"
        );
    }
}
