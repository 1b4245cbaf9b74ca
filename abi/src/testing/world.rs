//! Everything that guests can be part of: a chain of up to three of them, and the events an
//! embedder may bring, in the order it may bring them. For fuzzers: what happens is made of
//! any bytes ([`Script`]), and can be written down ([`Trace`]).

mod script;
mod trace;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

pub use self::script::Script;
pub use self::trace::Trace;
use super::RecordingHost;
use crate::callout::{GrpcEvent, HttpOutcome, Token};
use crate::chain::{Chain, FilterHandle};
use crate::engine::Code;
use crate::error::LoadError;
use crate::plugin::{Plugin, VmSettings};
use crate::state::RootEffect;
use crate::stream::Part;
use crate::tcp::{Chunk, TcpChain};
use crate::types::{Peer, Way};
use crate::version::AbiVersion;
use crate::vm::Vm;

/// Guests and what is going on with them.
#[derive(Debug)]
pub struct World {
    host: Rc<RecordingHost>,
    guests: Vec<FilterHandle>,
    chain: Option<Chain>,
    ways: [Progress; 2],
    connection: Option<TcpChain>,
    /// Every callout there has been, answered or not: an embedder may be late.
    calls: Vec<(Rc<RefCell<Vm>>, Token)>,
    trace: Option<Trace>,
}

/// How far one direction of the exchange has come; an embedder never goes back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Progress {
    #[default]
    Nothing,
    Headers,
    Ended,
}

/// Kinds of events.
const EVENTS: u8 = 19;

// === impl World ===

impl World {
    /// One guest of that code for each configuration. Some may fail to start; the chain is
    /// what is left. What comes of all that happens is written down when it is `traced`.
    #[must_use]
    pub fn new(
        code: &dyn Code,
        version: AbiVersion,
        configurations: &[&[u8]],
        settings: VmSettings,
        traced: bool,
    ) -> Self {
        let host = Rc::new(RecordingHost::default());
        let settings = Rc::new(settings);
        let mut trace = traced.then(Trace::default);
        let mut guests = Vec::new();
        for configuration in configurations {
            let started = start(code, version, configuration, &settings, &host);
            if let Some(trace) = &mut trace {
                trace.started(started.as_ref().err());
            }
            guests.extend(started.ok());
        }
        Self {
            host,
            guests,
            chain: None,
            ways: Default::default(),
            connection: None,
            calls: Vec::new(),
            trace,
        }
    }

    /// One thing that can happen, chosen by `event`; `amount` says how much of it.
    pub fn happen(&mut self, event: u8, amount: u8) {
        self.note(|trace, _| trace.event(event % EVENTS, amount));
        self.bring(event, amount);
        self.note(|trace, world| {
            trace.logs(world.host.take_logs());
            if let Some(chain) = &world.chain {
                trace.chain(chain);
            }
            if let Some(connection) = &world.connection {
                trace.connection(connection);
            }
        });
    }

    fn bring(&mut self, event: u8, amount: u8) {
        let end = amount & 1 == 1;
        match event % EVENTS {
            0 => self.begin(),
            1 => self.headers(Way::Request, end),
            2 => self.headers(Way::Response, end),
            3 | 4 => self.data(Way::Request, amount, end),
            5 | 6 => self.data(Way::Response, amount, end),
            7 => self.trailers(if end { Way::Request } else { Way::Response }),
            8 => self.drain(),
            9 => self.tick(),
            10 => self.settle(),
            11 => self.connect(),
            12 => self.chunk(Way::Request, amount, end),
            13 => self.chunk(Way::Response, amount, end),
            14 => self.disconnect(if end { Peer::Local } else { Peer::Remote }),
            15 => self.answer_http(amount),
            16 | 17 => self.answer_grpc(amount),
            _ => self.end(),
        }
    }

    /// A new exchange; the one before ends as if its client had gone.
    pub fn begin(&mut self) {
        self.end();
        self.chain = Some(Chain::begin(super::get(), self.handles(), false));
        self.ways = Default::default();
    }

    fn handles(&self) -> Vec<FilterHandle> {
        let again = |guest: &FilterHandle| FilterHandle {
            vm: guest.vm.clone(),
            root: guest.root,
            plugin: guest.plugin.clone(),
        };
        self.guests.iter().map(again).collect()
    }

    /// A TCP connection beside the exchange, through the same guests.
    fn connect(&mut self) {
        self.disconnect(Peer::Remote);
        self.connection = Some(TcpChain::begin(super::get(), self.handles()));
    }

    fn chunk(&mut self, way: Way, amount: u8, end: bool) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        connection.poll();
        if connection.wants_more(way) {
            let bytes = Bytes::from(vec![amount; usize::from(amount) * 16]);
            connection.push(way, Chunk { bytes, end });
        }
        while let Some(chunk) = connection.pop(way) {
            if let Some(trace) = &mut self.trace {
                trace.chunk(way, &chunk);
            }
        }
    }

    fn disconnect(&mut self, by: Peer) {
        if let Some(mut connection) = self.connection.take() {
            let failures = connection.end(by);
            self.note(|trace, _| trace.failures(&failures));
        }
    }

    fn answer_http(&mut self, amount: u8) {
        let Some((vm, token)) = self.some_call(amount) else {
            return;
        };
        let outcome = match amount % 7 {
            0 => HttpOutcome::Timeout,
            1 => HttpOutcome::NoEndpoint,
            2 => HttpOutcome::ConnectFailed("refused".to_owned()),
            3 => HttpOutcome::Disconnected,
            4 => HttpOutcome::Reset,
            5 => HttpOutcome::Overflow,
            _ => HttpOutcome::Response {
                headers: super::map(&[
                    (":status", "200"),
                    ("set-cookie", "a"),
                    ("set-cookie", "b"),
                ]),
                body: Bytes::from(vec![amount; usize::from(amount) * 16]),
                trailers: (amount > 128).then(|| super::map(&[("x-t", "v")])),
            },
        };
        let ended = vm.borrow_mut().http_call_response(token, outcome);
        self.note(|trace, _| trace.called(&ended));
        self.drain();
    }

    fn answer_grpc(&mut self, amount: u8) {
        let Some((vm, token)) = self.some_call(amount) else {
            return;
        };
        let event = match amount % 4 {
            0 => GrpcEvent::InitialMetadata(super::map(&[("x-i", "1")])),
            1 => GrpcEvent::Message(Bytes::from(vec![amount; usize::from(amount)])),
            2 => GrpcEvent::TrailingMetadata(super::map(&[("grpc-status", "0")])),
            _ => GrpcEvent::Closed {
                status: u32::from(amount >> 6),
                message: Bytes::from_static(b"over"),
            },
        };
        let ended = vm.borrow_mut().grpc_event(token, event);
        self.note(|trace, _| trace.called(&ended));
        let ended = vm.borrow_mut().redis_response(token, None);
        self.note(|trace, _| trace.called(&ended));
        self.drain();
    }

    fn some_call(&self, amount: u8) -> Option<(Rc<RefCell<Vm>>, Token)> {
        let calls = self.calls.len();
        let index = usize::from(amount).checked_rem(calls)?;
        self.calls.get(calls - 1 - index).cloned()
    }

    fn headers(&mut self, way: Way, end: bool) {
        let Some(chain) = &mut self.chain else { return };
        if self.ways[way as usize] != Progress::Nothing {
            return;
        }
        if way == Way::Response {
            let headers = super::map(&[(":status", "200"), ("x-up", "1"), ("x-up", "2")]);
            chain.exchange().borrow_mut().response_headers = Some(headers);
        }
        self.ways[way as usize] = if end {
            Progress::Ended
        } else {
            Progress::Headers
        };
        chain.push(way, Part::Headers { end });
    }

    fn data(&mut self, way: Way, amount: u8, end: bool) {
        let Some(chain) = &mut self.chain else { return };
        if self.ways[way as usize] != Progress::Headers || !chain.wants_more(way) {
            return;
        }
        if end {
            self.ways[way as usize] = Progress::Ended;
        }
        let bytes = Bytes::from(vec![amount; usize::from(amount) * 64]);
        chain.push(way, Part::Data { bytes, end });
    }

    fn trailers(&mut self, way: Way) {
        let Some(chain) = &mut self.chain else { return };
        if self.ways[way as usize] != Progress::Headers {
            return;
        }
        self.ways[way as usize] = Progress::Ended;
        let trailers = Some(super::map(&[("x-trailer", "t")]));
        match way {
            Way::Request => chain.exchange().borrow_mut().request_trailers = trailers,
            Way::Response => chain.exchange().borrow_mut().response_trailers = trailers,
        }
        chain.push(way, Part::Trailers);
    }

    /// Whatever may leave does, both ways.
    fn drain(&mut self) {
        let Some(chain) = &mut self.chain else { return };
        chain.poll();
        for way in [Way::Request, Way::Response] {
            while let Some(part) = chain.pop(way) {
                if let Some(trace) = &mut self.trace {
                    trace.part(way, &part, chain);
                }
            }
        }
    }

    fn tick(&mut self) {
        let now = self.host.now.get() + Duration::from_millis(10);
        self.host.now.set(now);
        for guest in &self.guests {
            // A crash is an ordinary outcome here.
            let ended = guest.vm.borrow_mut().tick(guest.root);
            if let Some(trace) = &mut self.trace {
                trace.called(&ended);
            }
        }
        self.drain();
    }

    /// What roots asked for is looked at; callouts are kept to be answered.
    fn settle(&mut self) {
        for guest in &self.guests {
            for effect in guest.vm.borrow_mut().take_root_effects() {
                if let Some(trace) = &mut self.trace {
                    trace.effect(&effect);
                }
                if let RootEffect::Call { token, .. } = effect {
                    self.calls.push((guest.vm.clone(), token));
                }
            }
        }
        self.drain();
    }

    fn end(&mut self) {
        if let Some(mut chain) = self.chain.take() {
            let failures = chain.end();
            assert!(chain.is_ended(), "an exchange ends when it is told to");
            self.note(|trace, _| trace.failures(&failures));
        }
        let logs = self.host.take_logs();
        self.note(|trace, _| trace.logs(logs));
    }

    /// Ends the exchange and the roots, and checks that nothing is left. What was written
    /// down, if anything was; the guests' memories at the end count.
    ///
    /// # Panics
    /// When a stream outlives its exchange.
    pub fn finish(mut self) -> Trace {
        self.end();
        self.disconnect(Peer::Remote);
        for guest in &self.guests {
            let mut vm = guest.vm.borrow_mut();
            assert_eq!(vm.streams(), 0, "streams outlive their exchange");
            let ended = vm.end_root(guest.root);
            let (fate, gone) = (ended.as_ref().map(drop).map_err(Clone::clone), ended);
            if let Some(trace) = &mut self.trace {
                trace.called(&fate);
                trace.memory(vm.memory());
            }
            if gone.is_ok_and(|gone| !gone) {
                let _ = vm.delete_root(guest.root);
            }
        }
        let logs = self.host.take_logs();
        self.note(|trace, _| trace.logs(logs));
        self.trace.unwrap_or_default()
    }

    fn note(&mut self, write: impl FnOnce(&mut Trace, &mut Self)) {
        if let Some(mut trace) = self.trace.take() {
            write(&mut trace, self);
            self.trace = Some(trace);
        }
    }
}

fn start(
    code: &dyn Code,
    version: AbiVersion,
    configuration: &[u8],
    settings: &Rc<VmSettings>,
    host: &Rc<RecordingHost>,
) -> Result<FilterHandle, LoadError> {
    let plugin = Rc::new(Plugin {
        name: "hostile".to_owned(),
        configuration: Bytes::copy_from_slice(configuration),
        body_limit: 64 << 10,
        ..Plugin::default()
    });
    let mut vm = Vm::start(code, version, settings.clone(), host.clone())?;
    let root = vm.create_root(plugin.clone())?;
    Ok(FilterHandle {
        vm: Rc::new(RefCell::new(vm)),
        root,
        plugin,
    })
}
