//! `make bench`'s bodies: both of an exchange are held until they are complete, then replaced
//! by as many bytes, so that `content-length` stays true. The configuration says how:
//! `replace` never looks at them, `rewrite` reads them and changes every byte.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

/// What bodies are replaced by, as far as they are long.
static OTHER: [u8; 16 << 10] = [b'o'; 16 << 10];

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { rewrites: false }));
}}

struct Root {
    rewrites: bool,
}

struct Bodies {
    rewrites: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.get_plugin_configuration().as_deref() {
            Some(b"replace") => true,
            Some(b"rewrite") => {
                self.rewrites = true;
                true
            }
            _ => false,
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Bodies {
            rewrites: self.rewrites,
        }))
    }
}

impl Context for Bodies {}

impl HttpContext for Bodies {
    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        if !self.rewrites {
            self.set_http_request_body(0, size, other(size));
        } else if let Some(body) = self.get_http_request_body(0, size) {
            self.set_http_request_body(0, size, &rewritten(body));
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        if !self.rewrites {
            self.set_http_response_body(0, size, other(size));
        } else if let Some(body) = self.get_http_response_body(0, size) {
            self.set_http_response_body(0, size, &rewritten(body));
        }
        Action::Continue
    }
}

fn other(size: usize) -> &'static [u8] {
    &OTHER[..size.min(OTHER.len())]
}

fn rewritten(mut body: Vec<u8>) -> Vec<u8> {
    for byte in &mut body {
        *byte = byte.to_ascii_uppercase();
    }
    body
}
