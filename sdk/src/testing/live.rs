//! Exchanges through a process: the proxy or Envoy, with real connections around it.

mod http;
mod peers;
mod program;
mod wire;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use self::peers::{Event, Given, Server, Who};
use self::program::{Plan, Program};
use super::connection::Wire;
use super::exchange::Message;
use super::host::{Tester, refused};
use super::message::{Answer, Seen};
use super::target::Target;

/// How long an exchange may take, which is real time here.
const PATIENCE: Duration = Duration::from_secs(15);
/// How much real time a test may let pass at once.
const PASSING: Duration = Duration::from_secs(3);

/// A filter's module, and the process it runs in once there is something to do.
pub(super) struct Live {
    pub(super) target: Target,
    module: PathBuf,
    configuration: String,
    /// Headers wait for bodies.
    pub(super) holds: bool,
    running: Option<Running>,
}

/// The process, and the servers behind it.
struct Running {
    program: Program,
    events: Receiver<Event>,
    sender: Sender<Event>,
    /// How many clients there have been.
    number: Cell<u32>,
    /// Names of clusters.
    clusters: Vec<String>,
    servers: Servers,
}

/// What is behind it.
enum Servers {
    Http { _each: Vec<Server> },
    Wire(wire::Server),
}

// === impl Live ===

impl Live {
    pub(super) const fn new(
        target: Target,
        module: PathBuf,
        configuration: String,
        holds: bool,
    ) -> Self {
        Self {
            target,
            module,
            configuration,
            holds,
            running: None,
        }
    }

    fn start(&self, clusters: Vec<String>) -> Result<Running, String> {
        let (sender, events) = channel();
        let mut servers = Vec::new();
        let mut addresses = Vec::new();
        let upstream = ("upstream".to_owned(), Who::Upstream);
        let others = clusters.iter();
        let others = others.map(|name| (name.clone(), Who::Cluster(name.clone())));
        for (name, who) in [upstream].into_iter().chain(others) {
            let server = Server::start(&who, &sender).map_err(|error| error.to_string())?;
            addresses.push((name, server.address));
            servers.push(server);
        }
        Ok(Running {
            program: self.program(addresses, false)?,
            events,
            sender,
            number: Cell::new(0),
            clusters,
            servers: Servers::Http { _each: servers },
        })
    }

    /// The same for connections that are not HTTP.
    fn start_wire(&self) -> Result<Running, String> {
        let (sender, events) = channel();
        let server = wire::Server::start().map_err(|error| error.to_string())?;
        let upstream = vec![("upstream".to_owned(), server.address)];
        Ok(Running {
            program: self.program(upstream, true)?,
            events,
            sender,
            number: Cell::new(0),
            clusters: Vec::new(),
            servers: Servers::Wire(server),
        })
    }

    fn program(&self, clusters: Vec<(String, SocketAddr)>, tcp: bool) -> Result<Program, String> {
        let program = Program::start(&Plan {
            target: self.target,
            module: &self.module,
            configuration: &self.configuration,
            holds: self.holds,
            tcp,
            clusters,
        })?;
        if self.target == Target::Aot && program.said().contains("is interpreted") {
            self.target
                .unfit("native code, which this proxy cannot make here")
        }
        Ok(program)
    }

    /// What the process says of a configuration that it does not take.
    pub(super) fn refusal(&self) -> String {
        match self.start(Vec::new()) {
            Ok(_) => refused("the configuration is taken"),
            Err(said) => said,
        }
    }

    /// The running process, which is started now if it was not.
    fn running(&mut self, tester: &Tester) -> &Running {
        let clusters = tester.calls.names(self.target);
        if let Some(running) = &self.running
            && clusters.iter().any(|name| !running.clusters.contains(name))
        {
            self.target
                .unfit("clusters that are there before the first request")
        }
        let running = match self.running.take() {
            Some(running) => running,
            None => self.start(clusters).unwrap_or_else(refused),
        };
        self.running.insert(running)
    }

    pub(super) fn exchange(&mut self, tester: &mut Tester, message: Message) -> Answer {
        let running = self.running(tester);
        let Message {
            headers,
            chunks,
            trailers,
        } = message;
        let sender = running.sender.clone();
        let number = running.number.get() + 1;
        running.number.set(number);
        let address = running.program.address;
        peers::ask(number, address, headers, chunks, trailers, sender);
        let mut answer = Answer::default();
        match running.serve(tester, number, PATIENCE, &mut answer.upstream) {
            Some((seen, whole)) => {
                answer.response = seen;
                answer.cut = !whole;
            }
            None => answer.stuck = true,
        }
        answer
    }

    /// A connection over which the client and the server send these pieces; the server ends
    /// after the client has.
    pub(super) fn connect(
        &mut self,
        tester: &Tester,
        client: Vec<Vec<u8>>,
        server: Vec<Vec<u8>>,
    ) -> Wire {
        if !tester.calls.names(self.target).is_empty() {
            self.target.unfit("clusters beside connections")
        }
        let running = match self.running.take() {
            Some(running) => running,
            None => self.start_wire().unwrap_or_else(refused),
        };
        let running = self.running.insert(running);
        let Servers::Wire(behind) = &running.servers else {
            return self.target.unfit("a tester for connections alone");
        };
        behind.connect(running.program.address, client, server, PATIENCE)
    }

    /// Lets real time pass.
    pub(super) fn advance(&mut self, tester: &mut Tester, time: Duration) {
        if time > PASSING {
            self.target.unfit("virtual time")
        }
        // A process has begun before the first request here as elsewhere.
        self.running(tester).serve(tester, 0, time, &mut None);
    }

    pub(super) fn metric(&self, name: &str) -> u64 {
        let running = self.running.as_ref();
        running
            .and_then(|running| running.program.metric(name))
            .unwrap_or(0)
    }

    /// Whether the process has logged that text, or does shortly.
    pub(super) fn logged(&self, text: &str) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if running.program.said().contains(text) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

// === impl Running ===

impl Running {
    /// Answers for the test's servers until that client has its response, or the time is up.
    fn serve(
        &self,
        tester: &mut Tester,
        number: u32,
        time: Duration,
        upstream: &mut Option<Seen>,
    ) -> Option<(Seen, bool)> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Done(done, seen, whole)) if done == number => {
                    return Some((seen, whole));
                }
                // Of an exchange that the test has given up.
                Ok(Event::Done(..)) => {}
                Ok(Event::Asked(who, seen, answer)) => {
                    let given = match who {
                        Who::Cluster(name) => tester.calls.asked(&name, &seen),
                        Who::Upstream => {
                            let given = tester.upstream_says(&seen);
                            *upstream = Some(seen);
                            Some((Duration::ZERO, given))
                        }
                    };
                    let given = given.map(|(delay, message)| Given {
                        headers: message.headers,
                        pieces: message.chunks,
                        trailers: message.trailers,
                        delay,
                    });
                    // Who has asked may be gone.
                    let _ = answer.send(given);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}
