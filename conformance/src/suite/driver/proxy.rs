//! Our own program over sockets, a process for each case; a column for each engine.

mod artifacts;
mod config;
mod log;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use artifacts::Artifacts;

use super::Driver;
use super::live::{self, Place, Program};
use crate::peers::Peers;
use crate::process::Server;
use crate::suite::case::{Case, Profile};
use crate::suite::outcome::{Outcome, Record};
use crate::suite::step::Reload;
use crate::{Error, Result};

/// Calls into filters, on the metrics page: those of one callback on one engine.
const CALLS: &str = "cofferdam_filter_calls_total{";

/// What is logged when another module has come to run.
const RELOADED: &str = "a new VM takes over: its module has changed";

/// Who logs a warning when native code is not there, or not used.
const NATIVE: [&str; 3] = [
    "cofferdam::modules",
    "cofferdam::compile",
    "cofferdam::artifacts",
];

/// The columns `proxy/wasmi` and `proxy/aot`.
#[derive(Debug)]
pub struct Proxy {
    program: PathBuf,
    code: Code,
    peers: Peers,
}

/// How filters run.
#[derive(Debug, Clone)]
pub enum Code {
    /// `engine: interpreter`.
    Interpreted,
    /// `engine: aot`, with code that is there before the program is.
    Native(Arc<Artifacts>),
}

// === impl Proxy ===

impl Proxy {
    /// Takes the program at `path`, and starts the peers of callouts.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(path: &Path, code: Code) -> Result<Self> {
        let program = path
            .canonicalize()
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        Ok(Self {
            program,
            code,
            peers: Peers::start()?,
        })
    }
}

impl Driver for Proxy {
    fn column(&self) -> &'static str {
        match self.code {
            Code::Interpreted => "proxy/wasmi",
            Code::Native(_) => "proxy/aot",
        }
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&mut self, case: &Case, profile: Profile) -> Result<Outcome> {
        let start = Start {
            program: &self.program,
            code: &self.code,
            profile,
        };
        live::run(&start, &self.peers, case)
    }
}

struct Start<'a> {
    program: &'a Path,
    code: &'a Code,
    profile: Profile,
}

impl Program for Start<'_> {
    fn start(&self, place: &Place<'_>) -> Result<Server> {
        let measured = self.is_measured(place.case);
        let configuration =
            config::write(place, self.profile, self.code, measured).map_err(Error::Failed)?;
        // JSON is YAML.
        let text = configuration.to_string();
        let file = place.scratch.write("cofferdam.yaml", &text)?;
        let file = file.display().to_string();
        // What is said of modules that are replaced, and of native code that is not used.
        let mut levels = "error,filter=trace".to_owned();
        if place.case.reloads().next().is_some() {
            levels.push_str(",cofferdam::plugins::renew=debug");
        }
        if matches!(self.code, Code::Native(_)) {
            for target in NATIVE {
                levels.push_str(&format!(",{target}=warn"));
            }
        }
        let arguments = [
            "--log",
            &levels,
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

    /// On native code always: they say where filters ran.
    fn is_measured(&self, case: &Case) -> bool {
        matches!(self.code, Code::Native(_)) || !case.expect.metrics.is_empty()
    }

    fn objection(&self, log: &[u8], outcome: &Outcome) -> Option<String> {
        match self.code {
            Code::Interpreted => None,
            Code::Native(_) => interpreted(log, outcome),
        }
    }

    fn refusal(&self, log: &[u8]) -> String {
        String::from_utf8_lossy(log).trim().to_owned()
    }

    fn reload(&self, place: &Place<'_>, server: &Server, reload: &Reload) -> Result<()> {
        let wasm = place.case.reloaded(reload).map_err(Error::Failed)?;
        config::module(place, &reload.filter, &wasm).map_err(Error::Failed)?;
        server.hang_up();
        Ok(())
    }

    fn reloaded(&self, filter: &str, log: &[u8]) -> usize {
        let ours =
            |said: &log::Message| said.text == RELOADED && said.filter.as_deref() == Some(filter);
        log::messages(log).filter(ours).count()
    }
}

/// What was interpreted proves nothing of native code: why a case may have been.
fn interpreted(log: &[u8], outcome: &Outcome) -> Option<String> {
    let warns = |said: &log::Message| NATIVE.iter().any(|it| said.target.starts_with(it));
    if let Some(said) = log::messages(log).find(warns) {
        return Some(said.text);
    }
    let calls = |engine: &str| {
        let engine = format!("engine=\"{engine}\"");
        let mut samples = outcome.metrics.iter().map(|(name, _)| name);
        samples.any(|name| name.starts_with(CALLS) && name.contains(&engine))
    };
    if calls("interpreter") {
        return Some("a filter was interpreted".to_owned());
    }
    // A guest that speaks before its first callback, or after the page was read, is none.
    let ran = !outcome.logs.is_empty() && !outcome.steps.is_empty();
    (ran && !calls("aot")).then(|| "no filter is known to have run natively".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::outcome::{Exchange, Seen};

    const RECORD: &str = r#"{"target":"filter","context":2,"filter":"a","message":"native"}"#;

    fn ran(engines: &[&str]) -> Outcome {
        let sample = |engine: &&str| {
            let name =
                format!("{CALLS}filter=\"a\",callback=\"proxy_on_log\",engine=\"{engine}\"}}");
            (name, "1".to_owned())
        };
        let record = Record {
            filter: "a".to_owned(),
            level: "info".to_owned(),
            text: "native".into(),
        };
        Outcome {
            logs: vec![record],
            steps: vec![Seen::Exchange(Exchange::default())],
            metrics: engines.iter().map(sample).collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn what_was_interpreted_does_not_count_as_native() {
        let judge = |engines: &[&str]| interpreted(RECORD.as_bytes(), &ran(engines));
        assert_eq!(judge(&["aot"]), None);
        for engines in [&["aot", "interpreter"][..], &["interpreter"], &[]] {
            assert!(judge(engines).is_some(), "{engines:?}");
        }
    }

    #[test]
    fn a_warning_that_a_filter_stays_on_the_interpreter_is_enough() {
        for target in ["cofferdam::modules::work", "cofferdam::compile::queue"] {
            let said = format!(r#"{{"target":"{target}","filter":"a","message":"stays"}}"#);
            let log = format!("{RECORD}\n{said}\n");
            let why = interpreted(log.as_bytes(), &ran(&["aot"]));
            assert_eq!(why.as_deref(), Some("stays"));
        }
    }
}
