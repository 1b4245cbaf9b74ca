//! A client that sends exactly what it is told.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::LONGEST;
use super::message::{Message, Reader};

/// One connection to the proxy.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    reader: Reader<S>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In order.
    Closed,
    /// By a reset.
    Reset,
}

/// One GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Message {
    Client::connect(address).request(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
}

// === impl Client ===

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// # Errors
    /// It is not let in.
    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        try_connect(address).map(Self::of)
    }

    /// The client ends its direction.
    pub(crate) fn shutdown(&self) {
        self.reader.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let stream = socket2::Socket::from(self.reader.stream);
        stream.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The same connection in another thread's hands; whatever has been read stays here.
    pub(crate) fn twin(&self) -> Self {
        Self::of(self.reader.stream.try_clone().unwrap())
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.reader.stream
    }
}

impl Client<UnixStream> {
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream.set_write_timeout(Some(LONGEST)).unwrap();
        Self::of(stream)
    }
}

impl Client<StreamOwned<ClientConnection, TcpStream>> {
    pub(crate) fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> Self {
        Self::connect_tls_behind(&[], address, config, name)
    }

    /// TLS behind these bytes in the clear.
    pub(crate) fn connect_tls_behind(
        bytes: &[u8],
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> Self {
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(config, name).unwrap();
        let mut stream = connect(address);
        stream.write_all(bytes).unwrap();
        Self::of(StreamOwned::new(tls, stream))
    }

    pub(crate) fn tls(&self) -> &ClientConnection {
        &self.reader.stream.conn
    }
}

impl<S: Read + Write> Client<S> {
    fn of(stream: S) -> Self {
        Self {
            reader: Reader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("sent");
        self
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.stream.write_all(bytes.as_ref())?;
        self.reader.stream.flush()
    }

    /// Sends a request and reads its whole answer.
    pub(crate) fn request(&mut self, request: &str) -> Message {
        let method = request.split(' ').next().unwrap_or_default().to_owned();
        self.send(request).response_to(&method)
    }

    /// Sends a request without body, on this connection, for this host.
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.request(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
    }

    /// The next answer, whole.
    pub(crate) fn response(&mut self) -> Message {
        self.response_to("GET")
    }

    pub(crate) fn response_to(&mut self, method: &str) -> Message {
        self.try_response(method).expect("a response")
    }

    pub(crate) fn try_response(&mut self, method: &str) -> io::Result<Message> {
        self.reader.response(method)
    }

    /// The head of the next answer, whatever its status.
    pub(crate) fn head(&mut self) -> Message {
        self.reader
            .head()
            .expect("a head")
            .expect("a head before the end")
    }

    /// One chunk of a chunked body.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.reader.chunk()
    }

    /// Exactly so many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.reader.exactly(length).expect("bytes")
    }

    pub(crate) fn try_bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.reader.exactly(length)
    }

    /// Waits for the connection's end: everything that still came, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Ended) {
        let mut rest = std::mem::take(&mut self.reader.buffer);
        match self.reader.stream.read_to_end(&mut rest) {
            Ok(_) => (rest, Ended::Closed),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => (rest, Ended::Reset),
                // TLS without its own goodbye.
                io::ErrorKind::UnexpectedEof => (rest, Ended::Closed),
                _ => panic!(
                    "the connection did not end: {error}; so far {:?}",
                    String::from_utf8_lossy(&rest)
                ),
            },
        }
    }

    /// Waits for the connection's end, before which nothing may come.
    pub(crate) fn assert_ended(&mut self) {
        let (rest, _) = self.rest();
        assert!(
            rest.is_empty(),
            "before the end came {:?}",
            String::from_utf8_lossy(&rest)
        );
    }
}

/// Whether somebody who comes now is let in. Who is turned away hears nothing, or a refusal.
pub(crate) fn is_let_in(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(20)).is_ok()
}

fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).unwrap()
}

fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LONGEST)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_write_timeout(Some(LONGEST))?;
    Ok(stream)
}
