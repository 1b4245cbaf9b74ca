//! `cofferdam compile`: native code made, kept, trusted and refused.

mod child;
mod folder;
mod refused;
mod signed;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::{Dir, guest, proxy};

/// A folder with modules, and one for native code.
struct Place {
    dir: Dir,
    cache: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = Dir::new();
        let cache = dir.join("cache");
        Self { dir, cache }
    }

    /// A small module; each name makes another one.
    fn module(&self, name: &str) -> PathBuf {
        let named = format!(r#"(data (i32.const 0) "{name}")"#);
        guest::write(&self.dir, name, &(guest::with("", &named)))
    }

    /// Compiles `files` into the folder: exit status, standard output, standard error.
    fn compile(&self, files: &[&Path]) -> (Option<i32>, String, String) {
        self.compile_with(&[], files)
    }

    fn compile_with(&self, more: &[&str], files: &[&Path]) -> (Option<i32>, String, String) {
        let mut arguments = vec!["compile", "--directory", text(&self.cache)];
        arguments.extend(more);
        arguments.extend(files.iter().map(|file| text(file)));
        run(&arguments)
    }

    /// What is in the folder for native code.
    fn kept(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.cache) else {
            return Vec::new();
        };
        let mut kept: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        kept.sort();
        kept
    }

    /// Compiles `file`, which nobody has compiled before; where its code is.
    fn compiled(&self, file: &Path) -> PathBuf {
        self.compiled_with(&[], file)
    }

    fn compiled_with(&self, more: &[&str], file: &Path) -> PathBuf {
        let before = self.kept();
        let (status, out, err) = self.compile_with(more, &[file]);
        assert_eq!((status, &err[..]), (Some(0), ""), "{out}");
        let mut new = self.kept();
        new.retain(|path| !before.contains(path));
        assert_eq!(new.len(), 1, "{new:?}: {out}");
        new.remove(0)
    }

    /// That it is there, whole and trusted.
    fn is_there(&self, file: &Path) {
        let (status, out, err) = self.compile(&[file]);
        assert_eq!((status, &err[..]), (Some(0), ""));
        assert!(out.contains(": there already, "), "{out}");
    }
}

/// A module of 50 KB that takes the compiler hundreds of megabytes and more than a minute:
/// 500 loops inside each other, over 500 variables that all live through them.
pub(crate) fn bomb(dir: &Dir, callbacks: &str) -> PathBuf {
    const SIZE: usize = 500;
    let mut body = format!("(local {})", "i32 ".repeat(SIZE));
    body.push_str(&"loop ".repeat(SIZE));
    for at in 0..SIZE {
        for step in 0..8 {
            let (to, from) = (
                1 + (at * 7 + step) % SIZE,
                1 + (at * 13 + step * 5 + 1) % SIZE,
            );
            let _ = write!(
                body,
                "(local.set {to} (i32.add (local.get {from}) (i32.const {at})))"
            );
        }
        let _ = write!(body, "(br_if 0 (i32.load (i32.const {}))) end ", at * 4);
    }
    for at in 0..SIZE {
        let _ = write!(
            body,
            "(i32.store (i32.const {}) (local.get {}))",
            at * 4,
            1 + at
        );
    }
    let function = format!(r#"(func (export "bomb") (param i32) {body})"#);
    guest::write(
        dir,
        "bomb",
        &guest::with("", &format!("{function}{callbacks}")),
    )
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    texts(proxy::run(arguments))
}

fn texts(output: std::process::Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn native_code_is_kept_under_a_name_of_its_own_and_found_again() {
    let place = Place::new();
    let (one, two) = (place.module("one"), place.module("two"));
    let (status, out, err) = place.compile(&[&one, &two]);
    assert_eq!((status, &err[..]), (Some(0), ""));
    let kept = place.kept();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for path in &kept {
        assert!(out.contains(&format!(": {}, ", path.display())), "{out}");
        assert_eq!(path.extension().unwrap(), "cwasm");
    }
    let before: Vec<_> = kept
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let (status, out, err) = place.compile(&[&one, &two, &one]);
    assert_eq!((status, &err[..]), (Some(0), ""));
    assert_eq!(out.matches(": there already, ").count(), 2, "{out}");
    let after: Vec<_> = kept
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert_eq!(before, after);
}

#[test]
fn code_for_other_settings_is_other_code() {
    let place = Place::new();
    let module = place.module("one");
    let plain = place.compiled(&module);
    let fuel = place.compiled_with(&["--fuel"], &module);
    let compact = place.compiled_with(&["--compact"], &module);
    let both = place.compiled_with(&["--compact", "--fuel"], &module);
    assert_eq!(place.kept().len(), 4);
    let digest = |path: &Path| text(path.file_name().unwrap().as_ref())[..64].to_owned();
    for other in [fuel, compact, both] {
        assert_eq!(digest(&plain), digest(&other));
    }
}

#[test]
fn a_configuration_has_all_its_filters_compiled_where_it_will_look_for_them() {
    let place = Place::new();
    for name in ["one", "two"] {
        place.module(name);
    }
    let yaml = "listeners: [{ name: l, address: '127.0.0.1:0', filters: [a, b], routes: [{ respond: {} }] }]\n\
         filters:\n\
         - { name: a, module: { file: one.wasm } }\n\
         - { name: b, module: { file: two.wasm } }\n\
         - { name: again, module: { file: one.wasm }, configuration: other }\n\
         artifacts: { directory: cache }\n";
    let config = place.dir.write("config.yaml", yaml);
    let (status, out, err) = run(&["compile", "--config", text(&config)]);
    assert_eq!((status, &err[..]), (Some(0), ""));
    assert!(
        out.contains("filter a: ") && out.contains("filter b: "),
        "{out}"
    );
    assert_eq!(place.kept().len(), 2);
    for name in ["one.wasm", "two.wasm"] {
        place.is_there(&place.dir.join(name));
    }
    let elsewhere = place.dir.join("elsewhere");
    let to = [
        "compile",
        "--config",
        text(&config),
        "--directory",
        text(&elsewhere),
    ];
    let (status, _, err) = run(&to);
    assert_eq!((status, &err[..]), (Some(0), ""));
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 2);
}

#[test]
fn filters_that_may_not_run_natively_are_left_out() {
    let place = Place::new();
    for name in ["one", "two"] {
        place.module(name);
    }
    let compile = |engine: &str, rest: &str| {
        let yaml = format!(
            "listeners: [{{ name: l, address: '127.0.0.1:0', filters: [a, b], routes: [{{ respond: {{}} }}] }}]\n\
             filters:\n\
             - {{ name: a, module: {{ file: one.wasm }}, engine: interpreter }}\n\
             - {{ name: b, module: {{ file: two.wasm }}, engine: {engine} }}\n\
             artifacts: {{ directory: cache }}\n{rest}\n"
        );
        let config = place.dir.write("config.yaml", yaml);
        let (status, out, err) = run(&["compile", "--config", text(&config)]);
        assert_eq!((status, &err[..]), (Some(0), ""));
        out
    };
    for out in [
        compile("interpreter", ""),
        compile("auto", "no_exec_memory: true"),
    ] {
        assert!(out.contains("no filter there runs native code"), "{out}");
        assert_eq!(place.kept().len(), 0);
    }
    let out = compile("auto", "");
    assert!(
        out.starts_with("filter b: ") && place.kept().len() == 1,
        "{out}"
    );
    // Another engine, so other code.
    compile("aot", "memory: compact");
    assert_eq!(place.kept().len(), 2);
}

#[test]
fn without_a_folder_named_the_users_cache_is_used() {
    let place = Place::new();
    let module = place.module("one");
    let mut command = proxy::command();
    command.env("XDG_CACHE_HOME", place.dir.join("home"));
    let (status, out, err) = texts(proxy::finish(command.arg("compile").arg(&module)));
    assert_eq!((status, &err[..]), (Some(0), ""));
    let folder = place.dir.join("home/cofferdam/artifacts");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "{out}");
    let mut command = proxy::command();
    command.env("CACHE_DIRECTORY", place.dir.join("unit"));
    let (status, out, err) = texts(proxy::finish(command.arg("compile").arg(&module)));
    assert_eq!((status, &err[..]), (Some(0), ""));
    assert!(out.contains("/unit/artifacts/"), "{out}");
}

#[test]
fn what_cannot_be_compiled_is_said_and_the_rest_is_compiled() {
    let place = Place::new();
    let good = place.module("good");
    let none = place.dir.write("none.wasm", "nothing of the kind");
    // Sound to whoever only looks at its exports.
    let wrong = guest::with("", "(func (export \"wrong\") (result i32) (i64.const 0))");
    let wrong = wat_without_validation(&place, &wrong);
    let absent = place.dir.join("absent.wasm");
    let (status, out, err) = place.compile(&[&none, &good, &wrong, &absent]);
    assert_eq!(status, Some(64), "{err}");
    assert!(out.contains("good.wasm: "), "{out}");
    assert_eq!(place.kept().len(), 1);
    for (file, words) in [
        (&none, "the compiler refuses it: "),
        (&wrong, "the compiler refuses it: "),
        (&absent, "there is no such file; check its name"),
    ] {
        let start = format!("{}: ", file.display());
        let line = err.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("nothing of {}:\n{err}", file.display()));
        assert!(line.contains(words), "{line}");
    }
}

/// The text format says nothing of types.
fn wat_without_validation(place: &Place, wat: &str) -> PathBuf {
    guest::write(&place.dir, "wrong", wat)
}

#[test]
fn mistakes_on_the_command_line_are_status_64() {
    let place = Place::new();
    let module = place.module("one");
    let module = text(&module);
    for arguments in [
        &["compile"][..],
        &["compile", "--config", "x.yaml", module],
        &["compile", "--config", "/nowhere/x.yaml"],
        &["compile", module, "--sign", "key.pem"],
        &["compile", module, "--output", "x", "--directory", "y"],
        &["compile", module, module, "--output", "/nowhere/x"],
    ] {
        let (status, out, err) = run(arguments);
        assert_eq!((status, &out[..]), (Some(64), ""), "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
}

#[test]
fn an_output_is_not_written_over_what_is_read() {
    let place = Place::new();
    let module = place.module("one");
    let key = place.dir.write("key.pem", "a secret");
    let signed = place.dir.write("code.sig", "another");
    let (link, code) = (place.dir.join("link"), place.dir.join("code"));
    std::os::unix::fs::symlink(&module, &link).unwrap();
    let before = std::fs::read(&module).unwrap();
    for (output, sign, read) in [
        (&module, None, &module),
        (&link, None, &module),
        (&key, Some(&key), &key),
        (&code, Some(&signed), &signed),
    ] {
        let mut arguments = vec!["compile", text(&module), "--output", text(output)];
        arguments.extend(sign.iter().flat_map(|key| ["--sign", text(key)]));
        let (status, out, err) = run(&arguments);
        assert_eq!((status, &out[..]), (Some(64), ""), "{err}");
        let told = format!("--output {}: {} would", output.display(), read.display());
        assert!(err.starts_with(&told) && err.lines().count() == 1, "{err}");
    }
    assert_eq!(std::fs::read(&module).unwrap(), before);
    assert_eq!(std::fs::read(&key).unwrap(), b"a secret");
    assert!(!code.exists());
}

#[test]
fn the_usage_names_both_that_can_be_compiled() {
    let (status, _, err) = run(&["compile"]);
    assert_eq!(status, Some(64));
    assert!(err.contains("compile <--config <FILE>|FILE.wasm>"), "{err}");
    let (status, help, _) = run(&["compile", "--help"]);
    assert_eq!(status, Some(0));
    assert!(
        help.contains("compile [OPTIONS] <--config <FILE>|FILE.wasm>"),
        "{help}"
    );
}
