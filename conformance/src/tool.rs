//! Finding the programs of others, and installing them where that is allowed.
//!
//! On Debian as root a missing program is installed; anywhere else the error names the
//! exact command to type, because a benchmark must not change someone's machine unasked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Error, Result, proc, process};

/// A program by its name, from the Debian package that has it.
///
/// # Errors
/// It is not here and cannot be installed.
pub fn find(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = on_path(program) {
        return Ok(path);
    }
    install(package)?;
    on_path(program).ok_or_else(|| {
        Error::Unavailable(format!(
            "package {package} was installed but has no {program}"
        ))
    })
}

/// Looks a program up on PATH and where system daemons live.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Installs a Debian package, as root on Debian.
///
/// # Errors
/// Not root, not Debian, or apt-get fails; the message says what to type.
pub fn install(package: &str) -> Result<()> {
    let advice = format!("install it: apt-get install -y {package} (as root, on Debian)");
    let debian = Path::new("/etc/debian_version").exists();
    let (true, true, Some(apt)) = (debian, proc::is_root(), on_path("apt-get")) else {
        return Err(Error::Unavailable(format!(
            "{package} is missing; {advice}"
        )));
    };
    eprintln!("installing {package}");
    let install = ["install", "-y", "--no-install-recommends", package];
    if run_apt(&apt, &install)? {
        return Ok(());
    }
    // A machine that never updated its lists knows no packages yet.
    if run_apt(&apt, &["update"])? && run_apt(&apt, &install)? {
        return Ok(());
    }
    Err(Error::Unavailable(format!(
        "apt-get could not install {package}; {advice}"
    )))
}

fn run_apt(apt: &Path, arguments: &[&str]) -> Result<bool> {
    let mut command = Command::new(apt);
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    Ok(process::run(command, Duration::from_secs(300))?.success)
}
