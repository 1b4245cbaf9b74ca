//! Where the drivers put what they write, and the loopback ports they use.
//!
//! Everything lands under the workspace's `target/`, so `cargo clean` removes it and a
//! checkout stays clean.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Error, Result};

/// The workspace's root, as it was when this crate was built.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The workspace's build directory.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => PathBuf::from(dir),
        _ => workspace().join("target"),
    }
}

/// A directory of this run's own; it goes when the run ends.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes `target/conformance/LABEL-PID`.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(label: &str) -> Result<Self> {
        let dir = target()
            .join("conformance")
            .join(format!("{label}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|error| Error::failed(dir.display(), error))?;
        Ok(Self(dir))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a directory inside.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.0.join(name);
        std::fs::create_dir_all(&dir).map_err(|error| Error::failed(dir.display(), error))?;
        Ok(dir)
    }

    /// Writes a file inside and says where it is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.0.join(name);
        write(&file, text)?;
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what stays behind is under target/ and harmless.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a file, naming it in the error.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|error| Error::failed(file.display(), error))
}

/// Finds `N` different free loopback ports by letting the system choose them.
///
/// They are free when this returns; a program that takes one in between makes the start
/// of the peer fail with its own message.
///
/// # Errors
/// The system gives no port.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    for port in &mut ports {
        *port = free_port()?;
    }
    Ok(ports)
}

/// A port of those that the system gives nobody by itself. A program binds it later, and by
/// then it must not be somebody else's: this process does not name it twice, and other
/// processes begin elsewhere.
fn free_port() -> Result<u16> {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(64);
    for _ in 0..COUNT {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(number % u32::from(COUNT)).unwrap_or(0);
        if TcpListener::bind(loopback(port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Failed("no free loopback port".to_owned()))
}

/// The loopback address with this port.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ() {
        let [a, b, c] = free_ports::<3>().unwrap();
        assert!(a != b && b != c && a != c && a != 0);
    }

    #[test]
    fn a_scratch_directory_goes_with_its_owner() {
        let scratch = Scratch::new("unit").unwrap();
        let file = scratch.write("a.txt", "x").unwrap();
        assert!(file.exists());
        drop(scratch);
        assert!(!file.exists());
    }
}
