//! A guest with the habits of the Rust SDK: `proxy-wasm` as its users write it. A status it
//! did not expect is a panic, and a panic is a trap. What it does is chosen by its
//! configuration, as `conformance/guests/cpp/guest.cpp`, and two more:
//!
//! | configuration | what it does |
//! |---|---|
//! | hello | logs at start, and at each tick of 20 ms |
//! | grpc | a unary call, then lets the request go or answers 403 |

use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, Bytes, ContextType, LogLevel, MetricType, Status};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Default)]
struct Root {
    mode: String,
    metric: u32,
    queue: u32,
}

struct Stream {
    mode: String,
    metric: u32,
    queue: u32,
    waiting: usize,
}

fn info(text: &str) {
    let _ = proxy_wasm::hostcalls::log(LogLevel::Info, text);
}

fn text(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(
        || "?".to_owned(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.mode = self
            .get_plugin_configuration()
            .map_or_else(String::new, |bytes| text(Some(bytes)));
        match &self.mode[..] {
            "hello" => self.set_tick_period(Duration::from_millis(20)),
            "metrics" => {
                self.metric =
                    proxy_wasm::hostcalls::define_metric(MetricType::Counter, "rust_requests")
                        .expect("a counter");
            }
            "queue" => self.queue = self.register_shared_queue("rust_paths"),
            _ => {}
        }
        info(&format!("rust configured: {}", self.mode));
        true
    }

    fn on_tick(&mut self) {
        info("tick");
        self.set_tick_period(Duration::ZERO);
    }

    fn on_queue_ready(&mut self, queue: u32) {
        while let Ok(Some(item)) = self.dequeue_shared_queue(queue) {
            info(&format!("from the queue: {}", text(Some(item))));
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.stream()))
    }

    fn create_stream_context(&self, _: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(self.stream()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(match &self.mode[..] {
            "network" => ContextType::StreamContext,
            _ => ContextType::HttpContext,
        })
    }
}

impl Root {
    fn stream(&self) -> Stream {
        Stream {
            mode: self.mode.clone(),
            metric: self.metric,
            queue: self.queue,
            waiting: 0,
        }
    }
}

impl Stream {
    fn ask(&mut self) {
        let headers = vec![
            (":method", "GET"),
            (":path", "/ok"),
            (":authority", "peer"),
            ("x-family", "rust"),
        ];
        self.dispatch_http_call("peer", headers, None, vec![], Duration::from_secs(2))
            .expect("the call leaves");
        self.waiting += 1;
    }

    fn answered(&mut self, granted: bool) {
        self.waiting -= 1;
        if self.waiting > 0 {
            return;
        }
        if granted {
            self.set_http_request_header("x-rust", Some("asked"));
            self.resume_http_request();
        } else {
            self.send_http_response(403, vec![("x-rust", "denied")], Some(b"denied\n"));
        }
    }

    fn count_by_cas(&self) {
        const KEY: &str = "rust.requests";
        for _ in 0..100 {
            let (old, cas) = self.get_shared_data(KEY);
            let now: u64 = old.map_or(0, |bytes| text(Some(bytes)).parse().unwrap_or(0)) + 1;
            match self.set_shared_data(KEY, Some(now.to_string().as_bytes()), cas) {
                Ok(()) => return info(&format!("request {now}")),
                Err(Status::CasMismatch) => {}
                Err(status) => panic!("set_shared_data: {status:?}"),
            }
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, _: usize, size: usize, _: usize) {
        let status = self
            .get_http_call_response_header(":status")
            .unwrap_or_default();
        let body = text(self.get_http_call_response_body(0, size));
        info(&format!("peer said {status} {body}"));
        self.answered(status == "200");
    }

    fn on_grpc_call_response(&mut self, _: u32, status: u32, size: usize) {
        let message = if size > 0 {
            text(self.get_grpc_call_response_body(0, size))
        } else {
            String::new()
        };
        info(&format!("grpc said {status} {message}"));
        self.answered(status == 0);
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, count: usize, _: bool) -> Action {
        match &self.mode[..] {
            "headers" => {
                assert_eq!(self.get_http_request_headers().len(), count);
                info(&format!(
                    "path {}",
                    self.get_http_request_header(":path").unwrap_or_default()
                ));
                self.set_http_request_header("x-rust", Some("request"));
                self.set_http_request_header("x-secret", None);
            }
            "body" => self.set_http_request_header("content-length", None),
            "dispatch" => self.ask(),
            "several" => (0..3).for_each(|_| self.ask()),
            "grpc" => {
                self.dispatch_grpc_call(
                    "grpc",
                    "conformance.Peer",
                    "Echo",
                    vec![("x-family", b"rust")],
                    Some(b"hello"),
                    Duration::from_secs(2),
                )
                .expect("the call leaves");
                self.waiting += 1;
            }
            "metrics" => {
                proxy_wasm::hostcalls::increment_metric(self.metric, 1).expect("counts");
                let value = proxy_wasm::hostcalls::get_metric(self.metric).expect("a value");
                info(&format!("counted {value}"));
            }
            "shared" => self.count_by_cas(),
            "queue" => {
                let path = self.get_http_request_header(":path").unwrap_or_default();
                self.enqueue_shared_queue(self.queue, Some(path.as_bytes()))
                    .expect("a place");
            }
            "properties" => info(&format!(
                "method {}, plugin {}, missing {}",
                text(self.get_property(vec!["request", "method"])),
                text(self.get_property(vec!["plugin_name"])),
                text(self.get_property(vec!["no", "such"])),
            )),
            "panic" => panic!("as asked"),
            _ => {}
        }
        if self.waiting > 0 {
            Action::Pause
        } else {
            Action::Continue
        }
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        match (&self.mode[..], end) {
            ("body", false) => Action::Pause,
            ("body", true) => {
                self.set_http_request_body(size, 0, b"+rust");
                Action::Continue
            }
            _ => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        match &self.mode[..] {
            "headers" => self.set_http_response_header("x-rust", Some("response")),
            "body" => self.set_http_response_header("content-length", None),
            _ => {}
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, _: usize, end: bool) -> Action {
        match (&self.mode[..], end) {
            ("body", false) => Action::Pause,
            ("body", true) => {
                // The SDK's users say "all of it" like this.
                let body = self
                    .get_http_response_body(0, usize::MAX)
                    .unwrap_or_default();
                self.set_http_response_body(0, body.len(), &[b"rust+", &body[..]].concat());
                Action::Continue
            }
            _ => Action::Continue,
        }
    }
}

impl StreamContext for Stream {
    fn on_downstream_data(&mut self, size: usize, _: bool) -> Action {
        if size > 0 {
            let data = self.get_downstream_data(0, size).unwrap_or_default();
            self.set_downstream_data(0, size, &data.to_ascii_uppercase());
        }
        Action::Continue
    }
}
