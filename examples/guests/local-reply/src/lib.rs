//! Answers by itself when the request carries `x-deny`; everything else passes.
//!
//! | `x-deny` | the reply |
//! |---|---|
//! | any other value | 403 from the request headers |
//! | `empty` | the same without a body |
//! | `request-body` | 403 from the first request body callback |
//! | `response-headers` | 403 in place of the upstream's answer |
//! | `response-body` | 403 from the end of the response body, which is held until then; the response's headers have left by that time, so what a host can do is end the stream |
//! | `grpc` | gRPC status 7 |
//!
//! A 403 carries `x-denied: WHERE`, `set-cookie` twice, and the body `denied at WHERE\n`.
//! Every response that passes the filter, its own too, gets `x-local-reply-filter: seen`.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, GrpcStatusCode, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_http_context(|_, _| Box::new(LocalReply::default()));
}}

#[derive(Default)]
struct LocalReply {
    deny: Option<String>,
    replied: bool,
}

impl LocalReply {
    fn denies_at(&self, place: &str) -> bool {
        !self.replied && self.deny.as_deref() == Some(place)
    }

    fn reply(&mut self, place: &str) -> Action {
        self.replied = true;
        log::info!("denied at {place}");
        let body = format!("denied at {place}\n");
        let headers = vec![
            ("content-type", "text/plain"),
            ("x-denied", place),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ];
        let body = (place != "empty").then_some(body.as_bytes());
        self.send_http_response(403, headers, body);
        Action::Pause
    }
}

impl Context for LocalReply {}

impl HttpContext for LocalReply {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.deny = self.get_http_request_header("x-deny");
        match self.deny.as_deref() {
            None | Some("request-body" | "response-headers" | "response-body") => Action::Continue,
            Some("empty") => self.reply("empty"),
            Some("grpc") => {
                self.replied = true;
                let trailers = vec![("x-denied", "grpc".as_bytes())];
                self.send_grpc_response(GrpcStatusCode::PermissionDenied, Some("denied"), trailers);
                Action::Pause
            }
            Some(_) => self.reply("request-headers"),
        }
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        if self.denies_at("request-body") {
            self.reply("request-body")
        } else {
            Action::Continue
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.denies_at("response-headers") {
            return self.reply("response-headers");
        }
        self.set_http_response_header("x-local-reply-filter", Some("seen"));
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        if !self.denies_at("response-body") {
            return Action::Continue;
        }
        if end_of_stream {
            self.reply("response-body")
        } else {
            Action::Pause
        }
    }
}
