//! The real Envoy, a process for each case.

mod config;
mod log;

use std::path::PathBuf;
use std::time::Duration;

use super::Driver;
use super::live::{self, Place, Program};
use crate::peer::envoy;
use crate::peers::Peers;
use crate::process::Server;
use crate::suite::case::{Case, Profile};
use crate::suite::outcome::{Outcome, Record};
use crate::{Error, Result};

/// The column `envoy 1.40.0`.
#[derive(Debug)]
pub struct Envoy {
    program: PathBuf,
    peers: Peers,
}

// === impl Envoy ===

impl Envoy {
    /// Gets the program, and starts the peers of callouts.
    ///
    /// # Errors
    /// It cannot be had here; the message says what to type.
    pub fn new() -> Result<Self> {
        Ok(Self {
            program: envoy::installed()?,
            peers: Peers::start()?,
        })
    }
}

impl Driver for Envoy {
    fn column(&self) -> &'static str {
        "envoy 1.40.0"
    }

    fn is_ours(&self) -> bool {
        false
    }

    /// It has one way of being, so the profile changes nothing.
    fn run(&mut self, case: &Case, _: Profile) -> Result<Outcome> {
        live::run(&Start(&self.program), &self.peers, case)
    }
}

struct Start<'a>(&'a PathBuf);

impl Program for Start<'_> {
    fn start(&self, place: &Place<'_>) -> Result<Server> {
        let configuration = config::write(place).map_err(Error::Failed)?;
        let file = place
            .scratch
            .write("envoy.json", &configuration.to_string())?;
        let file = file.display().to_string();
        let arguments = [
            "--config-path",
            &file,
            "--concurrency",
            "1",
            // Several Envoys may run on one machine; a fixed id would make them collide.
            "--use-dynamic-base-id",
            "--log-level",
            "warning",
            // Guests' records of every level, and where each VM begins.
            "--component-log-level",
            "wasm:trace",
            "--log-format",
            log::FORMAT,
            // No waiting for hot restarts or for connections that nobody needs.
            "--parent-shutdown-time-s",
            "1",
            "--drain-time-s",
            "1",
        ];
        Server::start("envoy", self.0, arguments, place.log.clone())
    }

    fn records(&self, case: &Case, server: &Server, log: &[u8]) -> Vec<Record> {
        log::records(case, server.pid(), log)
    }

    /// V8 compiles while the listener is there already.
    fn start_takes(&self) -> Duration {
        Duration::from_millis(150)
    }

    fn metrics(&self) -> &'static str {
        "/stats/prometheus"
    }

    fn refusal(&self, log: &[u8]) -> String {
        log::refusal(log)
    }
}
