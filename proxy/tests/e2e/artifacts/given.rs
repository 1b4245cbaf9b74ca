//! Code that a configuration brings along, under a signature.

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{cache, hello, is_native, serves, setup, text, warnings, yaml};
use crate::support::{Dir, guest, proxy};

const MODULE: &str = "file: hello.wasm, precompiled: hello.cwasm, signature: hello.cwasm.sig";
const KEYS: &str = "artifacts: { trusted_keys: [public.pem] }";

/// Writes `key.pem` and `public.pem`, as tools have them.
fn keys(dir: &Dir, seed: [u8; 32]) {
    let pem = |name: &str, start: &[u8], key: &[u8]| {
        let text = base64(&[start, key].concat());
        format!("-----BEGIN {name}-----\n{text}\n-----END {name}-----\n")
    };
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let private = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    dir.write("key.pem", pem("PRIVATE KEY", &private, &seed));
    let public = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    let public = pem("PUBLIC KEY", &public, pair.public_key().as_ref());
    dir.write("public.pem", public);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (number >> (18 - 6 * digit)) & 63;
            text.push(match digit > chunk.len() {
                true => '=',
                false => DIGITS[index as usize].into(),
            });
        }
    }
    text
}

/// Compiles and signs a module into `hello.cwasm`.
fn sign(dir: &Dir, module: &str) {
    let (module, output, key) = (
        dir.join(module),
        dir.join("hello.cwasm"),
        dir.join("key.pem"),
    );
    let arguments = [
        "compile",
        text(&module),
        "--output",
        text(&output),
        "--sign",
        text(&key),
    ];
    assert!(proxy::run(&arguments).status.success());
}

#[test]
fn it_is_run_from_the_first_request_and_nothing_is_kept() {
    let setup = setup();
    keys(&setup.dir, [1; 32]);
    sign(&setup.dir, "hello.wasm");
    for engine in ["auto", "aot"] {
        let filter = format!("engine: {engine}");
        let setup = setup_with(&setup.dir);
        let proxy = setup.start(&yaml(MODULE, &filter, KEYS));
        assert!(is_native(&proxy));
        serves(&proxy);
        assert_eq!(warnings(&proxy), [""; 0]);
        assert!(!cache(&proxy.dir).exists());
    }
}

/// Another folder with the same files.
fn setup_with(dir: &Dir) -> crate::support::Setup {
    let other = setup();
    for file in ["hello.wasm", "hello.cwasm", "hello.cwasm.sig", "public.pem"] {
        std::fs::copy(dir.join(file), other.dir.join(file)).unwrap();
    }
    other
}

/// Interpreted, with one warning that has these words in it.
fn refused(words: &str, spoil: impl FnOnce(&Dir)) {
    let setup = setup();
    keys(&setup.dir, [1; 32]);
    sign(&setup.dir, "hello.wasm");
    spoil(&setup.dir);
    let proxy = setup.start(&yaml(MODULE, "engine: auto", KEYS));
    assert!(!is_native(&proxy));
    serves(&proxy);
    let said = warnings(&proxy);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("precompiled code is not used: ") && said[0].contains(words),
        "{said:?}"
    );
    let file = proxy.dir.join("hello.cwasm");
    assert!(file.exists(), "the operator's file is left alone");
}

#[test]
fn all_filters_that_it_is_not_used_for_are_named() {
    let setup = setup();
    keys(&setup.dir, [1; 32]);
    sign(&setup.dir, "hello.wasm");
    keys(&setup.dir, [2; 32]);
    let other = format!("filters: [{{ name: other, module: {{ {MODULE} }} }}, {{ name: guest");
    let yaml = yaml(MODULE, "engine: auto", KEYS).replace("filters: [{ name: guest", &other);
    let said = warnings(&setup.start(&yaml));
    assert_eq!(said.len(), 1, "{said:?}");
    let named = "precompiled code is not used: ";
    assert!(
        said[0].contains(named) && said[0].contains("filter=\"guest, other\""),
        "{said:?}"
    );
}

#[test]
fn under_another_key_it_is_not_used() {
    refused("no key that is trusted has signed it", |dir| {
        keys(dir, [2; 32])
    });
}

#[test]
fn with_a_changed_bit_it_is_not_used() {
    for file in ["hello.cwasm", "hello.cwasm.sig"] {
        refused("no key that is trusted has signed it", |dir| {
            let mut bytes = std::fs::read(dir.join(file)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            dir.write(file, bytes);
        });
    }
}

#[test]
fn of_another_module_it_is_not_used_though_it_is_signed() {
    refused("it was made of another module", |dir| {
        guest::write(
            dir,
            "other",
            &format!("{};; another", hello().replace("yes", "no!")),
        );
        sign(dir, "other.wasm");
    });
}

#[test]
fn for_other_settings_it_is_not_used_though_it_is_signed() {
    let setup = setup();
    keys(&setup.dir, [1; 32]);
    sign(&setup.dir, "hello.wasm");
    let proxy = setup.start(&yaml(
        MODULE,
        "engine: auto",
        &format!("{KEYS}\nmemory: compact"),
    ));
    assert!(!is_native(&proxy));
    serves(&proxy);
    assert!(warnings(&proxy)[0].contains("another engine, machine or version"));
}

#[test]
fn what_is_signed_badly_is_made_here_where_it_must_not_be_interpreted() {
    let setup = setup();
    keys(&setup.dir, [1; 32]);
    sign(&setup.dir, "hello.wasm");
    setup.dir.write("hello.cwasm.sig", [0; 64]);
    let proxy = setup.start(&yaml(MODULE, "engine: aot", KEYS));
    assert!(is_native(&proxy));
    serves(&proxy);
    assert_eq!(warnings(&proxy).len(), 1);
}
