//! One TCP connection through a program: both of its ends, action by action.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{IDLE, Stage};
use crate::suite::step::{Side, TcpAction};

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The cluster `upstream` of TCP cases.
#[derive(Debug)]
pub(super) struct Upstream(TcpListener);

/// One end of a connection.
struct End {
    write: Option<OwnedWriteHalf>,
    incoming: watch::Receiver<Incoming>,
    reading: JoinHandle<()>,
    /// How much of what came was looked at.
    seen: usize,
}

#[derive(Debug, Default)]
struct Incoming {
    bytes: Vec<u8>,
    ended: bool,
}

// === impl Upstream ===

impl Upstream {
    pub(super) async fn start() -> io::Result<Self> {
        TcpListener::bind(crate::scratch::loopback(0))
            .await
            .map(Self)
    }

    pub(super) fn address(&self) -> SocketAddr {
        // Bound, so it has one; port 0 would merely be refused.
        self.0
            .local_addr()
            .unwrap_or_else(|_| crate::scratch::loopback(0))
    }

    async fn accept(&self) -> io::Result<End> {
        let (stream, _) = tokio::time::timeout(PATIENCE, self.0.accept()).await??;
        Ok(End::new(stream))
    }
}

/// Makes a connection and lets the actions happen on it.
pub(super) async fn connection(
    stage: &Stage,
    upstream: &Upstream,
    actions: &[TcpAction],
) -> io::Result<Vec<Option<Bytes>>> {
    let mut client = End::new(TcpStream::connect(stage.listen).await?);
    let mut server = None;
    let mut all = Vec::new();
    for action in actions {
        let of_upstream = match action {
            TcpAction::UpstreamSends(_) | TcpAction::UpstreamSees(_) => true,
            TcpAction::HalfClose(side) | TcpAction::Close(side) | TcpAction::SeesEnd(side) => {
                *side == Side::Upstream
            }
            _ => false,
        };
        if of_upstream && server.is_none() {
            server = upstream.accept().await.ok();
        }
        let end = if of_upstream {
            server.as_mut()
        } else {
            Some(&mut client)
        };
        let seen = match end {
            Some(end) => end.act(action).await,
            // It was never connected: nothing is seen there.
            None => None,
        };
        stage.settle(IDLE, &[]).await;
        all.push(seen);
    }
    Ok(all)
}

// === impl End ===

impl End {
    fn new(stream: TcpStream) -> Self {
        // Without it a small write may wait for the one before.
        let _ = stream.set_nodelay(true);
        let (mut read, write) = stream.into_split();
        let (record, incoming) = watch::channel(Incoming::default());
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = read.read(&mut buffer).await {
                let piece = buffer.get(..count).unwrap_or_default();
                record.send_modify(|seen| seen.bytes.extend_from_slice(piece));
            }
            record.send_modify(|seen| seen.ended = true);
            // Its half stays open: the other end must not see a close that no case asked for.
            std::future::pending::<()>().await;
        });
        Self {
            write: Some(write),
            incoming,
            reading,
            seen: 0,
        }
    }

    /// What the action saw.
    async fn act(&mut self, action: &TcpAction) -> Option<Bytes> {
        match action {
            TcpAction::ClientSends(chunk) | TcpAction::UpstreamSends(chunk) => {
                if let Some(write) = &mut self.write {
                    // Who is gone gets nothing, which his side's next action shows.
                    let _ = write.write_all(&chunk.0).await;
                }
                None
            }
            TcpAction::ClientSees(chunk) | TcpAction::UpstreamSees(chunk) => {
                let wanted = self.seen + chunk.0.len();
                let there = |seen: &Incoming| seen.bytes.len() >= wanted;
                let there = self.wait(there).await;
                let bytes = self.incoming.borrow().bytes.get(self.seen..)?.to_vec();
                self.seen += bytes.len();
                there.then(|| bytes.into())
            }
            TcpAction::SeesEnd(_) => {
                // Whoever has closed sees the end at once.
                let ended = self.write.is_none() || self.wait(|seen| seen.ended).await;
                ended.then(Bytes::new)
            }
            TcpAction::HalfClose(_) => {
                if let Some(write) = &mut self.write {
                    let _ = write.shutdown().await;
                }
                None
            }
            TcpAction::Close(_) => {
                self.write = None;
                self.reading.abort();
                None
            }
            TcpAction::Wait(wait) => {
                tokio::time::sleep(wait.0).await;
                None
            }
        }
    }

    async fn wait(&self, so: impl FnMut(&Incoming) -> bool) -> bool {
        let mut incoming = self.incoming.clone();
        let waited = tokio::time::timeout(PATIENCE, incoming.wait_for(so)).await;
        matches!(waited, Ok(Ok(_)))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
