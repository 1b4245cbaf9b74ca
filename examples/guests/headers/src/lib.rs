//! Adds, replaces and removes headers and trailers, in both directions.
//!
//! | on the request and on the response | |
//! |---|---|
//! | `x-added` | two more entries, `one` and `two` |
//! | `x-replaced` | one entry, `new`, whatever was there |
//! | `x-removed` | gone |
//! | trailer `x-added-trailer` | `yes`, where there are trailers |
//!
//! The response also gets `x-request-path` and `x-request-headers` (how many the guest was
//! told of), which were seen on the way in.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_http_context(|_, _| Box::new(Headers::default()));
}}

#[derive(Default)]
struct Headers {
    path: String,
    count: usize,
}

impl Context for Headers {}

impl HttpContext for Headers {
    fn on_http_request_headers(&mut self, count: usize, end_of_stream: bool) -> Action {
        self.count = count;
        self.path = self.get_http_request_header(":path").unwrap_or_default();
        log::info!("request headers: {count}, end of stream: {end_of_stream}");
        for (name, value) in self.get_http_request_headers_bytes() {
            log::debug!("request {name}: {}", String::from_utf8_lossy(&value));
        }
        self.add_http_request_header("x-added", "one");
        self.add_http_request_header("x-added", "two");
        self.set_http_request_header("x-replaced", Some("new"));
        self.remove_http_request_header("x-removed");
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        log::info!("request trailers: {count}");
        self.set_http_request_trailer("x-added-trailer", Some("yes"));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, count: usize, end_of_stream: bool) -> Action {
        log::info!("response headers: {count}, end of stream: {end_of_stream}");
        self.add_http_response_header("x-added", "one");
        self.add_http_response_header("x-added", "two");
        self.set_http_response_header("x-replaced", Some("new"));
        self.remove_http_response_header("x-removed");
        self.set_http_response_header("x-request-path", Some(&self.path));
        self.set_http_response_header("x-request-headers", Some(&self.count.to_string()));
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, count: usize) -> Action {
        log::info!("response trailers: {count}");
        self.set_http_response_trailer("x-added-trailer", Some("yes"));
        Action::Continue
    }

    fn on_log(&mut self) {
        let status = self.get_http_response_header(":status").unwrap_or_default();
        log::info!("log: {} {status}", self.path);
    }
}
