//! Another process takes over: what it is given, what becomes of the one before, and that
//! nothing happens where it does not come that far.

mod configurations;
mod failing;
mod load;
mod operators;
mod raw;
mod reloads;

use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Client, Dir, LONGEST, Message, Proxy, Setup, Upstream, client, h2, proxy};

/// A proxy, and whatever it has started to take over: all of them end with the test.
struct Line(Proxy);

impl Deref for Line {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.0
    }
}

impl DerefMut for Line {
    fn deref_mut(&mut self) -> &mut Proxy {
        &mut self.0
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for pid in self.started() {
            // Nobody else has this test's folder in its arguments.
            if commanded(pid).contains(&self.dir.path().display().to_string())
                && let Some(pid) = Pid::from_raw(pid)
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// What a process was started by; empty when it has gone.
fn commanded(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

impl Line {
    /// Starts a proxy from a link that a test can lead elsewhere.
    fn start(setup: Setup, yaml: &str) -> Self {
        let link = setup.dir.join("cofferdam");
        std::os::unix::fs::symlink(proxy::BINARY, &link).unwrap();
        Self(setup.program(link).start(yaml))
    }

    /// Processes that were started to take over, in order.
    fn started(&self) -> Vec<i32> {
        let lines = self.log.all();
        lines
            .iter()
            .filter_map(|line| number(line, "upgrade: process ", " was started to take over"))
            .collect()
    }

    /// SIGUSR2 to the process that serves, and waits until another has taken over from it; that
    /// one.
    fn upgrade(&self) -> i32 {
        let before = self.started().len();
        let taken = |line: &String| number(line, "upgrade: process ", " has taken over");
        let last = self.log.all().iter().filter_map(taken).next_back();
        let serving = last.unwrap_or_else(|| i32::try_from(self.id()).unwrap());
        signal(serving, Signal::USR2);
        let taken = format!("this process has taken over from {serving}");
        self.log.wait_for(&taken);
        let started = self.started();
        assert_eq!(started.len(), before + 1, "{}", self.log.text());
        started[before]
    }

    /// SIGUSR2 to the first process, and waits for these words in the log.
    fn upgrade_fails(&self, words: &str) {
        let before = self.log.count(words);
        self.signal(Signal::USR2);
        until(self, words, || self.log.count(words) > before);
    }
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn number(line: &str, before: &str, after: &str) -> Option<i32> {
    let (_, rest) = line.split_once(before)?;
    rest.split_once(after)?.0.parse().ok()
}

fn until(proxy: &Proxy, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONGEST;
    while !done() {
        assert!(
            Instant::now() < deadline,
            "never {what}:\n{}",
            proxy.log.text()
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn has_gone(pid: i32) -> bool {
    commanded(pid).is_empty()
}

/// One listener `web` whose answer is `body`, and a place in `dir` to be asked at.
fn answering(dir: &Dir, body: &str, workers: usize) -> String {
    format!(
        "listeners:\n- name: web\n  address: 127.0.0.1:0\n  routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200, body: {body} }} }}]\n\
         workers: {workers}\n{}",
        place(dir)
    )
}

fn place(dir: &Dir) -> String {
    format!("upgrade: {{ socket: '{}' }}\n", socket(dir).display())
}

fn socket(dir: &Dir) -> PathBuf {
    dir.join("upgrade.sock")
}

/// Another process, not started by the first, that is to take over.
fn take_over(yaml: &str) -> Proxy {
    Setup::new().after(&["--take-over"]).spawn(yaml)
}

/// Many connections, which the system spreads over the sockets: all are answered.
fn all_are_served(proxy: &Proxy, body: &str) {
    let mut clients: Vec<_> = (0..64).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), body);
    }
}

/// The same where another process may take some of them in for a moment yet.
fn all_are_served_soon(proxy: &Proxy, body: &str) {
    until(proxy, "served by one process alone", || {
        let mut clients: Vec<_> = (0..64).map(|_| proxy.client()).collect();
        let all = clients.iter_mut().map(|client| client.get("/").text());
        all.filter(|text| text == body).count() == 64
    });
}

/// Requests until an answer says that it is the last; each has this body.
fn last_answer<S: std::io::Read + std::io::Write>(client: &mut Client<S>, body: &str) {
    loop {
        let answer = client.get("/");
        assert_eq!(answer.text(), body);
        if answer.field("connection") == Some("close") {
            return client.assert_ended();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_are_the_new_ones_and_the_old_one_ends_when_its_own_have() {
    let setup = Setup::new();
    let (before, after) = (
        answering(&setup.dir, "before", 2),
        answering(&setup.dir, "after", 2),
    );
    let mut old = setup.start(&before);
    let web = old.web();
    let (mut kept, mut waiting) = (old.client(), old.client());
    assert_eq!(kept.get("/").text(), "before");
    assert_eq!(waiting.get("/").text(), "before");
    let streams = h2::connect(web).await;
    assert_eq!(h2::fetch(&streams, h2::get("/")).await.1.body, "before");

    let new = take_over(&after);
    new.log.wait_for("this process has taken over from");
    old.log.wait_for("draining");
    all_are_served_soon(&old, "after");
    // A connection that is kept has one more answer.
    assert!(old.is_running());
    last_answer(&mut kept, "before");
    // HTTP/2 has been told already.
    let until = Instant::now() + LONGEST;
    while !streams.is_closed() {
        assert!(Instant::now() < until, "no GOAWAY");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!(old.is_running());
    drop(waiting);
    assert_eq!(old.exit().code(), Some(0));
    assert_eq!(client::get(web, "/").text(), "after");
    assert_eq!(new.log.count("ERROR") + old.log.count("ERROR"), 0);
}

#[test]
fn idle_connections_are_closed_after_half_of_drain_time_or_a_signal() {
    for drain_time in ["400ms", "1h"] {
        let setup = Setup::new();
        let yaml = answering(&setup.dir, "x", 1) + &format!("drain_time: {drain_time}\n");
        let mut old = setup.start(&yaml);
        let mut idle = old.client();
        assert_eq!(idle.get("/").text(), "x");
        let new = take_over(&yaml);
        new.log.wait_for("this process has taken over from");
        old.log.wait_for("draining");
        if drain_time == "1h" {
            assert!(old.is_running());
            old.signal(Signal::TERM);
        }
        idle.assert_ended();
        assert_eq!(old.exit().code(), Some(0));
        assert_eq!(old.log.count("drain_time is over"), 0);
        assert_eq!(client::get(old.web(), "/").text(), "x");
    }
}

#[test]
fn a_body_under_way_is_finished_by_the_old_one() {
    let setup = Setup::new();
    let upstream = Upstream::echo();
    let yaml = proxy::plain(upstream.address) + &place(&setup.dir);
    let mut old = setup.start(&yaml);
    let mut upload = old.client();
    upload.send("POST /slow HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf");
    upstream.wait_for_bytes(4);
    let new = take_over(&yaml);
    new.log.wait_for("this process has taken over from");
    until(&new, "served by the new one alone", || {
        let before = old.stdout.count("GET /new");
        (0..32).for_each(|_| assert_eq!(old.get("/new").status(), 200));
        old.stdout.count("GET /new") == before
    });
    new.stdout.wait_for("GET /new");
    assert!(old.is_running());
    upload.send("half");
    let answer = upload.response();
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("halfhalf".to_owned(), Some("close"))
    );
    assert_eq!(old.exit().code(), Some(0));
    old.stdout.wait_for("200 - via_upstream POST /slow");
}

#[test]
fn the_binary_that_is_there_now_takes_over_again_and_again() {
    let setup = Setup::new();
    let yaml = |round: usize| answering(&setup.dir, &format!("round{round}"), 2);
    let (first, rest): (String, Vec<String>) = (yaml(0), (1..4).map(yaml).collect());
    let mut line = Line::start(setup, &first);
    let mut processes = vec![i32::try_from(line.id()).unwrap()];
    for (round, yaml) in rest.iter().enumerate() {
        line.dir.write("config.yaml", yaml);
        processes.push(line.upgrade());
        all_are_served_soon(&line, &format!("round{}", round + 1));
    }
    assert_eq!(line.exit().code(), Some(0));
    let last = processes.pop().unwrap();
    for pid in processes {
        until(&line, "the end of all but the last", || has_gone(pid));
    }
    all_are_served(&line, "round3");
    signal(last, Signal::TERM);
    until(&line, "the end of the last", || has_gone(last));
    assert_eq!(line.log.count("ERROR"), 0, "{}", line.log.text());
}

#[test]
fn nobody_to_take_over_from_is_a_start_like_any_other() {
    let setup = Setup::new();
    let yaml = answering(&setup.dir, "x", 1);
    let path = socket(&setup.dir);
    let first = setup.after(&["--take-over"]).start(&yaml);
    first.log.wait_for("nothing to take over");
    assert_eq!(first.get("/").text(), "x");
    first.signal(Signal::KILL);
    let mut first = first;
    first.exit();
    // What it has left there is in nobody's way.
    assert!(path.exists());
    let second = Setup::new().after(&["--take-over"]).start(&yaml);
    second.log.wait_for("nothing to take over");
    assert_eq!(second.get("/").text(), "x");
    let third = take_over(&yaml);
    third.log.wait_for("this process has taken over from");
    assert_eq!(second.get("/").text(), "x");
}
