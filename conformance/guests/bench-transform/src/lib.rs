//! `make bench`'s *transform*: adds two request headers, removes one, sets a response header.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_http_context(|_, _| Box::new(Transform));
}}

struct Transform;

impl Context for Transform {}

impl HttpContext for Transform {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.add_http_request_header("x-bench-one", "the first of two");
        self.add_http_request_header("x-bench-two", "the second");
        self.set_http_request_header("x-internal", None);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("x-bench", Some("transformed"));
        Action::Continue
    }
}
