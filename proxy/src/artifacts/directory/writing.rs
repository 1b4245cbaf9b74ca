//! Files appear whole: they are written under another name, brought to the disk and renamed.
//! A writer holds a lock on what it is writing; what nobody holds is a crashed writer's, and
//! goes.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::{Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{Directory, Unusable};

/// How names of files that are being written begin and end.
const PART: (&str, &str) = (".", ".part");
/// How often a new file may be taken for a crashed writer's before it is locked.
const TRIES: usize = 8;

// === impl Directory ===

impl Directory {
    /// The folder, made if it is not there; what crashed writers have left is removed.
    ///
    /// # Errors
    /// As [`Directory::open`], and when it cannot be made.
    pub(in crate::artifacts) fn create(path: &Path) -> Result<Self, Unusable> {
        let failed = |error| Unusable::Open(path.to_owned(), error);
        if let Some(folder) = Self::open(path)? {
            folder.sweep();
            return Ok(folder);
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed)?;
        Self::open(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Writes the file of that name, in the place of one that may be there.
    ///
    /// # Errors
    /// When it cannot be written; then what was there still is.
    pub(in crate::artifacts) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (part, mut file) = self.part(name)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(rustix::fs::renameat(&self.0, &part, &self.0, name)?));
        if written.is_err() {
            let _ = self.remove(&part);
            return written;
        }
        // The name is what must survive; a file system that cannot promise it has it all the same.
        let _ = rustix::fs::fsync(&self.0);
        Ok(())
    }

    /// A new file that nobody else writes, and its name.
    pub(super) fn part(&self, name: &str) -> io::Result<(String, File)> {
        for _ in 0..TRIES {
            let part = format!("{}{name}-{:016x}{}", PART.0, fastrand::u64(..), PART.1);
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let file = match rustix::fs::openat(&self.0, &part, flags, mode) {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            // Whoever sweeps may have come between; then the name is gone, and so is the lock's use.
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            if locked.is_ok() && rustix::fs::fstat(&file)?.st_nlink > 0 {
                // Whatever the mask of new files says.
                rustix::fs::fchmod(&file, mode)?;
                return Ok((part, file.into()));
            }
            let _ = self.remove(&part);
        }
        Err(io::Error::other("another process keeps removing new files"))
    }

    /// Removes what writers have begun that are no more.
    fn sweep(&self) {
        let Ok(entries) = Dir::read_from(&self.0) else {
            return;
        };
        for entry in entries.map_while(Result::ok) {
            let name = entry.file_name().to_bytes();
            if name.starts_with(PART.0.as_bytes()) && name.ends_with(PART.1.as_bytes()) {
                self.sweep_part(OsStr::from_bytes(name));
            }
        }
    }

    fn sweep_part(&self, name: &OsStr) {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let writing = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err(),
            // Nothing we make can be a link.
            Err(Errno::LOOP) => false,
            Err(_) => true,
        };
        if !writing && self.remove(name).is_ok() {
            tracing::debug!(file = %name.display(), "removed what a writer had begun");
        }
    }
}
