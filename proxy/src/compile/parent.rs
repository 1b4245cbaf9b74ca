//! The proxy's side of the compiler: a child that is this same program, a socket to it, and
//! a clock.
//!
//! One socket carries the module there and the code back, because a socket's reads can have
//! a time limit and be ended from another thread ([`Line::cut`]). Whatever happens, the
//! child is dead and reaped when [`compile`] returns.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cofferdam_abi::Module;
use rustix::process::Signal;

use super::{Failure, MODULE};
use crate::config::Compiler;
use crate::modules::NativeConfig;

/// The way to a child at work, for whoever wants it to end.
#[derive(Debug)]
pub(super) struct Line(UnixStream);

/// Most of what the child says of itself that is read.
const WORDS: u64 = 4 << 10;

/// Compiles `module` in a child process and waits for the result: the content of an
/// artifact's file, unchecked. `begun` gets the means to end it before.
pub(super) fn compile(
    module: &Module,
    config: NativeConfig,
    limits: Compiler,
    begun: impl FnOnce(Line),
) -> Result<Vec<u8>, Failure> {
    let unavailable = |error: io::Error| Failure::Unavailable(error.to_string());
    let deadline = Instant::now() + limits.wall;
    let (ours, theirs) = UnixStream::pair().map_err(unavailable)?;
    let line = ours.try_clone().map_err(unavailable)?;
    let mut child = spawn(config, limits, theirs).map_err(unavailable)?;
    begun(Line(line));
    let talked = talk(ours, &module.bytes, limits.memory, deadline);
    // It has said all it will, or must not go on. A child on its way out keeps its status.
    let _ = child.kill();
    let status = child.wait().map_err(unavailable)?;
    let mut words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(WORDS).read_to_end(&mut words);
    }
    verdict(talked, status, &String::from_utf8_lossy(&words), limits)
}

/// The child has both ends of its work on one socket; ours of it close with this function.
fn spawn(config: NativeConfig, limits: Compiler, socket: UnixStream) -> io::Result<Child> {
    let cpu = limits.cpu.as_millis().div_ceil(1_000);
    let stdin = OwnedFd::from(socket.try_clone()?);
    // This very program, even if another has taken its name since.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("cofferdam")
        .arg("compile-child")
        .args(["--parent", &std::process::id().to_string()])
        .args(["--memory", &limits.memory.to_string()])
        .args(["--cpu", &cpu.to_string()])
        .args(config.fuel.then_some("--fuel"))
        .args(config.compact.then_some("--compact"))
        .stdin(stdin)
        .stdout(OwnedFd::from(socket))
        .stderr(Stdio::piped())
        // What the environment holds is the proxy's; only the loader's own is left.
        .env_clear()
        .envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)))
        // Its allocator may ask for memory only as it uses it, for its limit counts that; and
        // from the system each time: in what it reserves it takes what it was refused as given.
        .envs(["MIMALLOC_EAGER_COMMIT", "MIMALLOC_ARENA_RESERVE"].map(|name| (name, "0")))
        // Ctrl-C is for the proxy, which ends it in its own way.
        .process_group(0);
    command.spawn()
}

/// How the talk with the child has ended.
enum Talk {
    /// It closed its end: all that it wrote.
    Answer(Vec<u8>),
    /// It wrote more than there can be.
    TooMuch,
    /// Its time was over.
    Late,
    Failed(io::Error),
}

fn talk(socket: UnixStream, wasm: &[u8], most: usize, deadline: Instant) -> Talk {
    let mut timed = Timed { socket, deadline };
    let sent = timed.write_all(wasm);
    let _ = timed.socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let read = match sent {
        // It has gone already; what it left says why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(error),
        Ok(()) => Read::by_ref(&mut timed)
            .take(most as u64 + 1)
            .read_to_end(&mut answer),
    };
    match read {
        Ok(_) if answer.len() > most => Talk::TooMuch,
        Ok(_) => Talk::Answer(answer),
        Err(error) if is_late(&error) => Talk::Late,
        // One that dies with the module half read.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Talk::Answer(answer),
        Err(error) => Talk::Failed(error),
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn verdict(
    talked: Talk,
    status: ExitStatus,
    words: &str,
    limits: Compiler,
) -> Result<Vec<u8>, Failure> {
    let answer = match talked {
        Talk::Late => return Err(Failure::Wall(limits.wall)),
        Talk::TooMuch => return Err(Failure::Memory(limits.memory)),
        Talk::Failed(error) => return Err(Failure::Unavailable(error.to_string())),
        Talk::Answer(answer) => answer,
    };
    if status.success() {
        return Ok(answer);
    }
    if status.code() == Some(i32::from(MODULE)) {
        return Err(Failure::Module(one_line(&String::from_utf8_lossy(&answer))));
    }
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Err(Failure::Cpu(limits.cpu));
    }
    // What the allocator of Rust says when it is refused, before it aborts.
    if words.contains("memory allocation of") {
        return Err(Failure::Memory(limits.memory));
    }
    let how = match one_line(words) {
        words if words.is_empty() && status.signal() == Some(Signal::KILL.as_raw()) => {
            "something killed it; the system does that where memory is short".to_owned()
        }
        words if words.is_empty() => status.to_string(),
        words => format!("{words} ({status})"),
    };
    Err(Failure::Crashed(how))
}

/// The first of several lines, of bounded length: it ends up in one line of a log.
fn one_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or_default().trim().chars().take(400).collect()
}

// === impl Line ===

impl Line {
    /// Whoever waits for the child waits no longer, and ends it.
    pub(super) fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A socket whose every step is bounded by one deadline.
struct Timed {
    socket: UnixStream,
    deadline: Instant,
}

// === impl Timed ===

impl Timed {
    /// What is left, at least so much that it is a time limit at all.
    fn left(&self) -> Option<Duration> {
        let left = self.deadline.checked_duration_since(Instant::now());
        Some(left?.max(Duration::from_millis(1)))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left().ok_or(io::ErrorKind::TimedOut)?;
        self.socket.set_read_timeout(Some(left))?;
        self.socket.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left().ok_or(io::ErrorKind::TimedOut)?;
        self.socket.set_write_timeout(Some(left))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
