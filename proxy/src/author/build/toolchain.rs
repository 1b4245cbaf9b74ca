//! What compiles Rust to wasm on this machine. The first of these ways that works:
//!
//! 1. the target of the installed toolchain
//! 2. `rustup target add`
//! 3. Debian's own toolchain, which brings the library's sources: for machines where rustup
//!    can download nothing (installed when this runs as root on Debian)
//!
//! `COFFERDAM_GUEST_TOOLCHAIN=rustup|debian` allows only 1 and 2, or only 3, as in
//! `filters/build.sh`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Failure, ask, note};

/// What filters are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip1";

/// Debian's compiler, beside rustup's.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_PACKAGES: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "wasi-libc",
];
/// Where Debian has the C library of WASI.
const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";
/// The oldest compiler that knows all the code there is in our crates.
const OLDEST: (u32, u32) = (1, 95);

/// The default shadow stack is 1 MiB, which every VM would carry. A guest that overruns it
/// traps: it lies below everything else.
const STACK: &str = "-Clink-arg=-zstack-size=65536";

/// A way to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Toolchain {
    /// Whatever cargo is on the path.
    Installed,
    /// Debian's, with this linker.
    Debian(PathBuf),
}

// === impl Toolchain ===

impl Toolchain {
    /// The first way that works.
    ///
    /// # Errors
    /// What to install.
    pub(super) fn find() -> Result<Self, Failure> {
        let allowed = std::env::var("COFFERDAM_GUEST_TOOLCHAIN").unwrap_or_default();
        let (rustup, debian) = (allowed != "debian", allowed != "rustup");
        if rustup && has_target() {
            return Ok(Self::Installed);
        }
        if rustup && !has_debian() && add_target() && has_target() {
            return Ok(Self::Installed);
        }
        if debian
            && (has_debian() || (install_debian() && has_debian()))
            && let Some(linker) = linker()
        {
            return Ok(Self::Debian(linker));
        }
        if rustup && has_debian() && add_target() && has_target() {
            return Ok(Self::Installed);
        }
        Err(missing(rustup))
    }

    /// `cargo build` for wasm, in release, into a directory of its own for each toolchain:
    /// two compilers would undo each other's work.
    pub(super) fn cargo_build(&self, manifest: &Path, target: &Path) -> (Command, PathBuf) {
        let (program, target) = match self {
            Self::Installed => ("cargo", target.join("cofferdam")),
            Self::Debian(_) => (DEBIAN_CARGO, target.join("cofferdam-debian")),
        };
        let mut flags = vec![STACK];
        let library = format!("-L{WASI_LIBC}");
        let mut command = Command::new(program);
        command
            // Flags meant for the host's compiler have no place here.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS")
            .env("CARGO_TARGET_DIR", &target)
            .args(["build", "--release", "--lib", "--target", TARGET])
            .arg("--manifest-path")
            .arg(manifest);
        if let Self::Debian(linker) = self {
            flags.extend([&*library, "-Clink-self-contained=no"]);
            command
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_WASIP1_LINKER", linker)
                .arg("-Zbuild-std=std,panic_abort");
        }
        let flags: Vec<String> = flags.iter().map(|flag| format!("{flag:?}")).collect();
        let flags = format!("target.{TARGET}.rustflags=[{}]", flags.join(","));
        command.args(["--config", &flags]);
        let out = target.join(TARGET).join("release");
        (command, out)
    }

    /// For people: what is unusual about it.
    pub(super) const fn remark(&self) -> Option<&'static str> {
        match self {
            Self::Installed => None,
            Self::Debian(_) => {
                Some("with Debian's toolchain; the first build includes the standard library")
            }
        }
    }
}

/// Whether a program is on the path.
pub(super) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn has_target() -> bool {
    let folder = ask("rustc", &["--print", "target-libdir", "--target", TARGET]);
    folder.is_some_and(|folder| Path::new(&folder).is_dir())
}

fn add_target() -> bool {
    if !have("rustup") {
        return false;
    }
    note(&format!("rustup target add {TARGET}"));
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]);
    quiet(&mut command)
}

fn has_debian() -> bool {
    let there = Path::new(DEBIAN_CARGO).is_file() && Path::new(WASI_LIBC).is_dir();
    there && has_sources() && version(DEBIAN_RUSTC).is_some_and(|version| version >= OLDEST)
}

fn has_sources() -> bool {
    let root = ask(DEBIAN_RUSTC, &["--print", "sysroot"]).unwrap_or_default();
    Path::new(&root)
        .join("lib/rustlib/src/rust/library")
        .is_dir()
}

fn version(rustc: &str) -> Option<(u32, u32)> {
    let said = ask(rustc, &["--version"])?;
    let mut numbers = said.split(' ').nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn install_debian() -> bool {
    let debian = Path::new("/etc/debian_version").is_file() && have("apt-get");
    if !debian || !rustix::process::geteuid().is_root() {
        return false;
    }
    note(&format!("apt-get install {}", DEBIAN_PACKAGES.join(" ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments);
        quiet(&mut command)
    };
    let install = ["install", "-y", "--no-install-recommends"];
    apt(&["update"]) && apt(&[&install[..], &DEBIAN_PACKAGES].concat())
}

/// The linker itself: `gcc-ld/wasm-ld` will not do, because rustc passes `-flavor`.
fn linker() -> Option<PathBuf> {
    let sysroots = [DEBIAN_RUSTC, "rustc"].into_iter();
    for root in sysroots.filter_map(|rustc| ask(rustc, &["--print", "sysroot"])) {
        let targets = std::fs::read_dir(Path::new(&root).join("lib/rustlib"));
        let found = targets.into_iter().flatten().flatten().find_map(|entry| {
            let linker = entry.path().join("bin/rust-lld");
            linker.is_file().then_some(linker)
        });
        if found.is_some() {
            return found;
        }
    }
    have("rust-lld").then(|| PathBuf::from("rust-lld"))
}

/// Nobody sees what it says, but for a terminal.
fn quiet(command: &mut Command) -> bool {
    use std::io::IsTerminal as _;
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if !std::io::stderr().is_terminal() {
        command.stderr(Stdio::null());
    }
    command.status().is_ok_and(|status| status.success())
}

fn missing(rustup: bool) -> Failure {
    let what = if rustup && have("rustup") {
        format!("there is no standard library for {TARGET}; type: rustup target add {TARGET}")
    } else if Path::new("/etc/debian_version").is_file() {
        format!(
            "there is no standard library for {TARGET}; type: sudo apt-get install -y {}",
            DEBIAN_PACKAGES.join(" ")
        )
    } else {
        format!(
            "there is no standard library for {TARGET}, and no rustup to get it with; see https://rustup.rs, then type: rustup target add {TARGET}"
        )
    };
    Failure::Unavailable(what)
}
