//! `node`: what filters are told of this proxy.

use cofferdam_abi::property::{Node, ProtoKind, ProtoList, ProtoStruct, ProtoValue};
use serde_json::Value as Json;

use crate::config::yaml::Object;

pub(super) fn read(root: &Object<'_>) -> Node {
    let written = root.table("node");
    let text = |name: &str| {
        let text = written.as_ref().and_then(|object| object.text(name));
        text.unwrap_or_default().to_owned()
    };
    let metadata = written.as_ref().and_then(|object| object.get("metadata"));
    let metadata = metadata.and_then(|node| match node.is_table() {
        true => node.json(),
        false => {
            node.unexpected("a table", "write `metadata: { KEY: VALUE }`");
            None
        }
    });
    Node {
        id: text("id"),
        cluster: text("cluster"),
        metadata: metadata.map(|json| match proto(json) {
            ProtoKind::StructValue(fields) => fields,
            _ => ProtoStruct::default(),
        }),
        locality: None,
        user_agent_name: env!("CARGO_PKG_NAME").to_owned(),
        user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// All numbers are doubles there.
fn proto(json: Json) -> ProtoKind {
    let value = |json| ProtoValue {
        kind: Some(proto(json)),
    };
    match json {
        Json::Null => ProtoKind::NullValue(0),
        Json::Bool(truth) => ProtoKind::BoolValue(truth),
        Json::Number(number) => ProtoKind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => ProtoKind::StringValue(text),
        Json::Array(elements) => {
            let values = elements.into_iter().map(value).collect();
            ProtoKind::ListValue(ProtoList { values })
        }
        Json::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, json)| (name, value(json)))
                .collect();
            ProtoKind::StructValue(ProtoStruct { fields })
        }
    }
}
