//! Crashes when it is asked to, in functions of its own, and carries what a report of that
//! needs: names, and the lines of its source (`[profile.release.package.backtrace]` in
//! `../Cargo.toml`; a filter that is a package by itself has the same in `[profile.release]`).
//!
//! `x-visitors` on the request is a number; `x-share: N` on the response says how much each
//! of them gets of a hundred. Nobody has thought of no visitors at all.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_http_context(|_, _| Box::new(Sharing { share: 0 }));
}}

struct Sharing {
    share: u32,
}

/// What each of them gets.
#[inline(never)]
fn share(visitors: u32) -> u32 {
    100 / visitors // crashes here
}

impl Context for Sharing {}

impl HttpContext for Sharing {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(visitors) = self.get_http_request_header("x-visitors") {
            let visitors = visitors.trim().parse().unwrap_or(1);
            self.share = share(visitors); // called here
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-share", Some(&self.share.to_string()));
        Action::Continue
    }
}
