//! New processes that are of no use: the old one goes on.

use super::*;

/// Leads the link elsewhere.
fn replace(line: &Line, with: impl FnOnce(&Path)) {
    let link = line.dir.join("cofferdam");
    std::fs::remove_file(&link).unwrap();
    with(&link);
}

/// A script in the place of the binary.
fn script(line: &Line, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let aside = line.dir.write("script", format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
    replace(line, |link| std::fs::rename(&aside, link).unwrap());
}

fn start(more: &str) -> Line {
    let setup = Setup::new();
    let yaml =
        answering(&setup.dir, "before", 2).replace("upgrade: {", &format!("upgrade: {{ {more}"));
    Line::start(setup, &yaml)
}

#[test]
fn a_binary_that_does_not_work_leaves_the_old_one_serving() {
    let line = start("");
    let mut kept = line.client();
    script(&line, "echo broken; exit 7");
    line.upgrade_fails("has ended before it took over (exit status: 7); this one goes on");
    replace(&line, |link| drop(std::fs::write(link, "no program")));
    line.upgrade_fails("the binary cannot be started: ");
    replace(&line, |_| {});
    // Nothing is there: what the process was started from still is.
    line.upgrade();
    last_answer(&mut kept, "before");
    all_are_served(&line, "before");
}

#[test]
fn a_configuration_that_is_bad_by_then_leaves_the_old_one_serving() {
    let line = start("");
    let good = line.dir.read("config.yaml");
    let mut kept = line.client();
    line.dir.write("config.yaml", "listeners: []\n");
    line.upgrade_fails("has ended before it took over (exit status: 64); this one goes on");
    // What is found out only once there are sockets: an address that is somebody else's.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "listeners:\n- {{ name: more, address: '{}', routes: [] }}\n",
        taken.local_addr().unwrap()
    );
    line.dir
        .write("config.yaml", good.replace("listeners:\n", &more));
    line.upgrade_fails("has ended before it took over (exit status: 69); this one goes on");
    line.log.wait_for("listener more cannot listen");
    let answer = kept.get("/");
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("before".to_owned(), None)
    );
    all_are_served(&line, "before");
    line.dir
        .write("config.yaml", good.replace("before", "after"));
    line.upgrade();
    all_are_served_soon(&line, "after");
}

#[test]
fn one_that_hangs_is_ended() {
    let line = start("timeout: 1s, ");
    script(&line, "exec sleep 60 # $@");
    line.upgrade_fails("is ended: it was not ready within 1s");
    let pid = line.started()[0];
    until(&line, "the end of it", || has_gone(pid));
    assert_eq!(line.get("/").text(), "before");
}

#[test]
fn sigterm_while_one_is_being_started_ends_both() {
    let mut line = start("");
    script(&line, "exec sleep 60 # $@");
    line.signal(Signal::USR2);
    line.log.wait_for("was started to take over");
    line.signal(Signal::USR2);
    line.log.wait_for("one is under way already");
    let pid = line.started()[0];
    line.signal(Signal::TERM);
    assert_eq!(line.exit().code(), Some(0));
    until(&line, "the end of it", || has_gone(pid));
}

#[test]
fn a_second_process_needs_to_be_told_that_it_takes_over() {
    let line = start("");
    let yaml = line.dir.read("config.yaml");
    let (code, told) = proxy::refused(&Dir::new(), "run", &yaml);
    assert_eq!(code, Some(69));
    assert!(
        told[0].contains("start this one with --take-over"),
        "{told:?}"
    );
    assert_eq!(line.get("/").text(), "before");
}

#[test]
fn what_is_wrong_with_the_place_is_said() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new();
    let yaml = answering(&dir, "x", 1);
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let (code, told) = proxy::refused(&Dir::new(), "run", &yaml);
    assert_eq!(code, Some(69));
    assert!(told[0].contains("others may write to"), "{told:?}");
    let long = yaml.replace("upgrade.sock", &"x".repeat(200));
    let (code, told) = proxy::refused(&Dir::new(), "check", &long);
    assert_eq!(code, Some(64));
    assert!(told[0].contains("more than 107 bytes"), "{told:?}");
}

#[test]
fn nobody_takes_over_by_a_configuration_that_does_not_say_where() {
    let setup = Setup::new();
    let yaml = answering(&setup.dir, "x", 1).replace(&place(&setup.dir), "");
    let file = setup.dir.write("config.yaml", &yaml);
    let output = proxy::run(&["run", "--take-over", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("upgrade: { socket: FILE }"), "{said}");
    // Nor does the signal end anybody.
    let proxy = setup.start(&yaml);
    proxy.signal(Signal::USR2);
    proxy
        .log
        .wait_for("SIGUSR2: the configuration does not say");
    assert_eq!(proxy.get("/").text(), "x");
}
