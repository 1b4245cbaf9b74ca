//! ClientHellos, by hand, by rustls and at random, read in whatever pieces they come.

use super::*;

fn vector_of(width: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - width..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector_of(2, content)].concat()
}

/// `server_name` with one name of a type.
fn name_of(kind: u8, name: &[u8]) -> Vec<u8> {
    let entry = [&[kind][..], &vector_of(2, name)].concat();
    extension(0, &vector_of(2, &entry))
}

fn name(name: &str) -> Vec<u8> {
    name_of(0, name.as_bytes())
}

/// What comes before the extensions.
fn fixed() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector_of(1, &[9; 32]));
    body.extend(vector_of(2, &[0x13, 1]));
    body.extend(vector_of(1, &[0]));
    body
}

fn with(extensions: &[u8]) -> Vec<u8> {
    [fixed(), vector_of(2, extensions)].concat()
}

fn message(body: &[u8]) -> Vec<u8> {
    [&[1][..], &vector_of(3, body)].concat()
}

fn record(content: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &vector_of(2, content)].concat()
}

fn hello(extensions: &[u8]) -> Vec<u8> {
    record(&message(&with(extensions)))
}

fn named(name: &str) -> Look {
    Look::Hello(Some(name.into()))
}

/// The verdict on bytes that come one by one, and after how many it fell.
fn one_by_one(bytes: &[u8]) -> (Look, usize) {
    for length in 0..=bytes.len() {
        match look(&bytes[..length]) {
            Look::Partial => {}
            verdict => return (verdict, length),
        }
    }
    (Look::Partial, bytes.len())
}

#[test]
fn the_name_is_found_in_whatever_pieces_and_records_it_comes() {
    let body = message(&with(
        &[
            extension(10, &[0, 2, 0, 29]),
            name("A.Example"),
            extension(21, &[0; 9]),
        ]
        .concat(),
    ));
    for size in [1, 2, 5, 40, 1000] {
        let records: Vec<u8> = body.chunks(size).flat_map(record).collect();
        assert_eq!(one_by_one(&records), (named("a.example"), records.len()));
        // What stands behind it is not looked at.
        let more = [&records[..], b"anything"].concat();
        assert_eq!(look(&more), named("a.example"));
    }
    // The hello need not fill its record.
    let more = [&body[..], b"more"].concat();
    assert_eq!(look(&record(&more)), named("a.example"));
}

#[test]
fn a_hello_may_ask_for_no_name() {
    let nothing = Look::Hello(None);
    for hello in [
        hello(&[]),
        record(&message(&fixed())),
        hello(&extension(16, b"\0\x03\x02h2")),
        // Not a name of a host, or none that could be routed by.
        hello(&name_of(1, b"a.test")),
        hello(&name("")),
        hello(&name("a..test")),
        hello(&name("a.test.")),
        hello(&name("*.test")),
        hello(&name("a b")),
        hello(&name_of(0, b"a\0.test")),
        hello(&name_of(0, "\u{e4}.test".as_bytes())),
        hello(&name(&"x".repeat(64))),
        hello(&name(&"a.".repeat(127))),
    ] {
        assert_eq!(
            one_by_one(&hello),
            (nothing.clone(), hello.len()),
            "{}",
            hello.escape_ascii()
        );
    }
    assert_eq!(look(&hello(&name("127.0.0.1"))), named("127.0.0.1"));
}

#[test]
fn what_is_no_hello_is_told_as_early_as_it_can_be() {
    for (bytes, after) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), 1),
        (b"\x15\x03\x01".to_vec(), 1),
        // SSL 2 and what begins like TLS.
        (b"\x80\x2e\x01".to_vec(), 1),
        (b"\x16\x02\x01".to_vec(), 2),
        (b"\x16\x03\x01\0\0".to_vec(), 5),
        (b"\x16\x03\x01\x40\x01".to_vec(), 5),
        // Another message, and another record between.
        (record(&[2, 0, 0, 1, 0]), 6),
        (
            [record(&[1]), b"\x14\x03\x03\0\x01\x01".to_vec()].concat(),
            7,
        ),
    ] {
        assert_eq!(
            one_by_one(&bytes),
            (Look::Other, after),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(look(b""), Look::Partial);
}

#[test]
fn a_hello_that_contradicts_itself_is_none() {
    let two = [name("a.test"), name("b.test")].concat();
    let list = |content: &[u8]| extension(0, &vector_of(2, content));
    let entry = |name: &str| [&[0][..], &vector_of(2, name.as_bytes())].concat();
    for body in [
        with(&two),
        with(&list(&[entry("a.test"), entry("b.test")].concat())),
        with(&list(b"")),
        with(&list(b"\0")),
        with(&list(b"\0\0\x09a")),
        with(&extension(
            0,
            &[vector_of(2, &entry("a.test")), vec![0]].concat(),
        )),
        with(&extension(0, b"")),
        with(&name("a.test")[..9]),
        with(&[0]),
        [with(&name("a.test")), vec![0]].concat(),
        [fixed(), vec![0]].concat(),
        fixed()[..60].to_vec(),
        vec![3, 3],
        Vec::new(),
    ] {
        let bytes = record(&message(&body));
        assert_eq!(
            one_by_one(&bytes),
            (Look::Other, bytes.len()),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn a_long_hello_is_read_up_to_the_bound() {
    let padded = |length: usize| {
        let rest = [name("a.test"), extension(21, &vec![0; length])].concat();
        message(&with(&rest))
    };
    let records = |message: &[u8], size: usize| -> Vec<u8> {
        message.chunks(size).flat_map(record).collect()
    };
    let most = LONGEST + 4 - padded(0).len();
    assert_eq!(
        look(&records(&padded(most), LONGEST_RECORD)),
        named("a.test")
    );
    assert_eq!(look(&records(&padded(most), 300)), named("a.test"));
    // Said by its first bytes.
    let (verdict, after) = one_by_one(&records(&padded(most + 1), LONGEST_RECORD));
    assert_eq!((verdict, after), (Look::TooLong, 9));
    // Mostly headers of records.
    let tiny = records(&padded(most), 1);
    assert_eq!(look(&tiny[..LONGEST_RECORDS]), Look::Partial);
    assert_eq!(look(&tiny[..=LONGEST_RECORDS]), Look::TooLong);
}

#[test]
fn what_rustls_sends_is_understood() {
    let roots = rustls::RootCertStore::empty();
    let config = rustls::ClientConfig::builder_with_provider(super::super::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = std::sync::Arc::new(config);
    for (asked, found) in [
        ("some.Where.test", named("some.where.test")),
        ("192.0.2.1", Look::Hello(None)),
    ] {
        let name = rustls::pki_types::ServerName::try_from(asked).expect("a name");
        let mut client = rustls::ClientConnection::new(config.clone(), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a hello");
        assert_eq!(one_by_one(&bytes), (found, bytes.len()));
    }
}

#[test]
fn whatever_comes_is_read_to_a_verdict() {
    let mut rng = fastrand::Rng::with_seed(11);
    let seed = hello(&[name("a.test"), extension(16, b"\0\x03\x02h2")].concat());
    for _ in 0..50_000 {
        let mut bytes = seed.clone();
        for _ in 0..=rng.usize(..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..3) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, rng.u8(..)),
            }
        }
        let verdict = look(&bytes);
        if verdict != Look::Partial {
            // It stands, whatever comes behind.
            bytes.extend_from_slice(&[0x16; 50]);
            assert_eq!(look(&bytes), verdict);
        }
    }
}
