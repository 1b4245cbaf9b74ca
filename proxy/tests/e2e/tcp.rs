//! Connections that are not HTTP.

mod endings;
mod filters;
mod guests;
mod names;
mod plain;
mod tls;
mod told;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use cofferdam_abi::testing::guest::{Shape, module};

use crate::support::{LONGEST, Proxy, Setup};

/// An upstream whose connections a test holds in its hands.
struct Backend {
    address: SocketAddr,
    accepted: Receiver<TcpStream>,
}

impl Backend {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, accepted) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, accepted }
    }

    /// The next connection that comes.
    fn accept(&self) -> TcpStream {
        let stream = self.accepted.recv_timeout(LONGEST).expect("a connection");
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream.set_write_timeout(Some(LONGEST)).unwrap();
        stream
    }
}

/// One listener `web` for TCP, one cluster `backend`, one worker, and on standard output an
/// access log of `PROTOCOL RECEIVED SENT FLAGS DETAILS CLUSTER FILTER`. `listener` and
/// `cluster` are more keys of theirs, `filters` the listener's chain.
fn yaml(address: SocketAddr, filters: &str, listener: &str, cluster: &str) -> String {
    format!(
        "listeners:\n\
         - name: web\n\
         \x20 address: 127.0.0.1:0\n\
         \x20 tcp: {{ cluster: backend, filters: [{filters}] }}\n\
         {listener}\
         clusters: [{{ name: backend, endpoints: ['{address}']{cluster} }}]\n\
         workers: 1\n\
         access_log: {{ format: '%PROTOCOL% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% \
         %RESPONSE_CODE_DETAILS% %UPSTREAM_CLUSTER% %FILTER%' }}\n"
    )
}

/// A proxy without filters in front of `backend`.
fn plain(backend: &Backend) -> Proxy {
    Proxy::start(&yaml(backend.address, "", "", ""))
}

/// A proxy with one filter, given in the terse language of guests; `more` is more of its
/// definition.
fn filtered(backend: &Backend, guest: &str, more: &str) -> Proxy {
    let filters = [("guest", guest, more)];
    chained(backend, &filters, "")
}

/// The same with several filters in order; `rest` is more of the file. They stay interpreted:
/// a root context that native code replaces would have the last word in some runs.
fn chained(backend: &Backend, filters: &[(&str, &str, &str)], rest: &str) -> Proxy {
    let setup = Setup::new().with(&["--log", "info,filter=trace"]);
    let names: Vec<&str> = filters.iter().map(|(name, ..)| *name).collect();
    let mut text = yaml(backend.address, &names.join(", "), "", "") + "filters:\n";
    for (name, source, more) in filters {
        let wasm = wat::parse_str(module(source, Shape::default())).unwrap();
        let file = setup.dir.write(&format!("{name}.wasm"), wasm);
        let file = file.display();
        text.push_str(&format!(
            "- {{ name: {name}, module: {{ file: '{file}' }}, engine: interpreter{more} }}\n"
        ));
    }
    setup.start(&(text + rest))
}

/// A guest that says what it is called for, and does what `code` says in some callbacks.
fn telling(code: &[(&str, &str)]) -> String {
    let mut source = String::new();
    for (name, arguments) in [
        ("new_connection", 0),
        ("downstream_data", 2),
        ("upstream_data", 2),
        ("upstream_connection_close", 1),
        ("downstream_connection_close", 1),
        ("done", 0),
        ("log", 0),
        ("delete", 0),
    ] {
        source.push_str(&format!("on {name}\n(!text {{\"{name}\"}})\n"));
        for argument in ["$b", "$c"].iter().take(arguments) {
            source.push_str(&format!("(!say (local.get {argument}))\n"));
        }
        let own = code.iter().find(|(callback, _)| *callback == name);
        source.push_str(own.map_or("", |(_, code)| code));
        source.push('\n');
    }
    for (name, code) in code {
        if !source.contains(&format!("on {name}\n")) {
            source.push_str(&format!("on {name}\n{code}\n"));
        }
    }
    source
}

/// What filters have said so far, as one line.
fn said(proxy: &Proxy) -> String {
    let lines = proxy.log.all();
    let said = lines.iter().filter_map(|line| {
        let (_, rest) = line.split_once(" filter: ")?;
        Some(rest.split(" filter=").next()?.trim())
    });
    said.collect::<Vec<_>>().join(" ")
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.web()).unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream.set_write_timeout(Some(LONGEST)).unwrap();
    stream
}

fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

/// As many bytes as `text` has, which are to be those of `text`.
fn expect(mut stream: &TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

fn end(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Everything to an end in order.
fn rest(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until the other side is gone, in order or by a reset, with nothing more to read.
fn gone(mut stream: &TcpStream) {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(0) => {}
        Ok(_) => panic!("there is more"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
}
