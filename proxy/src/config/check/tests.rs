//! What is accepted and what it means, and every kind of mistake with its exact line.

mod accepted;
mod balance;
mod chains;
mod mistakes;
mod mutation;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::check;
use crate::config::Config;

/// Uses every key there is.
const FULL: &str = include_str!("tests/full.yaml");

/// The Ed25519 key of RFC 8410, section 10.1.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

/// A folder with the files the examples name, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cofferdam-config-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(folder.0.join("filters")).expect("a folder");
        let certified = |name: &str| {
            let names = vec![name.to_owned()];
            let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let (certificate, key) = certified("example.com");
        let (other, other_key) = certified("backend.internal");
        folder.put("server.pem", certificate.as_bytes());
        folder.put("server.key", key.as_bytes());
        folder.put("ca.pem", other.as_bytes());
        folder.put("other.key", other_key.as_bytes());
        folder.put("crl.pem", revocations().as_bytes());
        folder.put("ed25519.pem", PUBLIC_KEY.as_bytes());
        folder.put("a.cwasm", b"native code");
        folder.put("a.cwasm.sig", &[7; 64]);
        folder.put("not.pem", b"nothing of the kind\n");
        folder.put("token", b"12345678\n");
        folder.put("empty.wasm", b"");
        folder.put("filters/a.wasm", b"\0asm\x01\0\0\0");
        folder.put("filters/b.wasm", b"\0asm\x01\0\0\0b");
        folder
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).expect("a file");
    }

    fn check(&self, text: &str) -> Result<Config, String> {
        check(text, "test.yaml", &self.0).map_err(|refused| {
            let lines: Vec<_> = refused.problems.iter().map(ToString::to_string).collect();
            // Folders differ from run to run; messages are compared without.
            lines
                .join("\n")
                .replace(&format!("{}/", self.0.display()), "")
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A list that revokes nothing.
fn revocations() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(2044, 1, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let issuer = rcgen::Issuer::new(params, key);
    list.signed_by(&issuer).expect("a list").pem().expect("PEM")
}

/// Accepted, or the test fails with what was wrong.
fn accept(text: &str) -> Config {
    match Folder::new().check(text) {
        Ok(config) => config,
        Err(lines) => panic!("refused:\n{lines}"),
    }
}

/// What is wrong, one line each.
fn refuse(text: &str) -> String {
    match Folder::new().check(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(lines) => lines,
    }
}

/// A listener with one route, which has `route` in it (a flow table without its braces).
fn with_route(route: &str) -> String {
    format!(
        "listeners: [{{ name: l, address: '127.0.0.1:80', routes: [\n{{ {route} }}\n] }}]\n\
         clusters: [{{ name: c, endpoints: [] }}, {{ name: d, endpoints: [] }}]\n"
    )
}

/// A listener that answers, with `rest` below it.
fn with(rest: &str) -> String {
    format!(
        "listeners: [{{ name: l, address: '127.0.0.1:80', routes: [{{ respond: {{}} }}] }}]\n{rest}\n"
    )
}
