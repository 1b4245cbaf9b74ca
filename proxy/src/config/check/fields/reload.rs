//! The keys of how the configuration is read again, and how another process takes over.

use std::time::Duration;

use super::{HOUR, bound, duration, field};
use crate::config::yaml::Absent::{Default, Required};
use crate::config::yaml::{Kind, Table};

/// `reload`.
pub static RELOAD: Table = Table {
    name: "reload",
    doc: "When this file is read again while the proxy runs: on SIGHUP, and where `watch` says so. It is checked whole, with the files that it names and its filters, before any of it comes to run: a bad one changes nothing, and every mistake is logged. Requests under way end as they began. What is the same goes on: upstreams with their connections and health, filters with their VMs and root contexts. A listener's connections go on where only its name, routes or filters are others; otherwise they get one more response with `connection: close` (HTTP/2: GOAWAY). Where a listener is gone they are cut after `drain_time`. `workers`, `admin`, `upgrade`, `artifacts`, `compiler`, `no_exec_memory`, `memory`, `shared_data`, `shared_queues` and `tracing` are read at the start only: threads, sockets and memory are made of them once. They stay as they are, and a warning names them.",
    fields: &[field(
        "watch",
        bound(Duration::from_millis(100), HOUR),
        Default("none"),
        "How often this file and those that it names are looked at, and read again when one is another than before: by time, size and inode, links followed, so that editors, `mv` and volumes of Kubernetes are seen. With `none` nothing wakes the process for that.",
    )],
};

/// `upgrade`.
pub static UPGRADE: Table = Table {
    name: "upgrade",
    doc: "How another process, of another binary or configuration, takes the place of this one without a connection being refused or lost: put the new binary in the place of the old one and send SIGUSR2, or `POST /upgrade` to `admin`, or start the new one with `cofferdam run --take-over`. It is given every listening socket (that of `admin` too), starts all it needs with its own configuration, and serves; only then this one ends as on SIGTERM, except that connections without a request under way may send one more, which is answered with `connection: close` (HTTP/2: GOAWAY), for half of `drain_time`. If the new one does not come that far, nothing changes, and the log says why. A reload that either is told to do meanwhile waits until that is over; the old one refuses it then if it has been taken over. Metrics, shared data, queues, TLS sessions, health and ejections of endpoints begin anew in the new process; while both run, services and ticks of filters run in both. Sockets are never closed while both listen there: a process with fewer `workers` has more sockets for each.",
    fields: &[
        field(
            "socket",
            Kind::Text("file name"),
            Required,
            "A unix socket at which the process that serves is asked. Its folder must be there, belong to the user that the proxy runs as, and let nobody else write to it; the same user's processes only are answered.",
        ),
        field(
            "timeout",
            duration(SECOND, HOUR),
            Default("2m"),
            "How long the new process may take until it serves: filters are compiled (`engine: aot`) and started in it. One that was started by SIGUSR2 is ended then.",
        ),
    ],
};

const SECOND: Duration = Duration::from_secs(1);
