//! `cofferdam dev`: a filter in a running proxy, in front of an upstream that shows what
//! reaches it. The source is built again when it is saved, and the new module takes over; each
//! request is shown with what the filter did to it, header by header.
//!
//! ```text
//! client → tap → proxy with the filter → echo
//!                         └→ clusters of tests.yaml
//! ```
//! Tap and echo are servers in this process ([`servers`]): what differs between what one saw
//! and what the other saw is the filter's work, but for the headers that the proxy itself adds,
//! which are learnt at the start from a listener without the filter. The proxy is the one of
//! `cofferdam run`, and the module is replaced by a reload, as SIGHUP has it there.

mod difference;
mod servers;
mod setup;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use self::servers::Seen;
use super::build::Failure;
use crate::app::{self, Terminations, Unavailable};

/// What was typed.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the filter, or a module that something else builds
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where to send requests
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The filter's configuration; otherwise `configuration` of the folder's tests.yaml
    #[arg(long, value_name = "FILE")]
    configuration: Option<PathBuf>,
}

/// Runs until it is told to end. `say` gets what is to be shown, line by line.
///
/// # Errors
/// Why it cannot be started.
pub fn run(options: &Options, say: impl Fn(&str) + Send + Sync + 'static) -> Result<(), Failure> {
    let say: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(say);
    let plan = setup::Plan::new(&options.dir, options.configuration.as_deref())?;
    let seen = Seen::default();
    let unavailable = |error: std::io::Error| Failure::Unavailable(error.to_string());
    let echo = servers::echo(seen.clone(), plan.is_tcp).map_err(unavailable)?;
    let clusters = plan
        .clusters
        .iter()
        .map(|cluster| {
            Ok((
                cluster.name.clone(),
                servers::cluster(cluster, seen.clone())?,
            ))
        })
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(unavailable)?;
    let listen = options.listen;
    let text = plan.configuration(listen, echo, &clusters);
    // Of no file: its author has never seen one, and is told no place in it.
    let config = crate::config::check::load_str(&text, "", std::path::Path::new(""))
        .map_err(|problems| told(&problems))?;
    let mut prepared = app::Prepared::new(config).map_err(|problems| told(&problems))?;
    // Before anything listens: a taken address is said at once.
    let tap = match plan.is_tcp {
        true => None,
        false => Some(servers::bind(listen).map_err(|error| {
            Failure::Unavailable(format!("{listen}: {error}; give another with --listen"))
        })?),
    };
    let reloader = prepared.reloader();
    let mut problem = None;
    let ready = |addresses: &[String]| {
        let ends = setup::addresses(addresses);
        let shown = say.clone();
        let started = match (tap, ends) {
            (Some(tap), Some((filtered, plain))) => servers::tap(tap, filtered, plain, seen, shown),
            _ => {
                say(&format!(
                    "listening on {listen} (TCP): what is sent comes back"
                ));
                Ok(())
            }
        };
        problem = started.err();
        watch::start(plan, reloader, say);
    };
    let terminations = Terminations::watch()
        .map_err(|error| Failure::Unavailable(format!("signals cannot be watched: {error}")))?;
    let ran = app::run(prepared, terminations, ready);
    match (ran, problem) {
        (Ok(()), None) => Ok(()),
        (Ok(()), Some(error)) => Err(Failure::Unavailable(error.to_string())),
        (Err(Unavailable(lacks)), _) => {
            let lines: Vec<String> = lacks.iter().map(ToString::to_string).collect();
            Err(Failure::Unavailable(lines.join("\n")))
        }
    }
}

fn told(problems: &[crate::config::Diagnostic]) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::Unusable(lines.join("\n"))
}
