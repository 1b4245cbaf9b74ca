//! Sets headers on the request and on the response.
//!
//! ```json
//! { "request": { "x-from": "edge" }, "response": { "x-frame-options": "DENY" } }
//! ```
//! A header that is already there is replaced. Both parts may be left out.

use std::collections::BTreeMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(AddHeaderRoot::default()));
}}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    request: BTreeMap<String, String>,
    response: BTreeMap<String, String>,
}

impl Config {
    fn parse(json: &[u8]) -> Result<Self, String> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        let config: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        for (name, value) in config.request.iter().chain(&config.response) {
            if !is_name(name) {
                return Err(format!("{name:?} is not a header name"));
            }
            if value.bytes().any(|b| b != b'\t' && b.is_ascii_control()) {
                return Err(format!("the value of {name} holds a control character"));
            }
        }
        Ok(config)
    }
}

/// A token of RFC 9110: what may stand as a field name. Pseudo-headers may not.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[derive(Default)]
struct AddHeaderRoot {
    config: Rc<Config>,
}

impl Context for AddHeaderRoot {}

impl RootContext for AddHeaderRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Config::parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => {
                self.config = Rc::new(config);
                true
            }
            Err(reason) => {
                log::error!("add-header: bad configuration: {reason}");
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(AddHeader {
            config: Rc::clone(&self.config),
        }))
    }
}

struct AddHeader {
    config: Rc<Config>,
}

impl Context for AddHeader {}

impl HttpContext for AddHeader {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        for (name, value) in &self.config.request {
            self.set_http_request_header(name, Some(value));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        for (name, value) in &self.config.response {
            self.set_http_response_header(name, Some(value));
        }
        Action::Continue
    }
}
