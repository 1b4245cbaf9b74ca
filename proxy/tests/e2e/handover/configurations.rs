//! The new process has another configuration: what of the sockets is the same, and what is
//! not.

use std::fmt::Write as _;

use super::*;

#[test]
fn any_number_of_workers_follows_any_other() {
    let setup = Setup::new();
    let yaml = |workers| answering(&setup.dir, "x", workers);
    let all: Vec<String> = [1, 4, 1, 3].map(yaml).into();
    let line = Line::start(setup, &all[0]);
    all_are_served(&line, "x");
    for (yaml, sockets) in all[1..].iter().zip([2, 5, 5]) {
        line.dir.write("config.yaml", yaml);
        line.upgrade();
        // Of the listener, and the one for upgrades.
        line.log
            .wait_for(&format!("has handed over {sockets} sockets"));
        all_are_served(&line, "x");
    }
}

#[test]
fn those_who_wait_to_be_let_in_are_let_in_by_whoever_is_there() {
    let setup = Setup::new();
    let yaml = answering(&setup.dir, "x", 4);
    let fewer = answering(&setup.dir, "x", 1);
    let mut old = setup.start(&yaml);
    let new = take_over(&fewer);
    new.log.wait_for("this process has taken over from");
    assert_eq!(old.exit().code(), Some(0));
    // While nobody can take them in: they wait in the sockets of four workers.
    new.signal(Signal::STOP);
    let mut waiting: Vec<_> = (0..64).map(|_| old.client()).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    }
    new.signal(Signal::CONT);
    let newest = take_over(&fewer);
    newest.log.wait_for("this process has taken over from");
    for client in &mut waiting {
        assert_eq!(client.response().text(), "x");
    }
}

#[test]
fn listeners_come_and_go() {
    let setup = Setup::new();
    let (gone, stays) = (setup.dir.join("gone.sock"), setup.dir.join("stays.sock"));
    let listener = |name: &str, address: &str, body: &str| {
        format!(
            "- name: {name}\n  address: {address}\n  routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200, body: {body} }} }}]\n"
        )
    };
    let unix = |path: &Path| format!("'unix:{}'", path.display());
    let rest = format!("workers: 2\n{}", place(&setup.dir));
    let before = format!(
        "listeners:\n{}{}{}{rest}",
        listener("web", "127.0.0.1:0", "web"),
        listener("gone", &unix(&gone), "gone"),
        listener("stays", &unix(&stays), "before"),
    );
    let after = format!(
        "listeners:\n{}{}{}{rest}",
        listener("come", "127.0.0.1:0", "come"),
        listener("stays", &unix(&stays), "after"),
        listener("web", "127.0.0.1:0", "web"),
    );
    let mut old = setup.start(&before);
    let mut kept = Client::connect_unix(&gone);
    assert_eq!(kept.get("/").text(), "gone");
    let new = take_over(&after);
    new.log.wait_for("this process has taken over from");
    let line = new.log.wait_for("listening: come ");
    let come = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(client::get(come, "/").text(), "come");
    assert_eq!(old.get("/").text(), "web");
    last_answer(&mut kept, "gone");
    assert_eq!(old.exit().code(), Some(0));
    assert!(UnixStream::connect(&gone).is_err());
    assert_eq!(Client::connect_unix(&stays).get("/").text(), "after");
    assert_eq!(new.log.count("ERROR"), 0, "{}", new.log.text());
}

#[test]
fn what_a_reload_has_brought_is_handed_over_too() {
    let setup = Setup::new();
    let yaml = answering(&setup.dir, "x", 2);
    let mut old = setup.start(&yaml);
    let more = yaml.replace(
        "listeners:\n",
        "listeners:\n- { name: more, address: 127.0.0.1:0, routes: [] }\n",
    );
    old.dir.write("config.yaml", &more);
    old.signal(Signal::HUP);
    let line = old.log.wait_for("listening: more ");
    let address: std::net::SocketAddr = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(client::get(address, "/").status(), 404);
    let new = take_over(&more);
    new.log.wait_for("has handed over 5 sockets");
    new.log.wait_for("this process has taken over from");
    assert_eq!(old.exit().code(), Some(0));
    assert_eq!(client::get(address, "/").status(), 404);
    // One that a reload has taken away is not.
    new.dir.write("config.yaml", &yaml);
    new.signal(Signal::HUP);
    new.log.wait_for("no longer listening: more");
    let newest = take_over(&yaml);
    newest.log.wait_for("has handed over 3 sockets");
    newest.log.wait_for("this process has taken over from");
    let until = Instant::now() + LONGEST;
    while client::is_let_in(address) {
        assert!(Instant::now() < until, "it is still listened on");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// More than the system lets go through at a time.
#[test]
fn hundreds_of_sockets_are_handed_over() {
    const LISTENERS: usize = 150;
    let setup = Setup::new();
    let yaml = |body: &str| {
        let mut yaml = String::from("listeners:\n");
        for index in 0..LISTENERS {
            let _ = writeln!(
                yaml,
                "- name: l{index}\n  address: 127.0.0.1:0\n  routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200, body: {body}{index} }} }}]"
            );
        }
        yaml + "workers: 2\n" + &place(&setup.dir)
    };
    let (before, after) = (yaml("before"), yaml("after"));
    let mut line = Line::start(setup, &before);
    line.dir.write("config.yaml", &after);
    line.upgrade();
    line.log.wait_for("has handed over 301 sockets");
    assert_eq!(line.exit().code(), Some(0));
    for index in 0..LISTENERS {
        let address = line.address(&format!("l{index}"));
        // Either worker's.
        for _ in 0..4 {
            assert_eq!(client::get(address, "/").text(), format!("after{index}"));
        }
    }
}
