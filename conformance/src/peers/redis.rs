//! `redis`: redis-server of the system, empty and without a file.

use std::net::SocketAddr;
use std::time::Duration;

use crate::process::Server;
use crate::scratch::Scratch;
use crate::{Error, Result, tool};

/// A running server.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    _server: Server,
    _scratch: Scratch,
}

// === impl Redis ===

impl Redis {
    /// Starts it; `None` where the program is not installed.
    ///
    /// # Errors
    /// It is there but does not start.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = tool::on_path("redis-server") else {
            return Ok(None);
        };
        let address = super::free_port().map_err(|error| Error::failed("a port", error))?;
        let port = address.port().to_string();
        let scratch = Scratch::new("redis")?;
        let log = scratch.path().join("redis.log");
        let arguments = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        let mut server = Server::start("redis-server", &program, arguments, log)?;
        server.wait_listening(address, Duration::from_secs(10))?;
        Ok(Some(Self {
            address,
            _server: server,
            _scratch: scratch,
        }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
