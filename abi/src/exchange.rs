//! What one HTTP exchange, or one TCP connection, lends to the filters of its chain.
//!
//! Every filter of a chain lives in a VM of its own but sees the same headers, so the
//! exchange is shared by reference count within its worker. Nothing borrows it across a
//! call into a guest: hostcalls borrow it for the length of one hostcall, the chain
//! between calls. That rule is what makes `set_effective_context` to another stream safe.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;

use crate::error::Trap;
use crate::filter_state::FilterState;
use crate::headers::Headers;
use crate::property::Attributes;
use crate::types::{MapType, StreamType, Way};

/// An [`Exchange`] as its chain and its filters hold it.
pub type SharedExchange = Rc<RefCell<Exchange>>;

/// Maps, per-request properties and pending effects of one exchange.
pub struct Exchange {
    /// Map 0.
    pub request_headers: Option<Headers>,
    /// Map 1.
    pub request_trailers: Option<Headers>,
    /// Map 2.
    pub response_headers: Option<Headers>,
    /// Map 3.
    pub response_trailers: Option<Headers>,
    /// There are no messages: it is a TCP connection.
    pub(crate) tcp: bool,
    /// Everything only the embedder knows.
    pub attributes: Box<dyn Attributes>,
    /// What filters stored for each other.
    pub filter_state: FilterState,
    /// A filter wants the route to be chosen anew (`clear_route_cache`); whoever does so
    /// takes this back.
    pub route_cleared: bool,
    /// What guests asked for, with the filter (position in the chain) it concerns.
    pub(crate) effects: VecDeque<(usize, Effect)>,
    /// Woken when an effect arrives from outside this exchange's own callbacks.
    wakers: [Option<Waker>; 2],
}

/// What a guest asked to happen to a stream once its callback has returned (section 6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// `proxy_continue_stream`.
    Continue(StreamType),
    /// `proxy_close_stream`.
    Close(StreamType),
    /// `proxy_send_local_response`, in the callback of that name.
    LocalReply(LocalReply, &'static str),
    /// `proxy_inject_encoded_data_to_filter_chain`: there are bytes to be put into the
    /// response behind this filter.
    Inject,
    /// The guest holds, or has put there, more of what goes that way than may be kept: in the
    /// callback of that name.
    TooLarge(Way, &'static str),
    /// The root crashed in a callback of its own: a filter that holds its stream back will
    /// never let it go.
    RootFailed(Trap),
    /// The VM goes, and with it its part in every stream.
    VmEnded(Trap),
}

/// An answer made here instead of upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalReply {
    /// 200..=599; anything else is answered as 500.
    pub status: u32,
    /// For the access log; white space becomes `_`.
    pub details: Bytes,
    /// May be empty.
    pub body: Bytes,
    /// Added to the answer, in order.
    pub headers: Vec<(Bytes, Bytes)>,
    /// 0..=16, or anything else for "not set"; used for gRPC requests only.
    pub grpc_status: i32,
}

// === impl Effect ===

impl Effect {
    /// Whether nothing of what was on its way goes on after it.
    pub(crate) const fn is_stop(&self) -> bool {
        matches!(
            self,
            Self::LocalReply(..) | Self::Close(_) | Self::TooLarge(..)
        )
    }

    /// Whether a stream of that kind can do it; asking another for it is harmless.
    pub(crate) const fn concerns(&self, tcp: bool) -> bool {
        match self {
            Self::Continue(stream) | Self::Close(stream) => stream.is_tcp() == tcp,
            Self::LocalReply(..) | Self::Inject => !tcp,
            Self::TooLarge(..) | Self::RootFailed(_) | Self::VmEnded(_) => true,
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// An exchange whose request has these headers (pseudo-headers included).
    #[must_use]
    pub fn new(request_headers: Headers, attributes: Box<dyn Attributes>) -> Self {
        Self {
            request_headers: Some(request_headers),
            tcp: false,
            ..Self::connection(attributes)
        }
    }

    /// What a TCP connection has: properties, and no messages.
    #[must_use]
    pub fn connection(attributes: Box<dyn Attributes>) -> Self {
        Self {
            request_headers: None,
            tcp: true,
            request_trailers: None,
            response_headers: None,
            response_trailers: None,
            attributes,
            filter_state: FilterState::default(),
            route_cleared: false,
            effects: VecDeque::new(),
            wakers: [None, None],
        }
    }

    /// Shared, as chains want it.
    #[must_use]
    pub fn share(self) -> SharedExchange {
        Rc::new(RefCell::new(self))
    }

    /// The map of an HTTP message, if it is one and is there.
    #[must_use]
    pub fn map(&self, map: MapType) -> Option<&Headers> {
        match map {
            MapType::RequestHeaders => self.request_headers.as_ref(),
            MapType::RequestTrailers => self.request_trailers.as_ref(),
            MapType::ResponseHeaders => self.response_headers.as_ref(),
            MapType::ResponseTrailers => self.response_trailers.as_ref(),
            _ => None,
        }
    }

    /// The place of an HTTP message's map, if it is one.
    pub fn map_slot(&mut self, map: MapType) -> Option<&mut Option<Headers>> {
        match map {
            MapType::RequestHeaders => Some(&mut self.request_headers),
            MapType::RequestTrailers => Some(&mut self.request_trailers),
            MapType::ResponseHeaders => Some(&mut self.response_headers),
            MapType::ResponseTrailers => Some(&mut self.response_trailers),
            _ => None,
        }
    }

    /// Who is to be woken when something happens to this exchange from outside: one for
    /// each way, the latest one counts.
    pub fn set_waker(&mut self, way: Way, waker: &Waker) {
        let slot = &mut self.wakers[way as usize];
        match slot {
            Some(held) => held.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    /// Wakes the driver of one way.
    pub fn wake(&mut self, way: Way) {
        if let Some(waker) = self.wakers[way as usize].take() {
            waker.wake();
        }
    }

    /// Queues an effect; `outside` when it does not come from a callback of this exchange,
    /// so that nobody would otherwise look.
    pub(crate) fn push_effect(&mut self, filter: usize, effect: Effect, outside: bool) {
        // Asking twice is asking once; nobody can make the queue grow.
        let queued = (filter, effect);
        if !self.effects.contains(&queued) {
            self.effects.push_back(queued);
        }
        if outside {
            self.wake(Way::Request);
            self.wake(Way::Response);
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("request_headers", &self.request_headers)
            .field("response_headers", &self.response_headers)
            .field("effects", &self.effects)
            .finish_non_exhaustive()
    }
}
