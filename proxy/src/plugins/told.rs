//! What the operator is told of filters: counters, readiness.

use std::time::Duration;

use cofferdam_abi::Host as _;
use cofferdam_abi::engine::Tier;

use super::launch::held_for;
use super::slot::Slot;
use super::{Plugins, Why};
use crate::families;

impl Plugins {
    /// A filter has been started in a VM that runs like that.
    pub(super) fn count_start(&self, slot: &Slot, tier: Tier) {
        let make = || {
            let metrics = self.host.shared().metrics();
            families::FILTER_STARTS.count(metrics, &[&slot.plugin.name, tier.as_str()])
        };
        slot.starts[tier as usize].get_or_init(make).add(1);
    }

    /// Another VM has taken, or will take, the place of a filter's.
    pub(super) fn count_replaced(&self, slot: &Slot, why: Why) {
        let reason = match why {
            Why::Native => "native_code",
            Why::NoRoom => "no_room",
            Why::Changed => "changed_module",
            Why::Grown => "memory",
            Why::Crashed => "crash",
        };
        let metrics = self.host.shared().metrics();
        let counter = families::FILTER_REPLACED.count(metrics, &[&slot.plugin.name, reason]);
        counter.add(1);
    }

    /// A VM of a filter ends before it is done.
    pub(super) fn count_cut_short(&self, slot: &Slot, why: &str) {
        let metrics = self.host.shared().metrics();
        let counter = families::FILTER_CUT_SHORT.count(metrics, &[&slot.plugin.name, why]);
        counter.add(1);
    }

    /// A filter that keeps crashing is left alone for a while, `wait` or less; how long.
    pub(super) fn tell_held_back(&self, slot: &Slot, wait: Duration) -> Duration {
        let wait = held_for(slot, wait);
        tracing::error!(
            filter = &*slot.plugin.name,
            "filter keeps crashing, it is held back for {wait:?}"
        );
        let metrics = self.host.shared().metrics();
        let counter = families::FILTER_HELD_BACK.count(metrics, &[&slot.plugin.name]);
        counter.add(1);
        wait
    }

    /// A filter has no VM and gets none for now, or has one again.
    pub(super) fn set_down(&self, slot: &Slot, down: bool) {
        if slot.down.replace(down) != down {
            self.readiness.set(&slot.plugin.name, down);
        }
    }
}
