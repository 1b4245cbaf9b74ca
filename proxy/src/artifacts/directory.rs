//! A folder that only this user can have written to, opened once for each use.
//!
//! Owner and mode are asked of the open folder, and everything in it is reached through
//! that; so nobody can put another folder, or a link, in its place in between.

#[cfg(feature = "compiler")]
mod writing;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// A folder as [`Directory::open`] has found it.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

/// Why nothing can be kept, or nothing that is kept can be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// Neither the configuration nor the environment names a folder.
    #[cfg(feature = "compiler")]
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
    #[cfg(feature = "compiler")]
    Write(PathBuf, io::Error),
}

/// Permissions that let others than the owner change something.
const OTHERS_WRITE: u32 = 0o022;

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

    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.0,
            name.as_ref(),
            AtFlags::empty(),
        )?)
    }
}

// === impl Unusable ===

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "compiler")]
            Self::NoPlace => f.write_str(
                "there is no folder for it: name one in `artifacts.directory`, or set HOME",
            ),
            Self::Open(path, error) => write!(f, "{}: {error}", path.display()),
            #[cfg(feature = "compiler")]
            Self::Write(path, error) => write!(f, "{}: {error}", path.display()),
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

#[cfg(all(test, feature = "compiler"))]
mod tests;
