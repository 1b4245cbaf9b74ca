//! The same path with the checkout out of reach: by a binary that lies elsewhere, from a home
//! and a cache that are new, into a target directory that is nobody else's. What was read on
//! the way is in the compiler's own lists; nothing of it may be ours.
//!
//! (To move the checkout away for the length of a test, others would have to wait, or a
//! machine that allows it would have to be at hand.)

use std::path::{Path, PathBuf};
use std::process::Command;

use super::has_rust;
use crate::support::{Dir, proxy, require};

#[test]
fn nothing_that_a_new_filter_is_made_of_lies_in_the_checkout() {
    if !has_rust() {
        require::skipped::<()>("there is no standard library for wasm32-wasip1");
        return;
    }
    let dir = Dir::new();
    let [home, cache, work, target] = ["home", "cache", "work", "target"].map(|name| {
        let folder = dir.join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    });
    let binary = dir.join("cofferdam");
    let built = Path::new(env!("CARGO_BIN_EXE_cofferdam"));
    // A second name is enough, where it can be had.
    std::fs::hard_link(built, &binary)
        .or_else(|_| std::fs::copy(built, &binary).map(drop))
        .unwrap();
    let run = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command
            .current_dir(folder)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("XDG_CACHE_HOME", &cache)
            .env("CARGO_TARGET_DIR", &target);
        // The toolchain and the registry's crates are the machine's.
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if let Some(place) = std::env::var_os(name).map(PathBuf::from).or_else(|| {
                let home = std::env::var_os("HOME")?;
                Some(Path::new(&home).join(folder)).filter(|place| place.is_dir())
            }) {
                command.env(name, place);
            }
        }
        let done = command.output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{arguments:?}\n{out}{err}");
        out
    };
    run(&work, &["new", "mine"]);
    let mine = work.join("mine");
    let out = run(&mine, &["build"]);
    assert!(out.starts_with("mine.wasm  "), "{out}");
    let out = run(&mine, &["test"]);
    assert!(out.ends_with(" passed, 0 failed\n"), "{out}");

    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let checkout = checkout.canonicalize().unwrap();
    let leads_there = |text: &[u8]| {
        let place = checkout.as_os_str().as_encoded_bytes();
        text.windows(place.len()).any(|part| part == place)
    };
    let mut read = 0;
    for file in files(&mine).into_iter().chain(files(&cache)) {
        // A module says of its panics where they are.
        let bytes = std::fs::read(&file).unwrap();
        assert!(!leads_there(&bytes), "{} leads there", file.display());
        read += 1;
    }
    assert!(
        read > 100,
        "the guest library is in the cache: {read} files"
    );
    let lists: Vec<PathBuf> = files(&target)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "d"))
        .collect();
    let mut library = false;
    for list in &lists {
        let bytes = std::fs::read(list).unwrap();
        assert!(!leads_there(&bytes), "{} leads there", list.display());
        let text = String::from_utf8_lossy(&bytes);
        library |= text.contains(&*cache.to_string_lossy()) && text.contains("sdk/src/lib.rs");
    }
    assert!(
        library,
        "the library was compiled, from the cache: {lists:?}"
    );

    // As on another machine, or after the cache was cleaned: all of it is gone, or its files.
    std::fs::remove_dir_all(cache.join("cofferdam")).unwrap();
    std::fs::remove_file(mine.join("mine.wasm")).unwrap();
    run(&mine, &["build"]);
    assert!(mine.join("mine.wasm").is_file());
    for file in files(&cache) {
        std::fs::remove_file(file).unwrap();
    }
    run(&mine, &["build"]);
}

/// Its path can be one that this binary would never unpack.
#[test]
fn a_library_that_another_binary_unpacked_is_told_with_what_to_write_instead() {
    let dir = Dir::new();
    let gone = dir.join("theirs/cofferdam/sdk/0.0.9-0123456789ab/sdk");
    let manifest = format!(
        "[package]\nname = \"mine\"\nversion = \"0.1.0\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\ncofferdam-sdk = {{ path = {:?} }}\n",
        gone.display().to_string()
    );
    dir.write("Cargo.toml", &manifest);
    let cache = dir.join("cache");
    for command in ["build", "dev"] {
        let mut cofferdam = proxy::command();
        cofferdam.current_dir(dir.path()).arg(command);
        let done = cofferdam.env("XDG_CACHE_HOME", &cache).output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(64), "{command}: {err}");
        assert!(err.contains(gone.to_str().unwrap()), "{err}");
        assert!(err.contains("cofferdam new --sdk-path"), "{err}");
        let (_, rest) = err.split_once("write \"").expect("what to write");
        let instead = Path::new(rest.split_once('"').expect("a path").0);
        assert!(instead.starts_with(&cache), "{err}");
        assert!(instead.join("Cargo.toml").is_file(), "{err}");
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}
