//! The binary, started anew as it was started before: from its path, where another may be
//! now.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

/// What makes a process take over.
const TAKE_OVER: &str = "--take-over";

/// Where the binary was when this process began: what is there later is another.
static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Remembers it.
pub(crate) fn remember() {
    PATH.get_or_init(|| std::env::current_exe().ok());
}

/// A process that is to take over.
#[derive(Debug)]
pub(super) struct Successor {
    pid: u32,
    /// Whoever waits for it says how it ended.
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
    /// No other process ever has it, unlike its id. Not every system gives one.
    handle: Option<OwnedFd>,
    command: String,
}

// === impl Successor ===

impl Successor {
    /// Starts it with this one's arguments, environment, folder and output.
    pub(super) fn start() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        // As it was typed: it may be a link, and lead elsewhere by now.
        let typed = arguments.next().unwrap_or_default();
        let mut arguments: Vec<OsString> = arguments.collect();
        if !arguments.iter().any(|argument| argument == TAKE_OVER) {
            arguments.push(TAKE_OVER.into());
        }
        let spawn = |program: &std::ffi::OsStr| Command::new(program).args(&arguments).spawn();
        let (program, mut child) = match (spawn(&typed), PATH.get()) {
            (Ok(child), _) => (typed, child),
            // Whoever started this one may have called it anything.
            (Err(error), Some(Some(path))) if error.kind() == io::ErrorKind::NotFound => {
                (path.clone().into_os_string(), spawn(path.as_os_str())?)
            }
            (Err(error), _) => {
                let program = typed.display();
                return Err(io::Error::new(error.kind(), format!("{program}: {error}")));
            }
        };
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok();
        let words = std::iter::once(&program).chain(&arguments);
        let words: Vec<String> = words.map(|word| word.display().to_string()).collect();
        let pid = child.id();
        let (told, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("successor".to_owned())
            .spawn(move || told.send(child.wait()))?;
        Ok(Self {
            pid,
            ended,
            handle,
            command: words.join(" "),
        })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// As one would type it.
    pub(super) fn command(&self) -> &str {
        &self.command
    }

    /// Until it has ended; how.
    pub(super) async fn ended(&mut self) -> String {
        match (&mut self.ended).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(gone) => gone.to_string(),
        }
    }

    /// Ends it: at once, or as an operator would.
    pub(super) fn end(&self, at_once: bool) {
        let signal = if at_once { Signal::KILL } else { Signal::TERM };
        // It may have gone by itself.
        let _ = match &self.handle {
            Some(handle) => pidfd_send_signal(handle, signal),
            None => Ok(()),
        };
    }
}
