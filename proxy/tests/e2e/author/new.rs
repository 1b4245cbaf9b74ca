//! A newcomer's path: `new`, `build`, `test`, in an empty folder; then `run`, and curl.

mod alone;
mod tried;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Dir, proxy, require};

/// What a command did in a folder.
struct Done {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Where filters are built: beside what the guest library is, which needs much of the same.
pub(super) fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../sdk")
}

/// A filter's folder, with its module built; `None`: nothing can be built here.
pub(super) fn made(dir: &Dir, language: &str, template: &str) -> Option<PathBuf> {
    if !has_rust() {
        return require::skipped("there is no standard library for wasm32-wasip1");
    }
    let name = format!("my-{template}");
    let arguments = ["new", &name, "--template", template, "--lang", language];
    let folder = dir.join(&name);
    for (folder, arguments) in [(dir.path(), &arguments[..]), (&folder, &["build"])] {
        let done = run(folder, arguments, None);
        assert_eq!(done.status, Some(0), "{}", done.err);
    }
    Some(folder)
}

/// Builds take longer than anything else in these tests, so they are waited for to their end.
fn run(folder: &Path, arguments: &[&str], path: Option<&str>) -> Done {
    let mut command = proxy::command();
    command.current_dir(folder).args(arguments);
    // What is built is kept between runs; crates share what they have in common.
    command.env("CARGO_TARGET_DIR", target());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done {
        status: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Whether Rust can be compiled to wasm here.
fn has_rust() -> bool {
    let target = ["--print", "target-libdir", "--target", "wasm32-wasip1"];
    let folder = Command::new("rustc").args(target).output();
    let installed = folder
        .is_ok_and(|folder| Path::new(String::from_utf8_lossy(&folder.stdout).trim()).is_dir());
    installed || Path::new("/usr/lib/wasm32-wasi").is_dir()
}

/// All of it for one template: what is written, what is built, that its own cases pass.
fn newcomer(language: &str, template: &str, cases: usize) {
    if !has_rust() {
        require::skipped::<()>("there is no standard library for wasm32-wasip1");
        return;
    }
    let dir = Dir::new();
    let name = format!("my-{template}");
    let made = run(
        dir.path(),
        &["new", &name, "--template", template, "--lang", language],
        None,
    );
    assert_eq!(made.status, Some(0), "{}", made.err);
    assert!(made.out.contains("cofferdam build\n"), "{}", made.out);
    let folder = dir.join(&name);
    let before = names(&folder);
    assert_eq!(
        before,
        [
            ".gitignore",
            "Cargo.lock",
            "Cargo.toml",
            "src",
            "tests.yaml"
        ]
    );
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let here = format!("{}/sdk", checkout.display());
    assert!(
        !manifest.contains(&here),
        "nothing leads into the checkout:\n{manifest}"
    );
    let built = run(&folder, &["build"], None);
    assert_eq!(built.status, Some(0), "{}", built.err);
    assert_eq!(built.err, "", "quiet in a pipe");
    assert!(
        built.out.starts_with(&format!("{name}.wasm  ")),
        "{}",
        built.out
    );
    let mut after = before;
    after.push(format!("{name}.wasm"));
    after.sort();
    assert_eq!(names(&folder), after);
    passes(&folder, cases);
    tried::template(template, language, &folder.join(format!("{name}.wasm")));
}

#[test]
fn headers_with_our_library() {
    newcomer("rust", "headers", 3);
}

#[test]
fn body_with_our_library() {
    newcomer("rust", "body", 3);
}

#[test]
fn auth_with_our_library() {
    newcomer("rust", "auth", 4);
}

#[test]
fn tcp_with_our_library() {
    newcomer("rust", "tcp", 2);
}

#[test]
fn headers_with_the_crate_proxy_wasm() {
    newcomer("proxy-wasm", "headers", 2);
}

#[test]
fn body_with_the_crate_proxy_wasm() {
    newcomer("proxy-wasm", "body", 3);
}

#[test]
fn auth_with_the_crate_proxy_wasm() {
    newcomer("proxy-wasm", "auth", 4);
}

#[test]
fn tcp_with_the_crate_proxy_wasm() {
    newcomer("proxy-wasm", "tcp", 2);
}

/// Its own cases pass, on every engine.
fn passes(folder: &Path, cases: usize) {
    let tested = run(folder, &["test"], None);
    let engines = if cfg!(feature = "compiler") { 2 } else { 1 };
    let passed = format!("{} passed, 0 failed\n", cases * engines);
    assert!(
        tested.status == Some(0) && tested.out.ends_with(&passed),
        "{}{}",
        tested.out,
        tested.err
    );
}

/// Likewise in other languages, where they are: their programs are got by the scripts that
/// build our own guests, if they are not installed.
fn elsewhere(language: &str, template: &str, cases: usize) {
    let (program, files) = match language {
        "go" => (
            "go",
            &[".gitignore", "go.mod", "host.go", "main.go", "tests.yaml"][..],
        ),
        _ => (
            "npm",
            &[".gitignore", "assembly", "package.json", "tests.yaml"][..],
        ),
    };
    let dir = Dir::new();
    let arguments = ["new", "mine", "--lang", language, "--template", template];
    let made = run(dir.path(), &arguments, None);
    assert_eq!(made.status, Some(0), "{}", made.err);
    let folder = dir.join("mine");
    assert_eq!(names(&folder), files);
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin");
    let path = format!("{}:{tools}", std::env::var("PATH").unwrap_or_default());
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !there {
        require::skipped::<()>(&format!("{program} is not installed"));
        return;
    }
    let built = run(&folder, &["build"], Some(&path));
    assert_eq!(built.status, Some(0), "{}", built.err);
    let mut after = files.to_vec();
    after.extend(["mine.wasm", "target"]);
    after.sort_unstable();
    assert_eq!(names(&folder), after);
    passes(&folder, cases);
    tried::template(template, language, &folder.join("mine.wasm"));
}

#[test]
fn headers_in_go() {
    elsewhere("go", "headers", 2);
}

#[test]
fn body_in_go() {
    elsewhere("go", "body", 3);
}

#[test]
fn auth_in_go() {
    elsewhere("go", "auth", 4);
}

#[test]
fn tcp_in_go() {
    elsewhere("go", "tcp", 2);
}

#[test]
fn headers_in_assemblyscript() {
    elsewhere("assemblyscript", "headers", 2);
}

#[test]
fn body_in_assemblyscript() {
    elsewhere("assemblyscript", "body", 3);
}

#[test]
fn auth_in_assemblyscript() {
    elsewhere("assemblyscript", "auth", 4);
}

#[test]
fn tcp_in_assemblyscript() {
    elsewhere("assemblyscript", "tcp", 2);
}

#[test]
fn the_guest_library_can_be_another() {
    let dir = Dir::new();
    let registry = run(dir.path(), &["new", "a", "--registry"], None);
    assert_eq!(registry.status, Some(0), "{}", registry.err);
    let version = format!("cofferdam-sdk = {:?}\n", env!("CARGO_PKG_VERSION"));
    assert!(
        dir.read("a/Cargo.toml").contains(&version),
        "{}",
        dir.read("a/Cargo.toml")
    );
    let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk");
    let path = run(dir.path(), &["new", "b", "--sdk-path", sdk], None);
    assert_eq!(path.status, Some(0), "{}", path.err);
    let real = std::fs::canonicalize(sdk).unwrap();
    let line = format!(
        "cofferdam-sdk = {{ path = {:?} }}\n",
        real.display().to_string()
    );
    assert!(
        dir.read("b/Cargo.toml").contains(&line),
        "{}",
        dir.read("b/Cargo.toml")
    );
    let nothing = run(dir.path(), &["new", "c", "--sdk-path", "a"], None);
    assert_eq!(
        (nothing.status, dir.join("c").exists()),
        (Some(64), false),
        "{}",
        nothing.err
    );
}

#[test]
fn names_that_cannot_be_and_folders_that_are_there_are_refused() {
    let dir = Dir::new();
    for name in ["Big", "1st", "a/b", "..", "a b", ""] {
        let done = run(dir.path(), &["new", name], None);
        assert_eq!(done.status, Some(64), "{name}: {}", done.err);
    }
    for (name, language) in [
        ("cofferdam-sdk", "rust"),
        ("cofferdam_abi", "rust"),
        ("serde", "rust"),
        ("proxy-wasm", "proxy-wasm"),
        ("fn", "rust"),
    ] {
        let done = run(dir.path(), &["new", name, "--lang", language], None);
        assert_eq!(done.status, Some(64), "{name}: {}", done.err);
        let said = done.err.contains("take another name");
        assert!(said && !dir.join(name).exists(), "{}", done.err);
    }
    dir.write("there", "a file");
    std::fs::create_dir(dir.join("full")).unwrap();
    dir.write("full/a", "");
    for name in ["there", "full"] {
        let done = run(dir.path(), &["new", name, "--lang", "go"], None);
        assert_eq!(done.status, Some(64), "{name}: {}", done.err);
        assert!(done.err.contains("is there already"), "{}", done.err);
    }
    assert_eq!(names(dir.path()), ["full", "there"]);
}
