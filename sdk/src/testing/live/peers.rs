//! The client, and the servers behind the proxy: threads, which ask the test what to say.

use std::io::{BufReader, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::super::message::Seen;
use super::http::{self, Silent};
use crate::pairs::Pairs;

/// Nobody waits longer for bytes: the test is over by then.
const IDLE: Duration = Duration::from_secs(60);

/// What the test is told.
pub(super) enum Event {
    /// A server has been asked; `None` in answer closes the connection.
    Asked(Who, Seen, Sender<Option<Given>>),
    /// The client of that number has its response: whole, or as far as it came.
    Done(u32, Seen, bool),
}

/// A server.
#[derive(Debug, Clone)]
pub(super) enum Who {
    Upstream,
    Cluster(String),
}

/// What a server answers.
pub(super) struct Given {
    /// With `:status`.
    pub(super) headers: Pairs,
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) trailers: Pairs,
    pub(super) delay: Duration,
}

/// A server on loopback, until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stops: Arc<AtomicBool>,
}

// === impl Server ===

impl Server {
    pub(super) fn start(who: &Who, events: &Sender<Event>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stops = Arc::new(AtomicBool::new(false));
        let (stop, who, events) = (stops.clone(), who.clone(), events.clone());
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (who, events) = (who.clone(), events.clone());
                // What breaks is the proxy's to tell of.
                thread::spawn(move || serve(&connection, &who, &events));
            }
        });
        Ok(Self { address, stops })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        // Who waits for connections sees it with the next one.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(connection: &TcpStream, who: &Who, events: &Sender<Event>) -> Result<()> {
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(IDLE))?;
    let (mut reader, mut writer) = (BufReader::new(connection), connection);
    while let Some((first, headers)) = http::head(&mut reader)? {
        let message = http::rest(&mut reader, &headers, Silent::Empty)?;
        let mut words = first.split(' ');
        let (method, path) = (words.next(), words.next());
        let mut seen = Seen {
            headers: Pairs::new(),
            body: message.body,
            trailers: message.trailers,
        };
        let host = http::find(&headers, b"host").unwrap_or_default();
        for (name, value) in [
            (":authority", host),
            (":path", path.unwrap_or_default().as_bytes()),
            (":method", method.unwrap_or_default().as_bytes()),
            (":scheme", b"http"),
        ] {
            seen.headers.push((name.into(), value.into()));
        }
        let fields = headers.iter().filter(|(name, _)| {
            !http::is_of_connection(name) && !name.eq_ignore_ascii_case(b"host")
        });
        seen.headers.extend(fields.cloned());
        let is_head = method == Some("HEAD");
        let (sender, answers) = channel();
        if events
            .send(Event::Asked(who.clone(), seen, sender))
            .is_err()
        {
            return Ok(());
        }
        let Ok(Some(given)) = answers.recv() else {
            return Ok(());
        };
        thread::sleep(given.delay);
        respond(&mut writer, given, is_head)?;
    }
    Ok(())
}

fn respond(writer: &mut &TcpStream, given: Given, is_head: bool) -> Result<()> {
    let status = http::find(&given.headers, b":status").unwrap_or_default();
    let status = String::from_utf8_lossy(status).into_owned();
    let mut headers = given.headers;
    headers.retain(|(name, _)| !name.starts_with(b":"));
    let is_silent = is_head || matches!(&status[..], "204" | "304");
    let nothing = given.pieces.is_empty() && given.trailers.is_empty();
    if nothing && !is_silent && http::find(&headers, b"content-length").is_none() {
        headers.push((b"content-length".to_vec(), b"0".to_vec()));
    }
    let (pieces, trailers) = match is_silent {
        true => (Vec::new(), Pairs::new()),
        false => (given.pieces, given.trailers),
    };
    let first = format!("HTTP/1.1 {status} Said");
    http::write(writer, &first, &headers, &pieces, &trailers)
}

/// Sends a request, and tells what came back.
pub(super) fn ask(
    number: u32,
    address: SocketAddr,
    headers: Pairs,
    pieces: Vec<Vec<u8>>,
    trailers: Pairs,
    events: Sender<Event>,
) {
    thread::spawn(move || {
        let mut seen = Seen::default();
        let whole = exchange(address, headers, pieces, trailers, &mut seen);
        // Where nobody waits any more, the test is over.
        let _ = events.send(Event::Done(number, seen, whole.is_ok()));
    });
}

/// One exchange on a connection of its own, noted as far as it came.
pub(super) fn exchange(
    address: SocketAddr,
    headers: Pairs,
    pieces: Vec<Vec<u8>>,
    trailers: Pairs,
    seen: &mut Seen,
) -> Result<()> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(IDLE))?;
    let text = |name: &[u8]| {
        let value = http::find(&headers, name).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    let method = text(b":method");
    let first = format!("{method} {} HTTP/1.1", text(b":path"));
    let mut fields = vec![(b"host".to_vec(), text(b":authority").into_bytes())];
    // So that trailers come, if there are any.
    fields.push((b"te".to_vec(), b"trailers".to_vec()));
    fields.push((b"connection".to_vec(), b"te".to_vec()));
    let others = headers
        .into_iter()
        .filter(|(name, _)| !name.starts_with(b":"));
    fields.extend(others);
    let mut writer = connection.try_clone()?;
    // Beside reading: an answer may come before all is sent, or instead.
    thread::spawn(move || http::write(&mut writer, &first, &fields, &pieces, &trailers));
    let mut reader = BufReader::new(&connection);
    let (status, headers) = loop {
        let (first, headers) = http::head(&mut reader)?
            .ok_or_else(|| std::io::Error::other("closed without an answer"))?;
        let status = first.split(' ').nth(1).unwrap_or_default().to_owned();
        if !status.starts_with('1') {
            break (status, headers);
        }
    };
    seen.headers
        .push((b":status".into(), status.clone().into_bytes()));
    let fields = headers
        .iter()
        .filter(|(name, _)| !http::is_of_connection(name));
    seen.headers.extend(fields.cloned());
    if method == "HEAD" || matches!(&status[..], "204" | "304") {
        return Ok(());
    }
    let message = http::rest(&mut reader, &headers, Silent::UntilClosed)?;
    seen.body = message.body;
    seen.trailers = message.trailers;
    Ok(())
}
