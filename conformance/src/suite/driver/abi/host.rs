//! What the host crate asks of its embedder: a place for records, a clock, chance.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::property::Node;
use cofferdam_abi::shared::{QueueNotifier, Shared};
use cofferdam_abi::testing::{QueueNews, cpu_time};
use cofferdam_abi::{Host, LogLevel, Origin};

use crate::suite::outcome::Record;

/// The clusters every driver provides.
const CLUSTERS: [&str; 5] = ["upstream", "peer", "refused", "grpc", "redis"];

/// Writes records down; its time stands still until it is moved.
pub(super) struct SuiteHost {
    records: RefCell<Vec<Record>>,
    now: Cell<Duration>,
    /// Grows with every random byte, so that no two draws are alike.
    drawn: Cell<u64>,
    /// Every case has its own.
    shared: Arc<Shared>,
    pub(super) queue_news: Arc<QueueNews>,
}

// === impl SuiteHost ===

impl SuiteHost {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            records: RefCell::default(),
            now: Cell::new(Duration::from_secs(1_700_000_000)),
            drawn: Cell::new(0),
            shared: Arc::default(),
            queue_news: Arc::default(),
        })
    }

    pub(super) fn take_records(&self) -> Vec<Record> {
        self.records.take()
    }

    /// Counters and gauges: this host has no page, so by the names guests gave them.
    pub(super) fn metrics(&self) -> Vec<(String, String)> {
        let metrics = self.shared.metrics().guests();
        let named = metrics.iter().filter_map(|metric| {
            let name = String::from_utf8_lossy(metric.name()).replace('.', "_");
            Some((name, metric.value()?.to_string()))
        });
        let mut named: Vec<_> = named.collect();
        // They come as a hash table has them.
        named.sort();
        named
    }

    pub(super) fn time(&self) -> Duration {
        self.now.get()
    }

    pub(super) fn set_time(&self, now: Duration) {
        self.now.set(now);
    }
}

impl Host for SuiteHost {
    fn log(&self, origin: &Origin<'_>, level: LogLevel, message: &[u8]) {
        self.records.borrow_mut().push(Record {
            filter: origin.plugin.to_owned(),
            level: format!("{level:?}").to_ascii_lowercase(),
            text: Bytes::copy_from_slice(message),
        });
    }

    fn notice(&self, _origin: &Origin<'_>, _message: fmt::Arguments<'_>) {}

    fn refused(&self, _origin: &Origin<'_>, _capability: &str) {}

    fn log_level(&self) -> LogLevel {
        LogLevel::Trace
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
        Some(Arc::new(Node {
            id: "node-id".to_owned(),
            cluster: "node-cluster".to_owned(),
            ..Node::default()
        }))
    }

    fn knows_cluster(&self, name: &[u8]) -> bool {
        CLUSTERS.iter().any(|cluster| cluster.as_bytes() == name)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn queue_notifier(&self) -> Option<Arc<dyn QueueNotifier>> {
        Some(self.queue_news.clone())
    }
}
