//! The standard peers of callouts: real servers on loopback, one set for a whole run.
//!
//! | cluster | what it is |
//! |---|---|
//! | `peer` | HTTP/1.1 ([`web`]) |
//! | `refused` | a port where nobody listens |
//! | `grpc` | gRPC, by tonic ([`grpc`]) |
//! | `redis` | redis-server of the system ([`redis`]) |
//!
//! What reaches `peer` is kept until somebody takes it, so a run goes case by case.

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;

use tokio::runtime::Runtime;

use crate::scratch::loopback;
use crate::socket::upstream::Upstream;
use crate::{Error, Result};

pub mod grpc;
pub mod redis;
pub mod web;

/// What `peer` publishes under `/jwks`: public keys made for tests by OpenSSL, whose private
/// halves are thrown away. The tokens in cases are signed by them.
pub const JWKS: &str = include_str!("peers/jwks.json");

/// Where each of them is.
#[derive(Debug)]
pub struct Peers {
    /// What `peer` has seen; it answers by itself.
    pub web: Upstream,
    /// The address of `refused`, with what keeps others from taking it.
    refused: (SocketAddr, socket2::Socket),
    grpc: SocketAddr,
    redis: Option<redis::Redis>,
}

// === impl Peers ===

impl Peers {
    /// Starts them.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start() -> Result<Self> {
        runtime().block_on(async {
            let failed = |error| Error::failed("standard peers", error);
            Ok(Self {
                web: web::start().await.map_err(failed)?,
                refused: refusing().map_err(failed)?,
                grpc: grpc::start().await.map_err(failed)?,
                redis: redis::Redis::start()?,
            })
        })
    }

    /// Names and addresses of all that are there, for configurations. The last is whether
    /// HTTP/2 is spoken.
    #[must_use]
    pub fn clusters(&self) -> Vec<(&'static str, SocketAddr, bool)> {
        let mut clusters = vec![
            ("peer", self.web.address(), false),
            ("refused", self.refused.0, false),
            ("grpc", self.grpc, true),
        ];
        clusters.extend(
            self.redis
                .as_ref()
                .map(|redis| ("redis", redis.address(), false)),
        );
        clusters
    }
}

/// The runtime of everything that speaks in this process.
///
/// # Panics
/// The system gives no threads.
#[must_use]
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads for a runtime")
    })
}

/// A port that is bound, so that nobody else gets it, but does not listen.
fn refusing() -> std::io::Result<(SocketAddr, socket2::Socket)> {
    let any = loopback(0);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&any.into())?;
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    Ok((address, socket))
}

/// A port of the system's choosing.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind(loopback(0))?.local_addr()
}

#[cfg(test)]
mod tests;
