//! What the embedder provides once per worker: a place for log records, clocks, chance.
//! The crate itself has none of these, which is what lets tests and fuzzers run whole
//! sequences without a runtime.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Trap;
use crate::limits::Limit;
use crate::property::Node;
use crate::shared::{QueueNotifier, Shared, VmId};
use crate::types::LogLevel;
use crate::usage::Usage;

/// The embedder, as seen by every VM of one worker.
pub trait Host {
    /// A guest's log record. Called for records at or above [`Host::log_level`] and for
    /// every critical one.
    fn log(&self, origin: &Origin<'_>, level: LogLevel, message: &[u8]);

    /// A remark of the host itself about a guest (a hostcall this host does not offer, a
    /// malformed argument): worth one line, not one per request.
    fn notice(&self, origin: &Origin<'_>, message: fmt::Arguments<'_>);

    /// A guest was refused what its [`crate::Capabilities`] do not allow: a hostcall by its
    /// name, or what a hostcall was asked for. Comes as often as the guest tries.
    fn refused(&self, origin: &Origin<'_>, capability: &str);

    /// Records below this level are not worth sending.
    fn log_level(&self) -> LogLevel;

    /// Time since the epoch.
    fn now(&self) -> Duration;

    /// A clock that never goes back, from any start.
    fn monotonic(&self) -> Duration;

    /// CPU time this thread has used, from any start: what a guest's time is measured by.
    /// Read while a call takes longer than a tick, and for one call of
    /// [`EVERY_CPU`](crate::usage::EVERY_CPU). Without one, ticks alone count, and a machine
    /// that is busy elsewhere shortens a guest's time and adds to its bill.
    fn cpu_time(&self) -> Option<Duration> {
        None
    }

    /// What tells the ticker that guests run on this thread. Without one, it must tick all
    /// the time.
    #[cfg(feature = "wasmtime")]
    fn pulse(&self) -> Option<Arc<crate::engine::ticks::Pulse>> {
        None
    }

    /// Fills `out` with random bytes.
    fn random(&self, out: &mut [u8]);

    /// Whether there is a cluster of that name: what guests may call (section 2.11).
    fn knows_cluster(&self, _name: &[u8]) -> bool {
        false
    }

    /// Who this proxy is: the property `xds.node`, which roots can ask for too.
    fn node(&self) -> Option<Arc<Node>> {
        None
    }

    /// Something is to be seen to in that VM once the running call has returned: a root has
    /// asked for something ([`crate::Vm::take_root_effects`]), or [`crate::Vm::condition`]
    /// has changed. May come again before anybody has looked.
    fn attention(&self, _vm: VmId) {}

    /// What VMs share with those of other threads: the same for all of them.
    fn shared(&self) -> &Arc<Shared> {
        Shared::of_process()
    }

    /// Carries news of shared queues to this worker. Without one, nobody is told.
    fn queue_notifier(&self) -> Option<Arc<dyn QueueNotifier>> {
        None
    }

    /// Shared data has lost entries to its bounds: [`Shared::take_evictions`] knows how
    /// many. Worth one line a minute.
    fn evicted(&self) {}

    /// Where a plugin's calls on this thread are counted; nobody looks, by default. Asked
    /// when one of its roots is created.
    fn usage(&self, _plugin: &str) -> Arc<Usage> {
        Arc::default()
    }

    /// A guest has come up against one of its limits in `callback`, the export that runs.
    /// Comes each time: with [`Limit::Log`] for every record that is dropped.
    fn limited(&self, _origin: &Origin<'_>, _limit: Limit, _callback: &'static str) {}

    /// A call has ended early. Comes once for each, before whoever made the call learns of
    /// it; past a limit, after [`Host::limited`].
    fn trapped(&self, _origin: &Origin<'_>, _trap: &Trap) {}
}

/// Who a log record is from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The plugin's name in the configuration.
    pub plugin: &'a str,
    /// Its root id.
    pub root_id: &'a str,
    /// Its VM id.
    pub vm_id: &'a str,
    /// The context that spoke; 0 is the VM itself.
    pub context: u32,
}
