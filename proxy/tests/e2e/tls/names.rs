//! Several certificates on one listener: which client is shown which.

use super::{TELLING, ask, listening};
use crate::support::pki::{Authority, Pki, expired, named};
use crate::support::{Dir, Proxy, Setup, Upstream, proxy};

/// A proxy with four certificates, and the authority of all.
fn setup(unknown: &str) -> (Proxy, Pki, Vec<Pki>) {
    let (authority, setup) = (Authority::new(), Setup::new().with(TELLING));
    let issued: Vec<Pki> = [
        &["default.test"][..],
        &["a.test", "second.test"],
        &["*.b.test"],
        &["x.b.test"],
    ]
    .iter()
    .map(|names| authority.named(names))
    .collect();
    for (index, pki) in issued.iter().enumerate() {
        pki.write(&setup.dir, &format!("c{index}"));
    }
    let tls = format!(
        "{{ certificate: c0.pem, key: c0.key, certificates: [{{ certificate: c1.pem, key: c1.key }}, \
         {{ certificate: c2.pem, key: c2.key, names: ['*.B.test'] }}, \
         {{ certificate: c3.pem, key: c3.key }}]{unknown} }}"
    );
    let proxy = setup.start(&listening(Upstream::named("ok").address, &tls));
    (proxy, authority.named(&["any.test"]), issued)
}

#[test]
fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let (proxy, trusted, issued) = setup("");
    for (name, index) in [
        ("default.test", 0),
        ("a.test", 1),
        ("second.test", 1),
        ("SECOND.test", 1),
        ("y.b.test", 2),
        ("x.b.test", 3),
    ] {
        let (answer, leaf) = ask(&proxy, trusted.client(&[]), name).expect(name);
        assert_eq!(answer.text(), "ok", "{name}");
        assert_eq!(leaf, issued[index].der().to_vec(), "{name}");
    }
    // A wildcard stands for one label; the default is for all else, and clients judge it.
    for name in ["nobody.test", "b.test", "y.x.b.test", "127.0.0.1"] {
        let error = ask(&proxy, trusted.client(&[]), name)
            .unwrap_err()
            .to_string();
        assert!(error.contains("default.test"), "{name}: {error}");
    }
}

#[test]
fn a_client_that_asks_for_an_unknown_name_may_be_refused() {
    let (proxy, trusted, issued) = setup(", unknown_server_name: refuse");
    for name in ["nobody.test", "127.0.0.1"] {
        let error = ask(&proxy, trusted.client(&[]), name)
            .unwrap_err()
            .to_string();
        assert!(error.contains("alert"), "{name}: {error}");
        proxy.log.wait_for("no TLS with this client: ");
    }
    let (_, leaf) = ask(&proxy, trusted.client(&[]), "default.test").unwrap();
    assert_eq!(leaf, issued[0].der().to_vec());
}

#[test]
fn the_first_of_several_is_the_default() {
    let (authority, setup) = (Authority::new(), Setup::new());
    authority.named(&["a.test"]).write(&setup.dir, "a");
    let b = authority.named(&["b.test"]);
    b.write(&setup.dir, "b");
    let tls = "{ certificates: [{ certificate: a.pem, key: a.key }, { certificate: b.pem, key: b.key }] }";
    let proxy = setup.start(&listening(Upstream::named("ok").address, tls));
    let error = ask(&proxy, b.client(&[]), "c.test")
        .unwrap_err()
        .to_string();
    assert!(error.contains("a.test"), "{error}");
    assert_eq!(ask(&proxy, b.client(&[]), "b.test").unwrap().0.text(), "ok");
}

#[test]
fn mistakes_are_told_with_their_place_and_what_to_do() {
    let (authority, dir) = (Authority::new(), Dir::new());
    authority.named(&["a.test"]).write(&dir, "a");
    authority.named(&["a.test", "b.test"]).write(&dir, "b");
    authority.named(&["spiffe://test/none"]).write(&dir, "none");
    let list =
        "[\n  { certificate: b.pem, key: b.key },\n  { certificate: none.pem, key: none.key },\n  ";
    for (tls, line, told) in [
        (
            format!("{{ certificate: a.pem, key: a.key, certificates: {list} ] }}"),
            ":5:18: listeners[0].tls.certificates[0].certificate: \"b.pem\": the name a.test is claimed by",
            "give it to one of the two with `names`",
        ),
        (
            format!("{{ certificate: a.pem, key: a.key, certificates: {list} ] }}"),
            ":6:18: listeners[0].tls.certificates[1].certificate: \"none.pem\": this certificate has no DNS name",
            "write the names it is for as `names`",
        ),
        (
            "{ certificates: [{ certificate: a.pem, key: b.key }] }".to_owned(),
            ":4:25: listeners[0].tls.certificates[0]: \"a.pem\" and \"b.key\": the key does not belong",
            "give the key the certificate was issued for",
        ),
        (
            "{ certificate: a.pem }".to_owned(),
            ":4:8: listeners[0].tls: `key` is missing",
            "add `key: …`",
        ),
        (
            "{ min_version: 1.2 }".to_owned(),
            ":4:8: listeners[0].tls: there is no certificate here",
            "add `certificate: …` and `key: …`",
        ),
        (
            "{ certificates: [] }".to_owned(),
            ":4:24: listeners[0].tls.certificates: there are no certificates",
            "add at least one",
        ),
        (
            "{ certificates: [{ certificate: a.pem, key: a.key, names: ['*', a.test:443, 10.0.0.1, A.test, a.test] }] }".to_owned(),
            ":4:67: listeners[0].tls.certificates[0].names[0]: \"*\" is not a name to ask for",
            "write a DNS name",
        ),
        (
            "{ certificate: a.pem, key: a.key, min_version: 1.1 }".to_owned(),
            ":4:55: listeners[0].tls.min_version: \"1.1\" is no version of TLS that is spoken here",
            "write 1.2 or 1.3",
        ),
        (
            "{ certificate: a.pem, key: a.key, alpn: [h3] }".to_owned(),
            ":4:49: listeners[0].tls.alpn[0]: \"h3\" is not spoken here",
            "write h2 and http/1.1",
        ),
        (
            "{ certificate: a.pem, key: a.key, allowed_sans: [a.test] }".to_owned(),
            "listeners[0].tls.allowed_sans: `allowed_sans` means nothing without `client_ca`",
            "add `client_ca: …`",
        ),
        (
            "{ certificate: a.pem, key: a.key, client_ca: a.key }".to_owned(),
            "listeners[0].tls.client_ca: \"a.key\": this is a private key where a certificate is wanted",
            "give the certificate's file",
        ),
        (
            "{ certificate: a.pem, key: a.key, client_ca: a-ca.pem, client_crl: a-ca.pem }".to_owned(),
            "listeners[0].tls.client_crl: \"a-ca.pem\": no list of revoked certificates in it",
            "X509 CRL",
        ),
        (
            "{ certificate: a.pem, key: a.key, client_ca: a-ca.pem, allowed_sans: [{ type: dns }, { regex: '(' }] }".to_owned(),
            "listeners[0].tls.allowed_sans[0]: there is no condition here",
            "add one of exact, prefix, suffix, regex",
        ),
        (
            "{ certificate: a.pem, key: a.key }\n  client_cert_details: [subject]".to_owned(),
            ":5:24: listeners[0].client_cert_details: `client_cert_details` means nothing",
            "`forward_client_cert: append_forward`",
        ),
    ] {
        let yaml = format!(
            "listeners:\n- name: web\n  address: 127.0.0.1:0\n  tls: {tls}\n  routes: [{{ respond: {{}} }}]\n"
        );
        let (status, lines) = proxy::refused(&dir, "check", &yaml);
        assert_eq!(status, Some(64), "{tls}: {lines:?}");
        let found = lines.iter().find(|said| said.contains(line));
        let found = found.unwrap_or_else(|| panic!("no {line} in {lines:#?}"));
        assert!(found.contains(told), "{found} has no {told}");
    }
}

#[test]
fn a_certificate_that_is_not_for_its_names_or_has_expired_is_told() {
    let (authority, dir) = (Authority::new(), Dir::new());
    authority.named(&["a.test"]).write(&dir, "a");
    authority
        .issue(expired(named(&["old.test"])))
        .write(&dir, "old");
    let yaml = "listeners:\n- name: web\n  address: 127.0.0.1:0\n  tls: { certificates: [\n    \
                { certificate: a.pem, key: a.key, names: [a.test, other.test] }, { certificate: old.pem, key: old.key }] }\n  \
                routes: [{ respond: {} }]\n";
    let file = dir.write("config.yaml", yaml);
    let output = proxy::run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stderr).unwrap();
    let line = |part: &str| {
        let found = told.lines().find(|line| line.contains(part));
        found
            .unwrap_or_else(|| panic!("no {part} in {told}"))
            .to_owned()
    };
    let uncovered = line("the certificate is not for other.test");
    assert!(
        uncovered.contains("listener web: ") && uncovered.contains("a.pem"),
        "{uncovered}"
    );
    let old = line("has expired on 2021-02-03T00:00:00Z");
    assert!(
        old.contains("listener web: ") && old.contains("old.pem"),
        "{old}"
    );
    assert_eq!(
        told.lines().count(),
        2 + usize::from(told.contains("good")),
        "{told}"
    );
}
