//! Buffers whole bodies and sends something else in their place.
//!
//! Configuration: words, in any order. Nothing configured is `request=upper response=upper`.
//!
//! | word | |
//! |---|---|
//! | `request=pass` `response=pass` | that direction is left alone |
//! | `request=upper` `response=upper` | every ASCII letter in upper case |
//! | `request=text` `response=text` | replaced by `replaced N bytes\n` |
//! | `request=empty` `response=empty` | replaced by nothing |
//! | `keep-content-length` | `content-length` stays as it was, stale as it may be |

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, Bytes, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(BodyRoot { config: Rc::new(Config::default()) }));
}}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Pass,
    Upper,
    Text,
    Empty,
}

impl Change {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "pass" => Some(Self::Pass),
            "upper" => Some(Self::Upper),
            "text" => Some(Self::Text),
            "empty" => Some(Self::Empty),
            _ => None,
        }
    }

    fn apply(self, body: &[u8]) -> Bytes {
        match self {
            Self::Pass => body.to_vec(),
            Self::Upper => body.to_ascii_uppercase(),
            Self::Text => format!("replaced {} bytes\n", body.len()).into_bytes(),
            Self::Empty => Bytes::new(),
        }
    }
}

struct Config {
    request: Change,
    response: Change,
    keep_content_length: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request: Change::Upper,
            response: Change::Upper,
            keep_content_length: false,
        }
    }
}

impl Config {
    fn parse(text: &str) -> Option<Self> {
        let mut config = Self::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("request", change)) => config.request = Change::parse(change)?,
                Some(("response", change)) => config.response = Change::parse(change)?,
                None if word == "keep-content-length" => config.keep_content_length = true,
                _ => return None,
            }
        }
        Some(config)
    }
}

struct BodyRoot {
    config: Rc<Config>,
}

impl Context for BodyRoot {}

impl RootContext for BodyRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let Some(config) = Config::parse(&text) else {
            log::error!("body: cannot read the configuration {text:?}");
            return false;
        };
        self.config = Rc::new(config);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Body {
            config: Rc::clone(&self.config),
        }))
    }
}

struct Body {
    config: Rc<Config>,
}

impl Body {
    /// All that was buffered of the request, changed in place.
    fn change_request(&self) {
        let body = self
            .get_http_request_body(0, usize::MAX)
            .unwrap_or_default();
        self.set_http_request_body(0, body.len(), &self.config.request.apply(&body));
    }

    /// All that was buffered of the response, changed in place.
    fn change_response(&self) {
        let body = self
            .get_http_response_body(0, usize::MAX)
            .unwrap_or_default();
        self.set_http_response_body(0, body.len(), &self.config.response.apply(&body));
    }
}

impl Context for Body {}

impl HttpContext for Body {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.config.request != Change::Pass && !self.config.keep_content_length {
            self.set_http_request_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        log::debug!("request body: {size}, end of stream: {end_of_stream}");
        if self.config.request == Change::Pass {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        self.change_request();
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // With trailers no body callback said that the body was over.
        if self.config.request != Change::Pass {
            self.change_request();
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.config.response != Change::Pass && !self.config.keep_content_length {
            self.set_http_response_header("content-length", None);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        log::debug!("response body: {size}, end of stream: {end_of_stream}");
        if self.config.response == Change::Pass {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        self.change_response();
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if self.config.response != Change::Pass {
            self.change_response();
        }
        Action::Continue
    }
}
