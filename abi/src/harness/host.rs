//! What the host asks of its embedder: a place for records, a clock, chance.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::error::Trap;
use crate::host::{Host, Origin};
use crate::property::Node;
use crate::shared::{QueueNotifier, QueueReady, Shared};
use crate::types::LogLevel;
use crate::usage::Usage;

/// Writes down what filters say; its time stands still until it is moved.
#[derive(Debug)]
pub struct TestHost {
    records: RefCell<Vec<Record>>,
    remarks: RefCell<Vec<String>>,
    traps: RefCell<Vec<Trap>>,
    now: Cell<Duration>,
    level: Cell<LogLevel>,
    clusters: RefCell<Vec<String>>,
    node: Option<Arc<Node>>,
    /// Grows with every random byte, so that no two draws are alike.
    drawn: Cell<u64>,
    shared: Arc<Shared>,
    pub(super) queue_news: Arc<QueueNews>,
}

/// A guest's log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name of the plugin; empty for records of the VM itself.
    pub plugin: String,
    /// How bad it is.
    pub level: LogLevel,
    /// The message.
    pub text: Bytes,
}

/// News of queues, in the order they came.
#[derive(Debug, Default)]
pub struct QueueNews(Mutex<Vec<QueueReady>>);

// === impl TestHost ===

impl TestHost {
    /// A host that knows these clusters and shares nothing with another. It is the 14th of
    /// November 2023, 22:13:20 UTC.
    #[must_use]
    pub fn new(clusters: &[&str], node: Option<Node>) -> Rc<Self> {
        Rc::new(Self {
            records: RefCell::default(),
            remarks: RefCell::default(),
            traps: RefCell::default(),
            now: Cell::new(Duration::from_secs(1_700_000_000)),
            level: Cell::new(LogLevel::Trace),
            clusters: RefCell::new(clusters.iter().map(|name| (*name).to_owned()).collect()),
            node: node.map(Arc::new),
            drawn: Cell::new(0),
            shared: Arc::default(),
            queue_news: Arc::default(),
        })
    }

    /// All records so far, and forgets them.
    pub fn take_records(&self) -> Vec<Record> {
        self.records.take()
    }

    /// What the host itself has said so far of filters: hostcalls that are not offered, what
    /// was refused, how a call ended early. Forgets it.
    pub fn take_remarks(&self) -> Vec<String> {
        self.remarks.take()
    }

    /// Every call so far that ended early, whoever was told of it and whether or not it cost
    /// the guest its VM, in the order in which they ended. Forgets them.
    pub fn take_traps(&self) -> Vec<Trap> {
        self.traps.take()
    }

    /// Counters and gauges by the names guests gave them, in the order of names.
    #[must_use]
    pub fn metrics(&self) -> Vec<(Bytes, u64)> {
        let metrics = self.shared.metrics().guests();
        let named = metrics
            .iter()
            .filter_map(|metric| Some((Bytes::copy_from_slice(metric.name()), metric.value()?)));
        let mut named: Vec<_> = named.collect();
        // They come as a hash table has them.
        named.sort();
        named
    }

    /// Since the epoch; the monotonic clock shows the same.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.now.get()
    }

    /// It is that time now.
    pub fn set_time(&self, now: Duration) {
        self.now.set(now);
    }

    /// Records below it are dropped from now on.
    pub fn set_level(&self, level: LogLevel) {
        self.level.set(level);
    }

    fn remark(&self, text: String) {
        self.remarks.borrow_mut().push(text);
    }
}

impl Host for TestHost {
    fn log(&self, origin: &Origin<'_>, level: LogLevel, message: &[u8]) {
        self.records.borrow_mut().push(Record {
            plugin: origin.plugin.to_owned(),
            level,
            text: Bytes::copy_from_slice(message),
        });
    }

    fn notice(&self, _origin: &Origin<'_>, message: fmt::Arguments<'_>) {
        self.remark(message.to_string());
    }

    fn refused(&self, _origin: &Origin<'_>, capability: &str) {
        self.remark(format!("{capability} is not among its capabilities"));
    }

    fn log_level(&self) -> LogLevel {
        self.level.get()
    }

    fn now(&self) -> Duration {
        self.now.get()
    }

    fn monotonic(&self) -> Duration {
        self.now.get()
    }

    fn random(&self, out: &mut [u8]) {
        for byte in out {
            let next = self.drawn.get().wrapping_add(1);
            self.drawn.set(next);
            // Any good mixer will do: SplitMix64.
            let mut mixed = next.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = mixed.to_le_bytes()[7];
        }
    }

    /// Real, unlike the other clocks: what a call may take is measured by it.
    fn cpu_time(&self) -> Option<Duration> {
        Some(cpu_time())
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.clone()
    }

    fn knows_cluster(&self, name: &[u8]) -> bool {
        let clusters = self.clusters.borrow();
        clusters.iter().any(|cluster| cluster.as_bytes() == name)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn queue_notifier(&self) -> Option<Arc<dyn QueueNotifier>> {
        Some(self.queue_news.clone())
    }

    fn usage(&self, plugin: &str) -> Arc<Usage> {
        self.shared.new_usage(plugin)
    }

    fn trapped(&self, _origin: &Origin<'_>, trap: &Trap) {
        self.remark(trap.to_string());
        self.traps.borrow_mut().push(trap.clone());
    }
}

// === impl QueueNews ===

impl QueueNews {
    /// All news so far, and forgets them.
    pub fn take(&self) -> Vec<QueueReady> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl QueueNotifier for QueueNews {
    fn ready(&self, ready: QueueReady) {
        let mut news = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        news.push(ready);
    }
}

/// What the calling thread has had of a processor.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
