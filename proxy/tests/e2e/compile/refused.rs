//! Files that are not what we wrote: each is refused, said, removed and made again.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use super::{Place, text};
use crate::support::require;

/// Compiles a module, lets `spoil` do something to its code, and compiles it again: the log
/// must say `words`, and good code must be there after.
fn refuses(words: &str, spoil: impl FnOnce(&Place, &Path)) {
    let place = Place::new();
    let module = place.module("one");
    let kept = place.compiled(&module);
    let good = std::fs::read(&kept).unwrap();
    spoil(&place, &kept);
    let (status, out, err) = place.compile(&[&module]);
    assert_eq!(status, Some(0), "{err}");
    let said = format!(
        "WARN cofferdam::artifacts: native code that is kept is not used: {}: ",
        kept.display()
    );
    assert_eq!(err.matches(&said).count(), 1, "{err}");
    assert!(
        err.contains(words) && err.contains("; it is removed"),
        "{words}: {err}"
    );
    assert!(
        out.contains(&format!(": {}, ", kept.display())),
        "made again: {out}"
    );
    assert!(std::fs::symlink_metadata(&kept).unwrap().is_file());
    assert_eq!(std::fs::read(&kept).unwrap(), good);
    place.is_there(&module);
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn one_changed_bit_anywhere() {
    for place in [0.0, 0.3, 0.999_999] {
        refuses("", |_, kept| {
            overwrite(kept, |bytes| {
                let at = (bytes.len() as f64 * place) as usize;
                bytes[at] ^= 1;
            });
        });
    }
}

#[test]
fn a_changed_bit_in_the_code() {
    refuses("its content is not what was written", |_, kept| {
        overwrite(kept, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 0x80;
        });
    });
}

#[test]
fn one_that_is_cut_off() {
    refuses("it is cut off", |_, kept| {
        overwrite(kept, |bytes| bytes.truncate(bytes.len() - 1))
    });
    refuses("it is cut off", |_, kept| {
        overwrite(kept, |bytes| bytes.truncate(20))
    });
    refuses("it is cut off", |_, kept| overwrite(kept, Vec::clear));
}

#[test]
fn one_that_goes_on() {
    refuses("longer than it says", |_, kept| {
        overwrite(kept, |bytes| bytes.push(0))
    });
}

#[test]
fn one_that_was_made_for_another_engine() {
    refuses("another engine, machine or version", |place, kept| {
        let other = Place::new();
        let fuel = other.compiled_with(&["--fuel"], &place.dir.join("one.wasm"));
        std::fs::copy(fuel, kept).unwrap();
    });
}

#[test]
fn one_of_another_module() {
    refuses("it was made of another module", |place, kept| {
        let other = Place::new();
        let code = other.compiled(&place.module("two"));
        std::fs::copy(code, kept).unwrap();
    });
}

#[test]
fn one_that_others_may_write() {
    for mode in [0o666, 0o660, 0o602] {
        refuses(
            &format!("others may write it (mode {mode:o})"),
            |_, kept| {
                std::fs::set_permissions(kept, std::fs::Permissions::from_mode(mode)).unwrap();
            },
        );
    }
}

#[test]
fn one_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        require::skipped::<()>("only root can give a file away");
        return;
    }
    refuses("user 12345 owns it", |_, kept| {
        chown(kept, Some(12_345), None).unwrap()
    });
}

#[test]
fn a_link_to_it() {
    refuses("it is a link", |place, kept| {
        let elsewhere = place.dir.join("elsewhere");
        std::fs::rename(kept, &elsewhere).unwrap();
        symlink(elsewhere, kept).unwrap();
    });
}

#[test]
fn a_pipe_in_its_place() {
    refuses("it is not a regular file", |_, kept| {
        std::fs::remove_file(kept).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, kept, mode).unwrap();
    });
}

#[test]
fn what_cannot_be_removed_is_not_used_either() {
    let place = Place::new();
    let module = place.module("one");
    let kept = place.compiled(&module);
    std::fs::remove_file(&kept).unwrap();
    std::fs::create_dir(&kept).unwrap();
    let (status, _, err) = place.compile(&[&module]);
    assert_eq!(status, Some(69), "{err}");
    assert!(
        err.contains("it is not a regular file; it cannot be removed: "),
        "{err}"
    );
    assert!(err.contains(&format!("{}: ", text(&kept))), "{err}");
}
