//! Greets: a header on the request, another on the response. What `sdk-headers` does, as
//! users of the `proxy-wasm` crate write it.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Hello { who: world().into() }));
}}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default = "world")]
    who: String,
}

fn world() -> String {
    "world".into()
}

struct Hello {
    who: Rc<str>,
}

impl Context for Hello {}

impl RootContext for Hello {
    fn on_configure(&mut self, _size: usize) -> bool {
        let json = match self.get_plugin_configuration() {
            Some(json) if !json.is_empty() => json,
            _ => return true,
        };
        match serde_json::from_slice::<Config>(&json) {
            Ok(config) => {
                self.who = config.who.into();
                true
            }
            Err(reason) => {
                log::error!("bad configuration: {reason}");
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange {
            who: Rc::clone(&self.who),
        }))
    }
}

struct Exchange {
    who: Rc<str>,
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_request_header("x-hello", Some(&self.who));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_response_header("x-filter", Some("hello"));
        Action::Continue
    }
}
