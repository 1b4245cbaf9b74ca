//! Waits until a file among some changes, without waking up for anything else.
//!
//! It is the folders that are watched, since what renews a certificate puts a new file in the
//! old one's place; and in Kubernetes a link named `..data` beside it. Of a link the folder that it
//! leads to is watched too; but a link to a folder that is itself exchanged is not noticed.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// How long to let whoever changes files go on: a certificate and its key are two.
const SETTLE: Duration = Duration::from_millis(250);

/// Files whose change is waited for.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    wanted: Mutex<Wanted>,
}

#[derive(Debug, Default)]
struct Wanted {
    files: BTreeSet<PathBuf>,
    /// What they are called, in their folders and in those that links lead to.
    names: HashSet<OsString>,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC)?,
            wanted: Mutex::default(),
        })
    }

    /// These from now on. Folders of others go on being watched, and ignored.
    pub(super) fn follow(&self, files: BTreeSet<PathBuf>) {
        self.wanted().files = files;
        self.watch_folders();
    }

    /// Returns once one of the files may have changed.
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
            let mut concerned = false;
            loop {
                match reader.next() {
                    Ok(event) => concerned |= self.concerns(&event),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                if reader.is_buffer_empty() {
                    break;
                }
            }
            if concerned {
                std::thread::sleep(SETTLE);
                // A folder that was made anew is another one, and links may lead elsewhere now.
                self.watch_folders();
                return Ok(());
            }
        }
    }

    fn concerns(&self, event: &inotify::Event<'_>) -> bool {
        let whole = ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED;
        match event.file_name() {
            _ if event.events().intersects(whole) => true,
            Some(name) => {
                let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                self.wanted().names.contains(name)
            }
            None => false,
        }
    }

    fn watch_folders(&self) {
        let mut wanted = self.wanted();
        let mut folders = BTreeSet::new();
        let mut names = HashSet::from(["..data".into()]);
        let mut add = |file: &Path| {
            folders.insert(match file.parent() {
                Some(folder) if folder != Path::new("") => folder.to_owned(),
                _ => PathBuf::from("."),
            });
            names.extend(file.file_name().map(ToOwned::to_owned));
        };
        for file in &wanted.files {
            add(file);
            // Where it really lies, if it is there.
            if let Ok(file) = file.canonicalize() {
                add(&file);
            }
        }
        wanted.names = names;
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        for folder in folders {
            if let Err(error) = inotify::add_watch(&self.inotify, &folder, flags) {
                let folder = folder.display();
                tracing::warn!("{folder} is not watched for new certificates: {error}");
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
