//! `cofferdam dev`: what it shows, and that a new module takes over.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use cofferdam_abi::testing::guest;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::lines::Lines;
use crate::support::{Dir, LONGEST, guest as file, proxy};

/// The command, running.
struct Dev {
    child: Child,
    out: Lines,
    log: Lines,
    address: String,
}

impl Dev {
    fn start(dir: &Dir, greeting: &str) -> Self {
        let mut child = proxy::command()
            .current_dir(dir.path())
            .args([
                "--log",
                "error",
                "dev",
                "guest.wasm",
                "--listen",
                "127.0.0.1:0",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let log = Lines::of(child.stderr.take().unwrap());
        let line = out.find(|line| line.starts_with(greeting));
        let line = line.expect("it says where it listens");
        let address = line[greeting.len()..].split(' ').next().unwrap().to_owned();
        Self {
            child,
            out,
            log,
            address,
        }
    }

    /// What is answered to some bytes on a connection of their own.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nx-gone: 1\r\nconnection: close\r\n\r\n"
        ))
    }

    /// What was shown of the request with this path, once something behind it was.
    fn shown(&self, path: &str, last: &str) -> Vec<String> {
        let until = std::time::Instant::now() + LONGEST;
        loop {
            let all = self.out.all();
            let mut lines = all.iter().skip_while(|line| !line.contains(path));
            let head = lines.next().cloned();
            let rest = lines.take_while(|line| line.starts_with("  ")).cloned();
            let shown: Vec<String> = head.into_iter().chain(rest).collect();
            if shown.iter().any(|line| line.contains(last)) || std::time::Instant::now() > until {
                return shown;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn source(value: &str) -> String {
    format!(
        "on request_headers
    (drop (!get_header_map_value #0 {{\":path\"}} @out))
    (if (i32.eq (i32.load #20) #5) (then
        (drop (!send_local_response #418 #0 #0 {{\"tea\"}} {{pairs \"x-why\" \"five\"}} #-1))
        (return #1)))
    (drop (!remove_header_map_value #0 {{\"x-gone\"}}))
    (drop (!add_header_map_value #0 {{\"x-new\"}} {{\"{value}\"}}))
on response_headers
    (drop (!replace_header_map_value #2 {{\"content-type\"}} {{\"text/html\"}}))"
    )
}

fn put(dir: &Dir, source: &str) {
    file::write(dir, "guest", &guest::module(source, Default::default()));
}

#[test]
fn what_a_filter_does_to_each_request_is_shown_and_a_new_module_takes_over() {
    let dir = Dir::new();
    put(&dir, &source("one"));
    let dev = Dev::start(&dir, "listening on http://");
    let answer = dev.get("/first");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("\nx-new: one\n") && !answer.contains("x-gone"),
        "{answer}"
    );
    let shown = dev.shown("/first", "content-type");
    assert!(shown[0].starts_with("GET /first → 200 ("), "{shown:?}");
    assert_eq!(
        shown[1..],
        [
            "  request",
            "    - x-gone: 1",
            "    + x-new: one",
            "  response",
            "    ~ content-type: text/plain → text/html",
        ]
    );
    dev.get("/five");
    let shown = dev.shown("/five", "x-why");
    assert!(shown[0].starts_with("GET /five → 418 ("), "{shown:?}");
    assert!(
        shown.contains(&"  answered without the upstream".to_owned()),
        "{shown:?}"
    );
    put(&dir, &source("two"));
    let until = std::time::Instant::now() + LONGEST;
    while !dev.get("/again").contains("\nx-new: two\n") {
        assert!(std::time::Instant::now() < until, "{:?}", dev.out.all());
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = |wanted: &str| {
        let found = dev.out.find(|line| line == wanted);
        assert!(found.is_some(), "{wanted}: {:?}", dev.out.all());
    };
    said("the new module takes over");
    // One that is refused does not; and nobody is sent to a file that is not there.
    put(&dir, "on configure\n (return #0)");
    said("the new module is refused: the filter stays as it was");
    let all = dev.out.all();
    let count = |line: &str| all.iter().filter(|other| *other == line).count();
    assert_eq!(count("the module has changed"), 2, "{all:?}");
    assert_eq!(count("the new module takes over"), 1, "{all:?}");
    let why = dev.log.find(|line| line.contains("guest.wasm")).unwrap();
    assert!(why.contains(" reload: filter filter: "), "{why}");
    assert!(
        why.contains("; give it the configuration it expects"),
        "{why}"
    );
    assert!(dev.get("/still").contains("\nx-new: two\n"));
    put(&dir, &source("three"));
    while !dev.get("/again").contains("\nx-new: three\n") {
        assert!(
            std::time::Instant::now() < until + LONGEST,
            "{:?}",
            dev.out.all()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_filter_of_connections_stands_in_front_of_an_echo() {
    let dir = Dir::new();
    put(
        &dir,
        "on downstream_data
    (drop (!set_buffer_bytes #2 #0 #0 {\"<\"}))",
    );
    // A free port, as far as anybody can know.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut child = proxy::command()
        .current_dir(dir.path())
        .args([
            "--log",
            "error",
            "dev",
            "guest.wasm",
            "--listen",
            &port.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = Lines::of(child.stdout.take().unwrap());
    let log = Lines::of(child.stderr.take().unwrap());
    let said = out.find(|line| line.contains("(TCP)"));
    let dev = Dev {
        child,
        out,
        log,
        address: port.to_string(),
    };
    assert!(said.is_some());
    let mut stream = loop {
        match TcpStream::connect(&dev.address) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream.write_all(b"abc").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"<abc");
}

#[test]
fn what_cannot_run_is_said_at_once() {
    let dir = Dir::new();
    dir.write("guest.wasm", "no module");
    let output = proxy::run(&["dev", dir.join("guest.wasm").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    put(&dir, "on configure\n (return #0)");
    let output = proxy::run(&["dev", dir.join("guest.wasm").to_str().unwrap()]);
    assert_eq!(
        output.status.code(),
        Some(64),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    put(&dir, &source("one"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = proxy::run(&[
        "dev",
        dir.join("guest.wasm").to_str().unwrap(),
        "--listen",
        &address,
    ]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--listen"));
}

#[test]
fn each_callback_is_measured_on_each_engine() {
    let dir = Dir::new();
    put(&dir, &source("one"));
    let path = dir.join("guest.wasm");
    let output = proxy::run(&["bench", path.to_str().unwrap(), "--exchanges", "10"]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let row = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(name));
        let words = line
            .unwrap_or_else(|| panic!("{name}\n{out}"))
            .split_whitespace();
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let fuel_at = if cfg!(feature = "compiler") { 4 } else { 3 };
    // `:path` and /some/path?with=a&query=b, x-gone, x-new: one; content-type: text/html.
    for (name, border) in [
        ("proxy_on_request_headers", ["1", "25", "19"]),
        ("proxy_on_response_headers", ["0", "0", "21"]),
    ] {
        let words = row(name);
        assert_eq!(words[1], "10", "{out}");
        // Fuel is what it is, on every machine.
        let fuel: u64 = words[fuel_at].parse().unwrap();
        assert!(fuel > 10, "{out}");
        assert_eq!(words[fuel_at + 2..], border, "{out}");
    }
    let again = proxy::run(&["bench", path.to_str().unwrap(), "--exchanges", "10"]);
    let again = String::from_utf8(again.stdout).unwrap();
    let fuel = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("proxy_on_request_headers"))
            .unwrap();
        line.split_whitespace().nth(fuel_at).unwrap().to_owned()
    };
    assert_eq!(fuel(&out), fuel(&again));
    let missing = proxy::run(&["bench", dir.join("nope.wasm").to_str().unwrap()]);
    let said = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(64));
    assert!(
        said.contains("cofferdam build") && !said.contains("--filter"),
        "{said}"
    );
    put(&dir, "on request_headers\n unreachable");
    let output = proxy::run(&["bench", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
}
