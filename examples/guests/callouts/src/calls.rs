//! The calls of one context.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, Bytes, MapType};

/// What a context has asked for, and is waiting for.
pub(crate) struct Calls {
    pub(crate) who: String,
    /// By token.
    waiting: HashMap<u32, Call>,
    /// To be made one after another, once nothing is waited for.
    pub(crate) then: VecDeque<String>,
    /// What goes on when all has been answered: `request` or `response`.
    pub(crate) resumes: Option<&'static str>,
}

struct Call {
    place: &'static str,
    words: Vec<String>,
    /// Messages that have come.
    messages: usize,
}

// === impl Calls ===

impl Calls {
    pub(crate) fn new(who: &str) -> Self {
        Self {
            who: who.to_owned(),
            waiting: HashMap::new(),
            then: VecDeque::new(),
            resumes: None,
        }
    }

    pub(crate) fn are_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Makes the call that `text` names.
    pub(crate) fn start(&mut self, place: &'static str, text: &str) {
        let call = Call {
            place,
            words: text.split(' ').map(unescaped).collect(),
            messages: 0,
        };
        let asked = match call.word(0) {
            "http" => call.http(),
            "grpc" => call.grpc(),
            "stream" => call.stream(),
            other => return log::error!("callouts: what is {other:?}?"),
        };
        match asked {
            Ok(token) => {
                log::info!("{} {place}: asked {token}", self.who);
                if call.is("stream") {
                    call.send_all(token);
                }
                let cancelled = call.option("cancel");
                if call.is("grpc") && cancelled.is_some() {
                    log::info!(
                        "{} {place}: cancel {:?}",
                        self.who,
                        hostcalls::cancel_grpc_call(token)
                    );
                    return;
                }
                if call.is("stream") && cancelled == Some("0") {
                    log::info!(
                        "{} {place}: cancel {:?}",
                        self.who,
                        hostcalls::cancel_grpc_stream(token)
                    );
                    return;
                }
                self.waiting.insert(token, call);
            }
            Err(status) => log::info!("{} {place}: refused {status:?}", self.who),
        }
    }

    pub(crate) fn http_answer(&mut self, token: u32, count: usize) {
        let fields = |map| shown(hostcalls::get_map_bytes(map).unwrap_or_default());
        let answer = if count == 0 {
            format!("failed, {}", status())
        } else {
            format!(
                "{}| {} |{}| {}",
                fields(MapType::HttpCallResponseHeaders),
                text(BufferType::HttpCallResponseBody, usize::MAX),
                fields(MapType::HttpCallResponseTrailers),
                status(),
            )
        };
        self.tell(token, &answer);
        self.end(token);
    }

    pub(crate) fn grpc_answer(&mut self, token: u32, code: u32, size: usize) {
        let message = match code {
            0 => text(BufferType::GrpcReceiveBuffer, size),
            _ => status(),
        };
        self.tell(token, &format!("grpc {code}, {size} bytes: {message}"));
        self.end(token);
    }

    pub(crate) fn metadata(&mut self, token: u32, which: &str, map: Vec<(String, Bytes)>) {
        self.tell(token, &format!("{which} {}", shown(map)));
    }

    pub(crate) fn stream_message(&mut self, token: u32, size: usize) {
        let message = text(BufferType::GrpcReceiveBuffer, size);
        self.tell(token, &format!("message of {size} bytes: {message}"));
        let Some(call) = self.waiting.get_mut(&token) else {
            return;
        };
        call.messages += 1;
        let count = call.messages;
        let reached = |option| call.number(option).map(|most| count >= most);
        if reached("cancel") == Some(true) {
            let cancelled = hostcalls::cancel_grpc_stream(token);
            self.tell(token, &format!("cancel {cancelled:?}"));
            self.end(token);
        } else if let Some(last) = reached("pong") {
            let done = if last {
                hostcalls::close_grpc_stream(token)
            } else {
                let pong = format!("pong {count}");
                hostcalls::send_grpc_stream_message(token, Some(pong.as_bytes()), false)
            };
            self.tell(token, &format!("pong {done:?}"));
        }
    }

    pub(crate) fn stream_closed(&mut self, token: u32, code: u32) {
        self.tell(token, &format!("closed {code}: {}", status()));
        self.end(token);
    }

    fn tell(&self, token: u32, what: &str) {
        let place = self.waiting.get(&token).map_or("nobody", |call| call.place);
        log::info!("{} {place}: {token} {what}", self.who);
    }

    /// Nothing more is waited for there.
    fn end(&mut self, token: u32) {
        let Some(call) = self.waiting.remove(&token) else {
            return;
        };
        if self.waiting.is_empty()
            && let Some(next) = self.then.pop_front()
        {
            self.start(call.place, &next);
        }
        if !self.waiting.is_empty() {
            return;
        }
        let resumed = match self.resumes.take() {
            Some("request") => hostcalls::resume_http_request(),
            Some(_) => hostcalls::resume_http_response(),
            None => return,
        };
        log::info!("{}: resumed {resumed:?}", self.who);
    }
}

// === impl Call ===

impl Call {
    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word)
    }

    fn is(&self, kind: &str) -> bool {
        self.word(0) == kind
    }

    /// The value behind `name=`, or nothing behind the bare word.
    fn option(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| {
            let rest = word.strip_prefix(name)?;
            if rest.is_empty() {
                Some("")
            } else {
                rest.strip_prefix('=')
            }
        })
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.option(name)?.parse().ok()
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.number("timeout").unwrap_or(5_000) as u64)
    }

    /// `PREFIX.NAME=VALUE`.
    fn fields(&self, prefix: &str) -> Vec<(&str, &str)> {
        let named = |word: &'_ String| word.starts_with(prefix);
        let fields = self.words.iter().filter(|word| named(word));
        fields
            .filter_map(|word| word[prefix.len()..].split_once('='))
            .collect()
    }

    fn body(&self, name: &str) -> Vec<u8> {
        match self.number("size") {
            Some(size) => vec![b'x'; size],
            None => self.option(name).unwrap_or_default().as_bytes().to_vec(),
        }
    }

    fn http(&self) -> Result<u32, proxy_wasm::types::Status> {
        let host = self.option("host").unwrap_or("callout.test");
        let mut headers = vec![
            (":method", self.word(2)),
            (":path", self.word(3)),
            (":authority", host),
        ];
        headers.extend(self.fields("h."));
        let body = self.body("body");
        let body = (!body.is_empty()).then_some(&body[..]);
        hostcalls::dispatch_http_call(
            self.word(1),
            headers,
            body,
            self.fields("t."),
            self.timeout(),
        )
    }

    fn metadata(&self) -> Vec<(&str, &[u8])> {
        let fields = self.fields("h.").into_iter();
        fields
            .map(|(name, value)| (name, value.as_bytes()))
            .collect()
    }

    fn grpc(&self) -> Result<u32, proxy_wasm::types::Status> {
        let message = self.body("message");
        hostcalls::dispatch_grpc_call(
            self.word(1),
            self.word(2),
            self.word(3),
            self.metadata(),
            Some(&message),
            self.timeout(),
        )
    }

    fn stream(&self) -> Result<u32, proxy_wasm::types::Status> {
        hostcalls::open_grpc_stream(self.word(1), self.word(2), self.word(3), self.metadata())
    }

    fn send_all(&self, token: u32) {
        let messages: Vec<&str> = self
            .option("send")
            .map_or_else(Vec::new, |messages| messages.split(',').collect());
        for message in messages {
            let times = self.number("times").unwrap_or(1);
            for _ in 0..times {
                let size = self.number("size");
                let message =
                    size.map_or_else(|| message.as_bytes().to_vec(), |size| vec![b'x'; size]);
                let sent = hostcalls::send_grpc_stream_message(token, Some(&message), false);
                if sent.is_err() {
                    log::error!("callouts: {sent:?}");
                }
            }
        }
        if self.option("end").is_some() {
            let ended = hostcalls::close_grpc_stream(token);
            log::info!("end {ended:?}");
        }
    }
}

fn unescaped(word: &str) -> String {
    let word = word.replace('+', " ");
    word.replace("\\r", "\r")
        .replace("\\n", "\n")
        .replace("\\0", "\0")
}

/// What a buffer holds; long ones are cut.
fn text(buffer: BufferType, size: usize) -> String {
    const MOST: usize = 400;
    let bytes = hostcalls::get_buffer(buffer, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default();
    match bytes.len() {
        0..=MOST => String::from_utf8_lossy(&bytes).into_owned(),
        long => format!("{long} bytes"),
    }
}

fn shown(map: Vec<(String, Bytes)>) -> String {
    let mut shown = String::new();
    for (name, value) in map {
        shown.push_str(&format!("{name}={} ", String::from_utf8_lossy(&value)));
    }
    shown
}

fn status() -> String {
    match hostcalls::get_grpc_status() {
        Ok((code, message)) => format!("status {code} {:?}", message.unwrap_or_default()),
        Err(status) => format!("no status {status:?}"),
    }
}
