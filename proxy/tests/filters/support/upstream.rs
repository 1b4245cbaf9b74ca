//! An HTTP/1.1 server over plain sockets: it shows back what it got, and does wrong when
//! the path asks for it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// Closed until somebody opens it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

/// A running server. Paths decide what it does, see [`answer`].
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// What requests for `/held` wait for.
    pub(crate) gate: Gate,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("gate") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let guard = self.0.0.lock().expect("gate");
        drop(self.0.1.wait_timeout_while(guard, PATIENCE, |open| !*open));
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| &value[..]).collect()
    }
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (gate, seen) = (Gate::default(), Arc::<Mutex<Vec<Seen>>>::default());
        let connections = Arc::<AtomicUsize>::default();
        let upstream = Self {
            address,
            gate: gate.clone(),
            seen: seen.clone(),
            connections: connections.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (gate, seen) = (gate.clone(), seen.clone());
                connections.fetch_add(1, Ordering::Relaxed);
                // A connection that breaks is what some tests are about.
                std::thread::spawn(move || drop(serve(stream, &gate, &seen)));
            }
        });
        upstream
    }

    /// An address at which nothing listens, nor will: the port is kept for as long as the tests
    /// run, or another's server would have it.
    pub(crate) fn nowhere() -> SocketAddr {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a port");
        let address = socket.local_addr().expect("an address").as_socket();
        std::mem::forget(socket);
        address.expect("an address of IPv4")
    }

    /// Connections it has been given so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// All whole requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("seen").clone()
    }

    /// Those with that path.
    pub(crate) fn seen_at(&self, path: &str) -> Vec<Seen> {
        let mut found = self.seen();
        found.retain(|seen| seen.target.split('?').next() == Some(path));
        found
    }

    /// The only request with that path (without its query).
    pub(crate) fn only(&self, path: &str) -> Seen {
        let mut found = self.seen_at(path);
        assert_eq!(found.len(), 1, "requests for {path}: {found:?}");
        found.remove(0)
    }
}

fn serve(stream: TcpStream, gate: &Gate, seen: &Mutex<Vec<Seen>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = Seen::default();
        let line = line(&mut reader)?;
        let mut words = line.split(' ');
        request.method = words.next().unwrap_or_default().to_owned();
        request.target = words.next().unwrap_or_default().to_owned();
        if request.target.is_empty() {
            return Ok(());
        }
        request.headers = fields(&mut reader)?;
        if request.target.starts_with("/early") {
            // Answers a request it has not read.
            seen.lock().expect("seen").push(request);
            write!(&stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly")?;
            stream.shutdown(Shutdown::Write)?;
            return io::copy(&mut reader, &mut io::sink()).map(drop);
        }
        read_body(&mut reader, &mut request)?;
        seen.lock().expect("seen").push(request.clone());
        answer(&stream, &request, gate)?;
    }
}

/// What the path says; anything else shows the request.
fn answer(mut stream: &TcpStream, request: &Seen, gate: &Gate) -> io::Result<()> {
    let path = request.target.split('?').next().unwrap_or_default();
    let number = || {
        request
            .target
            .split_once('?')
            .and_then(|(_, n)| n.parse().ok())
            .unwrap_or(0)
    };
    match path {
        "/empty" => write!(stream, "HTTP/1.1 204 No Content\r\n\r\n"),
        "/promised" => write!(
            stream,
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"
        ),
        "/same" => write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nsome bytes"
        ),
        "/nothing" => write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        "/chunked" => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            )?;
            write!(stream, "5\r\nfirst\r\n")?;
            write!(stream, "6\r\nsecond\r\n0\r\n\r\n")
        }
        "/halves" => {
            // The second half comes when the gate opens.
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")?;
            gate.wait();
            write!(stream, "later")
        }
        "/trailers" => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end, x-added-trailer\r\n\r\n"
            )?;
            write!(stream, "4\r\nbody\r\n0\r\nx-end: upstream\r\n\r\n")
        }
        "/large" => {
            let size: usize = number();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n")?;
            let block = vec![b'x'; 64 << 10];
            let mut left = size;
            while left > 0 {
                let now = left.min(block.len());
                stream.write_all(&block[..now])?;
                left -= now;
            }
            Ok(())
        }
        "/status" => {
            let status = number();
            write!(
                stream,
                "HTTP/1.1 {status} As Asked\r\ncontent-length: 6\r\n\r\nasked\n"
            )
        }
        "/garbage" => {
            write!(stream, "\u{1}\u{2} this is no HTTP\r\n\r\n")?;
            stream.shutdown(Shutdown::Both)
        }
        "/close" => stream.shutdown(Shutdown::Both),
        "/reset" => {
            // Half of what was promised, then gone.
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf"
            )?;
            stream.shutdown(Shutdown::Both)
        }
        "/reset-chunked" => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"
            )?;
            stream.shutdown(Shutdown::Both)
        }
        _ => {
            if path.starts_with("/held") {
                gate.wait();
            }
            let mut shown = format!("{} {}\n", request.method, request.target);
            for (name, value) in request.headers.iter().chain(&request.trailers) {
                shown.push_str(&format!("{name}: {value}\n"));
            }
            shown.push('\n');
            shown.push_str(&String::from_utf8_lossy(&request.body));
            let length = shown.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n"
            )?;
            if request.method == "HEAD" {
                Ok(())
            } else {
                stream.write_all(shown.as_bytes())
            }
        }
    }
}

fn read_body(reader: &mut BufReader<TcpStream>, request: &mut Seen) -> io::Result<()> {
    if request.header("transfer-encoding").is_some() {
        loop {
            let size = line(reader)?;
            let size =
                usize::from_str_radix(size.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                request.trailers = fields(reader)?;
                return Ok(());
            }
            let start = request.body.len();
            request.body.resize(start + size, 0);
            reader.read_exact(&mut request.body[start..])?;
            line(reader)?;
        }
    }
    let length = request
        .header("content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)
}

fn fields(reader: &mut BufReader<TcpStream>) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(fields);
        };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
