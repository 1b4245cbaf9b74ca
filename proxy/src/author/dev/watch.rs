//! Builds again when something was saved, and has the proxy take the new module.
//!
//! Files are looked at now and then: that needs no library, works on every file system, and
//! costs nothing worth mentioning for the few files of a filter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::setup::Plan;
use crate::author::build::{self, Failure};
use crate::reload::Reloader;

/// How often.
const PERIOD: Duration = Duration::from_millis(300);

/// Watches on a thread of its own, which ends with the process.
pub(super) fn start(plan: Plan, reloader: Reloader, say: Arc<dyn Fn(&str) + Send + Sync>) {
    std::thread::spawn(move || watch(&plan, &reloader, &*say));
}

fn watch(plan: &Plan, reloader: &Reloader, say: &dyn Fn(&str)) {
    let mut sources = plan.source.as_deref().map(Sources::of).unwrap_or_default();
    let mut module = stamp(&plan.module);
    loop {
        std::thread::sleep(PERIOD);
        if let Some(dir) = &plan.source {
            let now = Sources::of(dir);
            if sources != now {
                sources = now;
                rebuild(dir, say);
                // What is saved meanwhile is built next, but this one the build writes itself.
                sources.adopt(dir.join("Cargo.lock"));
            }
        }
        let now = stamp(&plan.module);
        if now.is_some() && now != module {
            module = now;
            say("the module has changed");
            match reloader.reload() {
                Some(Ok(changed)) if changed.modules.is_empty() => say("it is the one that runs"),
                Some(Ok(_)) => say("the new module takes over"),
                // The log says why.
                Some(Err(_)) => say("the new module is refused: the filter stays as it was"),
                None => return,
            }
        }
    }
}

fn rebuild(dir: &Path, say: &dyn Fn(&str)) {
    say("saved: building");
    match build::folder(dir) {
        Ok(built) => say(built.summary.lines().next().unwrap_or_default()),
        Err(Failure::Unusable(what) | Failure::Unavailable(what)) => {
            what.lines().for_each(say);
            say("the filter stays as it was");
        }
    }
}

/// What the build of a filter reads, as it is now: the place of each file, its age and size.
/// Compared for being the same, so that a file that comes back older than it was counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sources(BTreeMap<PathBuf, Stamp>);

/// When it was changed last, and its size.
type Stamp = (Option<SystemTime>, u64);

/// Deepest folder that is looked at, and most files.
const DEEPEST: usize = 16;
const MOST: usize = 10_000;

// === impl Sources ===

impl Sources {
    /// Manifests and files in the languages that can be built, wherever they are; below `src`
    /// and `assembly` everything else too, for it may be included. Nothing hidden, no results,
    /// and nothing that is written beside the source: a log, a report. Folders behind symbolic
    /// links are not entered, for they can lead anywhere.
    fn of(dir: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![(dir.to_owned(), 0, false)];
        while let Some((folder, depth, all)) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if name.starts_with('.') || name == "target" || name == "node_modules" {
                    continue;
                }
                if kind.is_dir() {
                    let all = all || (depth == 0 && (name == "src" || name == "assembly"));
                    if depth < DEEPEST {
                        folders.push((entry.path(), depth + 1, all));
                    }
                } else if is_source(&name, all) && files.len() < MOST {
                    let path = entry.path();
                    if let Some(stamp) = stamp(&path) {
                        files.insert(path, stamp);
                    }
                }
            }
        }
        Self(files)
    }

    /// A file is as the build has left it.
    fn adopt(&mut self, file: PathBuf) {
        match stamp(&file) {
            Some(stamp) => self.0.insert(file, stamp),
            None => self.0.remove(&file),
        };
    }
}

fn is_source(name: &str, all: bool) -> bool {
    const MANIFESTS: [&str; 6] = [
        "Cargo.toml",
        "Cargo.lock",
        "go.mod",
        "go.sum",
        "package.json",
        "package-lock.json",
    ];
    let ending = Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str());
    match ending {
        Some("rs" | "go" | "ts" | "proto") => true,
        // Results, logs, and what editors leave.
        Some("wasm" | "log" | "tmp" | "swp" | "orig" | "bak") => false,
        _ if name.ends_with('~') => false,
        _ => all || MANIFESTS.contains(&name),
    }
}

/// Of a file, or of what a symbolic link to a file leads to.
fn stamp(file: &Path) -> Option<Stamp> {
    let there = std::fs::metadata(file).ok()?;
    there
        .is_file()
        .then(|| (there.modified().ok(), there.len()))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    use super::Sources;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("cofferdam-watch-{name}-{}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            let _ = std::fs::remove_dir_all(&folder.0);
            folder.write("Cargo.toml", "[package]");
            folder.write("src/lib.rs", "one");
            folder
        }

        fn write(&self, file: &str, text: &str) {
            let file = self.0.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }

        /// Whether a change is one of source.
        fn notices(&self, change: impl FnOnce(&Self)) -> bool {
            let before = Sources::of(&self.0);
            change(self);
            Sources::of(&self.0) != before
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_written_beside_the_source_builds_nothing() {
        let folder = Folder::new("beside");
        for file in [
            "dev.log",
            "out.txt",
            "log",
            "filter.wasm",
            "filter.wasm.123",
            "tests.yaml",
            "src/dev.log",
            "src/.lib.rs.swp",
            "target/release/build.rs",
            "node_modules/a/index.ts",
            ".git/index",
            "logs/today",
        ] {
            assert!(!folder.notices(|folder| folder.write(file, "x")), "{file}");
            assert!(
                !folder.notices(|folder| folder.write(file, "xyz")),
                "{file}"
            );
        }
    }

    #[test]
    fn what_a_build_reads_is_noticed() {
        let folder = Folder::new("reads");
        for file in [
            "Cargo.toml",
            "Cargo.lock",
            "build.rs",
            "src/lib.rs",
            "src/deep/page.html",
            "macros/src/lib.rs",
            "main.go",
            "go.mod",
            "assembly/index.ts",
            "package.json",
        ] {
            assert!(
                folder.notices(|folder| folder.write(file, "other")),
                "{file}"
            );
        }
        let gone = |folder: &Folder| std::fs::remove_file(folder.0.join("build.rs")).unwrap();
        assert!(folder.notices(gone));
        let named = |folder: &Folder| {
            let to = folder.0.join("src/new.rs");
            std::fs::rename(folder.0.join("src/lib.rs"), to).unwrap();
        };
        assert!(folder.notices(named));
    }

    fn age(file: &Path, before: Duration) {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - before).unwrap();
    }

    #[test]
    fn a_file_that_comes_back_older_is_noticed() {
        let folder = Folder::new("older");
        age(&folder.0.join("src/lib.rs"), Duration::from_secs(10));
        // Not the newest of them.
        assert!(
            folder.notices(|folder| age(&folder.0.join("src/lib.rs"), Duration::from_secs(900)))
        );
    }

    #[test]
    fn folders_behind_links_are_not_entered_and_files_behind_them_are_read() {
        let folder = Folder::new("links");
        let elsewhere = Folder::new("elsewhere");
        std::os::unix::fs::symlink(&folder.0, folder.0.join("src/self")).unwrap();
        std::os::unix::fs::symlink(&elsewhere.0, folder.0.join("src/other")).unwrap();
        assert_eq!(Sources::of(&folder.0).0.len(), 2);
        let change = |_: &Folder| elsewhere.write("src/lib.rs", "changed");
        assert!(!folder.notices(change));
        let to = elsewhere.0.join("src/lib.rs");
        std::os::unix::fs::symlink(to, folder.0.join("src/linked.rs")).unwrap();
        let change = |_: &Folder| elsewhere.write("src/lib.rs", "changed again");
        assert!(folder.notices(change));
    }

    #[test]
    fn what_the_build_itself_has_written_is_no_reason_to_build() {
        let folder = Folder::new("adopt");
        let mut seen = Sources::of(&folder.0);
        folder.write("Cargo.lock", "made");
        seen.adopt(folder.0.join("Cargo.lock"));
        assert_eq!(seen, Sources::of(&folder.0));
    }
}
