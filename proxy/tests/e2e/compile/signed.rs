//! Native code for other machines, under a signature.

use std::path::Path;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{Place, run, text};

/// An Ed25519 key as PEM: of RFC 8410, section 10.3; the first has no public half in it.
const KEYS: [&str; 2] = [
    "-----BEGIN PRIVATE KEY-----\n\
     MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
     -----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\n\
     MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
     oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
     Z9w7lshQhqowtrbLDFw4rXAxZuE=\n\
     -----END PRIVATE KEY-----\n",
];
/// The 32 bytes that it is made of.
const SEED: [u8; 32] = [
    0xd4, 0xee, 0x72, 0xdb, 0xf9, 0x13, 0x58, 0x4a, 0xd5, 0xb6, 0xd8, 0xf1, 0xf7, 0x69, 0xf8, 0xad,
    0x3a, 0xfe, 0x7c, 0x28, 0xcb, 0xf1, 0xd4, 0xfb, 0xe0, 0x97, 0xa8, 0x8f, 0x44, 0x75, 0x58, 0x42,
];

#[test]
fn the_output_is_what_would_be_kept_and_its_signature_is_of_all_of_it() {
    for key in KEYS {
        let place = Place::new();
        let module = place.module("one");
        let kept = std::fs::read(place.compiled(&module)).unwrap();
        let key = place.dir.write("key.pem", key);
        let output = place.dir.join("one.cwasm");
        let (status, out, err) = run(&[
            "compile",
            text(&module),
            "--output",
            text(&output),
            "--sign",
            text(&key),
        ]);
        assert_eq!((status, &err[..]), (Some(0), ""));
        assert!(out.contains("one.cwasm.sig, 64 bytes"), "{out}");
        let code = std::fs::read(&output).unwrap();
        assert_eq!(code, kept);
        let signature = std::fs::read(place.dir.join("one.cwasm.sig")).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, pair.public_key());
        public.verify(&code, &signature).unwrap();
    }
}

#[test]
fn without_a_key_only_the_code_is_written() {
    let place = Place::new();
    let output = place.dir.join("one.cwasm");
    let (status, _, err) = run(&[
        "compile",
        text(&place.module("one")),
        "--output",
        text(&output),
    ]);
    assert_eq!((status, &err[..]), (Some(0), ""));
    assert!(output.exists() && !place.dir.join("one.cwasm.sig").exists());
}

#[test]
fn a_key_of_another_kind_is_refused_before_anything_is_written() {
    let place = Place::new();
    let module = place.module("one");
    let output = place.dir.join("one.cwasm");
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let files = [
        place.dir.write("ecdsa.pem", other),
        place.dir.write("not.pem", "nothing of the kind"),
        place.dir.join("absent.pem"),
    ];
    for key in files {
        let arguments = [
            "compile",
            text(&module),
            "--output",
            text(&output),
            "--sign",
            text(&key),
        ];
        let (status, out, err) = run(&arguments);
        assert_eq!((status, &out[..]), (Some(64), ""), "{err}");
        assert!(err.starts_with(text(&key)), "{err}");
        assert!(!output.exists());
    }
}

#[test]
fn an_output_that_cannot_be_written_is_status_69() {
    let place = Place::new();
    let output = Path::new("/nowhere/one.cwasm");
    let (status, out, err) = run(&[
        "compile",
        text(&place.module("one")),
        "--output",
        text(output),
    ]);
    assert_eq!((status, &out[..]), (Some(69), ""), "{err}");
    assert!(err.starts_with("/nowhere/one.cwasm: "), "{err}");
}
