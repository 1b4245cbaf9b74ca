//! The keys of a filter's limits.

use super::{HOUR, MILLI, bound, duration, field};
use crate::config::yaml::Absent::Default;
use crate::config::yaml::{Kind, Table};

/// `filters[].limits`.
pub static LIMITS: Table = Table {
    name: "filters[].limits",
    doc: "What one guest may use, on each worker. Past `callback`, `stream_cpu`, `fuel`, `memory`, `table` or `stack` its call ends, and the stream that it was for gets 503; past `body` it gets 413, or 500 where it is the response's. Once the head of a response has left, that is cut instead, and a TCP connection is closed. Past the others the guest is told, or what is too much is left out. Every time is counted in `cofferdam_filter_limit_hits_total{filter,limit,callback}`, the worker goes on, and the filter with it: in a fresh VM, after a crash. Crashes, and bodies past `body`, are logged ten at once, then one a second for each filter and worker, with how many were left out; the others now and then. Lines about crashes have filter, callback, request id and engine; of native code also the guest's functions, with file and line where the module carries DWARF. The interpreter keeps no backtrace.",
    fields: &[
        field(
            "callback",
            duration(MILLI, HOUR),
            Default("100ms"),
            "Longest one callback may run, in CPU time, with all that the host does for it. Native code is looked at every 10ms while it runs, so it may run up to 20ms longer; `fuel` bounds it exactly.",
        ),
        field(
            "stream_cpu",
            bound(MILLI, HOUR),
            Default("1s"),
            "Longest all callbacks of one stream may run, taken together. Its last ones (`proxy_on_log`, `proxy_on_done`, `proxy_on_delete`) are not held against it.",
        ),
        field(
            "fuel",
            Kind::Quota {
                min: 1,
                max: 1_000_000_000_000,
            },
            Default("none"),
            "Most fuel one callback may burn, in the units of the engine that runs it: about one for each instruction. Unlike time it is the same for the same call on every machine, and it makes native code slower.",
        ),
        field(
            "memory",
            Kind::Size {
                min: 64 << 10,
                max: 4 << 30,
            },
            Default("64MiB"),
            "Largest linear memory of a VM; and most that the host keeps for it of any one kind: one is what all its streams hold of bodies together. A stream that asks for more of that ends as past `body`.",
        ),
        field(
            "table",
            Kind::Integer {
                min: 1,
                max: 10_000_000,
            },
            Default("10000"),
            "Most elements of one wasm table.",
        ),
        field(
            "stack",
            Kind::Size {
                min: 16 << 10,
                max: 8 << 20,
            },
            Default("512KiB"),
            "Largest stack of native code. The interpreter gets what comes to the same: one call inside another for every 52 bytes of it, and three times as many bytes of values.",
        ),
        field(
            "body",
            Kind::Size {
                min: 0,
                max: 1 << 30,
            },
            Default("1MiB"),
            "Largest body held for this filter; past it the answer is 413, or 500 where it is the response's, which is cut once its head has left. Likewise most that the filter itself adds to what it holds of a body, or to what one callback lets on, whatever that answers (a filter that replaces 1 MiB by 2 MiB adds 1 MiB); what only passes has no bound. An answer of the filter's own, headers and details included, may be as long, and 64 KiB always: past that it is 500, likewise.",
        ),
        field(
            "callouts",
            Kind::Integer {
                min: 0,
                max: 100_000,
            },
            Default("64"),
            "Most callouts of this filter under way at a time; one more is answered INTERNAL_FAILURE.",
        ),
        field(
            "log",
            Kind::Rate {
                min: 1,
                max: 1 << 40,
            },
            Default("64KiB/s"),
            "Most log text it may write, on each worker. Records past it are dropped, counted, and told of once a second.",
        ),
        field(
            "metrics",
            Kind::Integer {
                min: 0,
                max: 1_000_000,
            },
            Default("1000"),
            "Most metrics a VM may define; one more is answered INTERNAL_FAILURE.",
        ),
        field(
            "shared_entries",
            Kind::Integer {
                min: 0,
                max: 100_000_000,
            },
            Default("10000"),
            "Most entries of shared data in its `vm_id` that it may add to. Past it, as past `shared_data.entries`, another entry makes room, or with `eviction: none` it is answered INTERNAL_FAILURE.",
        ),
    ],
};
