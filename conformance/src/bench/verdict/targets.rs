//! The targets themselves, as data.

use super::super::report::Column::{self, Cold, Envoy, Hot, Nginx};

/// One figure and the most it may be.
pub(super) struct Target {
    /// The row it belongs to, a colon, the figure.
    pub(super) name: &'static str,
    pub(super) figure: Figure,
    pub(super) most: f64,
    pub(super) unit: &'static str,
    pub(super) required: bool,
}

/// How a figure is taken from a report.
pub(super) enum Figure {
    /// A program's figures in a row over another's.
    Ratio(&'static str, Column, Column),
    /// What one of five filters of a kind adds, over what it adds in Envoy.
    Added(&'static str, Column),
    /// A program's figure itself.
    Own(&'static str, Column),
    /// The same, where more is better: what is missing to 100.
    Lacking(&'static str, Column),
}

pub(super) const TARGETS: [Target; 27] = [
    ratio("plain proxy: CPU", "plain.cpu", Hot, 0.40).required(),
    ratio("plain proxy: CPU", "plain.cpu", Hot, 1.35)
        .over_nginx()
        .required(),
    ratio("h2c: CPU", "h2c.cpu", Hot, 0.45),
    ratio("whole proxy: one transform", "transform1.cpu", Hot, 0.40).required(),
    ratio("whole proxy: five transforms", "transform5.cpu", Hot, 0.40).required(),
    added(
        "added by one of five, hot: transform",
        "transform",
        Hot,
        0.30,
    )
    .required(),
    added("added by one of five, hot: noop", "noop", Hot, 0.25),
    added("added by one of five, hot: hello", "hello", Hot, 0.45),
    ratio("16 KiB bodies: rewritten", "rewrite.cpu", Hot, 0.60).required(),
    ratio("16 KiB bodies: replaced", "replace.cpu", Hot, 0.45).required(),
    added("added by one of five, cold: noop", "noop", Cold, 0.5),
    added(
        "added by one of five, cold: transform",
        "transform",
        Cold,
        1.7,
    ),
    ratio(
        "CPU to start ten modules: cached",
        "start10.warm.cpu",
        Hot,
        0.03,
    )
    .required(),
    ratio(
        "CPU to start ten modules: never seen",
        "start10.empty.cpu",
        Hot,
        0.10,
    )
    .required(),
    ratio("RSS: with one filter", "transform1.rss", Hot, 0.25).required(),
    ratio("RSS: a further VM, cold", "vm.rss", Cold, 1.0 / 28.0).required(),
    ratio("RSS: a further VM, hot", "vm.rss", Hot, 1.0 / 50.0).required(),
    own("idle connection: HTTP/1.1", "idle.http1", Hot, 14.0, "KiB"),
    own("idle connection: HTTP/2", "idle.http2", Hot, 26.0, "KiB"),
    // One switch in five seconds: the look itself may be one.
    own("idle sidecar: wake-ups", "idle.wakeups", Hot, 0.2, "1/s"),
    // The default of `limits.callback`, and two ticks of 10 ms.
    own(
        "runaway guest: ended after, hot",
        "runaway.ended",
        Hot,
        120.0,
        "CPU ms",
    ),
    own(
        "runaway guest: ended after, cold",
        "runaway.ended",
        Cold,
        120.0,
        "CPU ms",
    ),
    own(
        "runaway guest: others wait, hot",
        "runaway.others",
        Hot,
        120.0,
        "ms",
    ),
    own(
        "runaway guest: others wait, cold",
        "runaway.others",
        Cold,
        120.0,
        "ms",
    ),
    Target {
        figure: Figure::Lacking("trap.served", Hot),
        ..own("after a trap: next requests lost", "", Hot, 0.0, "%")
    },
    own(
        "after a trap: VM replaced, hot",
        "trap.whole",
        Hot,
        0.5,
        "ms",
    ),
    own(
        "after a trap: VM replaced, cold",
        "trap.whole",
        Cold,
        0.5,
        "ms",
    ),
];

const fn ratio(name: &'static str, id: &'static str, column: Column, most: f64) -> Target {
    Target {
        figure: Figure::Ratio(id, column, Envoy),
        ..own(name, id, column, most, "× Envoy")
    }
}

const fn added(name: &'static str, guest: &'static str, column: Column, most: f64) -> Target {
    Target {
        figure: Figure::Added(guest, column),
        ..own(name, guest, column, most, "× Envoy")
    }
}

const fn own(
    name: &'static str,
    id: &'static str,
    column: Column,
    most: f64,
    unit: &'static str,
) -> Target {
    Target {
        name,
        figure: Figure::Own(id, column),
        most,
        unit,
        required: false,
    }
}

// === impl Target ===

impl Target {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn over_nginx(mut self) -> Self {
        if let Figure::Ratio(_, _, to) = &mut self.figure {
            *to = Nginx;
        }
        self.unit = "× nginx";
        self
    }
}
