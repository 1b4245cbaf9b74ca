//! The real binary.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::lines::Lines;
use super::{Client, Dir, LONGEST, Message, client};

/// A running proxy; killed when it goes, unless it has ended.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    /// What it logs.
    pub(crate) log: Lines,
    /// What it writes to standard output.
    pub(crate) stdout: Lines,
    pub(crate) dir: Dir,
    addresses: BTreeMap<String, SocketAddr>,
}

/// What a proxy is started with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) dir: Dir,
    arguments: Vec<String>,
    command: &'static str,
    after: Vec<String>,
    /// What a shell does before it becomes the binary.
    shell: Option<&'static str>,
    /// What is started in the place of the binary.
    program: Option<PathBuf>,
    environment: Vec<(&'static str, OsString)>,
}

/// One listener `web`, one cluster `backend` at `address`, one worker, and on
/// standard output an access log of `STATUS FLAGS DETAILS METHOD PATH`.
pub(crate) fn plain(address: SocketAddr) -> String {
    format!(
        "listeners:\n\
         - name: web\n\
         \x20 address: 127.0.0.1:0\n\
         \x20 routes: [{{ match: {{ prefix: / }}, cluster: backend }}]\n\
         clusters: [{{ name: backend, endpoints: ['{address}'] }}]\n\
         workers: 1\n\
         access_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %REQ(:METHOD)% %REQ(:PATH)%' }}\n"
    )
}

/// The same through one filter, the module `FILE`.
pub(crate) fn filtered(address: SocketAddr, file: &str) -> String {
    let filter = format!("filters: [{{ name: guest, module: {{ file: '{file}' }} }}]\n");
    let listener = "\x20 address: 127.0.0.1:0\n";
    plain(address).replace(listener, &format!("{listener}\x20 filters: [guest]\n")) + &filter
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    finish(command().args(arguments))
}

/// The same of a command that a test has prepared.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    // Read beside the wait: a full pipe would keep it from ending.
    let (stdout, stderr) = (
        Lines::of(child.stdout.take().unwrap()),
        Lines::of(child.stderr.take().unwrap()),
    );
    let status = ended(&mut child).unwrap_or_else(|| {
        let _ = child.kill();
        panic!("{command:?} did not end:\n{}", stderr.text())
    });
    let whole = |lines: Lines| {
        lines.find(|_| false);
        lines
            .all()
            .iter()
            .flat_map(|line| format!("{line}\n").into_bytes())
            .collect()
    };
    Output {
        status,
        stdout: whole(stdout),
        stderr: whole(stderr),
    }
}

/// Its exit status and what it wrote to standard error, line by line.
pub(crate) fn refused(dir: &Dir, verb: &str, yaml: &str) -> (Option<i32>, Vec<String>) {
    let file = dir.write("config.yaml", yaml);
    let output = run(&["--log", "warn", verb, "--config", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    (
        output.status.code(),
        text.lines().map(ToOwned::to_owned).collect(),
    )
}

/// The binary, as nobody else's settings have it.
pub(crate) fn command() -> Command {
    command_of(Path::new(BINARY))
}

/// Where it is.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_cofferdam");

fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("COFFERDAM_LOG")
        .env_remove("COFFERDAM_LOG_FORMAT")
        // Never the machine's own cache.
        .env_remove("CACHE_DIRECTORY")
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// A shell with the same environment, which becomes its first argument when it has done
/// `shell`.
fn after(shell: &str, command: Command) -> Command {
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", &format!("{shell}; exec \"$@\""), "sh"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => sh.env(name, value),
            None => sh.env_remove(name),
        };
    }
    sh
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + LONGEST;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

// === impl Setup ===

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            dir: Dir::new(),
            arguments: Vec::new(),
            command: "run",
            after: Vec::new(),
            shell: None,
            program: None,
            environment: Vec::new(),
        }
    }

    /// Started from there, where the binary must be.
    pub(crate) fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Started by a shell that has done this before.
    pub(crate) fn under(mut self, shell: &'static str) -> Self {
        self.shell = Some(shell);
        self
    }

    /// More on the command line, before the command.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Another command than `run`.
    pub(crate) fn command(mut self, command: &'static str) -> Self {
        self.command = command;
        self
    }

    /// More on the command line, after the command.
    pub(crate) fn after(mut self, arguments: &[&str]) -> Self {
        self.after
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts `cofferdam run` and waits until every listener listens.
    pub(crate) fn start(self, yaml: &str) -> Proxy {
        self.spawn(yaml).listening(yaml)
    }

    /// Starts `cofferdam run`.
    pub(crate) fn spawn(self, yaml: &str) -> Proxy {
        let file = self.dir.write("config.yaml", yaml);
        let mut command = match &self.program {
            None => command(),
            Some(program) => command_of(program),
        };
        command.envs(self.environment);
        if let Some(shell) = self.shell {
            let program = command.get_program().to_owned();
            command = after(shell, command);
            command.arg(program);
        }
        let mut child = command
            .args(&self.arguments)
            .args([self.command, "--config"])
            .arg(file)
            .args(&self.after)
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, stdout) = (
            Lines::of(child.stderr.take().unwrap()),
            Lines::of(child.stdout.take().unwrap()),
        );
        Proxy {
            child,
            log,
            stdout,
            dir: self.dir,
            addresses: BTreeMap::new(),
        }
    }
}

/// `... listening: NAME ADDRESS`.
fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let (name, address) = line.split_once("listening: ")?.1.split_once(' ')?;
    Some((
        name.to_owned(),
        address.split(['"', ' ']).next()?.parse().ok()?,
    ))
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn start(yaml: &str) -> Self {
        Setup::new().start(yaml)
    }

    /// Waits until every listener of the configuration listens.
    fn listening(mut self, yaml: &str) -> Self {
        let wanted = yaml.matches("address: 127.0.0.1:0").count();
        while self.addresses.len() < wanted {
            let known = self.addresses.len();
            let line = self.log.find(|line| {
                listening(line).is_some_and(|(name, _)| !self.addresses.contains_key(&name))
            });
            let Some((name, address)) = line.as_deref().and_then(listening) else {
                panic!(
                    "only {known} of {wanted} listeners listen:\n{}",
                    self.log.text()
                );
            };
            self.addresses.insert(name, address);
        }
        self
    }

    /// As [`plain`] says.
    pub(crate) fn in_front_of(address: SocketAddr) -> Self {
        Self::start(&plain(address))
    }

    /// The address of the listener `web`.
    pub(crate) fn web(&self) -> SocketAddr {
        self.address("web")
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    /// A connection to the listener `web`.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.web())
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Message {
        client::get(self.web(), path)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops all of its threads, until it is told to go on ([`Signal::CONT`]).
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.id());
        let all_stand = || {
            std::fs::read_dir(&tasks).unwrap().all(|task| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
                // Behind the name, which may hold anything.
                stat.is_ok_and(|stat| stat.rsplit(')').next().unwrap().starts_with(" T"))
            })
        };
        let until = Instant::now() + LONGEST;
        while !all_stand() {
            assert!(Instant::now() < until, "the proxy does not stand still");
            std::thread::yield_now();
        }
    }

    /// Waits for its end.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        ended(&mut self.child)
            .unwrap_or_else(|| panic!("the proxy did not end:\n{}", self.log.text()))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends the signal and waits until the proxy has said that it drains, and lets nobody in.
    pub(crate) fn begin_to_end(&self, signal: Signal) {
        self.signal(signal);
        self.log.wait_for("draining");
        let until = Instant::now() + LONGEST;
        while client::is_let_in(self.web()) {
            assert!(Instant::now() < until, "new connections are still taken");
            std::thread::yield_now();
        }
    }

    /// SIGTERM, and its end.
    pub(crate) fn drain(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit()
    }

    /// A line of `/proc/PID/status`, in its own unit.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- log of the proxy ---\n{}\n--- its standard output ---\n{}",
                self.log.text(),
                self.stdout.text()
            );
        }
    }
}
