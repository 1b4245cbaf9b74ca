//! What the drivers of programs share: a process for each case, its steps over sockets, its
//! records out of its log.
//!
//! A host in process does one thing after the other; a program does them when it gets to it.
//! So whoever wants to see what came of something lets things settle first
//! ([`Stage::settle`]): until the log, the client and the upstream have all been quiet for a
//! moment.

mod exchange;
mod log;
mod metrics;
mod tcp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use exchange::message;
pub(super) use log::Log;

use crate::peers::{Peers, runtime};
use crate::process::Server;
use crate::scratch::Scratch;
use crate::socket::Protocol;
use crate::socket::upstream::Upstream;
use crate::suite::case::Case;
use crate::suite::outcome::{Outcome, Record, Seen};
use crate::suite::step::{Http, Reload, Step};
use crate::{Error, Result};

/// How long a program may take to listen or to give up.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to end when asked.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Nothing happened for this long: it has settled.
const QUIET: Duration = Duration::from_millis(30);
/// Nothing happened at all for this long, though something should: nothing will.
const IDLE: Duration = Duration::from_millis(150);
/// The most that settling may take: a guest with a timer is never quiet.
const SETTLE_LIMIT: Duration = Duration::from_millis(500);

/// How long records that are missing are waited for.
const LATE_LIMIT: Duration = Duration::from_secs(2);

/// What is different about a program.
pub(super) trait Program {
    /// Writes its configuration and starts it.
    fn start(&self, place: &Place<'_>) -> Result<Server>;
    /// The guests' records in its log.
    fn records(&self, case: &Case, server: &Server, log: &[u8]) -> Vec<Record>;
    /// How long it may be silent between listening and the start of its VMs.
    fn start_takes(&self) -> Duration;
    /// Where its metrics can be read, at [`Place::admin`].
    fn metrics(&self) -> &'static str;
    /// Whether they are wanted of this case.
    fn is_measured(&self, case: &Case) -> bool {
        !case.expect.metrics.is_empty()
    }
    /// Why what was seen does not count: it did not run as it was meant to.
    fn objection(&self, _log: &[u8], _outcome: &Outcome) -> Option<String> {
        None
    }
    /// Has it replace a filter's module.
    fn reload(&self, _place: &Place<'_>, _server: &Server, _reload: &Reload) -> Result<()> {
        let why = "this host has no way to replace a module";
        Err(Error::Failed(why.to_owned()))
    }
    /// How often the filter has come to run another module, by its log.
    fn reloaded(&self, _filter: &str, _log: &[u8]) -> usize {
        0
    }
    /// Why it ended instead of listening, from its log.
    fn refusal(&self, log: &[u8]) -> String;
}

/// Where a case is run.
pub(super) struct Place<'a> {
    pub(super) case: &'a Case,
    /// A directory of the case's own.
    pub(super) scratch: &'a Scratch,
    /// Where it must listen, and where its administration may.
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Name, address, and whether HTTP/2 is spoken.
    pub(super) clusters: Vec<(&'static str, SocketAddr, bool)>,
    /// The file its log must go to.
    pub(super) log: PathBuf,
}

/// What steps are done to, besides the stage.
struct Scene<'a, P> {
    program: &'a P,
    place: &'a Place<'a>,
    server: &'a Server,
    tcp: &'a tcp::Upstream,
}

/// A started case.
struct Stage {
    listen: SocketAddr,
    upstream: Upstream,
    /// Exchanges of the upstream that belong to a step already.
    claimed: std::sync::Mutex<Vec<usize>>,
    /// Methods and paths of the requests that are on their way.
    running: std::sync::Mutex<Vec<(String, String)>>,
    log: Log,
}

/// Runs a case on a program.
pub(super) fn run(program: &impl Program, peers: &Peers, case: &Case) -> Result<Outcome> {
    runtime().block_on(play(program, peers, case))
}

async fn play(program: &impl Program, peers: &Peers, case: &Case) -> Result<Outcome> {
    let failed = |error| Error::failed(&case.id, error);
    let scratch = Scratch::new(&format!("case-{}", case.id))?;
    let protocol = upstream_protocol(case);
    let tcp = tcp::Upstream::start().await.map_err(failed)?;
    let upstream = Upstream::start(protocol).await.map_err(failed)?;
    let mut clusters = peers.clusters();
    clusters.push(if case.tcp {
        ("upstream", tcp.address(), false)
    } else {
        ("upstream", upstream.address(), protocol == Protocol::Http2)
    });
    let [listen, admin] = crate::scratch::free_ports()?;
    let place = Place {
        case,
        scratch: &scratch,
        listen: crate::scratch::loopback(listen),
        admin: crate::scratch::loopback(admin),
        clusters,
        log: scratch.path().join("log"),
    };
    peers.web.take();
    let mut server = program.start(&place)?;
    let stage = Arc::new(Stage {
        listen: place.listen,
        upstream,
        claimed: std::sync::Mutex::default(),
        running: std::sync::Mutex::default(),
        log: Log::new(place.log.clone()),
    });
    let mut outcome = Outcome::default();
    if let Some(refused) = stage.listening(program, &mut server).await? {
        outcome.refused = Some(refused);
        return Ok(outcome);
    }
    // Its VMs start, and say what they say then.
    stage.settle(program.start_takes(), &[]).await;
    let page = async || match program.is_measured(case) {
        true => metrics::read(place.admin, program.metrics()).await,
        false => Ok(Vec::new()),
    };
    for step in &case.steps {
        if step.shutdown {
            outcome.metrics = page().await.map_err(failed)?;
            server.terminate(END_LIMIT)?;
        } else {
            let scene = Scene {
                program,
                place: &place,
                server: &server,
                tcp: &tcp,
            };
            stage.step(step, &scene, &mut outcome).await?;
        }
    }
    if outcome.metrics.is_empty() {
        outcome.metrics = page().await.map_err(failed)?;
    }
    outcome.logs = stage.records(program, case, &server).await;
    outcome.peer = peers.web.take().iter().map(message).collect();
    if let Some(objection) = program.objection(&stage.log.read(), &outcome) {
        return Err(Error::Failed(objection));
    }
    // What it says about its own end is of no interest, unless the case asked for it.
    server.kill();
    Ok(outcome)
}

/// HTTP/1.1 carries trailers only where both sides ask for them, in headers that a guest
/// would see; so cases about trailers have an upstream that speaks HTTP/2.
fn upstream_protocol(case: &Case) -> Protocol {
    let exchanges = || case.steps.iter().flat_map(Step::exchanges);
    let trailers = exchanges().any(|step| {
        let asked = step
            .request
            .as_ref()
            .is_some_and(|request| !request.trailers.is_empty() || request.http == Http::V2);
        let answered = step
            .upstream
            .as_ref()
            .is_some_and(|a| !a.trailers.is_empty());
        let expected = step.expect.as_ref().is_some_and(|expect| {
            !expect.trailers.is_empty()
                || expect
                    .saw
                    .as_ref()
                    .is_some_and(|saw| !saw.trailers.is_empty())
        });
        asked || answered || expected
    });
    if trailers {
        Protocol::Http2
    } else {
        Protocol::Http1
    }
}

// === impl Stage ===

impl Stage {
    /// Waits until the program listens, or has ended with a reason.
    async fn listening(
        &self,
        program: &impl Program,
        server: &mut Server,
    ) -> Result<Option<String>> {
        let start = Instant::now();
        loop {
            // Asked first: a program that ended meanwhile no longer listens.
            let running = server.check();
            if log::listens(self.listen) {
                return Ok(None);
            }
            if running.is_err() {
                return Ok(Some(program.refusal(&self.log.read())));
            }
            if start.elapsed() > START_LIMIT {
                let tail = program.refusal(&self.log.read());
                return Err(Error::Failed(format!(
                    "it neither listens nor ends: {tail}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn step(
        self: &Arc<Self>,
        step: &Step,
        scene: &Scene<'_, impl Program>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let failed = |error| Error::failed("a step", error);
        if let Some(wait) = step.wait {
            tokio::time::sleep(wait.0).await;
        }
        if !step.connection.is_empty() {
            let seen = tcp::connection(self, scene.tcp, &step.connection).await;
            outcome.steps.push(Seen::Connection(seen.map_err(failed)?));
        }
        if step.request.is_some() {
            let seen = exchange::run(self, step).await.map_err(failed)?;
            outcome.steps.push(Seen::Exchange(seen));
        }
        if let Some(reload) = &step.reload {
            self.reload(scene, reload).await?;
        }
        let mut running = Vec::new();
        for member in &step.together {
            if let Some(reload) = &member.reload {
                self.reload(scene, reload).await?;
                continue;
            }
            let (stage, member) = (Arc::clone(self), member.clone());
            running.push(tokio::spawn(
                async move { exchange::run(&stage, &member).await },
            ));
            // In the order in which they are written, as in process.
            self.settle(IDLE, &[]).await;
        }
        for exchange in running {
            let seen = exchange
                .await
                .map_err(|error| Error::failed("a step", error))?;
            outcome.steps.push(Seen::Exchange(seen.map_err(failed)?));
        }
        Ok(())
    }

    /// Has a module replaced, and waits until the program says that it has come to run.
    async fn reload(&self, scene: &Scene<'_, impl Program>, reload: &Reload) -> Result<()> {
        let times = || scene.program.reloaded(&reload.filter, &self.log.read());
        let before = times();
        scene.program.reload(scene.place, scene.server, reload)?;
        let start = Instant::now();
        while times() == before {
            if start.elapsed() > START_LIMIT {
                let tail = scene.program.refusal(&self.log.read());
                let filter = &reload.filter;
                return Err(Error::Failed(format!(
                    "the module of {filter} is not replaced: {tail}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.settle(QUIET, &[]).await;
        Ok(())
    }

    /// The guests' records. A program on a busy machine may be late: fewer than the case
    /// wants are waited for.
    async fn records(&self, program: &impl Program, case: &Case, server: &Server) -> Vec<Record> {
        let wanted = case.expect.logs.as_ref().map_or(0, Vec::len);
        let start = Instant::now();
        loop {
            let records = program.records(case, server, &self.log.read());
            if records.len() >= wanted || start.elapsed() > LATE_LIMIT {
                return records;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until whatever was begun has come to rest; at first as long as it may take until
    /// anything is to be seen of it.
    async fn settle(&self, first: Duration, more: &[&(dyn Fn() -> usize + Sync)]) {
        let progress = || {
            let more: usize = more.iter().map(|progress| progress()).sum();
            (self.log.length(), self.upstream.progress() + more)
        };
        let (start, mut last) = (Instant::now(), progress());
        let (mut since, mut quiet) = (start, first);
        while since.elapsed() < quiet && start.elapsed() < SETTLE_LIMIT {
            tokio::time::sleep(Duration::from_millis(3)).await;
            let now = progress();
            if now != last {
                (last, since, quiet) = (now, Instant::now(), QUIET);
            }
        }
    }
}
