//! What filters have used, by filter, callback and engine: for graphs, and for bills.

use std::fmt::Write as _;

use cofferdam_abi::Shared;
use cofferdam_abi::engine::Tier;
use cofferdam_abi::usage::Used;

use super::{head, write_labels};

/// One family for each kind of thing.
pub(super) fn write(out: &mut String, shared: &Shared) {
    let used = shared.used();
    family(
        out,
        &used,
        "cofferdam_filter_calls",
        "Calls into filters.",
        |used| Some(used.calls.to_string()),
    );
    family(
        out,
        &used,
        "cofferdam_filter_fuel",
        "Fuel that filters burnt on the interpreter: about one for each instruction.",
        |used| (used.tier == Tier::Interpreter).then(|| used.cost.to_string()),
    );
    family(
        out,
        &used,
        "cofferdam_filter_cpu_seconds",
        "Time that filters ran as native code: one call of sixteen is timed, and long ones all.",
        |used| (used.tier == Tier::Native).then(|| seconds(used.cost)),
    );
}

/// `value` is nothing where there is nothing of that kind to tell.
fn family(
    out: &mut String,
    used: &[(String, Used)],
    name: &str,
    help: &str,
    value: impl Fn(&Used) -> Option<String>,
) {
    let mut samples = used
        .iter()
        .filter_map(|(filter, used)| Some((filter, used, value(used)?)))
        .peekable();
    if samples.peek().is_none() {
        return;
    }
    head(out, name, "counter", help);
    for (filter, used, value) in samples {
        let _ = write!(out, "{name}_total");
        let labels = [
            ("filter", filter.as_str()),
            ("callback", used.callback.name()),
            ("engine", used.tier.as_str()),
        ];
        write_labels(out, labels);
        let _ = writeln!(out, " {value}");
    }
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}
