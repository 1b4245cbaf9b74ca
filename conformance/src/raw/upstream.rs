//! The recording upstream: keeps every byte it gets, and answers whatever looks like a
//! request with 200 on a connection it keeps, so that a proxy pools it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wire::{self, Chunked};
use crate::scratch::loopback;
use crate::{Error, Result};

/// How long nothing must arrive for a record to be whole.
const QUIET: Duration = Duration::from_millis(150);
/// How long a record is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most kept of one connection before it is dropped.
const MOST_BYTES: usize = 1 << 20;
/// The most connections served over the whole run.
const MOST_CONNECTIONS: usize = 1000;

/// What reached the upstream in one case.
#[derive(Debug, Default)]
pub struct Record {
    /// Requests whose head arrived whole, in order of arrival.
    pub requests: Vec<Seen>,
    /// The exact bytes, by number of the connection.
    pub bytes: Vec<(usize, Vec<u8>)>,
}

/// One request that reached the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// On which connection.
    pub connection: usize,
    /// The head, to its empty line.
    pub head: Vec<u8>,
    /// Whether its body ended as its head promised.
    pub complete: bool,
}

impl Seen {
    /// What makes two servers read this request differently, if anything does.
    pub fn flaw(&self) -> Option<&'static str> {
        let mut lengths = wire::members(&self.head, "content-length");
        let codings = wire::values(&self.head, "transfer-encoding");
        let chunked = wire::members(&self.head, "transfer-encoding");
        let chunked = chunked.iter().filter(|coding| *coding == "chunked").count();
        if !lengths.is_empty() && !codings.is_empty() {
            return Some("content-length beside transfer-encoding");
        }
        lengths.sort();
        lengths.dedup();
        if lengths.len() > 1 {
            return Some("differing content-length");
        }
        if codings.len() > 1 || chunked > 1 {
            return Some("transfer-encoding twice");
        }
        self.ill_formed()
    }

    fn ill_formed(&self) -> Option<&'static str> {
        if self.head.contains(&0) {
            return Some("NUL in the head");
        }
        let lines = self.head.split_inclusive(|&byte| byte == b'\n');
        for (number, line) in lines.enumerate() {
            let Some(text) = line.strip_suffix(b"\r\n") else {
                return Some("bare LF in the head");
            };
            if text.contains(&b'\r') {
                return Some("bare CR in the head");
            }
            if number > 0 && text.first().is_some_and(u8::is_ascii_whitespace) {
                return Some("folded line");
            }
            let name = text.split(|&byte| byte == b':').next().unwrap_or_default();
            if number > 0 && name.last().is_some_and(u8::is_ascii_whitespace) {
                return Some("blank before a colon");
            }
        }
        None
    }

    /// Its framing as its head says it: `cl 5`, `te chunked`, or nothing.
    pub fn framing(&self) -> String {
        let mut parts = Vec::new();
        for (short, name) in [("cl", "content-length"), ("te", "transfer-encoding")] {
            for value in wire::values(&self.head, name) {
                parts.push(format!("{short} {}", String::from_utf8_lossy(value)));
            }
        }
        parts.join(", ")
    }
}

/// The upstream, until it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Counts arrivals, so that quiet can be told.
    arrivals: AtomicUsize,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    record: Record,
    /// How many records were taken: a request outliving its case is not marked in the next.
    epoch: usize,
}

impl Upstream {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// There is no port.
    pub fn start() -> Result<Self> {
        Self::bind(loopback(0))
    }

    /// Starts it where a proxy that already runs expects it.
    ///
    /// # Errors
    /// The address is taken.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let failed = |error| Error::failed(format!("recording upstream on {address}"), error);
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&listener, &theirs));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until nothing arrives any more, then takes the record.
    pub fn settle(&self) -> Record {
        let start = Instant::now();
        let mut seen = self.shared.arrivals.load(Ordering::SeqCst);
        let mut since = start;
        while since.elapsed() < QUIET && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
            let now = self.shared.arrivals.load(Ordering::SeqCst);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        self.shared.update(|log| {
            log.epoch += 1;
            std::mem::take(&mut log.record)
        })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It sees the flag within its poll; a panic in it was already printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn update<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    while !shared.stopped() {
        match listener.accept() {
            Ok((stream, _)) if connections.len() < MOST_CONNECTIONS => {
                let (number, shared) = (connections.len(), Arc::clone(shared));
                connections.push(std::thread::spawn(move || {
                    Connection {
                        number,
                        shared,
                        buffer: Vec::new(),
                        current: None,
                    }
                    .serve(stream);
                }));
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    for connection in connections {
        let _ = connection.join();
    }
}

struct Connection {
    number: usize,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    /// The request whose body is awaited: its head, and where its record is.
    current: Option<(Vec<u8>, usize, usize)>,
}

impl Connection {
    fn serve(mut self, mut stream: TcpStream) {
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = stream.set_nodelay(true);
        let mut chunk = [0; 16 * 1024];
        while !self.shared.stopped() && self.buffer.len() < MOST_BYTES {
            match stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => {
                    self.take(chunk.get(..count).unwrap_or_default());
                    let Some(answers) = self.advance() else {
                        return;
                    };
                    if stream.write_all(&answers).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.shared.arrivals.fetch_add(1, Ordering::SeqCst);
        let number = self.number;
        self.shared.update(|log| {
            let kept = &mut log.record.bytes;
            match kept
                .iter_mut()
                .find(|(connection, _)| *connection == number)
            {
                Some((_, before)) => before.extend_from_slice(bytes),
                None => kept.push((number, bytes.to_vec())),
            }
        });
    }

    /// Reads as many requests as are there; `None` when the framing broke.
    fn advance(&mut self) -> Option<Vec<u8>> {
        let mut answers = Vec::new();
        loop {
            if self.current.is_none() {
                let Some(end) = wire::head_end(&self.buffer) else {
                    return Some(answers);
                };
                let head: Vec<u8> = self.buffer.drain(..end).collect();
                self.current = Some(self.begin(head));
            }
            let (head, epoch, index) = self.current.as_ref()?;
            let Some(length) = body_length(head, &self.buffer)? else {
                return Some(answers);
            };
            self.shared.update(|log| {
                if log.epoch == *epoch
                    && let Some(seen) = log.record.requests.get_mut(*index)
                {
                    seen.complete = true;
                }
            });
            answers.extend_from_slice(answer(head));
            self.buffer.drain(..length.min(self.buffer.len()));
            self.current = None;
        }
    }

    fn begin(&self, head: Vec<u8>) -> (Vec<u8>, usize, usize) {
        let seen = Seen {
            connection: self.number,
            head: head.clone(),
            complete: false,
        };
        self.shared.update(|log| {
            log.record.requests.push(seen);
            (head, log.epoch, log.record.requests.len() - 1)
        })
    }
}

/// `None`: broken; `Some(None)`: not all there yet.
fn body_length(head: &[u8], body: &[u8]) -> Option<Option<usize>> {
    if wire::members(head, "transfer-encoding")
        .iter()
        .any(|coding| coding == "chunked")
    {
        return match wire::chunked(body) {
            Chunked::Complete(length) => Some(Some(length)),
            Chunked::Partial => Some(None),
            Chunked::Broken => None,
        };
    }
    match wire::members(head, "content-length").first() {
        None => Some(Some(0)),
        Some(length) => {
            let length: usize = length.parse().ok()?;
            Some((body.len() >= length).then_some(length))
        }
    }
}

fn answer(head: &[u8]) -> &'static [u8] {
    if head.starts_with(b"HEAD ") {
        return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
    }
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
}
