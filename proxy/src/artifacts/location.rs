//! Where native code is kept when the configuration does not say.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the choice depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// `$CACHE_DIRECTORY`: what systemd made for a unit with `CacheDirectory=`.
    pub(crate) service: Option<OsString>,
    /// `$XDG_CACHE_HOME`.
    pub(crate) cache_home: Option<OsString>,
    /// `$HOME`.
    pub(crate) home: Option<OsString>,
    /// Whether this is root.
    pub(crate) root: bool,
}

/// The folder; `None` where nothing says whose caches are where.
pub(crate) fn default_directory(of: &Surroundings) -> Option<PathBuf> {
    // Several are separated by colons; the first is the main one.
    let service = of.service.as_ref().and_then(|list| {
        let first = std::env::split_paths(list).next()?;
        absolute(first.as_os_str()).map(|folder| folder.join("artifacts"))
    });
    service.or_else(|| Some(caches(of)?.join("artifacts")))
}

/// Our folder among the caches of whoever runs this; `None` where nothing says where they are.
pub(crate) fn caches(of: &Surroundings) -> Option<PathBuf> {
    let caches = of.cache_home.as_deref().and_then(absolute);
    let caches = caches.or_else(|| match of.root {
        true => Some(PathBuf::from("/var/cache")),
        false => Some(of.home.as_deref().and_then(absolute)?.join(".cache")),
    });
    Some(caches?.join("cofferdam"))
}

/// The XDG specification has relative ones ignored, and so it is with all three.
fn absolute(path: &std::ffi::OsStr) -> Option<PathBuf> {
    let path = Path::new(path);
    path.is_absolute().then(|| path.to_owned())
}

// === impl Surroundings ===

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_this_process() -> Self {
        Self {
            service: std::env::var_os("CACHE_DIRECTORY"),
            cache_home: std::env::var_os("XDG_CACHE_HOME"),
            home: std::env::var_os("HOME"),
            root: rustix::process::geteuid().is_root(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(service: &str, cache_home: &str, home: &str, root: bool) -> Option<String> {
        let set = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        let of = Surroundings {
            service: set(service),
            cache_home: set(cache_home),
            home: set(home),
            root,
        };
        default_directory(&of).map(|path| path.display().to_string())
    }

    #[test]
    fn the_most_particular_place_is_chosen_and_relative_ones_are_none() {
        for (service, cache_home, home, root, expected) in [
            (
                "",
                "",
                "/home/a",
                false,
                "/home/a/.cache/cofferdam/artifacts",
            ),
            ("", "/x", "/home/a", false, "/x/cofferdam/artifacts"),
            ("", "/x", "/root", true, "/x/cofferdam/artifacts"),
            ("", "", "/root", true, "/var/cache/cofferdam/artifacts"),
            ("", "x", "/root", true, "/var/cache/cofferdam/artifacts"),
            (
                "",
                "x",
                "/home/a",
                false,
                "/home/a/.cache/cofferdam/artifacts",
            ),
            (
                "/var/cache/c",
                "/x",
                "/home/a",
                false,
                "/var/cache/c/artifacts",
            ),
            ("/var/cache/c:/y", "", "", false, "/var/cache/c/artifacts"),
            ("c", "/x", "", false, "/x/cofferdam/artifacts"),
        ] {
            let found = chosen(service, cache_home, home, root);
            assert_eq!(found.as_deref(), Some(expected));
        }
        assert_eq!(chosen("", "", "", false), None);
        assert_eq!(chosen("", "", "home", false), None);
    }
}
