//! Certificates that change while the proxy serves.

use rustix::process::Signal;

use super::{TELLING, ask, listening, status};
use crate::support::pki::{Authority, Pki, expired, named};
use crate::support::{Client, Proxy, Setup, Upstream, h2, proxy};

const TLS: &str = "{ certificate: server.pem, key: server.key, client_ca: clients.pem, client_certificate: optional }";

/// A proxy with a certificate of `authority`, and clients verified against `clients.pem`.
fn setup(authority: &Authority) -> (Proxy, Pki) {
    let setup = Setup::new().with(TELLING);
    let first = authority.named(&["proxy.test"]);
    first.write(&setup.dir, "server");
    setup.dir.write("clients.pem", &first.ca);
    let proxy = setup.start(&listening(Upstream::named("ok").address, TLS));
    (proxy, first)
}

fn shown(proxy: &Proxy, trusted: &Pki) -> Vec<u8> {
    let (answer, leaf) = ask(proxy, trusted.client(&[]), "proxy.test").unwrap();
    assert_eq!(answer.text(), "ok");
    leaf
}

/// Puts files in place of others, as what renews certificates does.
fn exchange(proxy: &Proxy, name: &str, text: &str) {
    proxy.dir.write("new", text);
    std::fs::rename(proxy.dir.join("new"), proxy.dir.join(name)).unwrap();
}

const READ_AGAIN: &str = "listener web: certificates were read again";
const STAYS: &str = "listener web: the certificates in use stay";

/// Waits for a line that has not been there `before` times only.
fn wait_for_more(proxy: &Proxy, part: &str, before: usize) {
    let seen = std::cell::Cell::new(0);
    let more = |line: &str| {
        seen.set(seen.get() + usize::from(line.contains(part)));
        seen.get() > before
    };
    proxy.log.find(more).unwrap_or_else(|| {
        panic!(
            "{part} no more than {before} times in:\n{}",
            proxy.log.text()
        )
    });
}

#[test]
fn new_files_are_shown_without_being_asked_to_and_connections_go_on() {
    let authority = Authority::new();
    let (proxy, first) = setup(&authority);
    let mut open = Client::connect_tls(proxy.web(), first.client(&[]), "proxy.test");
    assert_eq!(open.get("/").text(), "ok");
    assert_eq!(shown(&proxy, &first), first.der().to_vec());
    // Key and certificate one after the other: between them they do not fit.
    let second = authority.named(&["proxy.test"]);
    exchange(&proxy, "server.key", &second.key);
    exchange(&proxy, "server.pem", &second.certificate);
    proxy.log.wait_for(READ_AGAIN);
    assert_eq!(shown(&proxy, &first), second.der().to_vec());
    assert_eq!(open.get("/").text(), "ok");
}

#[test]
fn a_file_that_is_written_over_is_seen_too() {
    let authority = Authority::new();
    let (proxy, first) = setup(&authority);
    let stranger = Pki::new(&["client.test"]);
    ask(&proxy, first.client_as(&stranger), "proxy.test").expect_err("nobody vouches for it");
    proxy.dir.write("clients.pem", &stranger.ca);
    proxy.log.wait_for(READ_AGAIN);
    let (answer, _) = ask(&proxy, first.client_as(&stranger), "proxy.test").unwrap();
    assert_eq!(answer.text(), "ok");
    let known = authority.named(&["client.test"]);
    ask(&proxy, first.client_as(&known), "proxy.test").expect_err("nobody vouches for it now");
}

#[test]
fn files_that_are_no_good_leave_what_was_and_are_told() {
    let authority = Authority::new();
    let (proxy, first) = setup(&authority);
    let mut open = Client::connect_tls(proxy.web(), first.client(&[]), "proxy.test");
    let mut stays = 0;
    for (name, text, told) in [
        (
            "server.key",
            "nothing of the kind\n".to_owned(),
            "server.key: no private key in it",
        ),
        (
            "server.key",
            authority.named(&["proxy.test"]).key,
            "the key does not belong to the certificate",
        ),
        ("server.key", first.key.clone(), ""),
        (
            "server.pem",
            "-----BEGIN CERTIFICATE-----\nMIIB".to_owned(),
            "server.pem: this is not valid PEM",
        ),
        ("server.pem", first.certificate.clone(), ""),
        (
            "clients.pem",
            first.key.clone(),
            "clients.pem: this is a private key where a certificate is wanted",
        ),
    ] {
        exchange(&proxy, name, &text);
        if told.is_empty() {
            continue;
        }
        let line = proxy.log.wait_for(told);
        assert!(
            line.contains("listener web: ")
                && line.contains(&proxy.dir.path().display().to_string()),
            "{line}"
        );
        wait_for_more(&proxy, STAYS, stays);
        stays = proxy.log.count(STAYS);
        assert_eq!(shown(&proxy, &first), first.der().to_vec(), "{told}");
        assert_eq!(open.get("/").text(), "ok", "{told}");
    }
    std::fs::remove_file(proxy.dir.join("clients.pem")).unwrap();
    proxy
        .log
        .wait_for("clients.pem: this file cannot be read: there is no such file");
    assert_eq!(shown(&proxy, &first), first.der().to_vec());
    // What is put right is taken at once.
    let second = authority.named(&["proxy.test"]);
    exchange(&proxy, "server.key", &second.key);
    exchange(&proxy, "server.pem", &second.certificate);
    exchange(&proxy, "clients.pem", &first.ca);
    proxy.log.wait_for(READ_AGAIN);
    assert_eq!(shown(&proxy, &first), second.der().to_vec());
    assert_eq!(open.get("/").text(), "ok");
}

#[test]
fn a_signal_tells_again_what_is_wrong_and_an_expired_certificate_is_told() {
    let authority = Authority::new();
    let (proxy, first) = setup(&authority);
    exchange(&proxy, "server.key", "nothing of the kind\n");
    proxy.log.wait_for(STAYS);
    let before = proxy.log.count(STAYS);
    proxy.signal(Signal::HUP);
    wait_for_more(&proxy, STAYS, before);
    let old = authority.issue(expired(named(&["proxy.test"])));
    exchange(&proxy, "server.key", &old.key);
    exchange(&proxy, "server.pem", &old.certificate);
    let told = proxy.log.wait_for("has expired on 2021-02-03T00:00:00Z");
    assert!(
        told.contains("listener web: ") && told.contains("server.pem"),
        "{told}"
    );
    ask(&proxy, first.client(&[]), "proxy.test").expect_err("clients judge it");
}

/// As Kubernetes puts secrets into a folder: links to links, and one of them is exchanged.
#[test]
fn a_secret_that_is_exchanged_by_its_link_is_seen() {
    let (authority, setup) = (Authority::new(), Setup::new());
    let first = authority.named(&["proxy.test"]);
    let put = |version: &str, pki: &Pki| {
        let folder = setup.dir.join(version);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("tls.crt"), &pki.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &pki.key).unwrap();
        std::os::unix::fs::symlink(version, setup.dir.join("data_tmp")).unwrap();
        std::fs::rename(setup.dir.join("data_tmp"), setup.dir.join("..data")).unwrap();
    };
    put("..1", &first);
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), setup.dir.join(name)).unwrap();
    }
    let second = authority.named(&["proxy.test"]);
    let folder = setup.dir.path().to_owned();
    let yaml = listening(
        Upstream::named("ok").address,
        "{ certificate: tls.crt, key: tls.key }",
    );
    let proxy = setup.start(&yaml);
    assert_eq!(shown(&proxy, &first), first.der().to_vec());
    std::fs::create_dir(folder.join("..2")).unwrap();
    std::fs::write(folder.join("..2/tls.crt"), &second.certificate).unwrap();
    std::fs::write(folder.join("..2/tls.key"), &second.key).unwrap();
    std::os::unix::fs::symlink("..2", folder.join("data_tmp")).unwrap();
    std::fs::rename(folder.join("data_tmp"), folder.join("..data")).unwrap();
    proxy.log.wait_for(READ_AGAIN);
    assert_eq!(shown(&proxy, &first), second.der().to_vec());
}

/// As certbot has them: links to files of another folder.
#[test]
fn a_file_that_a_link_leads_to_is_seen() {
    let (authority, setup) = (Authority::new(), Setup::new());
    let first = authority.named(&["proxy.test"]);
    std::fs::create_dir(setup.dir.join("archive")).unwrap();
    first.write(&setup.dir, "archive/server");
    for name in ["server.pem", "server.key"] {
        std::os::unix::fs::symlink(format!("archive/{name}"), setup.dir.join(name)).unwrap();
    }
    let yaml = listening(
        Upstream::named("ok").address,
        "{ certificate: server.pem, key: server.key }",
    );
    let proxy = setup.start(&yaml);
    assert_eq!(shown(&proxy, &first), first.der().to_vec());
    let second = authority.named(&["proxy.test"]);
    second.write(&proxy.dir, "archive/server");
    proxy.log.wait_for(READ_AGAIN);
    assert_eq!(shown(&proxy, &first), second.der().to_vec());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstreams_are_shown_and_verified_by_changes_too() {
    let (server, setup) = (Pki::new(&["backend.test"]), Setup::new());
    let authority = Authority::new();
    let own = [
        authority.named(&["spiffe://test/1"]),
        authority.named(&["spiffe://test/2"]),
    ];
    // Until it is exchanged the wrong authority.
    Pki::new(&["other.test"]).write(&setup.dir, "upstream");
    own[0].write(&setup.dir, "own");
    let upstream = h2::Upstream::new(Some(server.server_for(&own[0])), h2::echo).await;
    let before = format!("endpoints: ['{}']", upstream.address);
    let tls = "tls: { server_name: backend.test, ca: upstream-ca.pem, certificate: own.pem, key: own.key }";
    let yaml = proxy::plain(upstream.address).replace(&before, &format!("{before}, {tls}"));
    let proxy = setup.start(&yaml);
    assert_eq!(status(&proxy).await, 503);
    exchange(&proxy, "own.pem", &own[1].certificate);
    exchange(&proxy, "own.key", &own[1].key);
    exchange(&proxy, "upstream-ca.pem", &server.ca);
    proxy
        .log
        .wait_for("cluster backend: certificates were read again");
    assert_eq!(status(&proxy).await, 200);
    let shown = upstream.shown.lock().unwrap().clone();
    assert_eq!(shown, [Some(own[1].der().to_vec())]);
}
