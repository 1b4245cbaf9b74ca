//! The keys of how the configuration is read again.

use std::time::Duration;

use super::{HOUR, bound, field};
use crate::config::yaml::Absent::Default;
use crate::config::yaml::Table;

/// `reload`.
pub static RELOAD: Table = Table {
    name: "reload",
    doc: "When this file is read again while the proxy runs: on SIGHUP, and where `watch` says so. It is checked whole, with the files that it names and its filters, before any of it comes to run: a bad one changes nothing, and every mistake is logged. Requests under way end as they began. What is the same goes on: upstreams with their connections and health, filters with their VMs and root contexts. A listener's connections go on where only its name, routes or filters are others; otherwise they get one more response with `connection: close` (HTTP/2: GOAWAY). Where a listener is gone they are cut after `drain_time`. `workers`, `admin`, `artifacts`, `compiler`, `no_exec_memory`, `memory`, `shared_data`, `shared_queues` and `tracing` are read at the start only: threads, sockets and memory are made of them once. They stay as they are, and a warning names them.",
    fields: &[field(
        "watch",
        bound(Duration::from_millis(100), HOUR),
        Default("none"),
        "How often this file and those that it names are looked at, and read again when one is another than before: by time, size and inode, links followed, so that editors, `mv` and volumes of Kubernetes are seen. With `none` nothing wakes the process for that.",
    )],
};
