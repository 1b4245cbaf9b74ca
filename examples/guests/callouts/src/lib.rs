//! Calls other services as it is told, and logs what comes back.
//!
//! A request's `x-call` headers each name a call; they are made at once, and the request waits
//! for all of them. Then each `x-then` in turn. With `x-forget` the request waits for nothing.
//! `x-call-response` names what is called when the response has come. The configuration names calls of the root,
//! one on each line behind `configure:`, `tick:` (once) or `log:` (for each stream); the VM
//! configuration those of `vm_start`.
//!
//! A call is words; in a value `+` stands for a blank, and `\r`, `\n`, `\0` for what they do in Rust:
//!
//! ```text
//! http UPSTREAM METHOD PATH [timeout=MS] [host=NAME] [body=TEXT] [size=BYTES] [h.NAME=VALUE] [t.NAME=VALUE]
//! grpc UPSTREAM SERVICE METHOD [timeout=MS] [message=TEXT] [size=BYTES] [h.NAME=VALUE] [cancel]
//! stream UPSTREAM SERVICE METHOD [send=A,B] [end] [pong=N] [cancel=N] [h.NAME=VALUE]
//! ```
//!
//! `pong=N` answers each message and closes after N; `cancel=N` cancels after N (0: at once).

mod calls;

use std::time::Duration;

use calls::Calls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Root {
        calls: Calls::new("root"),
        on_tick: Vec::new(),
        on_log: Vec::new(),
    }));
}}

struct Root {
    calls: Calls,
    on_tick: Vec<String>,
    on_log: Vec<String>,
}

struct Stream {
    calls: Calls,
    /// It waits for no answer.
    forgets: bool,
    on_response: Vec<String>,
    on_log: Vec<String>,
}

/// What comes back is the same to both kinds of context.
macro_rules! hears_answers {
    ($context:ty) => {
        impl Context for $context {
            fn on_http_call_response(&mut self, token: u32, count: usize, _: usize, _: usize) {
                self.calls.http_answer(token, count);
            }

            fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
                self.calls.grpc_answer(token, status, size);
            }

            fn on_grpc_stream_initial_metadata(&mut self, token: u32, _: u32) {
                self.calls
                    .metadata(token, "initial", self.get_grpc_stream_initial_metadata());
            }

            fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
                self.calls.stream_message(token, size);
            }

            fn on_grpc_stream_trailing_metadata(&mut self, token: u32, _: u32) {
                self.calls
                    .metadata(token, "trailing", self.get_grpc_stream_trailing_metadata());
            }

            fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
                self.calls.stream_closed(token, status);
            }
        }
    };
}

hears_answers!(Root);
hears_answers!(Stream);

impl RootContext for Root {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        let text = self.get_vm_configuration().unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            self.calls.start("vm_start", line);
        }
        true
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            match line.split_once(": ") {
                Some(("configure", call)) => self.calls.start("configure", call),
                Some(("tick", call)) => self.on_tick.push(call.to_owned()),
                Some(("log", call)) => self.on_log.push(call.to_owned()),
                _ => log::error!("callouts: what is {line:?}?"),
            }
        }
        if !self.on_tick.is_empty() {
            self.set_tick_period(Duration::from_millis(10));
        }
        true
    }

    fn on_tick(&mut self) {
        self.set_tick_period(Duration::ZERO);
        for call in std::mem::take(&mut self.on_tick) {
            self.calls.start("tick", &call);
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            calls: Calls::new(&format!("stream {context_id}")),
            forgets: false,
            on_response: Vec::new(),
            on_log: self.on_log.clone(),
        }))
    }
}

impl Stream {
    /// Makes these calls, and holds the stream until all is answered.
    fn call(&mut self, place: &'static str, calls: &[String]) -> Action {
        for call in calls {
            self.calls.start(place, call);
        }
        if self.forgets || !self.calls.are_under_way() {
            return Action::Continue;
        }
        self.calls.resumes = Some(place);
        Action::Pause
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let headers = self.get_http_request_headers();
        let named = |wanted: &str| {
            let found = headers.iter().filter(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        self.forgets = !named("x-forget").is_empty();
        self.on_response = named("x-call-response");
        self.calls.then = named("x-then").into();
        self.call("request", &named("x-call"))
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        let calls = std::mem::take(&mut self.on_response);
        self.call("response", &calls)
    }

    fn on_log(&mut self) {
        for call in std::mem::take(&mut self.on_log) {
            self.calls.start("log", &call);
        }
        log::info!("{}: over", self.calls.who);
    }
}
