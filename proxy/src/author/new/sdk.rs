//! The guest library as the binary carries it, unpacked once for each version into the user's
//! cache. A filter's manifest names that place, so whoever builds it has it unpacked again where
//! it is not there: on another machine, or after the cache was emptied.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::artifacts::location::{self, Surroundings};
use crate::author::build::{Failure, note};

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
    let library = folder.join("sdk");
    if !is_library(&library) {
        // What cleans caches may have left folders without files.
        let _ = std::fs::remove_dir_all(&folder);
        unpack(&folder)
            .map_err(|error| Failure::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    Ok(Some(library))
}

/// Sees to it that the library which the manifest in `dir` names is there, if it is one that we
/// unpack.
///
/// # Errors
/// It is one that another binary unpacked, or for another user, and is not there.
pub(in crate::author) fn provide(dir: &Path) -> Result<(), Failure> {
    let manifest = dir.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap_or_default();
    let Some(named) = named(&text) else {
        return Ok(());
    };
    if is_library(&named) || !is_in_a_cache(&named) {
        return Ok(());
    }
    let ours = unpacked()?;
    if ours.as_ref() == Some(&named) {
        note(&format!(
            "the guest library is unpacked into {}",
            named.display()
        ));
        return Ok(());
    }
    let remedy = match ours {
        Some(ours) => format!(
            "write {:?} there, which is this binary's",
            ours.display().to_string()
        ),
        None => "write there where a copy of it is".to_owned(),
    };
    Err(Failure::Unusable(format!(
        "{}: the guest library is not in {}, where `cofferdam new` of another version, machine or user put it; \
         {remedy}, or keep a copy of the library beside the filter (`cofferdam new --sdk-path DIR`)",
        manifest.display(),
        named.display()
    )))
}

/// The first path that a manifest has for the library.
fn named(manifest: &str) -> Option<PathBuf> {
    let mut lines = manifest.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with("cofferdam-sdk ") && line.contains("path ="))?;
    let (_, path) = line.split_once("path = \"")?;
    Some(path.split_once('"')?.0.into())
}

/// Whether it is where `new` unpacks one, whoever ran it: `…/cofferdam/sdk/VERSION/sdk`.
fn is_in_a_cache(library: &Path) -> bool {
    let mut names = library.iter().rev();
    let mut next = || names.next().and_then(|name| name.to_str()).unwrap_or("");
    let (last, _version, sdk, cache) = (next(), next(), next(), next());
    (last, sdk, cache) == ("sdk", "sdk", "cofferdam") && library.is_absolute()
}

fn is_library(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file()
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
