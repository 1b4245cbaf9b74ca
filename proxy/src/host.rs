//! What the guests of one worker get from us: a log, clocks, chance.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use cofferdam_abi::engine::ticks::Pulse;
use cofferdam_abi::property::Node;
use cofferdam_abi::shared::{Counter, QueueNotifier, VmId};
use cofferdam_abi::usage::Usage;
use cofferdam_abi::{Host, Limit, LogLevel, Origin, Shared, Trap};

use crate::config::{Cluster, Config};
use crate::families;
use crate::refusals::Refusals;
use crate::reports;
use crate::ticker;

/// The target of guests' records in the program's log, for filters such as
/// `--log info,filter=debug`.
pub(crate) const LOG_TARGET: &str = "filter";

/// Which clusters there are, with their positions in the configuration.
#[derive(Debug, Default)]
pub(crate) struct ClusterNames(HashMap<String, usize>);

/// One worker's host.
pub(crate) struct WorkerHost {
    rng: RefCell<fastrand::Rng>,
    /// `None`: whatever anybody listens to now.
    level: Option<LogLevel>,
    clusters: RefCell<Arc<ClusterNames>>,
    node: RefCell<Arc<Node>>,
    /// There is something to see to, in one of these or elsewhere.
    pub(crate) effects: Cell<bool>,
    /// VMs that want to be looked at (see [`Host::attention`]).
    attention: RefCell<VecDeque<VmId>>,
    /// While a configuration is being verified, records are kept for its error message.
    captured: Option<RefCell<Vec<String>>>,
    refusals: RefCell<Refusals>,
    /// What each filter uses on this worker.
    usages: RefCell<HashMap<String, Arc<Usage>>>,
    /// Of each filter, how often it was refused something.
    refused: RefCell<HashMap<String, Arc<Counter>>>,
    shared: Arc<Shared>,
    /// Carries news of shared queues here; nothing while a configuration is being verified.
    notifier: Option<Arc<dyn QueueNotifier>>,
    /// Shared data has outgrown its bounds (see [`Host::evicted`]).
    pub(crate) evicted: Cell<bool>,
    /// What the ticker sees of this thread, once native code runs on it.
    pulse: OnceCell<Arc<Pulse>>,
}

// === impl ClusterNames ===

impl ClusterNames {
    pub(crate) fn new(clusters: &[Arc<Cluster>]) -> Self {
        let named = clusters.iter().enumerate();
        Self(
            named
                .map(|(index, cluster)| (cluster.name.clone(), index))
                .collect(),
        )
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        self.0.get(std::str::from_utf8(name).ok()?).copied()
    }
}

// === impl WorkerHost ===

impl WorkerHost {
    pub(crate) fn new(
        clusters: Arc<ClusterNames>,
        node: Arc<Node>,
        shared: Arc<Shared>,
        notifier: Option<Arc<dyn QueueNotifier>>,
    ) -> Self {
        Self {
            rng: RefCell::new(fastrand::Rng::new()),
            level: None,
            clusters: RefCell::new(clusters),
            node: RefCell::new(node),
            effects: Cell::new(false),
            attention: RefCell::default(),
            captured: None,
            refusals: RefCell::default(),
            usages: RefCell::default(),
            refused: RefCell::default(),
            shared,
            notifier,
            evicted: Cell::new(false),
            pulse: OnceCell::new(),
        }
    }

    /// A host that keeps what guests say instead of writing it, and what they share.
    pub(crate) fn capturing(clusters: Arc<ClusterNames>, node: Arc<Node>) -> Self {
        Self {
            captured: Some(RefCell::default()),
            level: Some(LogLevel::Warn),
            ..Self::new(clusters, node, Arc::default(), None)
        }
    }

    /// Another configuration runs now.
    pub(crate) fn adopt(&self, config: &Config, clusters: &Arc<ClusterNames>) {
        self.clusters.replace(clusters.clone());
        self.node.replace(config.node.clone());
    }

    /// Has a VM looked at after the running stretch of guest code.
    pub(crate) fn attend(&self, vm: VmId) {
        let mut attention = self.attention.borrow_mut();
        if !attention.contains(&vm) {
            attention.push_back(vm);
        }
        self.effects.set(true);
    }

    /// The next VM to look at.
    pub(crate) fn next_attention(&self) -> Option<VmId> {
        self.attention.borrow_mut().pop_front()
    }

    /// The first refusal of a filter.
    fn count_refusals(&self, filter: &str) {
        let counter = families::FILTER_REFUSALS.count(self.shared.metrics(), &[filter]);
        counter.add(1);
        self.refused.borrow_mut().insert(filter.to_owned(), counter);
    }

    pub(crate) fn captured(&self) -> Vec<String> {
        self.captured
            .as_ref()
            .map(|lines| lines.borrow().clone())
            .unwrap_or_default()
    }
}

impl Host for WorkerHost {
    fn log(&self, origin: &Origin<'_>, level: LogLevel, message: &[u8]) {
        let text = printable(message);
        if let Some(captured) = &self.captured {
            captured.borrow_mut().push(text.trim_end().to_owned());
            return;
        }
        let (filter, root, vm, context) =
            (origin.plugin, origin.root_id, origin.vm_id, origin.context);
        match level {
            LogLevel::Trace => {
                tracing::trace!(target: LOG_TARGET, filter, root, vm, context, "{text}")
            }
            LogLevel::Debug => {
                tracing::debug!(target: LOG_TARGET, filter, root, vm, context, "{text}")
            }
            LogLevel::Info => {
                tracing::info!(target: LOG_TARGET, filter, root, vm, context, "{text}")
            }
            LogLevel::Warn => {
                tracing::warn!(target: LOG_TARGET, filter, root, vm, context, "{text}")
            }
            LogLevel::Error => {
                tracing::error!(target: LOG_TARGET, filter, root, vm, context, "{text}")
            }
            LogLevel::Critical => {
                tracing::error!(target: LOG_TARGET, filter, root, vm, context, critical = true, "{text}");
            }
        }
    }

    fn notice(&self, origin: &Origin<'_>, message: fmt::Arguments<'_>) {
        tracing::debug!(filter = origin.plugin, vm = origin.vm_id, "{message}");
    }

    fn refused(&self, origin: &Origin<'_>, capability: &str) {
        if let Some(counter) = self.refused.borrow().get(origin.plugin) {
            counter.add(1);
        } else {
            self.count_refusals(origin.plugin);
        }
        let mut refusals = self.refusals.borrow_mut();
        if let Some(attempts) = refusals.count(origin.plugin, capability, Instant::now()) {
            let (filter, vm) = (origin.plugin, origin.vm_id);
            let capability = printable(capability.as_bytes());
            tracing::warn!(
                filter,
                vm,
                %capability,
                attempts,
                "filter was refused what its capabilities do not allow"
            );
        }
    }

    fn node(&self) -> Option<Arc<Node>> {
        Some(self.node.borrow().clone())
    }

    fn log_level(&self) -> LogLevel {
        self.level.unwrap_or_else(heard_level)
    }

    fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        clock(rustix::time::ClockId::Monotonic)
    }

    fn cpu_time(&self) -> Option<Duration> {
        Some(thread_time())
    }

    fn pulse(&self) -> Option<Arc<Pulse>> {
        if let Some(pulse) = self.pulse.get() {
            return Some(pulse.clone());
        }
        // There is native code, and so there is what its deadlines need.
        let pulse = ticker::ticks().ok()?.pulse();
        Some(self.pulse.get_or_init(|| pulse).clone())
    }

    fn random(&self, out: &mut [u8]) {
        self.rng.borrow_mut().fill(out);
    }

    fn attention(&self, vm: VmId) {
        self.attend(vm);
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn queue_notifier(&self) -> Option<Arc<dyn QueueNotifier>> {
        self.notifier.clone()
    }

    fn evicted(&self) {
        self.evicted.set(true);
        self.effects.set(true);
    }

    fn usage(&self, plugin: &str) -> Arc<Usage> {
        let mut usages = self.usages.borrow_mut();
        if let Some(usage) = usages.get(plugin) {
            return usage.clone();
        }
        let usage = self.shared.new_usage(plugin);
        usages.insert(plugin.to_owned(), usage.clone());
        usage
    }

    fn limited(&self, origin: &Origin<'_>, limit: Limit, callback: &'static str) {
        if self.captured.is_none() {
            reports::limit(self.shared.metrics(), origin, limit, callback);
        }
    }

    fn trapped(&self, origin: &Origin<'_>, trap: &Trap) {
        // Rare, and worth a VM: looking a counter up is nothing beside that.
        let labels = [origin.plugin, trap.callback, trap.kind.as_str()];
        let counter = families::FILTER_TRAPS.count(self.shared.metrics(), &labels);
        counter.add(1);
    }

    fn knows_cluster(&self, name: &[u8]) -> bool {
        self.clusters.borrow().find(name).is_some()
    }
}

/// A guest's text on one line of the log: line ends and other control characters are escaped,
/// so that it cannot forge records of ours, those that turn the order of letters around too, and so are bytes that are no text, so that none
/// is lost.
pub(crate) fn printable(message: &[u8]) -> Cow<'_, str> {
    let plain = |c: char| c == '\t' || !(c.is_control() || reorders(c));
    if let Ok(text) = std::str::from_utf8(message)
        && text.chars().all(plain)
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(message.len() + 16);
    for part in message.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                c if plain(c) => escaped.push(c),
                // In the two bytes of U+0080 to U+009F, too, as they came.
                c => c
                    .encode_utf8(&mut [0; 4])
                    .bytes()
                    .for_each(|byte| hex(byte, &mut escaped)),
            }
        }
        part.invalid()
            .iter()
            .for_each(|&byte| hex(byte, &mut escaped));
    }
    Cow::Owned(escaped)
}

/// Ends a line where Unicode is known, or has what follows it shown in another order.
const fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn hex(byte: u8, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    to.push_str("\\x");
    for digit in [byte >> 4, byte & 15] {
        to.push(char::from(DIGITS[usize::from(digit)]));
    }
}

/// CPU time of this thread: what the interpreter is calibrated against.
pub(crate) fn thread_time() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

fn clock(id: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The lowest level for which anybody listens to guests, as it was last looked at.
static HEARD: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = u8::MAX;

/// Other levels are logged from now on.
pub(crate) fn look_at_levels() {
    HEARD.store(enabled_level() as u8, Ordering::Relaxed);
}

fn heard_level() -> LogLevel {
    let heard = HEARD.load(Ordering::Relaxed);
    if heard == UNKNOWN {
        look_at_levels();
        return enabled_level();
    }
    LogLevel::from_wire(heard.into()).unwrap_or(LogLevel::Critical)
}

fn enabled_level() -> LogLevel {
    use tracing::{Level, enabled};
    if enabled!(target: LOG_TARGET, Level::TRACE) {
        LogLevel::Trace
    } else if enabled!(target: LOG_TARGET, Level::DEBUG) {
        LogLevel::Debug
    } else if enabled!(target: LOG_TARGET, Level::INFO) {
        LogLevel::Info
    } else if enabled!(target: LOG_TARGET, Level::WARN) {
        LogLevel::Warn
    } else if enabled!(target: LOG_TARGET, Level::ERROR) {
        LogLevel::Error
    } else {
        LogLevel::Critical
    }
}
