//! Whether the configuration's file, or one that it names, has changed.
//!
//! They are looked at once in a while. That costs some system calls, sees everything that
//! reading them would see (a link that leads elsewhere, as in a volume of Kubernetes; another
//! file in the place of the one before, as editors write; file systems that tell nobody of
//! changes), and goes on where a file is gone for a moment. The thread is there only where the
//! configuration asks for it, and sleeps on what a reload wakes: another period, or none, holds
//! at once.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use crate::modules::Modules;

/// Between two looks at files that have changed: whoever writes them may not be done.
const SETTLE: Duration = Duration::from_millis(50);

/// How much coarser than a clock the times of files may be.
const GRAIN: Duration = Duration::from_secs(1);

/// What tells a file from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: (u64, u64),
}

/// How files looked; `None` where there is none.
type Looks = BTreeMap<PathBuf, Option<Look>>;

/// Whoever looks, as the thread that does reloads knows it: there is never more than one.
#[derive(Debug, Default)]
pub(crate) struct Watcher(Option<Sender<Duration>>);

/// What wakes whoever looks.
struct Rest {
    period: Duration,
    /// Another period; without a sender, none.
    told: Receiver<Duration>,
}

// === impl Watcher ===

impl Watcher {
    /// Has the file in `path`, which was read at `since`, and those that it names looked at
    /// every `period`; never, if there is none.
    ///
    /// # Errors
    /// The system has no thread for that.
    pub(crate) fn look(
        &mut self,
        period: Option<Duration>,
        modules: &Weak<Modules>,
        (path, since): (&Path, SystemTime),
    ) -> io::Result<()> {
        let before = self.0.take();
        let Some(period) = period else {
            return Ok(());
        };
        if let Some(there) = before
            && there.send(period).is_ok()
        {
            self.0 = Some(there);
            return Ok(());
        }
        let (tell, told) = channel();
        let (modules, path) = (modules.clone(), path.to_owned());
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch(&modules, &path, since, Rest { period, told }))?;
        self.0 = Some(tell);
        Ok(())
    }
}

fn watch(modules: &Weak<Modules>, path: &Path, since: SystemTime, mut rest: Rest) {
    let mut files = named(modules, path);
    let mut seen = look(&files);
    // What was written while nobody looked.
    let mut changed = is_newer(&seen, since);
    loop {
        if !changed && !rest.until_due() {
            return;
        }
        let mut now = look(&files);
        if now == seen && !std::mem::take(&mut changed) {
            continue;
        }
        loop {
            if !rest.until_settled() {
                return;
            }
            let again = look(&files);
            if std::mem::replace(&mut now, again.clone()) == again {
                break;
            }
        }
        seen = now;
        if !reload(modules) {
            return;
        }
        files = named(modules, path);
        // What is named now and was before has been looked at before it was read.
        for (file, look) in look(&files) {
            seen.entry(file).or_insert(look);
        }
        seen.retain(|file, _| files.contains(file));
    }
}

// === impl Rest ===

impl Rest {
    /// Until it is time to look; whether anybody still wants that.
    fn until_due(&mut self) -> bool {
        self.wait(|rest| rest.period)
    }

    /// Likewise for as long as a file may still be written.
    fn until_settled(&mut self) -> bool {
        self.wait(|_| SETTLE)
    }

    fn wait(&mut self, time: impl Fn(&Self) -> Duration) -> bool {
        loop {
            match self.told.recv_timeout(time(self)) {
                Ok(period) => self.period = period,
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// Has everything read again, and waits for the end of that; whether there is anybody.
fn reload(modules: &Weak<Modules>) -> bool {
    let (reply, ended) = oneshot::channel();
    let Some(modules) = modules.upgrade() else {
        return false;
    };
    tracing::info!("a file of the configuration has changed");
    modules.reload(Some(reply));
    drop(modules);
    ended.blocking_recv().is_ok()
}

fn named(modules: &Weak<Modules>, path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    if let Some(modules) = modules.upgrade() {
        files.extend(modules.blueprint().config.files.iter().cloned());
    }
    files
}

fn look(files: &[PathBuf]) -> Looks {
    let look = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok();
        let look = metadata.map(|metadata| Look {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
            inode: (metadata.dev(), metadata.ino()),
        });
        (file.clone(), look)
    };
    files.iter().map(look).collect()
}

fn is_newer(looks: &Looks, since: SystemTime) -> bool {
    let since = since.checked_sub(GRAIN).unwrap_or(since);
    let since = since
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let since = (
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        i64::from(since.subsec_nanos()),
    );
    let newer = |look: &Look| look.modified > since || look.changed > since;
    looks.values().flatten().any(newer)
}
