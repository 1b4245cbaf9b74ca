//! Child processes that cannot outlive the run and commands that cannot hang it.
//!
//! Every child is ended by its own id: when its guard is dropped (also while a panic
//! unwinds), and by the kernel (`setpriv --pdeathsig`, where it exists) when this
//! process is killed outright.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::{Error, Result, proc, tool};

/// How a bounded command ended.
#[derive(Debug)]
pub struct Finished {
    /// Whether it exited with status 0.
    pub success: bool,
    /// Its exit status, unless a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

/// Runs a command to its end, but no longer than `limit`.
///
/// # Errors
/// It cannot be started, or it was killed at the limit.
pub fn run(mut command: Command, limit: Duration) -> Result<Finished> {
    let name = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::failed(&name, error))?;
    let stdout = child.stdout.take().map(read_aside);
    let stderr = child.stderr.take().map(read_aside);
    let mut guard = Guard { child };
    let Some(status) = guard.wait(limit)? else {
        let seconds = limit.as_secs();
        return Err(Error::Failed(format!(
            "{name} was still running after {seconds} s"
        )));
    };
    Ok(Finished {
        success: status.success(),
        code: status.code(),
        stdout: joined(stdout),
        stderr: joined(stderr),
    })
}

type Reading = std::thread::JoinHandle<String>;

fn read_aside(mut pipe: impl Read + Send + 'static) -> Reading {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A read that fails half way leaves what came before it.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn joined(reading: Option<Reading>) -> String {
    reading
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default()
}

/// A server that runs until this value is dropped.
#[derive(Debug)]
pub struct Server {
    name: String,
    log: PathBuf,
    guard: Guard,
}

impl Server {
    /// Starts a program in the background; what it prints goes to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start<I, S>(name: &str, program: &Path, arguments: I, log: PathBuf) -> Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let out = File::create(&log).map_err(|error| Error::failed(log.display(), error))?;
        let err = out
            .try_clone()
            .map_err(|error| Error::failed(log.display(), error))?;
        // What it caches goes with its log, and is never what another run has left.
        let caches = log.parent().unwrap_or(&log).join("cache");
        let child = dying_with_us(program)
            .args(arguments)
            .env("XDG_CACHE_HOME", caches)
            .env_remove("CACHE_DIRECTORY")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| Error::failed(program.display(), error))?;
        Ok(Self {
            name: name.to_owned(),
            log,
            guard: Guard { child },
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.guard.child.id()
    }

    /// Waits until it accepts connections on `address`.
    ///
    /// # Errors
    /// It ended, or does not listen within the limit; the end of its log is in the message.
    pub fn wait_listening(&mut self, address: SocketAddr, limit: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            self.check()?;
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            if start.elapsed() > limit {
                let name = &self.name;
                let log = self.log_end();
                return Err(Error::Failed(format!(
                    "{name} never listened on {address}{log}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes sure it still runs.
    ///
    /// # Errors
    /// It ended; the end of its log is in the message.
    pub fn check(&mut self) -> Result<()> {
        match self.guard.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let log = self.log_end();
                Err(Error::Failed(format!(
                    "{} ended with {status}{log}",
                    self.name
                )))
            }
            Err(error) => Err(Error::failed(&self.name, error)),
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// It has not ended within the limit.
    pub fn terminate(&mut self, limit: Duration) -> Result<()> {
        signal("TERM", &[self.pid()]);
        if self.guard.wait(limit)?.is_some() {
            return Ok(());
        }
        let (name, log) = (&self.name, self.log_end());
        Err(Error::Failed(format!("{name} does not end{log}")))
    }

    /// Tells it to read again what it runs (SIGHUP).
    pub fn hang_up(&self) {
        signal("HUP", &[self.pid()]);
    }

    /// Ends it at once: for what has nothing to say any more.
    pub fn kill(&mut self) {
        // One that is gone already is what was wanted.
        let _ = self.guard.child.kill();
        let _ = self.guard.child.wait();
    }

    fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(12)..)
            .unwrap_or_default();
        if tail.is_empty() {
            return String::new();
        }
        format!("; its log ends:\n{}", tail.join("\n"))
    }
}

/// Ends its process, and the processes below it, when dropped.
#[derive(Debug)]
struct Guard {
    child: Child,
}

impl Guard {
    /// How it ended, if it did in time.
    fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(Some(status)),
                Ok(None) if start.elapsed() > limit => return Ok(None),
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(Error::failed("waiting for a command", error)),
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let members = proc::tree(self.child.id());
        // nginx's master takes its workers with it only when asked politely.
        signal("TERM", &members[..1]);
        if matches!(self.wait(Duration::from_secs(2)), Ok(Some(_))) {
            return;
        }
        // Workers first: a killed master would leave them to init.
        signal("KILL", &members[1..]);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that the kernel ends when this process dies, where `setpriv` can arrange it.
fn dying_with_us(program: &Path) -> Command {
    let Some(setpriv) = tool::on_path("setpriv") else {
        return Command::new(program);
    };
    let mut command = Command::new(setpriv);
    // It replaces itself with the program, so the process id is the program's.
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

pub(crate) fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    // The shell's own `kill`: the standard library can only send SIGKILL, and a system
    // call would need unsafe code.
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$0\" \"$@\"", name])
        .args(pids.iter().map(u32::to_string))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_is_run_to_its_end() {
        let done = run(
            shell("echo out; echo err >&2; exit 3"),
            Duration::from_secs(10),
        )
        .unwrap();
        assert!(!done.success);
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("out\n", "err\n")
        );
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let error = run(shell("exec sleep 60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("still running"), "{error}");
    }

    #[test]
    fn a_dropped_server_is_gone_with_its_children() {
        let scratch = crate::scratch::Scratch::new("unit-server").unwrap();
        let sleeper = "trap 'kill $!; exit' TERM; sleep 60 & wait";
        let log = scratch.path().join("log");
        let server = Server::start("sh", Path::new("/bin/sh"), ["-c", sleeper], log).unwrap();
        let pid = server.pid();
        while proc::tree(pid).len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_server_that_ends_is_reported_with_its_log() {
        let scratch = crate::scratch::Scratch::new("unit-ended").unwrap();
        let log = scratch.path().join("log");
        let arguments = ["-c", "echo no such key >&2; exit 64"];
        let mut server = Server::start("sh", Path::new("/bin/sh"), arguments, log).unwrap();
        let [port] = crate::scratch::free_ports::<1>().unwrap();
        let error = server
            .wait_listening(crate::scratch::loopback(port), Duration::from_secs(10))
            .unwrap_err();
        assert!(error.to_string().contains("no such key"), "{error}");
    }
}
