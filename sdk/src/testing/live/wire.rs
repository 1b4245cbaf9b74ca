//! Connections that are not HTTP: who connects, and who is connected to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::super::connection::Wire;

/// How long who is left may take to see that the other end was closed, too.
const BOTH: Duration = Duration::from_secs(1);
/// Nobody waits longer for bytes: the test is over by then.
const IDLE: Duration = Duration::from_secs(60);

/// What the ends tell of.
enum Told {
    /// Somebody has connected to the server.
    Accepted,
    /// The server has read to the end, and says no more once it is told so.
    Server(Vec<u8>, Sender<()>),
    /// The client has.
    Client(Vec<u8>),
}

/// A server that says these pieces to the first who connects.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    told: Receiver<Told>,
    tell: Sender<Told>,
    say: Sender<Vec<Vec<u8>>>,
}

// === impl Server ===

impl Server {
    pub(super) fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (tell, told) = channel();
        let (say, pieces) = channel::<Vec<Vec<u8>>>();
        let accepted = tell.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Those of connections that came to nothing are not for this one.
                let Some(pieces) = pieces
                    .recv()
                    .ok()
                    .map(|first| pieces.try_iter().last().unwrap_or(first))
                else {
                    return;
                };
                if accepted.send(Told::Accepted).is_err() {
                    return;
                }
                let tell = accepted.clone();
                thread::spawn(move || serve(&connection, &pieces, &tell));
            }
        });
        Ok(Self {
            address,
            told,
            tell,
            say,
        })
    }

    /// One connection, through whoever listens at `address`.
    pub(super) fn connect(
        &self,
        address: SocketAddr,
        client: Vec<Vec<u8>>,
        server: Vec<Vec<u8>>,
        patience: Duration,
    ) -> Wire {
        let (mut wire, until) = (Wire::default(), Instant::now() + patience);
        // Where it is gone, nobody is told anything, which is seen below.
        let _ = self.say.send(server);
        let tell = self.tell.clone();
        thread::spawn(move || call(address, &client, &tell));
        let (mut accepted, mut client, mut server) = (false, None, None);
        while client.is_none() || (accepted && server.is_none()) {
            let left = until.saturating_duration_since(Instant::now());
            match self.told.recv_timeout(left) {
                Ok(Told::Accepted) => accepted = true,
                Ok(Told::Client(bytes)) => {
                    // The server has not said its last.
                    wire.closed = true;
                    client = Some(bytes);
                    if !accepted {
                        accepted = matches!(self.told.recv_timeout(BOTH), Ok(Told::Accepted));
                    }
                }
                Ok(Told::Server(bytes, over)) => {
                    server = Some(bytes);
                    if client.is_none()
                        && let Ok(Told::Client(bytes)) = self.told.recv_timeout(BOTH)
                    {
                        wire.closed = true;
                        client = Some(bytes);
                    }
                    drop(over);
                    if client.is_none() {
                        let left = until.saturating_duration_since(Instant::now());
                        match self.told.recv_timeout(left) {
                            Ok(Told::Client(bytes)) => client = Some(bytes),
                            _ => break,
                        }
                    }
                }
                Err(_) => break,
            }
        }
        wire.stuck = client.is_none() || (accepted && server.is_none());
        wire.out = [server.unwrap_or_default(), client.unwrap_or_default()];
        wire
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Who waits for connections sees with the next one that there are no pieces.
        self.say = channel().0;
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(connection: &TcpStream, pieces: &[Vec<u8>], tell: &Sender<Told>) {
    say(connection, pieces);
    let bytes = hear(connection);
    let (over, wait) = channel();
    if tell.send(Told::Server(bytes, over)).is_ok() {
        // Nothing comes: it is dropped.
        let _ = wait.recv();
    }
}

fn call(address: SocketAddr, pieces: &[Vec<u8>], tell: &Sender<Told>) {
    let mut bytes = Vec::new();
    if let Ok(connection) = TcpStream::connect(address) {
        if let Ok(writer) = connection.try_clone() {
            let pieces = pieces.to_vec();
            thread::spawn(move || {
                say(&writer, &pieces);
                // Who has been closed cannot be closed again.
                let _ = writer.shutdown(Shutdown::Write);
            });
        }
        bytes = hear(&connection);
    }
    // Where nobody listens, the test is over.
    let _ = tell.send(Told::Client(bytes));
}

fn say(mut connection: &TcpStream, pieces: &[Vec<u8>]) {
    let _ = connection.set_nodelay(true);
    for piece in pieces {
        // What is not taken is seen at the other end.
        if connection.write_all(piece).is_err() {
            return;
        }
    }
}

/// All that comes, until the end or a reset.
fn hear(mut connection: &TcpStream) -> Vec<u8> {
    let _ = connection.set_read_timeout(Some(IDLE));
    let mut bytes = Vec::new();
    let _ = connection.read_to_end(&mut bytes);
    bytes
}
