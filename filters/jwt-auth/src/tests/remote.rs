//! Keys that are fetched.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use cofferdam_sdk::Reply;
use cofferdam_sdk::testing::Tester;

use super::tokens::{CLAIMS, ED25519, P256, RSA, SECRET, TOKENS, ask, base64, code, secret, sign};
use crate::jwt_auth;

const CONFIG: &str = r#"{"providers": [{"name": "idp", "issuer": "https://idp.test", "remote_jwks": {
    "uri": "https://idp.test/keys?v=1", "cluster": "idp", "cache_seconds": 600,
    "refetch_seconds": 30, "retry_seconds": 5, "timeout_ms": 2000}}]}"#;

const RS256: &str = TOKENS[0].1;
const ES256: &str = TOKENS[3].1;

/// What the provider publishes now; and when it was asked, after the beginning.
#[derive(Clone, Default)]
struct Idp {
    keys: Rc<RefCell<Option<String>>>,
    asked: Rc<RefCell<usize>>,
}

impl Idp {
    fn publish(&self, keys: &[&str]) {
        self.keys
            .replace(Some(format!(r#"{{"keys": [{}]}}"#, keys.join(","))));
    }

    fn asked(&self) -> usize {
        *self.asked.borrow()
    }
}

/// The filter, and a provider that takes so long to answer.
fn idp(delay: Duration, keys: &[&str]) -> (Tester, Idp) {
    let mut tester = Tester::of::<jwt_auth>(CONFIG);
    let idp = Idp::default();
    idp.publish(keys);
    let provider = idp.clone();
    tester.slow_cluster("idp", delay, move |seen| {
        *provider.asked.borrow_mut() += 1;
        assert_eq!(
            (seen.path(), seen.header(":authority")),
            ("/keys?v=1", Some("idp.test"))
        );
        assert_eq!(seen.header(":scheme"), Some("https"));
        let keys = provider.keys.borrow();
        Some(match &*keys {
            Some(keys) => Reply::new(200).body(keys.as_str()),
            None => Reply::new(500).body("{}"),
        })
    });
    (tester, idp)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn keys_are_fetched_when_the_first_token_comes_and_kept() {
    let (mut tester, idp) = idp(Duration::from_millis(100), &[RSA, P256]);
    tester.advance(seconds(60));
    assert_eq!(idp.asked(), 0);
    // No token, or one that will not do, fetches nothing.
    assert_eq!(code(tester.get("/").send().text()), "missing_token");
    let other = sign(r#"{"alg":"RS256"}"#, r#"{"iss":"other"}"#, b"");
    assert_eq!(ask(&mut tester, &other).1, "wrong_issuer");
    assert_eq!(idp.asked(), 0);
    for token in [RS256, ES256, RS256] {
        assert_eq!(ask(&mut tester, token).0, 200);
    }
    assert_eq!(idp.asked(), 1);
    assert_eq!(
        tester.metric("jwt_auth_keys.provider=idp.result=fetched"),
        1
    );
    tester.no_leaks();
}

#[test]
fn many_wait_for_one_fetch() {
    let (mut tester, idp) = idp(Duration::from_millis(500), &[RSA]);
    let bearer = format!("Bearer {RS256}");
    let answers = tester
        .get("/")
        .header("authorization", &bearer)
        .send_together(20);
    assert_eq!(answers.len(), 20);
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(idp.asked(), 1);
    tester.no_leaks();
}

#[test]
fn a_fetch_goes_on_when_its_client_has_left() {
    for wait in [Duration::ZERO, Duration::from_millis(100)] {
        let (mut tester, idp) = idp(Duration::from_millis(500), &[RSA]);
        let bearer = format!("Bearer {RS256}");
        tester.get("/").header("authorization", &bearer).abandon();
        tester.advance(wait);
        assert_eq!(ask(&mut tester, RS256).0, 200);
        assert_eq!(idp.asked(), 1);
        tester.no_leaks();
    }
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it() {
    let (mut tester, idp) = idp(Duration::ZERO, &[RSA]);
    assert_eq!(ask(&mut tester, RS256).0, 200);
    idp.publish(&[P256]);
    // Not so soon after the last.
    assert_eq!(ask(&mut tester, ES256), (401, "unknown_key".to_owned()));
    tester.advance(seconds(30));
    assert_eq!(ask(&mut tester, ES256).0, 200);
    assert_eq!(idp.asked(), 2);
    // The old one is gone.
    assert_eq!(ask(&mut tester, RS256).1, "unknown_key");
    assert_eq!(idp.asked(), 2);
}

#[test]
fn tokens_that_name_no_key_cannot_make_many_fetches() {
    let (mut tester, idp) = idp(Duration::ZERO, &[RSA]);
    assert_eq!(ask(&mut tester, RS256).0, 200);
    for round in 0..60 {
        let header = format!(r#"{{"alg":"RS256","kid":"{round}"}}"#);
        let forged = sign(&header, CLAIMS, b"");
        assert_eq!(ask(&mut tester, &forged).1, "unknown_key");
        tester.advance(seconds(1));
    }
    assert!((2..=3).contains(&idp.asked()), "{}", idp.asked());
    // A signature that is wrong, by a key that is known, is no reason to ask.
    tester.advance(seconds(100));
    let before = idp.asked();
    let (text, _) = RS256.rsplit_once('.').unwrap();
    assert_eq!(
        ask(&mut tester, &format!("{text}.AAAA")).1,
        "wrong_signature"
    );
    assert_eq!(idp.asked(), before);
}

#[test]
fn keys_in_use_are_fetched_again_before_their_time_is_up() {
    let (mut tester, idp) = idp(Duration::from_millis(100), &[RSA]);
    assert_eq!(ask(&mut tester, RS256).0, 200);
    tester.advance(seconds(1));
    assert_eq!(ask(&mut tester, RS256).0, 200);
    tester.advance(seconds(530));
    assert_eq!(idp.asked(), 1);
    tester.advance(seconds(10));
    assert_eq!(idp.asked(), 2);
    // Nobody uses them any more: nobody asks any more.
    tester.advance(seconds(10_000));
    assert_eq!(idp.asked(), 2);
    assert_eq!(ask(&mut tester, RS256).0, 200);
    assert_eq!(idp.asked(), 3);
}

#[test]
fn keys_are_not_used_beyond_their_time() {
    let (mut tester, idp) = idp(Duration::ZERO, &[RSA]);
    assert_eq!(ask(&mut tester, RS256).0, 200);
    idp.keys.take();
    let mut allowed_until = 0;
    for second in (10..=700).step_by(10) {
        tester.advance(seconds(10));
        match ask(&mut tester, RS256) {
            (200, _) => allowed_until = second,
            (status, code) => assert_eq!((status, &*code), (503, "keys_unavailable")),
        }
    }
    // While the provider fails they are kept, to the end.
    assert_eq!(allowed_until, 590);
    idp.publish(&[RSA]);
    tester.advance(seconds(5));
    assert_eq!(ask(&mut tester, RS256).0, 200);
}

#[test]
fn a_fetch_that_fails_is_remembered_for_a_short_time() {
    let (mut tester, idp) = idp(Duration::from_millis(10), &[]);
    idp.keys.take();
    let bearer = format!("Bearer {RS256}");
    let answers = tester
        .get("/")
        .header("authorization", &bearer)
        .send_together(5);
    for answer in answers {
        assert_eq!(
            (answer.status(), code(answer.text())),
            (503, "keys_unavailable".to_owned())
        );
        assert_eq!(answer.header("www-authenticate"), None);
    }
    assert_eq!(ask(&mut tester, RS256).0, 503);
    assert_eq!(idp.asked(), 1);
    assert!(
        tester
            .logs()
            .join("\n")
            .contains("provider idp: no keys: the answer is 500")
    );
    assert_eq!(tester.metric("jwt_auth_keys.provider=idp.result=failed"), 1);
    idp.publish(&[RSA]);
    tester.advance(seconds(5));
    assert_eq!(ask(&mut tester, RS256).0, 200);
    assert_eq!(idp.asked(), 2);
}

#[test]
fn an_answer_that_comes_too_late_is_a_failure() {
    let (mut tester, idp) = idp(seconds(60), &[RSA]);
    assert_eq!(
        ask(&mut tester, RS256),
        (503, "keys_unavailable".to_owned())
    );
    assert_eq!(idp.asked(), 1);
    assert!(
        tester
            .logs()
            .join("\n")
            .contains("no keys: the answer is 504")
    );
    tester.no_leaks();
}

#[test]
fn without_the_cluster_there_are_no_keys() {
    let mut tester = Tester::of::<jwt_auth>(CONFIG);
    assert_eq!(ask(&mut tester, RS256).0, 503);
    assert!(
        tester
            .logs()
            .join("\n")
            .contains("no cluster `idp` to call")
    );
    tester.slow_cluster("idp", Duration::ZERO, |_| None);
    tester.advance(seconds(5));
    assert_eq!(ask(&mut tester, RS256).0, 503);
}

#[test]
fn what_is_published_is_read_with_patience_but_no_secret_is_taken() {
    let (mut tester, idp) = idp(
        Duration::ZERO,
        &[
            r#"{"kty":"new"}"#,
            r#"{"kty":"RSA","kid":7}"#,
            "null",
            SECRET,
            ED25519,
            RSA,
        ],
    );
    assert_eq!(ask(&mut tester, RS256).0, 200);
    let said = tester.logs().join("\n");
    for wanted in [
        "keys[0]: `kty` is `new`",
        "keys[1]: a key of type RSA needs `n`",
        "keys[2]: it is no key",
        "keys[3] is a secret, and published",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let known = sign(r#"{"alg":"HS256","kid":"secret"}"#, CLAIMS, &secret());
    assert_eq!(ask(&mut tester, &known).1, "wrong_algorithm");
    assert_eq!(idp.asked(), 1);
}

#[test]
fn what_is_no_set_of_keys_is_a_failure() {
    let many = format!(r#"{{"keys": [{}]}}"#, vec!["{}"; 10_000].join(","));
    let large = format!(r#"{{"x": "{}"}}"#, base64(vec![0; 1 << 20]));
    for (published, why) in [
        ("", "it is no JSON"),
        ("<html>", "it is no JSON"),
        ("[]", "it has no list `keys`"),
        (r#"{"keys": {}}"#, "it has no list `keys`"),
        (r#"{"keys": []}"#, "it has no key that verifies"),
        (
            r#"{"keys": [{"kty": "RSA"}]}"#,
            "no key that verifies; keys[0]: a key of type RSA needs `n`",
        ),
        (&many, "it has no key that verifies; keys[0]: it is no key"),
        (&large, "the answer has more than 1048576 bytes"),
    ] {
        let (mut tester, idp) = idp(Duration::ZERO, &[]);
        tester.without_hostile_headers();
        idp.keys.replace(Some(published.to_owned()));
        assert_eq!(ask(&mut tester, RS256).0, 503);
        let said = tester.logs().join("\n");
        assert!(said.contains(why), "{why}\n{said}");
    }
}
