//! Connections to an upstream that carry something else than HTTP: never pooled.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Upstream;
use super::connect::{ConnectError, dial, secure};

/// What carries bytes: a socket, or TLS on one.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection for one client.
pub(crate) struct Raw {
    pub(crate) stream: Box<dyn Io>,
    pub(crate) address: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
}

impl Upstream {
    /// A connection to the next endpoint.
    pub(crate) async fn connect_raw(&self) -> Result<Raw, ConnectError> {
        let address = self.select(None).ok_or(ConnectError::NoEndpoint)?.address;
        let opening = async {
            let (stream, local) = dial(address).await?;
            let stream: Box<dyn Io> = match &self.cluster.tls {
                Some(tls) => Box::new(secure(tls, &tls.raw, stream, address).await?),
                None => Box::new(stream),
            };
            Ok(Raw {
                stream,
                address,
                local,
            })
        };
        match tokio::time::timeout(self.cluster.connect_timeout, opening).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(address)),
        }
    }
}
