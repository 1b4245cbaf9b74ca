//! The keys of how names are looked up.

use super::{DAY, HOUR, MILLI, duration, field};
use crate::config::yaml::Absent::{Default, Means};
use crate::config::yaml::{Kind, Table};

/// `dns`.
pub static DNS: Table = Table {
    name: "dns",
    doc: "How the names of endpoints, and of servers that filters call by URL, are looked up: in the hosts file, then by DNS, with the search domains of `/etc/resolv.conf`. Both files are read for each look-up. Names of endpoints are looked up before the proxy serves, and again whenever their addresses are no longer good. While no server answers, the addresses of before go on; a name that does not exist has no endpoints.",
    fields: &[
        field(
            "servers",
            Kind::Other("list of addresses, with a port where it is not 53", &[]),
            Means("those in `/etc/resolv.conf`"),
            "Name servers, over UDP, and TCP for answers that are long.",
        ),
        field(
            "timeout",
            duration(MILLI, HOUR),
            Default("5s"),
            "How long looking up one name may take, all attempts together. Starting and reloading wait no longer than this for it.",
        ),
        field(
            "min_ttl",
            duration(MILLI, DAY),
            Default("5s"),
            "Addresses are good for no less than this, whatever the answer says; after a failure the next attempt comes as soon, each further one after twice the time, up to 30 s.",
        ),
        field(
            "max_ttl",
            duration(MILLI, DAY),
            Default("5m"),
            "Addresses are good for no more than this; those in the hosts file for as long.",
        ),
    ],
};
