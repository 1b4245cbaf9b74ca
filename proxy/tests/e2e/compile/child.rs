//! The process that compiles: what it may use, and what becomes of it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Place, bomb, run, text};
use crate::process::{child_of, is_gone, nice, within};
use crate::support::proxy;

/// What `cofferdam compile --config` says of a bomb beside a good filter, under `limits`.
fn explodes(limits: &str, words: &str) {
    let place = Place::new();
    bomb(&place.dir, "");
    place.module("good");
    let yaml = format!(
        "listeners: [{{ name: l, address: '127.0.0.1:0', filters: [bomb, good], routes: [{{ respond: {{}} }}] }}]\n\
         filters:\n\
         - {{ name: bomb, module: {{ file: bomb.wasm }} }}\n\
         - {{ name: good, module: {{ file: good.wasm }} }}\n\
         artifacts: {{ directory: cache }}\n\
         compiler: {{ {limits} }}\n"
    );
    let config = place.dir.write("config.yaml", yaml);
    // It is niced: where others are at work its seconds are long. `compiler.wall` ends it.
    let mut command = proxy::command();
    let output = command
        .args(["compile", "--config", text(&config)])
        .output();
    let (status, out, err) = super::texts(output.unwrap());
    assert_eq!(status, Some(64), "{err}");
    assert!(
        err.starts_with("filter bomb: ") && err.contains(words),
        "{err}"
    );
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(out.starts_with("filter good: "), "{out}");
    assert_eq!(place.kept().len(), 1);
}

#[test]
fn a_module_that_takes_too_much_memory_is_given_up() {
    // Refused to it are blocks of every size, small ones and whole mappings.
    for most in ["24MiB", "48MiB", "64MiB", "300MiB"] {
        explodes(
            &format!("memory: {most}, cpu: 10m, wall: 10m"),
            &format!("the {most} of `compiler.memory`"),
        );
    }
}

#[test]
fn a_module_that_takes_too_much_cpu_time_is_given_up() {
    explodes(
        "cpu: 1s, wall: 10m, memory: 8GiB",
        "the 1s of `compiler.cpu`",
    );
}

#[test]
fn a_module_that_takes_too_long_is_given_up() {
    // The good one has as long, niced as it is, beside other tests.
    explodes("wall: 5s, memory: 8GiB", "the 5s of `compiler.wall`");
}

/// A `cofferdam compile` that is at work on a bomb, and the process that does it.
struct AtWork {
    compile: Child,
    child: u32,
    _place: Place,
}

impl AtWork {
    fn new() -> Self {
        let place = Place::new();
        let module = bomb(&place.dir, "");
        let mut command = proxy::command();
        command
            .args(["compile", "--directory", text(&place.cache), text(&module)])
            .env("SECRET", "of the proxy")
            // The test runner's, not the loader's.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut at_work = Self {
            compile: command.spawn().unwrap(),
            child: 0,
            _place: place,
        };
        at_work.child = within("the compiler", || {
            let (parent, child) = (at_work.compile.id(), child_of(at_work.compile.id())?);
            // The last things it does before it reads. Where tests run at the lowest priority
            // that one says nothing.
            let is_niced = nice(child)? == (nice(parent)? + 10).min(19);
            let limits = std::fs::read_to_string(format!("/proc/{child}/limits")).ok()?;
            let alone = |line: &str| line.split_whitespace().nth(2) == Some("0");
            let mut lines = limits.lines();
            let is_alone = lines.any(|line| line.starts_with("Max processes") && alone(line));
            (is_niced && is_alone).then_some(child)
        });
        at_work
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child))
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.proc(file)).unwrap()
    }

    /// Its end, and that of the child.
    fn ends_by(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.compile), signal).unwrap();
        let status = self.compile.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()));
        let child = self.child;
        within("the child's end", || is_gone(child).then_some(()));
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let _ = self.compile.kill();
        let _ = self.compile.wait();
    }
}

#[test]
fn it_has_given_up_what_it_does_not_need() {
    let at_work = AtWork::new();
    let limits = at_work.read("limits");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {limits}"));
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields[0].to_owned(), fields[1].to_owned())
    };
    let both = |text: &str| (text.to_owned(), text.to_owned());
    assert_eq!(limit("Max cpu time"), ("30".to_owned(), "31".to_owned()));
    assert_eq!(limit("Max core file size"), both("0"));
    assert_eq!(limit("Max file size"), both("0"));
    assert_eq!(limit("Max processes"), both("0"));
    let data: u64 = limit("Max data size").0.parse().unwrap();
    let program = data - (512 << 20);
    assert!((1 << 16..128 << 20).contains(&program), "{data}");
    assert_eq!(at_work.read("oom_score_adj").trim(), "1000");
    assert!(at_work.read("status").contains("NoNewPrivs:\t1"));
    assert_eq!(
        at_work.read("environ"),
        "MIMALLOC_ARENA_RESERVE=0\0MIMALLOC_EAGER_COMMIT=0\0"
    );
    let open = std::fs::read_dir(at_work.proc("fd")).unwrap();
    let mut open: Vec<_> = open.map(|entry| entry.unwrap().path()).collect();
    // What whoever runs the tests left open for all of us is not the proxy's.
    open.retain(|path| {
        let ours = Path::new("/proc/self/fd").join(path.file_name().unwrap());
        let inherited = std::fs::read_link(ours).ok();
        inherited.is_none() || inherited != std::fs::read_link(path).ok()
    });
    open.sort();
    assert_eq!(
        open,
        ["0", "1", "2"].map(|name| at_work.proc("fd").join(name))
    );
    at_work.ends_by(Signal::TERM);
}

#[test]
fn it_dies_with_its_parent_however_that_ends() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        AtWork::new().ends_by(signal);
    }
}

#[test]
fn killed_itself_it_is_a_failure_that_says_so() {
    let place = Place::new();
    let module = bomb(&place.dir, "");
    let mut command = proxy::command();
    command.args(["compile", "--directory", text(&place.cache), text(&module)]);
    let compile = std::thread::spawn(move || super::texts(proxy::finish(&mut command)));
    let own = std::process::id();
    let child = within("the compiler", || child_of(child_of(own)?));
    kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let (status, out, err) = compile.join().unwrap();
    assert_eq!((status, &out[..]), (Some(64), ""), "{err}");
    assert!(
        err.contains("the compiler failed: something killed it"),
        "{err}"
    );
    assert!(
        !Path::new(&place.cache).exists(),
        "nothing to keep, so nothing is made"
    );
}

#[test]
fn the_compilers_process_is_nobody_elses_to_start() {
    let (status, out, err) = run(&[
        "compile-child",
        "--parent",
        "1",
        "--memory",
        "1000000",
        "--cpu",
        "1",
    ]);
    assert_eq!((status, &out[..]), (Some(1), ""));
    assert!(err.contains("the parent has gone"), "{err}");
    let (_, help, _) = run(&["--help"]);
    assert!(
        help.contains("  compile ") && !help.contains("compile-child"),
        "{help}"
    );
}
