//! The folder that native code is kept in: who may use it, at once, and when it is full.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Place, text, texts};
use crate::support::{guest, proxy, require};

#[test]
fn the_folder_and_what_is_in_it_are_the_owners_alone() {
    let place = Place::new();
    let kept = place.compiled(&place.module("one"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&place.cache), mode(&kept)), (0o700, 0o600));
}

/// That nothing is read from the folder or written to it as `spoil` has left it.
fn not_used(words: &str, spoil: impl FnOnce(&Place)) {
    let place = Place::new();
    let module = place.module("one");
    let kept = place.compiled(&module);
    spoil(&place);
    let before = std::fs::metadata(&kept)
        .map(|about| about.mtime_nsec())
        .ok();
    let (status, out, err) = place.compile(&[&module]);
    assert_eq!((status, &out[..]), (Some(69), ""), "{err}");
    assert!(
        err.contains(
            "WARN cofferdam::artifacts: native code that is kept is not used, nor is any kept: "
        ),
        "{err}"
    );
    assert_eq!(err.matches(words).count(), 2, "{words}: {err}");
    let after = std::fs::metadata(&kept)
        .map(|about| about.mtime_nsec())
        .ok();
    assert_eq!(before, after, "left as it is");
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    not_used("(mode 0777)", |place| {
        std::fs::set_permissions(&place.cache, Permissions::from_mode(0o777)).unwrap();
    });
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        require::skipped::<()>("only root can give a folder away");
        return;
    }
    not_used("belongs to user 12345, not to 0", |place| {
        chown(&place.cache, Some(12_345), None).unwrap();
    });
}

#[test]
fn a_link_to_the_folder_is_refused() {
    not_used("is a link or no folder", |place| {
        let real = place.dir.join("real");
        std::fs::rename(&place.cache, &real).unwrap();
        symlink(real, &place.cache).unwrap();
    });
}

#[test]
fn processes_may_share_the_folder() {
    let place = Place::new();
    let modules: Vec<PathBuf> = ["a", "b", "c"]
        .iter()
        .map(|name| place.module(name))
        .collect();
    std::thread::scope(|scope| {
        for turn in 0..4 {
            let (place, mut files) = (
                &place,
                modules.iter().map(|file| &**file).collect::<Vec<_>>(),
            );
            files.rotate_left(turn % 3);
            scope.spawn(move || {
                for _ in 0..3 {
                    let (status, _, err) = place.compile(&files);
                    assert_eq!((status, &err[..]), (Some(0), ""));
                    // As if the first of them had been refused: others have it open.
                    for path in place.kept() {
                        if !text(&path).ends_with(".part") {
                            let _ = std::fs::remove_file(path);
                            break;
                        }
                    }
                }
            });
        }
    });
    let (status, _, err) = place.compile(&modules.iter().map(|file| &**file).collect::<Vec<_>>());
    assert_eq!((status, &err[..]), (Some(0), ""));
    assert_eq!(place.kept().len(), 3, "{:?}", place.kept());
    for module in &modules {
        place.is_there(module);
    }
}

#[test]
fn what_a_crashed_writer_left_is_removed() {
    let place = Place::new();
    let kept = place.compiled(&place.module("one"));
    let left = place.cache.join(".left-0123456789abcdef.part");
    std::fs::write(&left, "half").unwrap();
    place.compiled(&place.module("two"));
    assert!(!left.exists() && kept.exists());
}

/// A module whose code does not fit where a small one's does.
fn fills(place: &Place) -> PathBuf {
    let data = format!(r#"(data (i32.const 70000) "{}")"#, "x".repeat(40_000));
    guest::write(&place.dir, "large", &guest::with("", &data))
}

/// That what did not fit is said, nothing of it is left, and nothing else is lost.
fn full(place: &Place, words: &str, large: &mut Command) {
    let (status, out, err) = texts(proxy::finish(large));
    assert_eq!((status, &out[..]), (Some(69), ""), "{err}");
    assert!(err.contains(words), "{err}");
    assert_eq!(place.kept().len(), 1, "{:?}", place.kept());
    place.is_there(&place.dir.join("small.wasm"));
}

fn compile_into(place: &Place, module: &Path) -> Command {
    let mut command = proxy::command();
    command.args(["compile", "--directory", text(&place.cache), text(module)]);
    command
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_written() {
    let place = Place::new();
    let disk = place.dir.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args([
            "-t",
            "tmpfs",
            "-o",
            "size=48k,mode=700",
            "none",
            text(&disk),
        ])
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        // Containers rarely may. The next test shows the same of a write that fails.
        cofferdam_abi::testing::require::left_out("this user may not mount a small disk");
        return;
    }
    let place = Place {
        cache: disk.join("cache"),
        ..place
    };
    let _unmount = Unmount(disk);
    place.compiled(&place.module("small"));
    let large = fills(&place);
    full(
        &place,
        "No space left on device",
        &mut compile_into(&place, &large),
    );
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_file_that_may_not_grow_is_said_and_leaves_nothing_half_written() {
    let place = Place::new();
    place.compiled(&place.module("small"));
    let large = fills(&place);
    // As a full disk, where nobody may mount one: with the signal ignored, writing fails.
    let mut command = proxy::command();
    let binary = PathBuf::from(command.get_program());
    command = Command::new("/bin/sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 40; exec \"$@\"", "sh"])
        .arg(binary)
        .args(["compile", "--directory", text(&place.cache), text(&large)]);
    full(&place, "File too large", &mut command);
}
