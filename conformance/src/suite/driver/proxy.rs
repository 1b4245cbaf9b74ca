//! Our own program over sockets, a process for each case.

mod config;
mod log;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Driver;
use super::live::{self, Place, Program};
use crate::peers::Peers;
use crate::process::Server;
use crate::suite::case::{Case, Profile};
use crate::suite::outcome::{Outcome, Record};
use crate::{Error, Result};

/// The column `proxy`.
#[derive(Debug)]
pub struct Proxy {
    program: PathBuf,
    peers: Peers,
}

// === impl Proxy ===

impl Proxy {
    /// Takes the program at `path`, and starts the peers of callouts.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(path: &Path) -> Result<Self> {
        let program = path
            .canonicalize()
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        Ok(Self {
            program,
            peers: Peers::start()?,
        })
    }
}

impl Driver for Proxy {
    fn column(&self) -> &'static str {
        "proxy"
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self, case: &Case, profile: Profile) -> Result<Outcome> {
        let start = Start {
            program: &self.program,
            profile,
        };
        live::run(&start, &self.peers, case)
    }
}

struct Start<'a> {
    program: &'a Path,
    profile: Profile,
}

impl Program for Start<'_> {
    fn start(&self, place: &Place<'_>) -> Result<Server> {
        let configuration = config::write(place, self.profile).map_err(Error::Failed)?;
        // JSON is YAML.
        let text = configuration.to_string();
        let file = place.scratch.write("cofferdam.yaml", &text)?;
        let file = file.display().to_string();
        let arguments = [
            "--log",
            "error,filter=trace",
            "--log-format",
            "json",
            "run",
            "--config",
            &file,
        ];
        Server::start("cofferdam", self.program, arguments, place.log.clone())
    }

    fn records(&self, _: &Case, _: &Server, log: &[u8]) -> Vec<Record> {
        log::records(log)
    }

    /// Its workers listen when their VMs run.
    fn start_takes(&self) -> Duration {
        Duration::from_millis(30)
    }

    fn metrics(&self) -> &'static str {
        "/metrics"
    }

    fn refusal(&self, log: &[u8]) -> String {
        String::from_utf8_lossy(log).trim().to_owned()
    }
}
