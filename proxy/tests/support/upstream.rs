//! An upstream that does exactly what a test says, and remembers every byte it was sent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::LONGEST;
use super::message::{Message, Reader};

/// An upstream; its threads end with the test's process.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

/// What reached an upstream.
#[derive(Debug, Default)]
struct Seen {
    /// Bytes by connection.
    connections: Vec<Vec<u8>>,
    /// Whole requests, in the order in which they were complete.
    requests: Vec<Message>,
    ended: usize,
}

/// One connection, in the hands of a script.
#[derive(Debug)]
pub(crate) struct Conn {
    reader: Reader<Recorded>,
    /// Number of the connection, from 0.
    pub(crate) index: usize,
    upstream: Upstream,
}

#[derive(Debug)]
struct Recorded {
    stream: TcpStream,
    index: usize,
    upstream: Upstream,
}

// === impl Upstream ===

impl Upstream {
    /// Runs `script` for every connection, each on a thread of its own.
    pub(crate) fn new(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), script)
    }

    /// The same at this address, whose port must be free.
    pub(crate) fn at(
        address: SocketAddr,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let (script, serving) = (Arc::new(script), upstream.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let _ = stream.set_nodelay(true);
                stream.set_read_timeout(Some(LONGEST)).unwrap();
                stream.set_write_timeout(Some(LONGEST)).unwrap();
                let (script, upstream) = (script.clone(), serving.clone());
                let index = upstream.change(|seen| {
                    seen.connections.push(Vec::new());
                    seen.connections.len() - 1
                });
                std::thread::spawn(move || {
                    let recorded = Recorded {
                        stream,
                        index,
                        upstream: upstream.clone(),
                    };
                    script(&mut Conn {
                        reader: Reader::new(recorded),
                        index,
                        upstream: upstream.clone(),
                    });
                    upstream.change(|seen| seen.ended += 1);
                });
            }
        });
        upstream
    }

    /// Answers every request, once it is whole, with these bytes.
    pub(crate) fn answering(response: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self::new(move |conn| {
            while let Some(_request) = conn.request() {
                conn.send(response.as_ref());
            }
        })
    }

    /// Answers every request with its body.
    pub(crate) fn echo() -> Self {
        Self::new(|conn| {
            while let Some(request) = conn.request() {
                conn.respond(&request.body);
            }
        })
    }

    /// Answers every request with `name`.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::new(move |conn| {
            while conn.request().is_some() {
                conn.respond(name);
            }
        })
    }

    /// Where nobody listens, as long as the test runs: the port is taken.
    pub(crate) fn nobody() -> SocketAddr {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        std::mem::forget(socket);
        address
    }

    /// Where nobody listens until a test does; most likely nobody else takes it meanwhile.
    pub(crate) fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    }

    /// Whole requests so far.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.seen.0.lock().unwrap().requests.clone()
    }

    /// The only request so far.
    pub(crate) fn only_request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.0.lock().unwrap().connections.len()
    }

    /// Every byte so far, connection after connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.0.lock().unwrap().connections.concat()
    }

    /// Waits until so many bytes have come.
    pub(crate) fn wait_for_bytes(&self, count: usize) {
        self.wait(&format!("{count} bytes"), |seen| {
            seen.connections.iter().map(Vec::len).sum::<usize>() >= count
        });
    }

    /// Waits until so many requests have come whole.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        self.wait(&format!("{count} requests"), |seen| {
            seen.requests.len() >= count
        });
    }

    /// Waits until so many connections' scripts have ended.
    pub(crate) fn wait_for_ended(&self, count: usize) {
        self.wait(&format!("the end of {count} connections"), |seen| {
            seen.ended >= count
        });
    }

    fn wait(&self, what: &str, there: impl Fn(&Seen) -> bool) {
        let until = Instant::now() + LONGEST;
        let mut seen = self.seen.0.lock().unwrap();
        while !there(&seen) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waiting for {what}");
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.seen.0.lock().unwrap());
        self.seen.1.notify_all();
        result
    }
}

// === impl Conn ===

impl Conn {
    /// The next request, whole; `None` when the connection ends, properly or not.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let request = self.reader.request().ok()??;
        self.upstream
            .change(|seen| seen.requests.push(request.clone()));
        Some(request)
    }

    /// The head of the next request, which is not counted as a whole one.
    pub(crate) fn head(&mut self) -> Option<Message> {
        self.reader.head().ok()?
    }

    /// Exactly so many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.reader.exactly(length)
    }

    /// One chunk of a chunked body.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.reader.chunk()
    }

    /// What comes until the other side ends, or `None` when it resets.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.reader.buffer);
        self.reader.stream.read_to_end(&mut rest).ok()?;
        Some(rest)
    }

    /// Sends bytes; a client that is gone is no mistake of a script.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.stream.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// How long sending may stall before the script is told that it failed.
    pub(crate) fn write_timeout(&self, timeout: Duration) {
        self.reader
            .stream
            .stream
            .set_write_timeout(Some(timeout))
            .unwrap();
    }

    /// A plain 200.
    pub(crate) fn respond(&mut self, body: impl AsRef<[u8]>) -> bool {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat())
    }

    /// Ends this side in order.
    pub(crate) fn close(&self) {
        let _ = self.reader.stream.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&self) {
        let stream = &self.reader.stream.stream;
        let socket = socket2::SockRef::from(stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        // Closed when the script ends; no later than this the other side should know.
        let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Read);
    }
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.upstream
            .change(|seen| seen.connections[self.index].extend_from_slice(&buffer[..read]));
        Ok(read)
    }
}
