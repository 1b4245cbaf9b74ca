//! The programs compared: Cofferdam, the real Envoy, nginx, each as a plain reverse proxy
//! with one worker in front of one HTTP/1.1 upstream.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::process::Server;
use crate::raw::exchange;
use crate::scratch::{Scratch, free_ports, loopback};
use crate::{Error, Result};

pub mod cofferdam;
pub mod envoy;
pub mod nginx;

/// How long a peer may take to listen. Envoy needs a second on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Which program stands in the middle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// This project's program, by its path.
    Cofferdam(PathBuf),
    /// The real Envoy.
    Envoy,
    /// nginx as a reverse proxy.
    Nginx,
}

impl Proxy {
    /// The name used in tables and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cofferdam(_) => "cofferdam",
            Self::Envoy => "envoy",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it in front of `upstream` and waits until it listens.
    ///
    /// # Errors
    /// It cannot be had, or does not come up.
    pub fn start(&self, upstream: SocketAddr, scratch: &Scratch) -> Result<Running> {
        let [http1, http2] = free_ports()?;
        let (http1, http2) = (loopback(http1), loopback(http2));
        match self {
            Self::Cofferdam(path) => {
                let server = cofferdam::start(path, http1, upstream, scratch)?;
                Running::wait(self.name(), server, http1, http1)
            }
            Self::Envoy => {
                let server = envoy::start(http1, upstream, scratch)?;
                Running::wait(self.name(), server, http1, http1)
            }
            Self::Nginx => {
                let server = nginx::start_proxy(http1, http2, upstream, scratch)?;
                Running::wait(self.name(), server, http1, http2)
            }
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A server that listens, until it is dropped.
#[derive(Debug)]
pub struct Running {
    /// The name used in tables and JSON.
    pub name: &'static str,
    /// Where HTTP/1.1 is spoken.
    pub http1: SocketAddr,
    /// Where HTTP/2 is spoken by prior knowledge, without TLS.
    pub http2: SocketAddr,
    server: Server,
}

impl Running {
    fn wait(
        name: &'static str,
        mut server: Server,
        http1: SocketAddr,
        http2: SocketAddr,
    ) -> Result<Self> {
        for address in [http1, http2] {
            server.wait_listening(address, START_LIMIT)?;
        }
        Ok(Self {
            name,
            http1,
            http2,
            server,
        })
    }

    /// The process id of its first process.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Makes sure it still runs.
    ///
    /// # Errors
    /// It ended.
    pub fn check(&mut self) -> Result<()> {
        self.server.check()
    }

    /// Makes sure it answers a request with 200 and the upstream's body.
    ///
    /// # Errors
    /// It does not; the answer is in the message.
    pub fn probe(&self) -> Result<()> {
        let request = b"GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        let answer = exchange::send(self.http1, request)?;
        if answer.statuses == [200] && answer.bytes.ends_with(nginx::BODY.as_bytes()) {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&answer.bytes).into_owned();
        Err(Error::Failed(format!(
            "{} does not proxy: it answered {shown:?}",
            self.name
        )))
    }
}

/// Starts the upstream all proxies share: nginx with a 13-byte answer.
///
/// # Errors
/// nginx cannot be had, or does not come up.
pub fn upstream(scratch: &Scratch) -> Result<Running> {
    let [port] = free_ports()?;
    let address = loopback(port);
    let server = nginx::start_upstream(address, scratch)?;
    Running::wait("upstream", server, address, address)
}
