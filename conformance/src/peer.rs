//! The programs compared: Cofferdam, the real Envoy, nginx, each as a reverse proxy with one
//! worker in front of one HTTP/1.1 upstream, with the same filters in the first two.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::process::Server;
use crate::scratch::{Scratch, free_ports, loopback};

pub mod cofferdam;
pub mod envoy;
pub mod nginx;

/// How long a peer may take to listen. Envoy compiles 50 modules before it does.
const START_LIMIT: Duration = Duration::from_secs(60);

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

/// How a proxy is set up; the default is a plain one.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The chain, in request order. nginx has none.
    pub filters: Vec<Filter>,
    /// Routes beside the one that takes every path: prefixes `/r0/` and so on, looked at
    /// before it.
    pub routes: usize,
    /// Cofferdam's folder of native code.
    pub artifacts: Option<PathBuf>,
}

/// One wasm filter, in a VM of its own.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The module's file.
    pub module: PathBuf,
    /// What it is handed as its configuration; may be empty.
    pub configuration: &'static str,
    /// Which engine Cofferdam is told to run it on, where it is told.
    pub engine: Option<&'static str>,
}

/// A server that listens, until it is dropped.
#[derive(Debug)]
pub struct Running {
    /// The name used in messages.
    pub name: &'static str,
    /// Where HTTP/1.1 is spoken.
    pub http1: SocketAddr,
    /// Where HTTP/2 is spoken by prior knowledge, without TLS.
    pub http2: SocketAddr,
    server: Server,
}

// === impl Proxy ===

impl Proxy {
    /// The name used in tables and messages.
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
    pub fn start(&self, setup: &Setup, upstream: SocketAddr, scratch: &Scratch) -> Result<Running> {
        let mut running = self.spawn(setup, upstream, scratch)?;
        for address in [running.http1, running.http2] {
            running.server.wait_listening(address, START_LIMIT)?;
        }
        Ok(running)
    }

    /// Starts it, and waits for nothing.
    ///
    /// # Errors
    /// It cannot be had, or not be started.
    pub fn spawn(&self, setup: &Setup, upstream: SocketAddr, scratch: &Scratch) -> Result<Running> {
        let [http1, http2] = free_ports()?;
        let (http1, http2) = (loopback(http1), loopback(http2));
        let (server, http2) = match self {
            Self::Cofferdam(path) => {
                let server = cofferdam::start(path, setup, http1, upstream, scratch)?;
                (server, http1)
            }
            Self::Envoy => (envoy::start(setup, http1, upstream, scratch)?, http1),
            Self::Nginx => {
                let server = nginx::start_proxy(http1, http2, upstream, scratch)?;
                (server, http2)
            }
        };
        Ok(Running {
            name: self.name(),
            http1,
            http2,
            server,
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Running ===

impl Running {
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

    /// Ends it at once: for one that does not listen to signals any more.
    pub fn kill(&mut self) {
        self.server.kill();
    }
}

/// Starts the upstream all proxies share: nginx, whose answers [`nginx`] lists.
///
/// # Errors
/// nginx cannot be had, or does not come up.
pub fn upstream(scratch: &Scratch) -> Result<Running> {
    let [port] = free_ports()?;
    let address = loopback(port);
    let mut server = nginx::start_upstream(address, scratch)?;
    server.wait_listening(address, START_LIMIT)?;
    Ok(Running {
        name: "upstream",
        http1: address,
        http2: address,
        server,
    })
}
