//! What the host knows about one VM while guest code runs: its contexts, whose turn it is,
//! and what the guest has asked for. Lives in the engine's store, so that hostcalls reach
//! it without a lookup.

mod asked;
mod room;
mod streams;
mod tell;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::callbacks::Callback;
use crate::callout::Callouts;
use crate::exchange::{Effect, SharedExchange};
use crate::filter_state::Prototypes;
use crate::headers::Headers;
use crate::host::Host;
use crate::hostcalls::Hostcalls;
#[cfg(feature = "foreign")]
use crate::hostcalls::foreign::Expressions;
use crate::log::Written;
use crate::output::Output;
use crate::plugin::{Plugin, VmSettings};
use crate::shared::{Defined, Space, VmId};
use crate::types::{BufferType, MapType, Way};
use crate::usage::{Tally, Usage};
use crate::version::AbiVersion;
use crate::vm::{RootId, StreamId};
use crate::window::Window;
pub use asked::RootEffect;
pub(crate) use asked::RootEffects;
pub(crate) use streams::Streams;

/// Host side of one VM.
pub struct HostState {
    pub(crate) host: Rc<dyn Host>,
    pub(crate) settings: Rc<VmSettings>,
    pub(crate) version: AbiVersion,
    /// What the guest may call; a copy, because every hostcall looks at it.
    pub(crate) hostcalls: Hostcalls,
    /// Before the first context: only a few hostcalls are allowed (section 1.4).
    pub(crate) starting: bool,
    /// Inside the guest's allocator: fewer still (section 1.5).
    pub(crate) allocating: bool,
    /// Written by the guest, not logged yet.
    output: Output,
    /// What has gone to the log on behalf of no plugin: while the VM starts.
    written: Written,
    /// What the guest last gave to `proc_exit`.
    pub(crate) exit_code: Option<u32>,
    /// The export being run, for messages and for what is readable when.
    pub(crate) callback: Option<Callback>,
    /// The context the running callback belongs to; 0 is the VM.
    pub(crate) current: u32,
    /// Where that is among the streams; anywhere for a context that is none.
    place: u32,
    /// Set by the guest for the rest of the callback; 0 is none.
    pub(crate) effective: u32,
    pub(crate) roots: IdMap<Root>,
    pub(crate) streams: Streams,
    /// Bytes that streams hold for their guest, all together.
    held: usize,
    /// Context ids are never used again while the VM lives (section 1.6).
    next_id: u32,
    /// What roots asked the embedder for.
    pub(crate) root_effects: RootEffects,
    /// What roots wait for from others.
    pub(crate) callouts: Callouts,
    /// What can be read in the running callback, and in no other.
    pub(crate) delivery: Option<Delivery>,
    /// Which of the process's VMs this is.
    pub(crate) vm: VmId,
    /// Data and queues of its VM id; held, so that they are there as long as the VM.
    pub(crate) space: Arc<Space>,
    /// The metrics it has defined.
    pub(crate) metrics: Defined,
}

/// A root context.
pub(crate) struct Root {
    pub(crate) plugin: Rc<Plugin>,
    /// Buffer 7 is readable: while the root is created and configured only.
    pub(crate) configuring: bool,
    /// `proxy_on_done` has been called, and must not be again.
    pub(crate) ending: bool,
    /// `proxy_on_done` answered false and `proxy_done` has not been called since.
    pub(crate) pending_done: bool,
    /// What `proxy_get_status` answers. The code stays until the next one (section 6.9).
    pub(crate) status: u32,
    /// Only inside the callback that has it.
    pub(crate) status_message: Bytes,
    /// Clusters it has called `proxy_redis_init` for.
    pub(crate) redis: Vec<Bytes>,
    /// Properties it has declared for its streams.
    pub(crate) prototypes: Prototypes,
    /// What it and its streams have written to the log.
    written: Written,
    /// What they have used. Counting who holds it must be cheap: each stream does.
    pub(crate) tally: Rc<Tally>,
    /// Expressions it and its streams have created.
    #[cfg(feature = "foreign")]
    pub(crate) expressions: Expressions,
}

/// A stream context: this filter's part in one exchange.
pub(crate) struct Stream {
    pub(crate) root: u32,
    pub(crate) exchange: SharedExchange,
    /// It is a TCP connection's: no messages, other buffers.
    pub(crate) tcp: bool,
    /// The filter's position in its chain.
    pub(crate) position: usize,
    /// What may be done with maps 0 to 3 now.
    pub(crate) access: [Access; 4],
    /// Writing to a trailers map that is not there makes one (body callback with end of
    /// stream only).
    pub(crate) may_create_trailers: [bool; 2],
    pub(crate) windows: [Window; 2],
    /// What the windows count for in [`HostState::held`].
    held: usize,
    /// What the guest wants put into the response, until it is.
    pub(crate) injected: Option<Box<Injected>>,
    /// Names it has declared: as in Envoy, that holds for no one's properties.
    pub(crate) prototypes: Prototypes,
    /// Largest body held for it, each way, where it has asked for another limit than its
    /// plugin's.
    pub(crate) body_limits: [Option<usize>; 2],
    /// It has sent its local response; the first one counts (section 6.3).
    replied: bool,
    /// It has been told that it holds too much.
    too_large: bool,
}

/// Whose callback it is.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub(crate) callback: Callback,
    /// The context's id; 0 is the VM.
    pub(crate) context: u32,
    /// [`StreamId::place`] of a stream's.
    pub(crate) place: u32,
}

/// The place of a context that is no stream.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Bytes a guest puts into a response (section 13).
#[derive(Debug, Default)]
pub(crate) struct Injected {
    pub(crate) bytes: BytesMut,
    /// The response ends with them.
    pub(crate) end: bool,
}

/// What came for a root, while the callback that tells it runs.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The root it is for.
    pub(crate) root: u32,
    /// Its maps and buffers.
    pub(crate) content: Content,
}

/// What a callback of a root has to read.
#[derive(Debug)]
pub(crate) enum Content {
    /// Maps 6 and 7, buffer 4.
    Response(Headers, Bytes, Option<Headers>),
    /// Map 4.
    InitialMetadata(Headers),
    /// Map 5.
    TrailingMetadata(Headers),
    /// Buffer 5, which guests may edit, as in Envoy; it makes no difference to anybody else.
    GrpcMessage(Window),
    /// Buffer 9.
    RedisResponse(Bytes),
    /// Buffer 8: what a foreign function of the guest is called with.
    Arguments(Bytes),
}

/// What may be done with a map now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Access {
    /// Not there.
    #[default]
    None,
    /// Readable.
    Read,
    /// Readable and writable.
    Write,
}

// === impl HostState ===

impl HostState {
    pub(crate) fn new(host: Rc<dyn Host>, settings: Rc<VmSettings>, version: AbiVersion) -> Self {
        let shared = host.shared();
        Self {
            vm: shared.next_vm(),
            space: shared.join(&settings.vm_id),
            metrics: Defined::default(),
            host,
            hostcalls: settings.capabilities.hostcalls,
            settings,
            version,
            starting: true,
            allocating: false,
            output: Output::default(),
            written: Written::default(),
            exit_code: None,
            callback: None,
            current: 0,
            place: NOWHERE,
            effective: 0,
            roots: IdMap::default(),
            streams: Streams::default(),
            held: 0,
            next_id: 0,
            root_effects: RootEffects::default(),
            callouts: Callouts::default(),
            delivery: None,
        }
    }

    /// A callback is about to run.
    pub(crate) const fn begin(&mut self, turn: Turn) {
        self.current = turn.context;
        self.place = turn.place;
        self.effective = 0;
        self.callback = Some(turn.callback);
    }

    /// It has run.
    pub(crate) fn finish(&mut self) {
        self.flush_output();
        self.current = 0;
        self.place = NOWHERE;
        self.effective = 0;
        self.callback = None;
    }

    /// The guest's allocator is about to run; what [`HostState::leave_allocator`] is to be
    /// given when it has.
    pub(crate) const fn enter_allocator(&mut self) -> (bool, u32, u32) {
        (
            std::mem::replace(&mut self.allocating, true),
            self.current,
            self.effective,
        )
    }

    /// It has run; whatever it did to whose turn it is does not count.
    pub(crate) const fn leave_allocator(&mut self, before: (bool, u32, u32)) {
        (self.allocating, self.current, self.effective) = before;
    }

    /// An id no context of this VM has had; `None` once all four billion are used.
    pub(crate) fn next_id(&mut self) -> Option<u32> {
        self.next_id = self.next_id.checked_add(1)?;
        Some(self.next_id)
    }

    /// As if four billion contexts had been.
    #[cfg(test)]
    pub(crate) const fn use_up_ids(&mut self) {
        self.next_id = u32::MAX;
    }

    /// The context hostcalls act on: the effective one if it is set and still there, else
    /// the current one (section 6.5).
    pub(crate) fn context(&self) -> u32 {
        if self.effective != 0 && self.exists(self.effective) {
            self.effective
        } else {
            self.current
        }
    }

    pub(crate) fn exists(&self, id: u32) -> bool {
        self.streams.find(id).is_some() || self.roots.contains_key(&id)
    }

    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        if self.effective == 0 {
            let (id, place) = (self.current, self.place);
            return self.streams.at(StreamId { id, place });
        }
        self.streams.get_mut(self.context())
    }

    /// The root of the context hostcalls act on, and its id.
    pub(crate) fn root(&mut self) -> Option<(u32, &mut Root)> {
        let id = self.context();
        let id = self.streams.get(id).map_or(id, |stream| stream.root);
        self.roots.get_mut(&id).map(|root| (id, root))
    }

    /// What the running callback has to read, if it is for the root of the context
    /// hostcalls act on.
    pub(crate) fn content(&mut self) -> Option<&Content> {
        let (root, _) = self.root()?;
        let delivery = self.delivery.as_ref()?;
        (delivery.root == root).then_some(&delivery.content)
    }

    /// The gRPC message the running callback tells of, to be edited.
    pub(crate) fn grpc_message(&mut self) -> Option<&mut Window> {
        let (root, _) = self.root()?;
        match self.delivery.as_mut() {
            Some(Delivery {
                root: of,
                content: Content::GrpcMessage(message),
            }) if *of == root => Some(message),
            _ => None,
        }
    }

    /// Where calls of a context are counted; those of none are not.
    pub(crate) fn tally_of(&self, id: u32) -> Option<Rc<Tally>> {
        self.root_of(id).map(|root| root.tally.clone())
    }

    /// The root a context belongs to; contexts of the VM itself have none.
    fn root_of(&self, id: u32) -> Option<&Root> {
        let id = self.streams.get(id).map_or(id, |stream| stream.root);
        self.roots.get(&id)
    }

    /// The plugin a context belongs to.
    pub(crate) fn plugin_of(&self, id: u32) -> Option<&Rc<Plugin>> {
        self.root_of(id).map(|root| &root.plugin)
    }

    /// Forgets a root and what it has asked for.
    pub(crate) fn remove_root(&mut self, id: u32) {
        let root = RootId(id);
        self.roots.remove(&id);
        let unheard = self.root_effects.forget(root);
        for token in self.callouts.close_root(id) {
            if !unheard.contains(&token) {
                self.push_root_effect(RootEffect::Cancel { root, token });
            }
        }
    }

    /// Queues what a guest asked of the stream it acts on. From a context that is no
    /// stream, or none of that kind, there is nothing to do (section 2.5).
    pub(crate) fn push_effect(&mut self, effect: Effect) {
        let id = self.context();
        let outside = id != self.current;
        if let Some(stream) = self.streams.get_mut(id)
            && effect.concerns(stream.tcp)
        {
            let reply = matches!(effect, Effect::LocalReply(..));
            if reply && std::mem::replace(&mut stream.replied, true) {
                return self.notice(format_args!("a second local response is ignored"));
            }
            stream
                .exchange
                .borrow_mut()
                .push_effect(stream.position, effect, outside);
        }
    }

    /// Queues what a root asks of the embedder.
    pub(crate) fn push_root_effect(&mut self, effect: RootEffect) {
        self.root_effects.push(effect);
        self.host.attention(self.vm);
    }
}

impl Drop for HostState {
    /// A guest that never started may have said why.
    fn drop(&mut self) {
        self.flush_output();
    }
}

impl std::fmt::Debug for HostState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostState")
            .field("version", &self.version)
            .field("callback", &self.callback)
            .field("current", &self.current)
            .field("effective", &self.effective)
            .field("roots", &self.roots.len())
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}

// === impl Root ===

impl Root {
    /// A root that is about to be configured.
    pub(crate) fn new(plugin: Rc<Plugin>, usage: Arc<Usage>) -> Self {
        Self {
            plugin,
            configuring: true,
            ending: false,
            pending_done: false,
            status: 0,
            status_message: Bytes::new(),
            redis: Vec::new(),
            prototypes: Prototypes::default(),
            written: Written::default(),
            tally: Rc::new(Tally::new(usage)),
            #[cfg(feature = "foreign")]
            expressions: Expressions::default(),
        }
    }
}

// === impl Content ===

impl Content {
    pub(crate) fn map(&self, map: MapType) -> Option<&Headers> {
        match (self, map) {
            (Self::Response(headers, ..), MapType::HttpCallResponseHeaders) => Some(headers),
            (Self::Response(.., trailers), MapType::HttpCallResponseTrailers) => trailers.as_ref(),
            (Self::InitialMetadata(metadata), MapType::GrpcInitialMetadata)
            | (Self::TrailingMetadata(metadata), MapType::GrpcTrailingMetadata) => Some(metadata),
            _ => None,
        }
    }

    pub(crate) const fn buffer(&self, buffer: BufferType) -> Option<&Bytes> {
        match (self, buffer) {
            (Self::Response(_, body, _), BufferType::HttpCallResponseBody) => Some(body),
            (Self::GrpcMessage(message), BufferType::GrpcMessage) => Some(message.held()),
            (Self::RedisResponse(reply), BufferType::RedisCallResponse) => Some(reply),
            (Self::Arguments(args), BufferType::CallData) => Some(args),
            _ => None,
        }
    }
}

// === impl Stream ===

impl Stream {
    pub(crate) fn new(root: u32, exchange: SharedExchange, position: usize) -> Self {
        let tcp = exchange.borrow().tcp;
        Self {
            root,
            tcp,
            exchange,
            position,
            access: [Access::None; 4],
            may_create_trailers: [false; 2],
            windows: [Window::default(), Window::default()],
            held: 0,
            injected: None,
            prototypes: Prototypes::default(),
            body_limits: [None; 2],
            replied: false,
            too_large: false,
        }
    }

    pub(crate) fn access(&self, map: MapType) -> Access {
        self.access.get(map as usize).copied().unwrap_or_default()
    }

    pub(crate) fn window(&mut self, way: Way) -> &mut Window {
        &mut self.windows[way as usize]
    }
}

/// Contexts by id. Ids are small numbers we hand out ourselves: nobody can choose them to
/// collide, so they need no strong hash.
pub(crate) type IdMap<V> = HashMap<u32, V, BuildHasherDefault<IdHasher>>;

/// Spreads consecutive numbers; see [`IdMap`].
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
