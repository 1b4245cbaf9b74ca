//! Greets: sets `x-greeting` on every response and ends plain text bodies with the greeting.
//!
//! ```json
//! { "greeting": "hi" }
//! ```
//! The body streams through: nothing is held back, a line is added behind its last byte.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(GreetRoot { greeting: "".into() }));
}}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    greeting: String,
}

struct GreetRoot {
    greeting: Rc<str>,
}

impl Context for GreetRoot {}

impl RootContext for GreetRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        let greeting = match serde_json::from_slice::<Config>(&json) {
            Ok(config) => config.greeting,
            Err(reason) => {
                log::error!("greet: bad configuration: {reason}");
                return false;
            }
        };
        if greeting.is_empty() || greeting.chars().any(char::is_control) {
            log::error!("greet: bad configuration: greeting must be one line of text");
            return false;
        }
        self.greeting = greeting.into();
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Greet {
            greeting: Rc::clone(&self.greeting),
            append: false,
        }))
    }
}

struct Greet {
    greeting: Rc<str>,
    /// Whether the body of this response gets the line.
    append: bool,
}

impl Greet {
    fn response_header_is(&self, name: &str, test: impl Fn(&[u8]) -> bool) -> bool {
        self.get_http_response_header_bytes(name)
            .is_some_and(|value| test(&value))
    }
}

impl Context for Greet {}

impl HttpContext for Greet {
    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.set_http_response_header("x-greeting", Some(&self.greeting));
        // Only whole text as it stands: not part of a body (206), not a compressed one.
        self.append = !end_of_stream
            && self.response_header_is(":status", |status| status == b"200")
            && self.response_header_is("content-type", |kind| kind.starts_with(b"text/plain"))
            && self
                .get_http_response_header_bytes("content-encoding")
                .is_none();
        if self.append {
            self.set_http_response_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.append && end_of_stream {
            let line = format!("{}\n", self.greeting);
            self.set_http_response_body(size, 0, line.as_bytes());
        }
        Action::Continue
    }
}
