//! The keys of what filters share with each other, and of what an operator may look at.

use super::{DAY, MILLI, bound, field};
use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Kind, Table};

/// `shared_data`.
pub static SHARED_DATA: Table = Table {
    name: "shared_data",
    doc: "How much the filters of one `vm_id` may keep as shared data, on all workers together. It is gone when the proxy ends.",
    fields: &[
        field(
            "entries",
            Kind::Integer {
                min: 0,
                max: 100_000_000,
            },
            Default("10000"),
            "Most entries.",
        ),
        field(
            "bytes",
            Kind::Size {
                min: 0,
                max: 1 << 40,
            },
            Default("16MiB"),
            "Most bytes, keys and values. One entry larger than that is answered INTERNAL_FAILURE.",
        ),
        field(
            "eviction",
            Kind::Choice(&["slru", "lru", "none"]),
            Default("slru"),
            "What makes room past either: `slru` drops what was used but once before what was used again, each least recently used first; `lru` drops the least recently used; with `none` what has no room is answered INTERNAL_FAILURE. Evictions are counted, and logged once a minute.",
        ),
        field(
            "ttl",
            bound(MILLI, DAY),
            Default("none"),
            "How long an entry lives after it was last set.",
        ),
    ],
};

/// `shared_queues`.
pub static SHARED_QUEUES: Table = Table {
    name: "shared_queues",
    doc: "How much may wait in the shared queues of one `vm_id`, all of them together. What has no room is answered INTERNAL_FAILURE.",
    fields: &[
        field(
            "items",
            Kind::Integer {
                min: 0,
                max: 100_000_000,
            },
            Default("10000"),
            "Most items.",
        ),
        field(
            "bytes",
            Kind::Size {
                min: 0,
                max: 1 << 40,
            },
            Default("16MiB"),
            "Most bytes.",
        ),
        field(
            "queues",
            Kind::Integer {
                min: 0,
                max: 1_000_000,
            },
            Default("1000"),
            "Most queues.",
        ),
    ],
};

/// `admin`.
pub static ADMIN: Table = Table {
    name: "admin",
    doc: "Where an operator looks and acts, over HTTP/1.1, on a thread of its own: the endpoints are in a table below. What changes state takes POST. With a token file it takes the token too, and so does what shows the configuration where the address is not a loopback one.",
    fields: &[
        field(
            "address",
            Kind::Text("IP address and port"),
            Required,
            "Where it listens. Whoever reaches it can read every metric. Any other address than a loopback one needs `token_file`.",
        ),
        field(
            "token_file",
            Kind::Text("file name"),
            Means("no token"),
            "A file with one word in it, the token: `Authorization: Bearer TOKEN` must be sent with every POST.",
        ),
        field(
            "tags",
            Kind::Tables(&TAG),
            Means("none"),
            "Labels that guests put into the names of their metrics, as Envoy's `stats_config.stats_tags` finds them.",
        ),
    ],
};

/// `admin.tags[]`.
pub static TAG: Table = Table {
    name: "tag",
    doc: "A label of guests' metrics. Those whose names match are one family with this label; of each tag the first match counts.",
    fields: &[
        field(
            "name",
            Kind::Text("letters, digits and `_`"),
            Required,
            "The label.",
        ),
        field(
            "regex",
            Kind::Text("regular expression"),
            Required,
            "What its first group matches is taken out of the name. Its second group, if there is one, or else its first is the label's value: `_reporter=(([a-z]+))`, or with the whole to go `(_reporter=([a-z]+))`.",
        ),
    ],
};
