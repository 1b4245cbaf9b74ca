//! Listening sockets: one per worker for TCP, so that the kernel spreads connections; one
//! in all for a unix socket, shared. Those that another process hands over come first: whoever
//! waits in one is lost when it is closed, so none of them is, however many workers there are.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::{Address, Config};
use crate::handover::{Inheritance, Key};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listening socket of one worker.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Position of the listener in the configuration.
    pub(crate) listener: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// The same, in the worker's runtime.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A new connection.
pub(crate) enum Accepted {
    Tcp { stream: TcpStream, peer: SocketAddr },
    Unix { stream: UnixStream },
}

/// A listener that cannot listen.
#[derive(Debug)]
pub(crate) struct BindError {
    /// Its name.
    listener: String,
    index: usize,
    address: Address,
    error: io::Error,
}

/// Opens the sockets of every listener that is `wanted`, by its position, for every worker; the
/// outer list is by worker. What is inherited is used first, all of it.
///
/// # Errors
/// Every listener that cannot listen.
pub(crate) fn bind(
    config: &Config,
    wanted: impl Fn(usize) -> bool,
    inherited: &mut Inheritance,
) -> Result<Vec<Vec<Socket>>, Vec<BindError>> {
    let mut workers: Vec<Vec<Socket>> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut errors = Vec::new();
    let listeners = config.listeners.iter().enumerate();
    for (index, listener) in listeners.filter(|(index, _)| wanted(*index)) {
        let opened = match &listener.address {
            Address::Tcp(address) => {
                let sockets = inherited.take(&Key::of_listener(listener));
                tcp(*address, config.workers, sockets)
            }
            Address::Unix(path) => {
                let sockets = inherited.take(&Key::of_listener(listener));
                unix(path, config.workers, sockets)
            }
        };
        match opened {
            Ok(sockets) => {
                for (position, kind) in sockets.into_iter().enumerate() {
                    workers[position % config.workers].push(Socket {
                        listener: index,
                        kind,
                    });
                }
            }
            Err(error) => errors.push(BindError {
                listener: listener.name.clone(),
                index,
                address: listener.address.clone(),
                error,
            }),
        }
    }
    if errors.is_empty() {
        Ok(workers)
    } else {
        Err(errors)
    }
}

/// Where the listeners of these sockets, those of one worker, really listen.
pub(crate) fn addresses(config: &Config, sockets: &[Socket]) -> Vec<String> {
    let real = |socket: &Socket| {
        let written = &config.listeners[socket.listener].address;
        let real = socket.local_addr();
        real.map_or_else(|| written.to_string(), |address| address.to_string())
    };
    // A worker has several of one listener where another process had more workers.
    let alike = sockets.chunk_by(|one, other| one.listener == other.listener);
    alike.filter_map(|alike| alike.first()).map(real).collect()
}

fn tcp(address: SocketAddr, count: usize, inherited: Vec<OwnedFd>) -> io::Result<Vec<Kind>> {
    let mut sockets = Vec::with_capacity(count.max(inherited.len()));
    for socket in inherited {
        let socket = std::net::TcpListener::from(socket);
        let real = socket.local_addr()?;
        if real.ip() != address.ip() || address.port() != 0 && real.port() != address.port() {
            return Err(io::Error::other(format!(
                "the socket that was handed over listens on {real}"
            )));
        }
        sockets.push(socket);
    }
    let mut actual = match sockets.first() {
        Some(socket) => socket.local_addr()?,
        None if address.port() == 0 => address,
        // With port sharing on, the kernel would let a second proxy of the same user join in
        // silence: whether the port is free is asked without it first.
        None => probe(address)?,
    };
    while sockets.len() < count {
        let socket = open(actual, true)?;
        actual = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets.into_iter().map(Kind::Tcp).collect())
}

fn probe(address: SocketAddr) -> io::Result<SocketAddr> {
    open(address, false)?.local_addr()
}

fn open(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path, count: usize, inherited: Vec<OwnedFd>) -> io::Result<Vec<Kind>> {
    let mut inherited = inherited.into_iter();
    let socket = match inherited.next() {
        Some(socket) => StdUnixListener::from(socket),
        None => bind_unix(path)?,
    };
    (0..count)
        .map(|_| Ok(Kind::Unix(socket.try_clone()?)))
        .collect()
}

/// A unix socket at `path`, where nobody answers.
pub(crate) fn bind_unix(path: &Path) -> io::Result<StdUnixListener> {
    // A socket file that nobody answers on was left by a process that is gone.
    if path.exists()
        && let Err(error) = std::os::unix::net::UnixStream::connect(path)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        std::fs::remove_file(path)?;
    }
    let socket = StdUnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

// === impl Socket ===

impl Socket {
    /// Where it really listens: with port 0, the port it got.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(socket) => socket.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    pub(crate) fn into_acceptor(self) -> io::Result<Acceptor> {
        Ok(match self.kind {
            Kind::Tcp(socket) => Acceptor::Tcp(TcpListener::from_std(socket)?),
            Kind::Unix(socket) => Acceptor::Unix(UnixListener::from_std(socket)?),
        })
    }
}

// === impl Acceptor ===

impl Acceptor {
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // Answers are small and wanted now.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp { stream, peer })
            }
            Self::Unix(socket) => Ok(Accepted::Unix {
                stream: socket.accept().await?.0,
            }),
        }
    }

    /// One that waits at this very moment, if there is one: the system itself is asked, and not
    /// what it told the event loop last.
    pub(crate) fn accept_now(&self) -> Option<Accepted> {
        let listening = match self {
            Self::Tcp(socket) => SockRef::from(socket),
            Self::Unix(socket) => SockRef::from(socket),
        };
        let (socket, peer) = listening.accept().ok()?;
        socket.set_nonblocking(true).ok()?;
        match self {
            Self::Tcp(_) => {
                let _ = socket.set_tcp_nodelay(true);
                let peer = peer.as_socket()?;
                let stream = TcpStream::from_std(socket.into()).ok()?;
                Some(Accepted::Tcp { stream, peer })
            }
            Self::Unix(_) => {
                let stream = UnixStream::from_std(OwnedFd::from(socket).into()).ok()?;
                Some(Accepted::Unix { stream })
            }
        }
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

// === impl Accepted ===

impl Accepted {
    pub(crate) const fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { peer, .. } => Some(*peer),
            Self::Unix { .. } => None,
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { stream, .. } => stream.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }
}

// === impl BindError ===

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "listeners[{}].address: listener {} cannot listen on {}: {}; free the address or give the listener another",
            self.index, self.listener, self.address, self.error
        )
    }
}
