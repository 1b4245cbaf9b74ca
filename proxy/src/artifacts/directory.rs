//! A folder that only this user can have written to, opened once for each use.
//!
//! Owner and mode are asked of the open folder, and everything in it is reached through
//! that; so nobody can put another folder, or a link, in its place in between. Files appear
//! whole: they are written under another name, brought to the disk and renamed. A writer
//! holds a lock on what it is writing; what nobody holds is a crashed writer's, and goes.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// A folder as [`Directory::open`] has found it.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

/// Why nothing can be kept, or nothing that is kept can be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// Neither the configuration nor the environment names a folder.
    NoPlace,
    /// It cannot be opened or made.
    Open(PathBuf, io::Error),
    /// It is a link or no folder.
    NoFolder(PathBuf),
    /// It belongs to this user, and we are that one.
    Owner(PathBuf, u32, u32),
    /// Others may write to it: its permissions.
    Mode(PathBuf, u32),
    /// A file cannot be written.
    Write(PathBuf, io::Error),
}

/// Permissions that let others than the owner change something.
const OTHERS_WRITE: u32 = 0o022;
/// How names of files that are being written begin and end.
const PART: (&str, &str) = (".", ".part");
/// How often a new file may be taken for a crashed writer's before it is locked.
const TRIES: usize = 8;

// === impl Directory ===

impl Directory {
    /// The folder, if it is there.
    ///
    /// # Errors
    /// When it is, and cannot be trusted or opened.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Unusable> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(Unusable::NoFolder(path.to_owned())),
            Err(error) => return Err(Unusable::Open(path.to_owned(), error.into())),
        };
        let status = rustix::fs::fstat(&folder)
            .map_err(|error| Unusable::Open(path.to_owned(), error.into()))?;
        let ours = rustix::process::geteuid().as_raw();
        if status.st_uid != ours {
            return Err(Unusable::Owner(path.to_owned(), status.st_uid, ours));
        }
        let mode = status.st_mode & 0o7777;
        if mode & OTHERS_WRITE != 0 {
            return Err(Unusable::Mode(path.to_owned(), mode));
        }
        Ok(Some(Self(folder)))
    }

    /// The folder, made if it is not there; what crashed writers have left is removed.
    ///
    /// # Errors
    /// As [`Directory::open`], and when it cannot be made.
    pub(super) fn create(path: &Path) -> Result<Self, Unusable> {
        let failed = |error| Unusable::Open(path.to_owned(), error);
        if let Some(folder) = Self::open(path)? {
            folder.sweep();
            return Ok(folder);
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(failed)?;
        Self::open(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// The file of that name, if there is one. Whether it can be trusted is another question.
    ///
    /// # Errors
    /// When there is one that cannot be opened, a link among them.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<File>> {
        // Opening must not wait: a pipe would, for somebody to write to it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(io::Error::other("it is a link")),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the file of that name, in the place of one that may be there.
    ///
    /// # Errors
    /// When it cannot be written; then what was there still is.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
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

    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.0,
            name.as_ref(),
            AtFlags::empty(),
        )?)
    }

    /// A new file that nobody else writes, and its name.
    fn part(&self, name: &str) -> io::Result<(String, File)> {
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

// === impl Unusable ===

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlace => f.write_str(
                "there is no folder for it: name one in `artifacts.directory`, or set HOME",
            ),
            Self::Open(path, error) | Self::Write(path, error) => {
                write!(f, "{}: {error}", path.display())
            }
            Self::NoFolder(path) => write!(
                f,
                "{} is a link or no folder: name the folder itself in `artifacts.directory`",
                path.display()
            ),
            Self::Owner(path, owner, ours) => write!(
                f,
                "{} belongs to user {owner}, not to {ours} who runs this: name a folder of its own in `artifacts.directory`, or inside this one",
                path.display()
            ),
            Self::Mode(path, mode) => write!(
                f,
                "others may write to {} (mode {mode:04o}), so what is in it may be theirs: empty it and `chmod 700` it, or name a folder inside it in `artifacts.directory`",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Unusable {}

#[cfg(test)]
mod tests;
