//! `verify_signature` and `sign`, against keys and signatures that openssl made.

use super::{Answer, calls, field};

/// Made by openssl; see its first line.
const VECTORS: &str = include_str!("vectors.txt");
const TEXT: &str = "the text";
const CURVES: [&str; 3] = ["P-256", "P-384", "P-521"];
const HASHES: [&str; 5] = ["sha1", "sha224", "sha256", "sha384", "sha512"];
/// The public key of an Ed25519 pair, which takes no hash of ours.
const ED25519: &str =
    "302a300506032b65700321007e455f590ef94e8f7361aae08ded2fee98880217f685b8073fb1fd17aa7dcb10";

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
        .collect()
}

/// The last columns of the line that begins so.
fn vector(begin: &str) -> Vec<Vec<u8>> {
    let line = VECTORS.lines().find_map(|line| line.strip_prefix(begin));
    let columns = line
        .unwrap_or_else(|| panic!("no {begin}"))
        .split_whitespace();
    columns.map(hex).collect()
}

fn private(key: &str) -> Vec<u8> {
    vector(&format!("key {key} ")).remove(0)
}

fn public(key: &str) -> Vec<u8> {
    vector(&format!("key {key} ")).remove(1)
}

fn signature(key: &str, hash: &str) -> Vec<u8> {
    vector(&format!("sig {key} {hash} ")).remove(0)
}

fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let mut bytes = [0; 4];
        bytes[1..=chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes(bytes);
        for digit in 0..4 {
            let index = (number >> (18 - 6 * digit)) & 63;
            let digit = if digit <= chunk.len() {
                DIGITS[index as usize]
            } else {
                b'='
            };
            text.push(digit.into());
        }
        if text.lines().last().is_some_and(|line| line.len() == 64) {
            text.push('\n');
        }
    }
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        text.trim_end()
    )
}

fn verify(hash: &str, key: &[u8], signature: &[u8], text: &str) -> (&'static str, Vec<u8>) {
    let args = [
        field(1, hash),
        field(2, key),
        field(3, signature),
        field(4, text),
    ]
    .concat();
    ("verify_signature", args)
}

fn sign(hash: &str, key: &[u8]) -> (&'static str, Vec<u8>) {
    (
        "sign",
        [field(1, hash), field(2, key), field(3, TEXT)].concat(),
    )
}

/// `result = true`, without an error.
fn good() -> Answer {
    ("0".to_owned(), vec![8, 1])
}

/// `result` left out, which is false; and why.
fn bad(verify: bool, error: &str) -> Answer {
    ("0".to_owned(), field(if verify { 2 } else { 3 }, error))
}

const WRONG: &str = "Failed to verify digest. Error code: 0";

each_engine! {
    fn signatures_of_every_hash_and_curve_are_verified(engine) {
        for key in CURVES {
            let all: Vec<_> = HASHES.iter().map(|hash| verify(hash, &public(key), &signature(key, hash), TEXT)).collect();
            assert_eq!(calls(engine, &all), vec![good(); 5], "{key}");
        }
        let all: Vec<_> = HASHES.iter().map(|hash| verify(hash, &public("rsa"), &signature("rsa", hash), TEXT)).collect();
        let none = bad(true, "sha224 is not supported.");
        assert_eq!(calls(engine, &all), [good(), none, good(), good(), good()]);
    }

    fn what_was_not_signed_so_is_refused(engine) {
        for key in ["rsa", "P-256"] {
            let (public, good_one) = (public(key), signature(key, "sha256"));
            let mut changed = good_one.clone();
            *changed.last_mut().expect("not empty") ^= 1;
            let results = calls(engine, &[
                verify("sha256", &public, &good_one, "another text"),
                verify("sha384", &public, &good_one, TEXT),
                verify("sha256", &public, &changed, TEXT),
                verify("sha256", &public, b"", TEXT),
                verify("SHA256", &public, &good_one, TEXT),
                verify("md5", &public, &good_one, TEXT),
            ]);
            let wrong = bad(true, WRONG);
            let expected = [wrong.clone(), wrong.clone(), wrong.clone(), wrong, good(), bad(true, "md5 is not supported.")];
            assert_eq!(results, expected, "{key}");
        }
    }

    fn no_key_answers_2_and_one_that_cannot_be_used_says_so(engine) {
        let key = public("P-256");
        let text = pem("PUBLIC KEY", &key);
        let sig = signature("P-256", "sha256");
        let rest = [field(1, "sha256"), field(3, &sig), field(4, TEXT)].concat();
        let with = |key: Vec<u8>| ("verify_signature", [rest.clone(), key].concat());
        let results = calls(engine, &[
            with(field(5, &text)),
            with(vec![]),
            with([field(2, &key), field(5, &text)].concat()),
            with(field(2, &key[1..])),
            with(field(2, "")),
            with(field(5, "no key")),
            with(field(5, text.replace("PUBLIC", "PRIVATE"))),
            with(field(2, hex(ED25519))),
            ("verify_signature", b"\xff\xff".to_vec()),
            ("sign", b"\xff\xff".to_vec()),
            ("sign", [field(1, "sha256"), field(2, &key), field(3, TEXT)].concat()),
            ("sign", [field(1, "sha256"), field(3, TEXT)].concat()),
        ]);
        let (none, unusable) = (("2".to_owned(), vec![]), bad(true, "Failed to initialize digest verify."));
        let not_private = bad(false, "Invalid key type: private key required for signing operation.");
        let expected = [
            good(), none.clone(), none.clone(), unusable.clone(), none.clone(), unusable.clone(), unusable.clone(), unusable,
            none.clone(), none.clone(), not_private, none,
        ];
        assert_eq!(results, expected);
    }

    fn what_is_signed_here_verifies(engine) {
        let check = |key: &str, hash: &str, form: Vec<u8>| {
            let args = [field(1, hash), form, field(3, TEXT)].concat();
            let (status, result) = calls(engine, &[("sign", args)]).remove(0);
            assert_eq!((status.as_str(), &result[..3]), ("0", &[8, 1, 2 << 3 | 2][..]), "{key} {hash}");
            let start = if result[3] < 0x80 { 4 } else { 5 };
            let made = &result[start..];
            assert_eq!(calls(engine, &[verify(hash, &public(key), made, TEXT)]), [good()], "{key} {hash}");
            made.to_vec()
        };
        for key in CURVES {
            for hash in HASHES {
                check(key, hash, field(2, private(key)));
            }
        }
        for hash in ["sha256", "sha384", "sha512"] {
            // The same as openssl's: there is no chance in it.
            assert_eq!(check("rsa", hash, field(2, private("rsa"))), signature("rsa", hash));
        }
        check("rsa", "sha256", field(4, pem("PRIVATE KEY", &private("rsa"))));
    }

    fn what_cannot_be_signed_says_so(engine) {
        let results = calls(engine, &[
            sign("md5", &private("P-256")),
            sign("sha1", &private("rsa")),
            sign("sha224", &private("rsa")),
        ]);
        let error = |hash: &str| bad(false, &format!("{hash} is not supported."));
        assert_eq!(results, [error("md5"), error("sha1"), error("sha224")]);
    }
}
