//! The socket at which processes meet, and its folder, in which this user alone may have
//! put it.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::{Inheritance, Key};
use crate::listener::bind_unix;

/// Permissions that let others than the owner change something.
const OTHERS_WRITE: u32 = 0o022;

/// Listens at `path`, or goes on to.
///
/// # Errors
/// Why not, and what to do.
pub(crate) fn listen(path: &Path, inherited: &mut Inheritance) -> Result<UnixListener, String> {
    if let Some(socket) = inherited.take(&Key::of_place(path)).pop() {
        return Ok(UnixListener::from(socket));
    }
    check(path)?;
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{}: a process answers there already; start this one with --take-over to take its place, or end it first",
            path.display()
        ),
        _ => format!("{}: {error}", path.display()),
    };
    let socket = bind_unix(path).map_err(told)?;
    // Who may connect is asked of every connection; this says it to whoever looks.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(told)?;
    Ok(socket)
}

/// Connects to the process that listens at `path`, if there is one.
///
/// # Errors
/// Why it must not be asked.
pub(super) fn connect(path: &Path) -> Result<Option<UnixStream>, String> {
    check(path)?;
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(format!("{}: {error}", path.display())),
        },
    }
}

/// Whether nobody else could have put something there.
fn check(path: &Path) -> Result<(), String> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let shown = folder.display();
    let found = std::fs::symlink_metadata(folder).map_err(|error| {
        format!("{shown}: {error}; make the folder: `install -d -m 700 {shown}`")
    })?;
    if !found.is_dir() {
        return Err(format!(
            "{shown} is a link or no folder: name the folder itself"
        ));
    }
    let ours = rustix::process::geteuid().as_raw();
    if found.uid() != ours {
        let owner = found.uid();
        return Err(format!(
            "{shown} belongs to user {owner}, not to {ours} who runs this: name a folder of its own"
        ));
    }
    let mode = found.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(format!(
            "others may write to {shown} (mode {mode:04o}), so who answers there may be theirs: `chmod 700` it"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_that_nobody_else_writes_to_will_do() {
        let folder = std::env::temp_dir().join(format!("cofferdam-place-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mode = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&folder, permissions).unwrap();
        };
        let path = folder.join("socket");
        for bad in [0o777, 0o770, 0o702] {
            mode(bad);
            let told = listen(&path, &mut Inheritance::default()).unwrap_err();
            assert!(told.contains("others may write"), "{told}");
            assert!(connect(&path).is_err());
        }
        mode(0o755);
        assert!(connect(&path).unwrap().is_none());
        let socket = listen(&path, &mut Inheritance::default()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(connect(&path).unwrap().is_some());
        let told = listen(&path, &mut Inheritance::default()).unwrap_err();
        assert!(told.contains("--take-over"), "{told}");
        drop(socket);
        // What a process that is gone has left is no obstacle.
        assert!(connect(&path).unwrap().is_none());
        listen(&path, &mut Inheritance::default()).unwrap();
        let link = folder.with_extension("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let told = listen(&link.join("socket"), &mut Inheritance::default()).unwrap_err();
        assert!(told.contains("is a link"), "{told}");
        let told = listen(&folder.join("none/socket"), &mut Inheritance::default()).unwrap_err();
        assert!(told.contains("install -d"), "{told}");
        std::fs::remove_file(&link).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
