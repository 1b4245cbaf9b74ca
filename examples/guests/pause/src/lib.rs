//! Pauses a stream and resumes it from a tick of its root context.
//!
//! `x-pause` on the request lists where, separated by commas: `request-headers`,
//! `request-body`, `request-trailers`, `response-headers`, `response-body`,
//! `response-trailers`, and `forever` (request headers, never resumed). Without the header
//! the request headers are paused; `x-pause: none` pauses nothing.
//!
//! The configuration is the tick's period in milliseconds (default 20). The tick runs only
//! while something is paused. Headers resumed by it carry `x-resumed: tick`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType, Status};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(PauseRoot {
        period: Duration::from_millis(20),
        paused: Rc::default(),
    }));
}}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
}

/// The streams that wait for the next tick, and where each of them stands.
type Paused = Rc<RefCell<Vec<(u32, Place)>>>;

struct PauseRoot {
    period: Duration,
    paused: Paused,
}

impl PauseRoot {
    fn resume(context_id: u32, place: Place) -> Result<(), Status> {
        hostcalls::set_effective_context(context_id)?;
        let mark = |map| hostcalls::set_map_value(map, "x-resumed", Some("tick"));
        match place {
            Place::RequestHeaders => mark(MapType::HttpRequestHeaders)?,
            Place::ResponseHeaders => mark(MapType::HttpResponseHeaders)?,
            _ => {}
        }
        match place {
            Place::RequestHeaders | Place::RequestBody | Place::RequestTrailers => {
                hostcalls::resume_http_request()
            }
            Place::ResponseHeaders | Place::ResponseBody | Place::ResponseTrailers => {
                hostcalls::resume_http_response()
            }
        }
    }
}

impl Context for PauseRoot {}

impl RootContext for PauseRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        let Some(bytes) = self
            .get_plugin_configuration()
            .filter(|bytes| !bytes.is_empty())
        else {
            return true;
        };
        let text = String::from_utf8_lossy(&bytes);
        let Ok(milliseconds) = text.trim().parse() else {
            log::error!("pause: {text:?} is not a number of milliseconds");
            return false;
        };
        self.period = Duration::from_millis(milliseconds);
        true
    }

    fn on_tick(&mut self) {
        self.set_tick_period(Duration::ZERO);
        // Taken out first: resuming may come back to this guest before it returns.
        let paused = self.paused.take();
        for (context_id, place) in paused {
            match Self::resume(context_id, place) {
                Ok(()) => log::info!("resumed {context_id} at {place:?}"),
                Err(status) => log::info!("{context_id} is gone: {status:?}"),
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Pause {
            context_id,
            period: self.period,
            paused: Rc::clone(&self.paused),
            places: Vec::new(),
        }))
    }
}

struct Pause {
    context_id: u32,
    period: Duration,
    paused: Paused,
    /// Where this stream still has to pause, each place once.
    places: Vec<Place>,
}

impl Pause {
    fn pause_at(&mut self, place: Place) -> Action {
        let Some(index) = self.places.iter().position(|p| *p == place) else {
            return Action::Continue;
        };
        self.places.swap_remove(index);
        log::info!("paused {} at {place:?}", self.context_id);
        self.paused.borrow_mut().push((self.context_id, place));
        match hostcalls::set_tick_period(self.period) {
            Ok(()) => Action::Pause,
            Err(status) => {
                log::error!("no tick: {status:?}");
                Action::Continue
            }
        }
    }
}

impl Context for Pause {}

impl HttpContext for Pause {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let wish = self.get_http_request_header("x-pause");
        for word in wish.as_deref().unwrap_or("request-headers").split(',') {
            self.places.push(match word.trim() {
                "request-headers" => Place::RequestHeaders,
                "request-body" => Place::RequestBody,
                "request-trailers" => Place::RequestTrailers,
                "response-headers" => Place::ResponseHeaders,
                "response-body" => Place::ResponseBody,
                "response-trailers" => Place::ResponseTrailers,
                "forever" => return Action::Pause,
                _ => continue,
            });
        }
        self.pause_at(Place::RequestHeaders)
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.pause_at(Place::RequestBody)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.pause_at(Place::RequestTrailers)
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.pause_at(Place::ResponseHeaders)
    }

    fn on_http_response_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.pause_at(Place::ResponseBody)
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.pause_at(Place::ResponseTrailers)
    }

    fn on_log(&mut self) {
        log::info!("log {}", self.context_id);
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        log::info!("delete {}", self.context_id);
    }
}
