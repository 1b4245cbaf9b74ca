//! The guest library as the binary carries it, unpacked once for each version into the user's
//! cache.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::artifacts::location::{self, Surroundings};
use crate::author::build::Failure;

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// Where it is; unpacked now, if it was not. `None`: this binary carries none.
///
/// # Errors
/// It cannot be written.
pub(super) fn unpacked() -> Result<Option<PathBuf>, Failure> {
    if FILES.is_empty() {
        return Ok(None);
    }
    let Some(caches) = location::caches(&Surroundings::of_this_process()) else {
        let what = "nothing says where caches are; set HOME or XDG_CACHE_HOME, or give --sdk-path";
        return Err(Failure::Unavailable(what.to_owned()));
    };
    let folder = caches.join("sdk").join(version());
    if !folder.is_dir() {
        unpack(&folder)
            .map_err(|error| Failure::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    Ok(Some(folder.join("sdk")))
}

/// The crates' version, and a digest: two builds of one version may differ.
fn version() -> String {
    let mut digest = Sha256::new();
    for (name, text) in FILES {
        digest.update(name.as_bytes());
        digest.update([0]);
        digest.update(text.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    let short: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{short}", env!("CARGO_PKG_VERSION"))
}

/// Aside first: a folder of that name is whole, whoever looks.
fn unpack(folder: &Path) -> std::io::Result<()> {
    let aside = folder.with_extension(format!("new-{}", std::process::id()));
    for (name, text) in FILES {
        let file = aside.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&file, text)?;
    }
    let renamed = std::fs::rename(&aside, folder);
    if renamed.is_err() {
        let _ = std::fs::remove_dir_all(&aside);
    }
    // Somebody else was faster: theirs is the same.
    if folder.is_dir() { Ok(()) } else { renamed }
}
