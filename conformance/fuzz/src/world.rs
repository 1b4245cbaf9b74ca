//! Everything a hostile guest can be part of: a chain of up to three of them, and the
//! events an embedder may bring, in the order it may bring them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{GrpcEvent, HttpOutcome, Token};
use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::wasmi::Wasmi;
use cofferdam_abi::tcp::{Chunk, TcpChain};
use cofferdam_abi::testing::{self, RecordingHost};
use cofferdam_abi::{
    Chain, Compat, FilterHandle, Limits, Module, Part, Plugin, RootEffect, RootId, Vm, VmSettings,
    Way, types::Peer,
};

thread_local! {
    static CODE: (Module, Box<dyn Code>) = compile();
}

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
}

/// How far one direction of the exchange has come; an embedder never goes back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Progress {
    #[default]
    Nothing,
    Headers,
    Ended,
}

fn compile() -> (Module, Box<dyn Code>) {
    let module = Module::parse(crate::wasm().into()).expect("the hostile guest parses");
    let code = Wasmi::new(16 << 10)
        .with_fuel_per_ms(20_000)
        .compile(&module, &Compat::SUPERSET)
        .expect("the hostile guest compiles");
    (module, code)
}

// === impl World ===

impl World {
    /// One guest for each script. Some may fail to start; the chain is what is left.
    #[must_use]
    pub fn new(scripts: &[&[u8]], compat: Compat) -> Self {
        let host = Rc::new(RecordingHost::default());
        let limits = Limits {
            callback: Duration::from_millis(20),
            memory: 2 << 20,
            ..Limits::default()
        };
        let settings = Rc::new(VmSettings {
            limits,
            compat,
            ..VmSettings::default()
        });
        let guests = scripts
            .iter()
            .filter_map(|script| start(script, &settings, &host))
            .collect();
        Self {
            host,
            guests,
            chain: None,
            ways: Default::default(),
            connection: None,
            calls: Vec::new(),
        }
    }

    /// One thing that can happen, chosen by `event`; `amount` says how much of it.
    pub fn happen(&mut self, event: u8, amount: u8) {
        let end = amount & 1 == 1;
        match event % 19 {
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
        self.chain = Some(Chain::begin(testing::get(), self.handles(), false));
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
        self.connection = Some(TcpChain::begin(testing::get(), self.handles()));
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
        while connection.pop(way).is_some() {}
    }

    fn disconnect(&mut self, by: Peer) {
        if let Some(mut connection) = self.connection.take() {
            connection.end(by);
        }
    }

    fn answer_http(&mut self, amount: u8) {
        let Some((vm, token)) = self.some_call(amount) else {
            return;
        };
        let outcome = match amount % 6 {
            0 => HttpOutcome::Timeout,
            1 => HttpOutcome::NoEndpoint,
            2 => HttpOutcome::ConnectFailed("refused".to_owned()),
            3 => HttpOutcome::Disconnected,
            4 => HttpOutcome::Reset,
            _ => HttpOutcome::Response {
                headers: testing::map(&[
                    (":status", "200"),
                    ("set-cookie", "a"),
                    ("set-cookie", "b"),
                ]),
                body: Bytes::from(vec![amount; usize::from(amount) * 16]),
                trailers: (amount > 128).then(|| testing::map(&[("x-t", "v")])),
            },
        };
        let _ = vm.borrow_mut().http_call_response(token, outcome);
        self.drain();
    }

    fn answer_grpc(&mut self, amount: u8) {
        let Some((vm, token)) = self.some_call(amount) else {
            return;
        };
        let event = match amount % 4 {
            0 => GrpcEvent::InitialMetadata(testing::map(&[("x-i", "1")])),
            1 => GrpcEvent::Message(Bytes::from(vec![amount; usize::from(amount)])),
            2 => GrpcEvent::TrailingMetadata(testing::map(&[("grpc-status", "0")])),
            _ => GrpcEvent::Closed {
                status: u32::from(amount >> 6),
                message: Bytes::from_static(b"over"),
            },
        };
        let _ = vm.borrow_mut().grpc_event(token, event);
        let _ = vm.borrow_mut().redis_response(token, None);
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
            let headers = testing::map(&[(":status", "200"), ("x-up", "1"), ("x-up", "2")]);
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
        let trailers = Some(testing::map(&[("x-trailer", "t")]));
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
            while chain.pop(way).is_some() {}
        }
    }

    fn tick(&mut self) {
        let now = self.host.now.get() + Duration::from_millis(10);
        self.host.now.set(now);
        for guest in &self.guests {
            // A crash is an ordinary outcome here.
            let _ = guest.vm.borrow_mut().tick(guest.root);
        }
        self.drain();
    }

    /// What roots asked for is looked at; callouts are kept to be answered.
    fn settle(&mut self) {
        for guest in &self.guests {
            for effect in guest.vm.borrow_mut().take_root_effects() {
                if let RootEffect::Call { token, .. } = effect {
                    self.calls.push((guest.vm.clone(), token));
                }
            }
        }
        self.drain();
    }

    fn end(&mut self) {
        if let Some(mut chain) = self.chain.take() {
            let _ = chain.end();
            assert!(chain.is_ended(), "an exchange ends when it is told to");
        }
        self.host.take_logs();
    }

    /// Ends the exchange and the roots, and checks that nothing is left.
    pub fn finish(mut self) {
        self.end();
        self.disconnect(Peer::Remote);
        for guest in &self.guests {
            let mut vm = guest.vm.borrow_mut();
            assert_eq!(vm.streams(), 0, "streams outlive their exchange");
            if vm.end_root(guest.root).is_ok_and(|gone| !gone) {
                let _ = vm.delete_root(guest.root);
            }
        }
    }
}

fn start(
    script: &[u8],
    settings: &Rc<VmSettings>,
    host: &Rc<RecordingHost>,
) -> Option<FilterHandle> {
    let plugin = Rc::new(Plugin {
        name: "hostile".to_owned(),
        configuration: Bytes::copy_from_slice(script),
        body_limit: 64 << 10,
        ..Plugin::default()
    });
    CODE.with(|(module, code)| {
        let mut vm = Vm::start(&**code, module.version, settings.clone(), host.clone()).ok()?;
        let root: RootId = vm.create_root(plugin.clone()).ok()?;
        Some(FilterHandle {
            vm: Rc::new(RefCell::new(vm)),
            root,
            plugin,
        })
    })
}
