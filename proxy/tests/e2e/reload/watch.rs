//! A file that has changed is read without a word.

use std::os::unix::fs::symlink;

use super::{answering, until};
use crate::support::{Client, Proxy};

const WATCH: &str = "reload: { watch: 100ms }\n";

fn watching(body: &str) -> String {
    answering(body) + WATCH
}

fn answered(proxy: &Proxy, client: &mut Client, body: &str) {
    until(proxy, body, || client.get("/").text() == body);
}

#[test]
fn a_file_is_read_whichever_way_it_becomes_another() {
    let proxy = Proxy::start(&watching("one"));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "one");
    // Written in place, as a shell does.
    proxy.dir.write("config.yaml", watching("two"));
    answered(&proxy, &mut client, "two");
    // Another in its place, as editors do.
    let aside = proxy.dir.write("config.new", watching("three"));
    std::fs::rename(aside, proxy.dir.join("config.yaml")).unwrap();
    answered(&proxy, &mut client, "three");
    // Gone, and there again.
    std::fs::remove_file(proxy.dir.join("config.yaml")).unwrap();
    proxy.log.wait_for("there is no such file");
    assert_eq!(client.get("/").text(), "three");
    proxy.dir.write("config.yaml", watching("four"));
    answered(&proxy, &mut client, "four");
    // A bad one changes nothing, and is not read again and again.
    proxy.dir.write("config.yaml", "listeners: 3");
    let refused = "reload: nothing is changed";
    until(&proxy, refused, || proxy.log.count(refused) >= 2);
    assert_eq!(client.get("/").text(), "four");
    // Watching ends when nobody wants it any more.
    proxy.dir.write("config.yaml", answering("five"));
    answered(&proxy, &mut client, "five");
}

#[test]
fn a_link_that_leads_elsewhere_is_seen() {
    // As volumes of Kubernetes are: FILE -> ..data/FILE, and ..data -> a folder.
    let proxy = Proxy::start(&watching("one"));
    let mut client = proxy.client();
    let volume = |name: &str, body: &str| {
        std::fs::create_dir(proxy.dir.join(name)).unwrap();
        proxy
            .dir
            .write(&format!("{name}/config.yaml"), watching(body));
        symlink(name, proxy.dir.join("..new")).unwrap();
        std::fs::rename(proxy.dir.join("..new"), proxy.dir.join("..data")).unwrap();
    };
    volume("a", "two");
    symlink("..data/config.yaml", proxy.dir.join("link")).unwrap();
    std::fs::rename(proxy.dir.join("link"), proxy.dir.join("config.yaml")).unwrap();
    answered(&proxy, &mut client, "two");
    volume("b", "three");
    answered(&proxy, &mut client, "three");
}

#[test]
fn watching_may_begin_with_a_reload() {
    let proxy = Proxy::start(&answering("one"));
    super::reload(&proxy, &watching("two"));
    proxy.dir.write("config.yaml", watching("three"));
    answered(&proxy, &mut proxy.client(), "three");
}

#[test]
fn another_period_holds_at_once_and_so_does_none() {
    let every =
        |period: &str, body: &str| answering(body) + &format!("reload: {{ watch: {period} }}\n");
    let proxy = Proxy::start(&every("1h", "one"));
    let mut client = proxy.client();
    super::reload(&proxy, &every("100ms", "two"));
    proxy.dir.write("config.yaml", every("100ms", "three"));
    answered(&proxy, &mut client, "three");
    // Whoever has an hour to wait goes at once, and there are never two.
    for _ in 0..2 {
        super::reload(&proxy, &every("1h", "four"));
        // It gives itself its name.
        until(&proxy, "a watcher", || watchers(&proxy) == 1);
        super::reload(&proxy, &answering("five"));
        until(&proxy, "no watcher", || watchers(&proxy) == 0);
    }
    super::reload(&proxy, &every("1h", "six"));
    super::reload(&proxy, &every("100ms", "seven"));
    proxy.dir.write("config.yaml", every("100ms", "eight"));
    answered(&proxy, &mut client, "eight");
    assert_eq!(watchers(&proxy), 1);
}

/// How many threads look at files.
fn watchers(proxy: &Proxy) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    // One may end meanwhile.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name == "watch\n").count()
}
