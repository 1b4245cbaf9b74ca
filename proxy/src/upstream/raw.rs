//! Connections to an upstream that carry something else than HTTP: never pooled.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use super::connect::{ConnectError, dial, secure};
use super::host::Word;
use super::line::Metered;
use super::load::Full;
use super::pool::{Open, Wire};
use super::{Outcome, Pick, Upstream};
use crate::connection::Connection;
use crate::proxy_protocol::header;
use crate::tls::Speaks;

/// What carries bytes: a socket, or TLS on one.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection for one client.
pub(crate) struct Raw {
    pub(crate) stream: Box<dyn Io>,
    pub(crate) address: SocketAddr,
    /// The name that its endpoint was found by, if it was.
    pub(crate) name: Option<Box<str>>,
    pub(crate) wire: Wire,
    /// Held for as long as it is open, so that it counts.
    pub(crate) open: Open,
}

impl Upstream {
    /// A connection to the `wanted` endpoint or the next one, for a client or for nobody in
    /// particular. Where there may be no more of them nobody waits: they are not given back
    /// after a request.
    pub(crate) async fn connect_raw(
        &self,
        wanted: Option<SocketAddr>,
        client: Option<&Connection>,
    ) -> Result<Raw, ConnectError> {
        let pick = Pick { wanted, hash: None };
        let pool = self.select(pick).ok_or(ConnectError::NoEndpoint)?;
        let address = pool.address;
        let header = self.cluster.proxy_protocol.map(|version| {
            let (source, destination) = client.map_or((None, None), |it| (it.peer, it.local));
            header(version, source, destination)
        });
        let first = pool.tally.get(Word::ConnectionsActive) == 0;
        let place = pool.load.connection(first, false);
        let open = pool.opened(place.map_err(|Full| ConnectError::Overflow(address))?);
        let opening = async {
            let (stream, dialled) = dial(address, header.as_deref()).await?;
            let (stream, wire): (Box<dyn Io>, _) = match &self.cluster.tls {
                Some(tls) => {
                    let (stream, session) = secure(tls, Speaks::Raw, stream, address).await?;
                    let (stream, wire) = Metered::new(stream, dialled, Some(session));
                    (Box::new(stream), wire)
                }
                None => {
                    let (stream, wire) = Metered::new(stream, dialled, None);
                    (Box::new(stream), wire)
                }
            };
            Ok(Raw {
                stream,
                address,
                name: pool.name().map(Into::into),
                wire,
                open,
            })
        };
        let opened = tokio::time::timeout(self.cluster.connect_timeout, opening).await;
        let opened = opened.unwrap_or(Err(ConnectError::Timeout(address)));
        match &opened {
            // All that can be said of it: what it carries has no status.
            Ok(_) => pool.note(Outcome::Answered(200)),
            // Not the endpoint's doing.
            Err(ConnectError::Exhausted(..)) => pool.tally.add(Word::ConnectFailed),
            Err(_) => {
                pool.tally.add(Word::ConnectFailed);
                pool.note(Outcome::Failed);
            }
        }
        opened
    }
}
