//! A host and an exchange for tests: of this crate, of embedders, and of filters.

mod engine;
pub mod guest;
pub mod hostile;
pub mod native;
pub mod require;
mod world;

pub use crate::harness::{QueueNews, cpu_time};
pub use engine::Engine;
pub use world::{Script, Trace, World};

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::chain::{Chain, FilterHandle};
use crate::error::{LoadError, Trap};
use crate::exchange::{Exchange, SharedExchange};
use crate::headers::Headers;
use crate::host::{Host, Origin};
use crate::limits::Limit;
use crate::module::Module;
use crate::plugin::{Plugin, VmSettings};
use crate::property::Node;
use crate::shared::{QueueNotifier, Shared, VmId};
use crate::stream::Part;
use crate::types::{LogLevel, Way};
use crate::usage::Usage;
use crate::vm::{RootId, Vm};

/// A host that writes everything down, with time that stands still until it is moved.
#[derive(Debug)]
pub struct RecordingHost {
    /// Records of guests, as `LEVEL plugin: text`.
    pub logs: RefCell<Vec<String>>,
    /// Remarks of the host.
    pub notices: RefCell<Vec<String>>,
    /// What guests were refused, as `plugin: capability`.
    pub refusals: RefCell<Vec<String>>,
    /// Now, since the epoch and on the monotonic clock alike.
    pub now: Cell<Duration>,
    /// Lowest level wanted.
    pub level: Cell<LogLevel>,
    /// Names of the clusters there are.
    pub clusters: RefCell<Vec<String>>,
    /// Shared with nobody, unless another host is given the same.
    pub shared: Arc<Shared>,
    /// News of queues that nobody has been told yet.
    pub queue_news: Arc<QueueNews>,
    /// How often [`Host::evicted`] was called.
    pub evicted: Cell<usize>,
    /// VMs that wanted to be looked at.
    pub attention: RefCell<Vec<VmId>>,
    /// Limits that guests came up against, as `plugin: limit in callback`.
    pub limited: RefCell<Vec<String>>,
    /// Calls that ended early, as `plugin: kind in callback`.
    pub trapped: RefCell<Vec<String>>,
    /// Who it says it is.
    pub node: RefCell<Option<Arc<Node>>>,
}

/// A guest with one root.
#[derive(Debug)]
pub struct Guest {
    /// Its host.
    pub host: Rc<RecordingHost>,
    /// Its VM.
    pub vm: Rc<RefCell<Vm>>,
    /// Its root context.
    pub root: RootId,
    /// Its plugin.
    pub plugin: Rc<Plugin>,
}

// === impl RecordingHost ===

impl RecordingHost {
    /// All log records so far, and forgets them.
    pub fn take_logs(&self) -> Vec<String> {
        std::mem::take(&mut self.logs.borrow_mut())
    }
}

impl Default for RecordingHost {
    fn default() -> Self {
        Self {
            logs: RefCell::default(),
            notices: RefCell::default(),
            refusals: RefCell::default(),
            now: Cell::new(Duration::from_secs(1_700_000_000)),
            level: Cell::new(LogLevel::Trace),
            clusters: RefCell::default(),
            shared: Arc::default(),
            queue_news: Arc::default(),
            evicted: Cell::default(),
            attention: RefCell::default(),
            limited: RefCell::default(),
            trapped: RefCell::default(),
            node: RefCell::default(),
        }
    }
}

impl Host for RecordingHost {
    fn log(&self, origin: &Origin<'_>, level: LogLevel, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        self.logs
            .borrow_mut()
            .push(format!("{level:?} {}: {text}", origin.plugin));
    }

    fn notice(&self, _origin: &Origin<'_>, message: fmt::Arguments<'_>) {
        self.notices.borrow_mut().push(message.to_string());
    }

    fn refused(&self, origin: &Origin<'_>, capability: &str) {
        self.refusals
            .borrow_mut()
            .push(format!("{}: {capability}", origin.plugin));
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

    /// The one clock that does not stand still: what is measured by it must not depend on
    /// how busy the machine is.
    fn cpu_time(&self) -> Option<Duration> {
        Some(cpu_time())
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.borrow().clone()
    }

    /// A fixed sequence that is different in every byte of a short buffer.
    fn random(&self, out: &mut [u8]) {
        for (index, byte) in out.iter_mut().enumerate() {
            *byte = u8::try_from(index * 37 % 251).unwrap_or(0);
        }
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

    fn attention(&self, vm: VmId) {
        self.attention.borrow_mut().push(vm);
    }

    fn evicted(&self) {
        self.evicted.set(self.evicted.get() + 1);
    }

    fn usage(&self, plugin: &str) -> Arc<Usage> {
        self.shared.new_usage(plugin)
    }

    fn limited(&self, origin: &Origin<'_>, limit: Limit, callback: &'static str) {
        let line = format!("{}: {} in {callback}", origin.plugin, limit.as_str());
        self.limited.borrow_mut().push(line);
    }

    fn trapped(&self, origin: &Origin<'_>, trap: &Trap) {
        let (kind, callback) = (trap.kind.as_str(), trap.callback);
        let line = format!("{}: {kind} in {callback}", origin.plugin);
        self.trapped.borrow_mut().push(line);
    }
}

// === impl Guest ===

impl Guest {
    /// Loads a WAT module with default settings and starts it.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn wat(text: &str) -> Result<Self, LoadError> {
        Self::wat_on(Engine::Wasmi, text)
    }

    /// Likewise, on an engine of the caller's choice.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn wat_on(engine: Engine, text: &str) -> Result<Self, LoadError> {
        let plugin = Plugin {
            name: "test".to_owned(),
            ..Plugin::default()
        };
        let host = Rc::new(RecordingHost::default());
        Self::load_on(engine, parsed(text)?, plugin, VmSettings::default(), host)
    }

    /// Loads a WAT module and starts it.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn with(text: &str, plugin: Plugin, settings: VmSettings) -> Result<Self, LoadError> {
        let host = Rc::new(RecordingHost::default());
        Self::load(parsed(text)?, plugin, settings, host)
    }

    /// Loads a module and starts it with a host of the caller's.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn load(
        wasm: Bytes,
        plugin: Plugin,
        settings: VmSettings,
        host: Rc<RecordingHost>,
    ) -> Result<Self, LoadError> {
        Self::load_on(Engine::Wasmi, wasm, plugin, settings, host)
    }

    /// Likewise, on an engine of the caller's choice.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn load_on(
        engine: Engine,
        wasm: Bytes,
        plugin: Plugin,
        settings: VmSettings,
        host: Rc<RecordingHost>,
    ) -> Result<Self, LoadError> {
        let module = Module::parse(wasm)?;
        if let Some(problem) = module.problems(&settings.compat).into_iter().next() {
            return Err(problem);
        }
        let code = engine.compile(&module, &settings)?;
        let mut vm = Vm::start(&*code, module.version, Rc::new(settings), host.clone())?;
        let plugin = Rc::new(plugin);
        let root = vm.create_root(plugin.clone())?;
        Ok(Self {
            host,
            vm: Rc::new(RefCell::new(vm)),
            root,
            plugin,
        })
    }

    /// What a chain needs of it.
    #[must_use]
    pub fn handle(&self) -> FilterHandle {
        FilterHandle {
            vm: self.vm.clone(),
            root: self.root,
            plugin: self.plugin.clone(),
        }
    }

    /// A chain of this guest alone, for a `GET /` of host `test`.
    #[must_use]
    pub fn chain(&self) -> Chain {
        Chain::begin(get(), [self.handle()], false)
    }
}

fn parsed(text: &str) -> Result<Bytes, LoadError> {
    let wasm = wat::parse_str(text).map_err(|error| LoadError::Module(error.to_string()))?;
    Ok(wasm.into())
}

/// An exchange whose request is `GET /path?q=1` with the four pseudo-headers.
#[must_use]
pub fn get() -> SharedExchange {
    let headers = map(&[
        (":authority", "test"),
        (":path", "/path?q=1"),
        (":method", "GET"),
        (":scheme", "http"),
        ("x-a", "1"),
        ("x-a", "2"),
    ]);
    Exchange::new(headers, Box::new(())).share()
}

/// A map of these entries.
#[must_use]
pub fn map(pairs: &[(&str, &str)]) -> Headers {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Headers::from_entries(
        pairs
            .iter()
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
    )
}

/// A piece of body.
#[must_use]
pub fn data(text: &str, end: bool) -> Part {
    Part::Data {
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        end,
    }
}

/// Everything that may leave that way now, in words: `headers`, `headers.`, `data:TEXT`,
/// `data:TEXT.`, `trailers` (a full stop marks the end).
pub fn drain(chain: &mut Chain, way: Way) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(part) = chain.pop(way) {
        out.push(match part {
            Part::Headers { end } => format!("headers{}", if end { "." } else { "" }),
            Part::Data { bytes, end } => {
                format!(
                    "data:{}{}",
                    String::from_utf8_lossy(&bytes),
                    if end { "." } else { "" }
                )
            }
            Part::Trailers => "trailers".to_owned(),
        });
    }
    out
}
