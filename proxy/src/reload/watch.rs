//! Whether the configuration's file, or one that it names, has changed.
//!
//! They are looked at once in a while. That costs some system calls, sees everything that
//! reading them would see (a link that leads elsewhere, as in a volume of Kubernetes; another
//! file in the place of the one before, as editors write; file systems that tell nobody of
//! changes), and goes on where a file is gone for a moment. The thread is there only where the
//! configuration asks for it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Weak;
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

/// Watches the file in `path`, which was read at `since`, and those that it names, until the
/// configuration that runs says that nothing is watched.
pub(crate) fn start(modules: Weak<Modules>, path: PathBuf, since: SystemTime) -> io::Result<()> {
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || watch(&modules, &path, since))
        .map(drop)
}

fn watch(modules: &Weak<Modules>, path: &Path, since: SystemTime) {
    let mut files = named(modules, path);
    let mut seen = look(&files);
    // What was written while nobody looked.
    let mut changed = is_newer(&seen, since);
    loop {
        let Some(period) = period(modules) else {
            return;
        };
        if !changed {
            thread::sleep(period);
        }
        let mut now = look(&files);
        if now == seen && !std::mem::take(&mut changed) {
            continue;
        }
        loop {
            thread::sleep(SETTLE);
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

/// How often; `None` for never.
fn period(modules: &Weak<Modules>) -> Option<Duration> {
    modules.upgrade()?.blueprint().config.watch
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
