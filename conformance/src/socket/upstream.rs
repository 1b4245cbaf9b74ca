//! The upstream's end: every exchange that arrives is written down and waits for orders.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::{Ending, Frame, Orders, Protocol, Record, Side, h1, h2};
use crate::scratch::loopback;

/// What is done with an exchange as soon as it begins.
pub type Serve = Arc<dyn Fn(Side) + Send + Sync>;

/// An upstream; dropped, it closes its connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    exchanges: Mutex<Vec<Side>>,
    count: watch::Sender<usize>,
    connections: AtomicUsize,
    serve: Option<Serve>,
}

// === impl Upstream ===

impl Upstream {
    /// Starts it on a free loopback port; whoever holds it answers.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start(protocol: Protocol) -> io::Result<Self> {
        Self::with(protocol, None).await
    }

    /// Starts one that answers by itself.
    ///
    /// # Errors
    /// There is no port.
    pub async fn serving(protocol: Protocol, serve: Serve) -> io::Result<Self> {
        Self::with(protocol, Some(serve)).await
    }

    async fn with(protocol: Protocol, serve: Option<Serve>) -> io::Result<Self> {
        let listener = TcpListener::bind(loopback(0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            exchanges: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            serve,
        });
        let theirs = Arc::clone(&shared);
        let task = tokio::spawn(accept(listener, protocol, theirs));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Exchanges so far, in the order in which they began.
    pub fn exchanges(&self) -> Vec<Side> {
        self.shared.list().clone()
    }

    /// Exchanges so far, which are forgotten.
    pub fn take(&self) -> Vec<Side> {
        let mut list = self.shared.list();
        self.shared.count.send_replace(0);
        std::mem::take(&mut *list)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// A number that changes with everything that arrives.
    pub fn progress(&self) -> usize {
        let exchanges = self.shared.list();
        exchanges.len() + exchanges.iter().map(Side::progress).sum::<usize>()
    }

    /// Waits for the exchange of that number, from 0.
    pub async fn exchange(&self, number: usize, limit: Duration) -> Option<Side> {
        let mut count = self.shared.count.subscribe();
        let there = count.wait_for(|&count| count > number);
        // Without it in time there is none, which the caller sees.
        let _ = tokio::time::timeout(limit, there).await;
        self.shared.list().get(number).cloned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Side>> {
        self.exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> (Record, Orders) {
        let (side, record, orders) = Side::new();
        if let Some(serve) = &self.serve {
            serve(side.clone());
        }
        let mut list = self.list();
        list.push(side);
        self.count.send_replace(list.len());
        (record, orders)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.list().len();
        f.debug_struct("Shared").field("exchanges", &count).finish()
    }
}

async fn accept(listener: TcpListener, protocol: Protocol, shared: Arc<Shared>) {
    // Dropped with this task, it ends every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        shared.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            // An exchange notes by itself how it ended; the rest of a connection is no news.
            let _ = match protocol {
                Protocol::Http1 => http1(stream, &shared).await,
                Protocol::Http2 => http2(stream, shared).await,
            };
        });
    }
}

async fn http1(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut reader = h1::Reader::new(read);
    while let Some(head) = reader.head().await? {
        let fields = h1::request_fields(&head).ok_or(io::ErrorKind::InvalidData)?;
        let (record, mut orders) = shared.begin();
        record.note(|seen| seen.head = Some(fields));
        let unused = AtomicBool::new(false);
        let reading = async {
            reader.body(h1::request_framing(&head), &record).await;
            let cut = record.0.borrow().ending == Some(Ending::Cut);
            if cut {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            } else {
                Ok(())
            }
        };
        let writing = async {
            if h1::write(&mut write, &mut orders, &unused).await? {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            }
        };
        // One that fails ends the other: the connection is of no use.
        let done = tokio::try_join!(reading, writing);
        drop(record);
        done?;
    }
    Ok(())
}

async fn http2(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut connection = ::h2::server::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    let mut exchanges = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(io::Error::other)?;
        let (record, orders) = shared.begin();
        exchanges.spawn(exchange(request, respond, record, orders));
    }
    Ok(())
}

async fn exchange(
    request: http::Request<::h2::RecvStream>,
    mut respond: ::h2::server::SendResponse<Bytes>,
    record: Record,
    mut orders: Orders,
) {
    let (parts, body) = request.into_parts();
    record.note(|seen| seen.head = Some(h2::request_fields(&parts)));
    let reading = h2::body(body, &record);
    let writing = async {
        match orders.recv().await {
            Some(Frame::Head { fields, end }) => {
                let response = h2::response(&fields)?;
                let stream = respond.send_response(response, end);
                let mut stream = stream.map_err(io::Error::other)?;
                if !end {
                    h2::write(&mut stream, &mut orders).await?;
                }
            }
            Some(Frame::Reset | Frame::Close) => respond.send_reset(::h2::Reason::CANCEL),
            _ => {}
        }
        io::Result::Ok(())
    };
    // A script's mistake shows as an answer that never comes.
    let ((), _) = tokio::join!(reading, writing);
}
