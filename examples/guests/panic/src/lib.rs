//! Fails on demand.
//!
//! Where and how is `CALLBACK` or `CALLBACK:KIND`, in the request's `x-panic` header or, for
//! every stream, in the configuration (a header wins).
//!
//! CALLBACK: `vm_start`, `configure`, `tick` (from the configuration only), `create`,
//! `request_headers`, `request_body`, `request_trailers`, `response_headers`,
//! `response_body`, `response_trailers`, `log`, `done`, `delete`.
//! `create` has seen no header yet, so it too can come from the configuration only.
//!
//! KIND: `panic` (default), `loop` (never returns), `memory` (grows without end), `stack`
//! (calls itself without end), `trap` (a bare
//! `unreachable`, with no message before it), `exit` (`proc_exit(3)`).

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(PanicRoot { plan: Plan("".into()) }));
}}

/// `CALLBACK` or `CALLBACK:KIND`.
#[derive(Clone)]
struct Plan(Rc<str>);

impl Plan {
    fn new(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).trim().into())
    }

    fn reached(&self, callback: &str) {
        match self.0.split_once(':').unwrap_or((&self.0, "panic")) {
            (planned, kind) if planned == callback => fail(callback, kind),
            _ => {}
        }
    }
}

fn fail(callback: &str, kind: &str) {
    match kind {
        "loop" => loop {
            std::hint::black_box(kind);
        },
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&hoard);
            }
        }
        "stack" => {
            std::hint::black_box(descend(1));
        }
        "trap" => trap(),
        "exit" => std::process::exit(3),
        _ => panic!("asked to panic in {callback}"),
    }
}

/// Calls itself in a way no compiler turns into a loop.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    if std::hint::black_box(depth) == 0 {
        return 0;
    }
    descend(depth + 1) ^ std::hint::black_box(depth)
}

/// The instruction alone.
fn trap() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable()
}

struct PanicRoot {
    plan: Plan,
}

impl Context for PanicRoot {}

impl RootContext for PanicRoot {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        Plan::new(&self.get_vm_configuration().unwrap_or_default()).reached("vm_start");
        true
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        self.plan = Plan::new(&self.get_plugin_configuration().unwrap_or_default());
        self.plan.reached("configure");
        if self.plan.0.starts_with("tick") {
            self.set_tick_period(Duration::from_millis(10));
        }
        true
    }

    fn on_tick(&mut self) {
        self.plan.reached("tick");
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        self.plan.reached("create");
        Some(Box::new(Panic {
            plan: self.plan.clone(),
        }))
    }
}

struct Panic {
    plan: Plan,
}

impl Context for Panic {
    fn on_done(&mut self) -> bool {
        self.plan.reached("done");
        true
    }
}

impl HttpContext for Panic {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(plan) = self.get_http_request_header_bytes("x-panic") {
            self.plan = Plan::new(&plan);
        }
        self.plan.reached("request_headers");
        Action::Continue
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.plan.reached("request_body");
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.plan.reached("request_trailers");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.plan.reached("response_headers");
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.plan.reached("response_body");
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.plan.reached("response_trailers");
        Action::Continue
    }

    fn on_log(&mut self) {
        self.plan.reached("log");
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        self.plan.reached("delete");
    }
}
