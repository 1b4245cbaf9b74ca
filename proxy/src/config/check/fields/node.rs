//! The keys of what this proxy says it is.

use super::field;
use crate::config::yaml::Absent::{Default, Means};
use crate::config::yaml::{Kind, Table};

/// `node`.
pub static NODE: Table = Table {
    name: "node",
    doc: "Who this proxy is, for filters that ask (`xds.node`).",
    fields: &[
        field("id", Kind::Text("text"), Default("\"\""), "Its own name."),
        field(
            "cluster",
            Kind::Text("text"),
            Default("\"\""),
            "The group of proxies it belongs to.",
        ),
        field(
            "metadata",
            Kind::Other("table of anything", &[]),
            Means("none"),
            "Whatever else there is to say; filters reach into it (`xds.node.metadata.KEY`).",
        ),
    ],
};
