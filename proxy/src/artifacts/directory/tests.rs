//! A folder of native code on the real file system: owners, modes, links, crashed writers, many at
//! once.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};

use std::io::Write as _;

use super::*;

/// A folder for one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cofferdam-artifacts-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).expect("a folder");
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
}

fn content(directory: &Directory, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = directory.read(name).expect("readable");
    file.expect("there").read_to_end(&mut bytes).expect("bytes");
    bytes
}

#[test]
fn what_is_written_is_read_and_only_its_owner_has_it() {
    let folder = Folder::new();
    let path = folder.0.join("a/b/c");
    assert!(Directory::open(&path).expect("no mistake").is_none());
    let directory = Directory::create(&path).expect("made");
    for made in ["a", "a/b", "a/b/c"] {
        let mode = std::fs::metadata(folder.0.join(made))
            .expect("there")
            .mode();
        assert_eq!(mode & 0o7777, 0o700, "{made}");
    }
    assert!(directory.read("x").expect("no mistake").is_none());
    directory.write("x", b"one").expect("written");
    assert_eq!(content(&directory, "x"), b"one");
    directory.write("x", b"another").expect("written over it");
    assert_eq!(content(&directory, "x"), b"another");
    let mode = std::fs::metadata(path.join("x")).expect("there").mode();
    assert_eq!(mode & 0o7777, 0o600);
    directory.remove("x").expect("removed");
    assert!(directory.read("x").expect("no mistake").is_none());
}

#[test]
fn who_has_a_file_open_keeps_what_it_was() {
    let folder = Folder::new();
    let path = folder.0.join("cache");
    let directory = Directory::create(&path).expect("made");
    directory.write("x", b"before").expect("written");
    let mut open = directory.read("x").expect("readable").expect("there");
    directory.write("x", b"after!").expect("written");
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).expect("bytes");
    assert_eq!(bytes, b"before", "files are replaced, never rewritten");
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    let folder = Folder::new();
    let path = folder.0.join("cache");
    std::fs::create_dir(&path).expect("made");
    for open in [0o777, 0o770, 0o1777, 0o722] {
        mode(&path, open);
        assert!(matches!(Directory::open(&path), Err(Unusable::Mode(_, found)) if found == open));
        assert!(matches!(Directory::create(&path), Err(Unusable::Mode(..))));
    }
    for closed in [0o700, 0o755, 0o750] {
        mode(&path, closed);
        assert!(Directory::open(&path).expect("no mistake").is_some());
    }
}

#[test]
fn a_folder_of_another_user_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        cofferdam_abi::testing::require::skipped("only root can give a folder away");
        return;
    }
    let folder = Folder::new();
    let path = folder.0.join("cache");
    std::fs::create_dir(&path).expect("made");
    mode(&path, 0o700);
    std::os::unix::fs::chown(&path, Some(12_345), None).expect("root may");
    let refused = Directory::create(&path).expect_err("refused");
    assert!(
        matches!(refused, Unusable::Owner(_, 12_345, 0)),
        "{refused}"
    );
}

#[test]
fn what_is_no_folder_is_not_used() {
    let folder = Folder::new();
    let (real, link, file) = (
        folder.0.join("real"),
        folder.0.join("link"),
        folder.0.join("file"),
    );
    Directory::create(&real).expect("made");
    symlink(&real, &link).expect("a link");
    std::fs::write(&file, b"").expect("a file");
    for path in [link, file] {
        assert!(matches!(Directory::open(&path), Err(Unusable::NoFolder(_))));
        assert!(matches!(
            Directory::create(&path),
            Err(Unusable::NoFolder(_))
        ));
    }
    let inside = folder.0.join("file/inside");
    assert!(Directory::create(&inside).is_err());
}

#[test]
fn a_link_in_the_folder_is_not_followed_and_a_pipe_not_waited_for() {
    let folder = Folder::new();
    let path = folder.0.join("cache");
    let directory = Directory::create(&path).expect("made");
    directory.write("x", b"real").expect("written");
    symlink("x", path.join("y")).expect("a link");
    assert!(directory.read("y").is_err());
    directory.write("y", b"new").expect("in its place");
    assert_eq!(content(&directory, "x"), b"real", "not through it");
    assert_eq!(content(&directory, "y"), b"new");
    rustix::fs::mkfifoat(CWD, path.join("pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
    let pipe = directory.read("pipe").expect("opened at once");
    assert!(!pipe.expect("there").metadata().expect("known").is_file());
}

#[test]
fn what_crashed_writers_left_goes_and_what_is_being_written_stays() {
    let folder = Folder::new();
    let path = folder.0.join("cache");
    let directory = Directory::create(&path).expect("made");
    let (part, mut writing) = directory.part("x").expect("begun");
    let (left, writer) = directory.part("x").expect("begun");
    drop(writer);
    symlink("nowhere", path.join(".link.part")).expect("a link");
    directory.write("kept", b"kept").expect("written");
    Directory::create(&path).expect("opened");
    assert_ne!(part, left);
    assert_eq!(names(&path), [part, "kept".to_owned()]);
    writing.write_all(b"to the end").expect("its name is there");
    drop(writing);
    Directory::create(&path).expect("opened");
    assert_eq!(names(&path), ["kept"]);
}

fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn many_may_write_at_once_and_every_reader_finds_a_whole_file() {
    let folder = Folder::new();
    let path = folder.0.join("cache");
    let wholes = [vec![b'a'; 100_000], vec![b'b'; 200_000]];
    std::thread::scope(|scope| {
        for whole in &wholes {
            scope.spawn(|| {
                for _ in 0..20 {
                    // Opening sweeps: it must not take the other's unfinished file away.
                    let directory = Directory::create(&path).expect("made");
                    directory.write("x", whole).expect("written");
                }
            });
        }
        for _ in 0..50 {
            let Some(directory) = Directory::open(&path).expect("no mistake") else {
                continue;
            };
            let Some(mut file) = directory.read("x").expect("readable") else {
                continue;
            };
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).expect("bytes");
            assert!(wholes.contains(&bytes), "{} bytes", bytes.len());
        }
    });
    assert_eq!(names(&path), ["x"]);
}
