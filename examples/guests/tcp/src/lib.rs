//! Filters a TCP protocol of lines.
//!
//! What the client sends is held until its last line is whole. Then `secret` in it becomes
//! `******`; a batch with a line `quit` goes no further, and the connection is closed; one
//! with a line `slow` goes on only after the next tick of the root context. What the
//! upstream sends goes on in capitals. Everything that happens is logged.
//!
//! The configuration is the tick's period in milliseconds (default 20); the tick runs only
//! while something waits for it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use log::info;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, PeerType};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Root {
        period: Duration::from_millis(20),
        slow: Rc::default(),
    }));
}}

/// Connections that wait for the next tick.
type Slow = Rc<RefCell<Vec<u32>>>;

struct Root {
    period: Duration,
    slow: Slow,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        if let Ok(millis) = String::from_utf8_lossy(&text).trim().parse() {
            self.period = Duration::from_millis(millis);
        }
        true
    }

    fn on_tick(&mut self) {
        self.set_tick_period(Duration::ZERO);
        for context in self.slow.borrow_mut().drain(..) {
            // A connection may be gone by now.
            if hostcalls::set_effective_context(context).is_ok() {
                info!("{context} goes on");
                let _ = hostcalls::resume_downstream();
            }
        }
    }

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Lines {
            id,
            period: self.period,
            slow: self.slow.clone(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }
}

struct Lines {
    id: u32,
    period: Duration,
    slow: Slow,
}

impl Context for Lines {
    fn on_done(&mut self) -> bool {
        info!("{} is done", self.id);
        true
    }
}

impl StreamContext for Lines {
    fn on_new_connection(&mut self) -> Action {
        let from = self.get_property(vec!["source", "address"]);
        let path = self.get_property(vec!["request", "path"]);
        let from = String::from_utf8_lossy(&from.unwrap_or_default()).into_owned();
        info!("{} from {from}, path {path:?}", self.id);
        Action::Continue
    }

    fn on_downstream_data(&mut self, size: usize, end: bool) -> Action {
        let data = self.get_downstream_data(0, size).unwrap_or_default();
        info!("{} client {size} {end}", self.id);
        if !data.ends_with(b"\n") && !end {
            return Action::Pause;
        }
        let text = String::from_utf8_lossy(&data);
        if text.lines().any(|line| line == "quit") {
            self.close_downstream();
            return Action::Continue;
        }
        if text.contains("secret") {
            self.set_downstream_data(0, size, text.replace("secret", "******").as_bytes());
        }
        if text.lines().any(|line| line == "slow") {
            self.slow.borrow_mut().push(self.id);
            let _ = hostcalls::set_tick_period(self.period);
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_upstream_data(&mut self, size: usize, end: bool) -> Action {
        info!("{} upstream {size} {end}", self.id);
        let data = self.get_upstream_data(0, size).unwrap_or_default();
        self.set_upstream_data(0, size, &data.to_ascii_uppercase());
        Action::Continue
    }

    fn on_downstream_close(&mut self, by: PeerType) {
        info!("{} client closed {by:?}", self.id);
    }

    fn on_upstream_close(&mut self, by: PeerType) {
        info!("{} upstream closed {by:?}", self.id);
    }

    fn on_log(&mut self) {
        info!("{} log", self.id);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        info!("{} is gone", self.id);
    }
}
