//! What other programs may say at the socket, or not say.

use std::io::{BufRead as _, BufReader, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;
use crate::support::require;

/// A program that speaks as the test says.
pub(super) struct Other(BufReader<UnixStream>);

impl Other {
    pub(super) fn connect(path: &Path) -> Self {
        Self::of(UnixStream::connect(path).unwrap())
    }

    pub(super) fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(super) fn say(&mut self, line: &str) -> &mut Self {
        writeln!(self.0.get_mut(), "{line}").unwrap();
        self
    }

    /// Says what it wants, and is offered so many sockets.
    pub(super) fn is_offered(&mut self, count: usize) {
        let told = self.say("{\"hello\": 1}").hears();
        let offer = format!("{{\"offer\":{count},");
        assert!(told.starts_with(&offer), "{told}");
    }

    /// All that is offered, where one sending has room for it: whose, in order, and the sockets.
    pub(super) fn takes(&mut self) -> (Vec<String>, Vec<OwnedFd>) {
        self.say("{\"more\": 0}");
        let mut line = [0; 4 << 10];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let mut into = [IoSliceMut::new(&mut line)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(self.0.get_ref(), &mut into, &mut control, flags).unwrap();
        let mut sockets = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                sockets.extend(came);
            }
        }
        let said: serde_json::Value = serde_json::from_slice(&line[..received.bytes]).unwrap();
        let keys = serde_json::from_value(said["sockets"].clone()).unwrap();
        (keys, sockets)
    }

    /// The next line; empty at the end.
    pub(super) fn hears(&mut self) -> String {
        let mut line = String::new();
        // Closed with something unread in it: the same end.
        let _ = self.0.read_line(&mut line);
        line
    }
}

fn start() -> (Proxy, PathBuf, String) {
    let setup = Setup::new();
    let yaml = answering(&setup.dir, "x", 2);
    let path = socket(&setup.dir);
    (setup.start(&yaml), path, yaml)
}

/// The user that has nothing.
const NOBODY: u32 = 65_534;
/// Where the test that is run by somebody else finds the socket.
const PEER: &str = "COFFERDAM_TEST_PEER";

/// What another user's process does, by which the next test runs this binary.
#[test]
fn somebody_else() {
    let Some(path) = std::env::var_os(PEER) else {
        return;
    };
    match UnixStream::connect(Path::new(&path)) {
        Ok(stream) => {
            stream.set_read_timeout(Some(LONGEST)).unwrap();
            let mut other = Other(BufReader::new(stream));
            // It may have been shown the door already.
            let _ = writeln!(other.0.get_mut(), "{{\"hello\": 1}}");
            println!("heard {:?}", other.hears());
        }
        Err(error) => println!("not reached: {error}"),
    }
}

#[test]
fn another_users_process_is_told_nothing() {
    if !rustix::process::geteuid().is_root() {
        let _: Option<()> = require::skipped("only root can start another user's process");
        return;
    }
    let (proxy, path, _) = start();
    // Whoever may connect to it: the file's mode is not all there is.
    let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    open(proxy.dir.path(), 0o755).unwrap();
    open(&path, 0o666).unwrap();
    let mut peer = Command::new(std::env::current_exe().unwrap());
    peer.args(["--exact", "handover::raw::somebody_else", "--nocapture"])
        .env(PEER, &path)
        .uid(NOBODY)
        .gid(NOBODY);
    let said = match peer.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => format!("not reached: {error}"),
    };
    if said.contains("not reached") {
        let why = format!("another user cannot reach this test's folders: {said}");
        let _: Option<()> = require::skipped(&why);
        return;
    }
    assert!(said.contains("heard \"\""), "{said}");
    proxy.log.wait_for("upgrade: refused to another user");
    all_are_served(&proxy, "x");
    // This user's goes on being heard.
    Other::connect(&path).is_offered(3);
}

#[test]
fn another_version_is_told_so() {
    let (proxy, path, _) = start();
    for version in [0, 2, 99] {
        let told = Other::connect(&path)
            .say(&format!("{{\"hello\": {version}}}"))
            .hears();
        assert!(told.starts_with("{\"refused\":"), "{told}");
        assert!(
            told.contains(&format!("speaks version {version}")),
            "{told}"
        );
    }
    proxy
        .log
        .wait_for("speaks version 99 of the hand-over, this one version 1; this one goes on");
    assert_eq!(proxy.get("/").text(), "x");
}

#[test]
fn what_is_no_hand_over_changes_nothing() {
    let (mut proxy, path, yaml) = start();
    let mut silent = Other::connect(&path);
    for line in [
        "GET / HTTP/1.1\r\n\r",
        "{}",
        "",
        "{\"ready\": true}",
        "{\"serving\": []}",
    ] {
        assert_eq!(Other::connect(&path).say(line).hears(), "", "{line}");
    }
    // Who says that it serves before it may, or what it must not.
    for line in [
        "{\"serving\": [\"127.0.0.1:0 web\"]}",
        "{\"bye\": true}",
        "{\"hello\": 1}",
        "x",
    ] {
        let mut other = Other::connect(&path);
        other.is_offered(3);
        let told = other.say(line).hears();
        assert!(told.contains("refused"), "{line}: {told}");
        assert_eq!(other.hears(), "");
    }
    // Who asks for more than there is.
    let mut other = Other::connect(&path);
    other.is_offered(3);
    assert_eq!(other.say("{\"more\": 1000}").hears(), "{\"sockets\":[]}\n");
    drop(other);
    proxy
        .log
        .wait_for("it has gone before it was ready; this one goes on");
    assert!(proxy.is_running());
    all_are_served(&proxy, "x");
    let new = take_over(&yaml);
    new.log.wait_for("this process has taken over from");
    assert_eq!(proxy.exit().code(), Some(0));
    assert_eq!(silent.hears(), "");
}

#[test]
fn there_is_one_hand_over_at_a_time() {
    let (mut proxy, path, yaml) = start();
    let mut first = Other::connect(&path);
    first.is_offered(3);
    let mut second = take_over(&yaml);
    assert_eq!(second.exit().code(), Some(69));
    second.log.wait_for("another process is taking over");
    proxy.signal(Signal::USR2);
    proxy
        .log
        .wait_for("one is under way already; nothing is started");
    assert_eq!(proxy.get("/").text(), "x");
    drop(first);
    proxy.log.wait_for("it has gone before it was ready");
    let third = take_over(&yaml);
    third.log.wait_for("this process has taken over from");
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn who_dies_between_the_word_to_go_and_its_own_costs_nothing() {
    let (proxy, path, _) = start();
    let mut other = Other::connect(&path);
    other.is_offered(3);
    assert_eq!(other.say("{\"ready\": true}").hears(), "{\"go\":true}\n");
    all_are_served(&proxy, "x");
    drop(other);
    proxy.log.wait_for("it has gone before it was ready");
    all_are_served(&proxy, "x");
}

#[test]
fn a_process_that_is_told_to_end_hands_nothing_over() {
    let (mut proxy, path, _) = start();
    let mut other = Other::connect(&path);
    other.is_offered(3);
    proxy.signal(Signal::TERM);
    let told = other.hears();
    assert!(told.contains("this one has been told to end"), "{told}");
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn who_is_not_ready_in_time_is_told_so() {
    let setup = Setup::new();
    let path = socket(&setup.dir);
    let yaml = answering(&setup.dir, "x", 1);
    let yaml = yaml.replace("upgrade: {", "upgrade: { timeout: 1s,");
    let proxy = setup.start(&yaml);
    let mut other = Other::connect(&path);
    other.is_offered(2);
    assert!(other.hears().contains("it was not ready within 1s"));
    assert_eq!(proxy.get("/").text(), "x");
}
