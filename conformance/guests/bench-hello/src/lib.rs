//! `make bench`'s *hello*: logs every request header, which the host drops because of its log
//! level, and sets one.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_http_context(|id, _| Box::new(Hello { id }));
}}

struct Hello {
    id: u32,
}

impl Context for Hello {}

impl HttpContext for Hello {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        for (name, value) in self.get_http_request_headers() {
            log::info!("#{} -> {name}: {value}", self.id);
        }
        self.set_http_request_header("x-hello", Some("world"));
        Action::Continue
    }
}
