//! Listening sockets: one per worker for TCP, so that the kernel spreads connections; one
//! in all for a unix socket, shared. Those that another process hands over come first: whoever
//! waits in one is lost when it is closed, so none of them is, however many workers there are.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockFilter, SockRef, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::{Address, Config, Diagnostic, Listener};
use crate::handover::{Inheritance, Key};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What the kernel asks of every segment that comes to a listening socket: one that wants a new
/// connection (SYN, a bit of the header's byte 13) is dropped, every other goes on.
const NO_NEWCOMERS: [SockFilter; 4] = [
    // BPF_LD | BPF_B | BPF_ABS
    SockFilter::new(0x30, 0, 0, 13),
    // BPF_JMP | BPF_JSET
    SockFilter::new(0x45, 0, 1, 0x02),
    // BPF_RET
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

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
    Unix(StdUnixListener, Share),
}

/// Whoever still waits at a unix socket has one of these.
type Share = Arc<()>;

/// The same, in the worker's runtime.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener, RefCell<Option<Share>>),
}

/// A new connection.
pub(crate) enum Accepted {
    Tcp { stream: TcpStream, peer: SocketAddr },
    Unix { stream: UnixStream },
}

/// A listener of this process that listens already, and so keeps others from where it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: SocketAddr,
    /// Whether it goes on with what is to listen now.
    pub(crate) stays: bool,
}

/// Opens the sockets of every listener that is `wanted`, by its position, for every worker; the
/// outer list is by worker. What is inherited is used first, all of it. `holders` listen already.
///
/// # Errors
/// Every listener that cannot listen.
pub(crate) fn bind<'a>(
    config: &'a Config,
    wanted: impl Fn(usize) -> bool,
    mut holders: Vec<Holder<'a>>,
    inherited: &mut Inheritance,
) -> Result<Vec<Vec<Socket>>, Vec<Diagnostic>> {
    let mut workers: Vec<Vec<Socket>> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut errors = Vec::new();
    let listeners = config.listeners.iter().enumerate();
    for (index, listener) in listeners.filter(|(index, _)| wanted(*index)) {
        let opened = match &listener.address {
            Address::Tcp(address) => {
                let sockets = inherited.take(&Key::of_listener(listener));
                let opened = tcp(*address, config.workers, sockets);
                opened.map_err(|error| held(*address, &holders, &error).unwrap_or(error))
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
                if let Address::Tcp(address) = listener.address {
                    holders.push(Holder {
                        name: &listener.name,
                        address,
                        stays: true,
                    });
                }
            }
            Err(error) => errors.push(told(listener, index, &error)),
        }
    }
    if errors.is_empty() {
        Ok(workers)
    } else {
        Err(errors)
    }
}

/// What is wrong with where a listener is to listen, and what to do.
fn told(listener: &Listener, index: usize, error: &io::Error) -> Diagnostic {
    let error_text = error.to_string();
    let (why, help) = error_text.split_once("; ").unwrap_or_else(|| {
        let help = match (error.kind(), &listener.address) {
            (io::ErrorKind::AddrNotAvailable, _) => "give the listener an address of this machine",
            (io::ErrorKind::PermissionDenied, _) => {
                "allow it, or give the listener another address"
            }
            (io::ErrorKind::NotFound, Address::Unix(_)) => {
                "make the folder, or give the listener another path"
            }
            _ => "free the address or give the listener another",
        };
        (&error_text, help)
    });
    let what = format!(
        "listener {} cannot listen on {}: {why}",
        listener.name, listener.address
    );
    let path = format!("listeners[{index}].address");
    Diagnostic::at(&listener.place, path, what, help.to_owned())
}

/// The same error where it is a listener of this process that has the address, or one that is
/// part of it.
fn held(address: SocketAddr, holders: &[Holder<'_>], error: &io::Error) -> Option<io::Error> {
    let overlap = |other: SocketAddr| {
        other.port() == address.port()
            && (other.ip() == address.ip()
                || other.ip().is_unspecified()
                || address.ip().is_unspecified())
    };
    if error.kind() != io::ErrorKind::AddrInUse || address.port() == 0 {
        return None;
    }
    let holder = holders.iter().find(|holder| overlap(holder.address))?;
    let (name, has) = (holder.name, holder.address);
    let what = match holder.stays {
        true => format!("listener {name} has {has}; give one of the two another address"),
        false => format!(
            "listener {name} of this process has {has} until the reload is over; give the \
             listener another port, or take the old one away by a reload of its own"
        ),
    };
    Some(io::Error::new(io::ErrorKind::AddrInUse, what))
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
        None => {
            probe(address)?;
            address
        }
    };
    while sockets.len() < count {
        let socket = open(actual, true)?;
        actual = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets.into_iter().map(Kind::Tcp).collect())
}

/// Fails where somebody listens there. It does not listen itself: who would come to it in this
/// moment, as clients do that wait for the proxy to be back, would be reset with it.
fn probe(address: SocketAddr) -> io::Result<()> {
    bound(address, false).map(drop)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = bound(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unix(path: &Path, count: usize, inherited: Vec<OwnedFd>) -> io::Result<Vec<Kind>> {
    let mut inherited = inherited.into_iter();
    let socket = match inherited.next() {
        Some(socket) => StdUnixListener::from(socket),
        None => bind_unix(path)?,
    };
    let share = Share::default();
    (0..count)
        .map(|_| Ok(Kind::Unix(socket.try_clone()?, share.clone())))
        .collect()
}

/// A unix socket at `path`, where nobody answers.
///
/// # Errors
/// Somebody does; or a file is there that is no socket, which stays.
pub(crate) fn bind_unix(path: &Path) -> io::Result<StdUnixListener> {
    let there = std::fs::symlink_metadata(path).ok();
    if there.as_ref().is_some_and(|it| !it.file_type().is_socket()) {
        let what = "a file is there that is no socket; give another path, or remove the file";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    // A socket file that nobody answers on was left by a process that is gone.
    if there.is_some()
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
            Kind::Unix(..) => None,
        }
    }

    pub(crate) fn into_acceptor(self) -> io::Result<Acceptor> {
        Ok(match self.kind {
            Kind::Tcp(socket) => Acceptor::Tcp(TcpListener::from_std(socket)?),
            Kind::Unix(socket, share) => {
                Acceptor::Unix(UnixListener::from_std(socket)?, RefCell::new(Some(share)))
            }
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
            Self::Unix(socket, _) => Ok(Accepted::Unix {
                stream: socket.accept().await?.0,
            }),
        }
    }

    /// From now on nobody new comes into the queue, while those whose handshake has begun still
    /// do: closed without that, the socket would reset who has just been told that it is
    /// connected. Who tries again a second later finds whoever listens there by then.
    ///
    /// Whether the queue is this worker's to empty. Where others still wait at the same socket
    /// it is not, and nothing changes but that this one has left: an event loop has no rest with a
    /// socket that is shut.
    ///
    /// Only for a socket that no other process has: it would be deaf there too.
    ///
    /// # Errors
    /// The system does not do that; who comes meanwhile may be reset.
    pub(crate) fn turn_newcomers_away(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket).attach_filter(&NO_NEWCOMERS)?,
            Self::Unix(socket, share) => match share.take().and_then(Share::into_inner) {
                // What is in the queue stays there; connecting is refused. Only `accept_now` is
                // of use then.
                Some(()) => SockRef::from(socket).shutdown(Shutdown::Read)?,
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// One that waits at this very moment, if there is one: the system itself is asked, and not
    /// what it told the event loop last.
    pub(crate) fn accept_now(&self) -> Option<Accepted> {
        let listening = match self {
            Self::Tcp(socket) => SockRef::from(socket),
            Self::Unix(socket, _) => SockRef::from(socket),
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
            Self::Unix(..) => {
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
            Self::Unix(socket, _) => socket.as_fd(),
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream as StdTcpStream};
    use std::os::unix::net::UnixStream as StdUnixStream;
    use std::time::Duration;

    use super::*;

    fn somewhere() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    #[test]
    fn to_ask_whether_an_address_is_free_lets_nobody_in() {
        let asking = bound(somewhere(), false).unwrap();
        let address = asking.local_addr().unwrap().as_socket().unwrap();
        let came = StdTcpStream::connect(address).unwrap_err();
        assert_eq!(came.kind(), io::ErrorKind::ConnectionRefused);
        drop(asking);
        probe(address).unwrap();
        // Also of somebody who would share it.
        let _listening = open(address, true).unwrap();
        let taken = probe(address).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn who_is_in_the_queue_is_let_in_when_newcomers_are_not() {
        let listening = open(somewhere(), true).unwrap();
        let address = listening.local_addr().unwrap();
        let acceptor = Acceptor::Tcp(TcpListener::from_std(listening).unwrap());
        let mut early = StdTcpStream::connect(address).unwrap();
        acceptor.turn_newcomers_away().unwrap();
        let late = StdTcpStream::connect_timeout(&address, Duration::from_millis(20)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);

        let Some(Accepted::Tcp { stream, peer }) = acceptor.accept_now() else {
            panic!("the one that came before is not there");
        };
        assert_eq!(peer, early.local_addr().unwrap());
        // What is open already goes on, whatever becomes of the socket.
        drop(acceptor);
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        early.write_all(b"asked").unwrap();
        let mut read = [0; 5];
        stream.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"asked");
        let later = StdTcpStream::connect(address).unwrap_err();
        assert_eq!(later.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_same_of_a_unix_socket_that_workers_share() {
        let path = std::env::temp_dir().join(format!("cofferdam-bind-{}", std::process::id()));
        let [one, other] = unix(&path, 2, Vec::new())
            .unwrap()
            .into_iter()
            .map(|kind| Socket { listener: 0, kind }.into_acceptor().unwrap())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let _early = StdUnixStream::connect(&path).unwrap();
        assert!(!one.turn_newcomers_away().unwrap());
        // Another worker still waits at it, for whoever is there or comes.
        let _later = StdUnixStream::connect(&path).unwrap();
        other.accept().await.unwrap();
        other.accept().await.unwrap();
        let wait = tokio::time::timeout(Duration::from_millis(1), other.accept());
        assert!(wait.await.is_err(), "the event loop has its rest");
        drop(one);
        let _last = StdUnixStream::connect(&path).unwrap();
        assert!(other.turn_newcomers_away().unwrap());
        let late = StdUnixStream::connect(&path).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::ConnectionRefused);
        assert!(other.accept_now().is_some());
        assert!(other.accept_now().is_none());
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_worker_that_has_never_waited_at_a_unix_socket_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("cofferdam-bind-1-{}", std::process::id()));
        let mut kinds = unix(&path, 2, Vec::new()).unwrap();
        let kind = kinds.pop().unwrap();
        let acceptor = Socket { listener: 0, kind }.into_acceptor().unwrap();
        drop(kinds);
        assert!(acceptor.turn_newcomers_away().unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
