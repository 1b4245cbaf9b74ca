//! A configuration is read again while sockets change hands: after that, in either process.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use super::raw::Other;
use super::*;
use crate::support::dns::{Dns, Says};

/// What the log says of a reload that comes then.
const WAITS: &str = "reload: it waits";

fn listener(name: &str, address: &str) -> String {
    format!(
        "- name: {name}\n  address: {address}\n  routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200, body: {name} }} }}]\n"
    )
}

/// Listeners by their names, each answering with its own, and a place in `dir`.
fn config(dir: &Dir, names: &[&str]) -> String {
    let listeners = names.iter().map(|name| listener(name, "127.0.0.1:0"));
    let listeners: String = listeners.collect();
    format!("listeners:\n{listeners}workers: 2\n{}", place(dir))
}

/// A proxy that takes over, by `yaml`, and waits for the word to go; from whom.
fn about_to_serve(dir: &Dir, yaml: &str) -> (Proxy, Other) {
    let path = socket(dir);
    let asked = UnixListener::bind(&path).unwrap();
    asked.set_nonblocking(true).unwrap();
    let new = take_over(yaml);
    let mut stream = None;
    until(&new, "asking", || {
        stream = asked.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut old = Other::of(stream);
    assert_eq!(old.hears(), "{\"hello\":1}\n");
    // It listens everywhere itself, there too.
    std::fs::remove_file(&path).unwrap();
    old.say("{\"offer\": 0, \"process\": 1}");
    assert_eq!(old.hears(), "{\"ready\":true}\n");
    (new, old)
}

/// Lets it serve.
fn go(old: &mut Other) {
    let told = old.say("{\"go\": true}").hears();
    assert!(told.starts_with("{\"serving\":"), "{told}");
    old.say("{\"bye\": true}");
}

/// Where it listens.
fn address(proxy: &Proxy, name: &str) -> SocketAddr {
    let line = proxy.log.wait_for(&format!(" listening: {name} "));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn who_takes_over_by_another_configuration_than_it_came_with_serves_both_in_turn() {
    for (number, names) in [&["b", "a"][..], &["b"], &["c", "b"], &["c", "a", "b"]]
        .iter()
        .enumerate()
    {
        let dir = Dir::new();
        let (new, mut old) = about_to_serve(&dir, &config(&dir, &["a", "b"]));
        // Any number of reloads is one then.
        for _ in 0..=number {
            new.dir.write("config.yaml", config(&dir, names));
            new.signal(Signal::HUP);
            new.log.wait_for(WAITS);
        }
        assert_eq!(new.log.count("listening: "), 0);
        go(&mut old);
        new.log.wait_for("this process has taken over from");
        new.log.wait_for("reload: module files were read again");
        for name in *names {
            let address = address(&new, name);
            // Either worker's.
            for _ in 0..8 {
                assert_eq!(client::get(address, "/").text(), *name, "{names:?}");
            }
        }
        if !names.contains(&"a") {
            let gone = address(&new, "a");
            until(&new, "refused", || !client::is_let_in(gone));
        }
        assert_eq!(new.log.count("ERROR"), 0, "{}", new.log.text());
    }
}

#[test]
fn who_is_not_to_take_over_never_listens_by_what_it_has_read_again() {
    let dir = Dir::new();
    let watch = "reload: { watch: 100ms }\n";
    let (mut new, mut old) = about_to_serve(&dir, &(config(&dir, &["a"]) + watch));
    // Not asked for by anybody: the file has changed.
    let more = config(&dir, &["a", "b"]) + watch;
    new.dir.write("config.yaml", more);
    new.log.wait_for(WAITS);
    old.say("{\"refused\": \"never\"}");
    assert_eq!(new.exit().code(), Some(69));
    assert_eq!(new.log.count("listening: "), 0);
    assert_eq!(
        new.log.count("reload: the configuration has come to run"),
        0
    );
}

/// A proxy with a listener of each kind, which are in the second configuration no more, and
/// what has been offered all of its sockets. All by one worker: who comes is in that queue.
struct Offering {
    old: Proxy,
    other: Other,
    keys: Vec<String>,
    sockets: Vec<OwnedFd>,
    unix: PathBuf,
    without: String,
}

impl Offering {
    fn new() -> Self {
        let setup = Setup::new();
        let unix = setup.dir.join("gone.sock");
        let rest = format!("workers: 1\n{}", place(&setup.dir));
        let web = listener("web", "127.0.0.1:0");
        let gone = [
            listener("gone", "127.0.0.1:0"),
            listener("unix", &format!("'unix:{}'", unix.display())),
        ];
        let yaml = format!("listeners:\n{web}{}{rest}", gone.concat());
        let path = socket(&setup.dir);
        let old = setup.start(&yaml);
        let mut other = Other::connect(&path);
        // Its own place is one of them.
        other.is_offered(4);
        let (keys, sockets) = other.takes();
        assert_eq!(keys.len(), 4);
        Self {
            old,
            other,
            keys,
            sockets,
            unix,
            without: format!("listeners:\n{web}{rest}"),
        }
    }

    /// Has it read a configuration without those listeners.
    fn reload(&self) {
        self.old.dir.write("config.yaml", &self.without);
        self.old.signal(Signal::HUP);
        self.old.log.wait_for(WAITS);
    }

    /// The old one serves all it did.
    fn goes_on(&self) {
        assert_eq!(self.old.get("/").text(), "web");
        let gone = client::get(self.old.address("gone"), "/");
        assert_eq!(gone.text(), "gone");
        assert_eq!(Client::connect_unix(&self.unix).get("/").text(), "unix");
    }

    fn taken(&self, wanted: &str) -> OwnedFd {
        let mut found = self.keys.iter().zip(&self.sockets);
        let (_, socket) = found.find(|(key, _)| key.contains(wanted)).unwrap();
        socket.try_clone().unwrap()
    }
}

#[test]
fn a_socket_that_another_process_has_been_given_is_never_deaf_for_a_reload() {
    let mut offering = Offering::new();
    // It keeps the old process.
    let mut kept = offering.old.client();
    assert_eq!(kept.get("/").text(), "web");
    offering.reload();
    offering.goes_on();
    let other = &mut offering.other;
    assert_eq!(other.say("{\"ready\": true}").hears(), "{\"go\":true}\n");
    let keys = serde_json::json!({ "serving": offering.keys });
    assert_eq!(other.say(&keys.to_string()).hears(), "{\"bye\":true}\n");
    let words = "reload: another process has taken over";
    offering.old.log.wait_for(words);
    last_answer(&mut kept, "web");
    assert_eq!(offering.old.exit().code(), Some(0));
    assert_eq!(offering.old.log.count("no longer listening"), 0);
    // Whoever comes now comes to the other process: this one.
    let tcp = TcpListener::from(offering.taken("gone"));
    let _come = Client::connect(offering.old.address("gone"));
    until(&offering.old, "let in", || tcp.accept().is_ok());
    let unix = UnixListener::from(offering.taken("unix:"));
    let _come = UnixStream::connect(&offering.unix).unwrap();
    until(&offering.old, "let in", || unix.accept().is_ok());
}

#[test]
fn a_reload_that_has_waited_for_a_process_that_does_not_take_over_is_done_then() {
    let offering = Offering::new();
    offering.reload();
    offering.goes_on();
    let Offering {
        old, other, unix, ..
    } = offering;
    drop((other, offering.sockets));
    old.log.wait_for("it has gone before it was ready");
    old.log.wait_for("no longer listening: gone");
    old.log.wait_for("no longer listening: unix");
    let gone = old.address("gone");
    until(&old, "refused", || {
        !client::is_let_in(gone) && UnixStream::connect(&unix).is_err()
    });
    assert_eq!(old.get("/").text(), "web");
}

#[test]
fn what_a_reload_that_is_under_way_brings_is_handed_over() {
    let dns = Dns::new();
    dns.say("backend.test", Says::Silence);
    let setup = Setup::new();
    let path = socket(&setup.dir);
    let more = format!("dns: {{ servers: ['{}'], timeout: 1s }}\n", dns.address);
    let one = config(&setup.dir, &["web"]) + &more;
    let old = setup.start(&one);
    let cluster = "clusters: [{ name: c, endpoints: ['backend.test:1'] }]\n";
    let both = config(&old.dir, &["web", "more"]) + &more + cluster;
    old.dir.write("config.yaml", both);
    old.signal(Signal::HUP);
    // By then its sockets are there, and its workers have none of them.
    until(&old, "asked", || dns.asked("backend.test") > 0);
    let mut other = Other::connect(&path);
    // Of two workers, and the place.
    other.is_offered(5);
    old.log.wait_for("reload: module files were read again");
}
