//! The client's end: a connection of its own for each exchange.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Frame, Orders, Protocol, Record, Side, h1, h2};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// An exchange from the client's side; dropped, it closes the connection.
#[derive(Debug)]
pub struct Client {
    side: Side,
    task: JoinHandle<()>,
}

// === impl Client ===

impl Client {
    /// Connects; what is sent then begins with a head (or raw bytes).
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let connecting = TcpStream::connect(address);
        let stream = tokio::time::timeout(CONNECT_LIMIT, connecting).await??;
        stream.set_nodelay(true)?;
        let (side, record, orders) = Side::new();
        let task = tokio::spawn(async move {
            // Whatever broke, an answer that had not come to its end will not.
            let _ = match protocol {
                Protocol::Http1 => http1(stream, &record, orders).await,
                Protocol::Http2 => http2(stream, &record, orders).await,
            };
        });
        Ok(Self { side, task })
    }

    /// The exchange.
    pub fn side(&self) -> &Side {
        &self.side
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn http1(stream: TcpStream, record: &Record, mut orders: Orders) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut reader = h1::Reader::new(read);
    let to_head = AtomicBool::new(false);
    let writing = async {
        // A request that cannot be written whole may be answered all the same.
        let sent = h1::write(&mut write, &mut orders, &to_head).await;
        if !matches!(sent, Ok(false)) {
            until_broken_off(&mut orders).await;
        }
    };
    let reading = async {
        while let Some(head) = reader.head().await? {
            let fields = h1::response_fields(&head);
            let (status, fields) = fields.ok_or(io::ErrorKind::InvalidData)?;
            if status < 200 && status != 101 {
                record.note(|seen| seen.interim.push(status));
                continue;
            }
            record.note(|seen| seen.head = Some(fields));
            let framing = h1::response_framing(&head, status, to_head.load(Ordering::SeqCst));
            reader.body(framing, record).await;
            break;
        }
        io::Result::Ok(())
    };
    tokio::select! {
        () = writing => Ok(()),
        read = reading => read,
    }
}

/// Waits for the order to break off, or for nobody to give orders any more.
async fn until_broken_off(orders: &mut Orders) {
    while let Some(frame) = orders.recv().await {
        if matches!(frame, Frame::Reset | Frame::Close) {
            return;
        }
    }
}

async fn http2(stream: TcpStream, record: &Record, mut orders: Orders) -> io::Result<()> {
    let (send, connection) = ::h2::client::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let exchange = async {
        let Some(Frame::Head { fields, end }) = orders.recv().await else {
            return Ok(());
        };
        let request = h2::request(&fields)?;
        let mut send = send.ready().await.map_err(io::Error::other)?;
        let (response, mut stream) = send.send_request(request, end).map_err(io::Error::other)?;
        let writing = async {
            let whole = end || !matches!(h2::write(&mut stream, &mut orders).await, Ok(false));
            if whole {
                until_broken_off(&mut orders).await;
                stream.send_reset(::h2::Reason::CANCEL);
            }
        };
        let reading = async {
            let response = response.await.map_err(io::Error::other)?;
            let (parts, body) = response.into_parts();
            record.note(|seen| seen.head = Some(h2::response_fields(&parts)));
            h2::body(body, record).await;
            io::Result::Ok(())
        };
        tokio::select! {
            () = writing => Ok(()),
            read = reading => read,
        }
    };
    let done = exchange.await;
    // What was queued last (a reset) is still written.
    tokio::time::sleep(Duration::from_millis(5)).await;
    connection.abort();
    done
}
