//! Files a configuration names: found beside it, read once each, and shared.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Error, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::config::yaml::{Node, quote};

/// Largest file a configuration may name.
const MAX_BYTES: u64 = 256 << 20;

/// The files read so far.
#[derive(Debug)]
pub(super) struct Files<'t> {
    folder: &'t Path,
    read: RefCell<HashMap<PathBuf, Result<Bytes, String>>>,
}

// === impl Files ===

impl<'t> Files<'t> {
    pub(super) fn new(folder: &'t Path) -> Self {
        Self {
            folder,
            read: RefCell::default(),
        }
    }

    /// `name` as seen from the configuration file's folder.
    pub(super) fn locate(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The files that have been named so far, whether or not they could be read.
    pub(super) fn names(&self) -> Vec<PathBuf> {
        self.read.borrow().keys().cloned().collect()
    }

    /// The file that `node` names, and what is in it.
    pub(super) fn read(&self, node: &Node<'_>) -> Option<(PathBuf, Bytes)> {
        let path = self.named(node)?;
        let bytes = self.content(&path).ok()?;
        Some((path, bytes))
    }

    /// The file that `node` names. Where it cannot be read that is noted; what is beside it can
    /// be looked at all the same.
    pub(super) fn named(&self, node: &Node<'_>) -> Option<PathBuf> {
        let name = node.filled()?;
        let path = self.locate(name);
        if let Err(why) = self.content(&path) {
            let help = format!("check the name and permissions of {}", path.display());
            node.wrong(format!("{} cannot be read: {why}", quote(name)), help);
        }
        Some(path)
    }

    /// What is in a file, read before or now.
    pub(super) fn content(&self, path: &Path) -> Result<Bytes, String> {
        self.read
            .borrow_mut()
            .entry(path.to_owned())
            .or_insert_with(|| read(path).map_err(|error| reason(&error)))
            .clone()
    }
}

pub(super) fn read(path: &Path) -> Result<Bytes, Error> {
    // Asked first: opening a pipe would wait for whoever writes to it.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    bounded(path)
}

/// Likewise of a file that may be a pipe, named by who waits for it.
pub(super) fn bounded(path: &Path) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::new(ErrorKind::InvalidData, "larger than 256MiB"));
    }
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::InvalidData, "it is empty"));
    }
    Ok(Bytes::from(bytes))
}

/// Why a file could not be read, without the number of the error.
pub(super) fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
