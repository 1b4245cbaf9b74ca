//! Tokens for tests, and what signs more of them.
//!
//! The keys were made for these tests by OpenSSL, and their private halves are thrown away;
//! the secret is the bytes 0 to 63. All tokens have the same claims: [`CLAIMS`].

use base64ct::{Base64UrlUnpadded, Encoding};
use cofferdam_sdk::testing::Tester;

use crate::algorithm::Hash;
use crate::jwt_auth;

pub(super) const RSA: &str = r#"{"kty":"RSA","kid":"rsa","use":"sig","n":"tdg5oogv9hpMzQBj11WNJLg8i8kVVVuzpJ8DGJSDUsAiOzJgrw47PEi-IulPPPazfVG0F2lCZnpYXR28SmwAgKziqaj7iZQFDvTUqWTKqiX7WR31tSVbg5OJS7c6uhlQ4wdKFBv7k_mu4iJeda3bGjH8780exiauZ1YK3ztkFb-yLqN3dErJT9x4COjbC06mVF1tgAIGsLl3hM01eMgbClGsIzpmBq4EL99QJwmEFHYhLEBc0C3hEmyvUiV_fLx7AyJTzqAhe8U2prpLBg1xup8t_sxiQk7ZmEx2h1kT7Rrw73JT1ktPqUYiDVlmTQRb_dYSZ1673YPNTJtFYGTXFw","e":"AQAB"}"#;
pub(super) const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"p256","use":"sig","x":"4LfBRDyfWIRZ5D8tOvZzqxb0PYbtLOpLW4UV-kgF5io","y":"MdKJukXVcFLG2N327kIqCI4lG3CuEAAupw1r7EDfCPE"}"#;
pub(super) const P384: &str = r#"{"kty":"EC","crv":"P-384","kid":"p384","use":"sig","x":"rlb6fx_LDVWSKvwgUvc1PdfNPOfnhskED9L0hFAUjTH7VW91GNjMFQLBimtA86Kg","y":"-XFJl-r12v0i7Y3F49Nj4fZn7VoCfl1CKCyrfnxlBazKRaBIKDbv6xnoFRyQicA4"}"#;
pub(super) const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","alg":"EdDSA","x":"ovq0CKnq7nqiIlEW8_w4bAfmBqqEWUVahyut2TuY2KQ"}"#;
pub(super) const SECRET: &str = r#"{"kty":"oct","kid":"secret","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw"}"#;

/// Each algorithm, and a token that is signed by it.
pub(super) const TOKENS: [(&str, &str); 9] = [
    (
        "RS256",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.hbNeZlNlWwhSOj1LQCsQDC3IcivYDDYG7Y9kO8OyAd2iCP6LsG0nIOkf3rHEBwfCgr1r_a4tT1Q8pzkp0gWkExKftqrcx97WXLlaDhV2FXO0YtLE2LqynqlJ-E5f6e-g0uX8syaHC6JM_S6umsIM67a21Aa54yRPOEAhn7_NFj82Ww72G2HBRbGlYBkeh1IPz8pyCdUampvmxJAct6hjaH15hqaaeErbI4oVQk61duNbG1KN7AAuN03xE4ciLjtbGQnGhue6r_Q13yGMfW1iToyIupHrKcXOY7M2Hm-OwbCSbPVEPxkS1wbjsSS3goAT_-KBnC6TG40helwo2RvomA",
    ),
    (
        "RS384",
        "eyJhbGciOiJSUzM4NCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.PBTn0UW9IKNn_If-LZttm4rOYzyE6SvUF4di7gD2csWFl2cwUmQPjPH8eoPXV1M9R6eYQAKwWzYUiP3-hXZViVmGp6GgK1gT74JtXWS1kBgZ4agf99nZ8fO8mMBt-9oZ_DArEWro1_Lnm8DFGNeUDSNcLcck5vWJr5fI_1l5bgEgP2GdtxVRhQ2TvdtfU9escSJVNVFf0E7UOcmR8ljWEiIO6C2GjclWjl_oeRoiGKqoZdA4Fp1trGv-aE3ZgMhcI8KwVsJcU9o79KJpb6JnWsYSDojJW6eLBBsz_SDufWAZ0dXv7yFzGjUOq9reAo46G__bY76b5kfIBLpElMqajg",
    ),
    (
        "RS512",
        "eyJhbGciOiJSUzUxMiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.BgsM4gVMUXDEHOH9e-r_RKyQ9K6EEEhooTaWwunPKMF7GqlBElcD11SW4U7NQ0_KTUGiZ24HHGWq_ncsuqqZFOZNJY91A-VNvlK7VjwY5V0_7yh1Eupklu8EqPC83idHPUv7Xt3puOULbuT-PJAZzTEUW9AU3OjM-IhO5fcP9Jd0bmHAwJNzCzBK30K7UKl8p4Q4_A7lTd_lF5MiWJJ-y82hbs2uAoHMTsiCllYjq8eRmdbpzcw67orCgqWJ3PJVkr4O4QiIV2bHvRPUDVGo410fc4xJJvcbqURtH_ejKU32TVghi8Z8fgKQ8SB60lV2InZZzgNaophD9VJ1j9kJ5g",
    ),
    (
        "ES256",
        "eyJhbGciOiJFUzI1NiIsImtpZCI6InAyNTYifQ.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.ZrBQbzGrJWZXsOM56WnD6nO5rlICkOh_p-JMqag_7LvkzrtvUzLU4byLkVDjoL8MUQTxme6Q9-DXpyL3nINHqw",
    ),
    (
        "ES384",
        "eyJhbGciOiJFUzM4NCIsImtpZCI6InAzODQifQ.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.5Ch_6mwOeACF5Q_-FzGwR3IdT0XYVlRVgEopWfVkQB8RQeFYlPVX2NBZQl6PKo9kILGqaetNIfi1QTzdgt3KJrdAXyUQcz5UV1jlbiEa4FjUyYty1jgDn8aVQj38uIJT",
    ),
    (
        "EdDSA",
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.eENupM3kCZkMOZN8ngPyhQaf0VCPzBgoxVL_1hm6qmBrRaveysBos-t8jfi75SKZLAMAOcZEcgPfd8Uj9CuCAg",
    ),
    (
        "HS256",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6InNlY3JldCJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.ELAB0kZaryuPWFDFP-yIgSAVdvykRCh_Y7MpYSi34uc",
    ),
    (
        "HS384",
        "eyJhbGciOiJIUzM4NCIsImtpZCI6InNlY3JldCJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.-VnQAtJnufDpzY3R9vf6EHjxpyzcYKZZktcZN-wImouwZNTXHoCZkliGo9WQ8ZCG",
    ),
    (
        "HS512",
        "eyJhbGciOiJIUzUxMiIsImtpZCI6InNlY3JldCJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjpbImFwaSIsIndlYiJdLCJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MTcwMDAwMDAwMCwidXNlciI6eyJpZCI6Nywicm9sZXMiOlsicmVhZGVyIiwid3JpdGVyIl19LCJzdGFmZiI6dHJ1ZX0.d3zjf7ygCKhdkn79s3eIP_X0TJ1lGKqT3KJQmxnE63F2QmODrIJDIHphcWo91UaqEaUdCE6lGgjKnuHPsedbCA",
    ),
];

/// What the tokens say; a name may stand in the place of another.
pub(super) const CLAIMS: &str = r#"{"iss":"https://idp.test","aud":["api","web"],"sub":"ann","exp":4102444800,"iat":1700000000,"user":{"id":7,"roles":["reader","writer"]},"staff":true}"#;

/// The time at which tests begin.
pub(super) const NOW: i64 = 1_700_000_000;

/// The secret's bytes.
pub(super) fn secret() -> Vec<u8> {
    (0..64).collect()
}

pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

/// Two parts, signed as HS256 does, by any secret.
pub(super) fn sign(header: &str, claims: &str, secret: &[u8]) -> String {
    let text = format!("{}.{}", base64(header), base64(claims));
    let tag = Hash::Sha256.tag(secret, text.as_bytes()).unwrap();
    format!("{text}.{}", base64(tag))
}

/// A token of those who have the secret.
pub(super) fn token(claims: &str) -> String {
    sign(r#"{"alg":"HS256"}"#, claims, &secret())
}

/// The members of a configuration with one provider that has these keys.
pub(super) fn inline(keys: &[&str], more: &str) -> String {
    let keys = keys.join(",");
    format!(r#""providers": [{{"name": "idp", "jwks": {{"keys": [{keys}]}}{more}}}]"#)
}

/// The filter; `provider` and `config` are further members of the provider and of the whole.
pub(super) fn tester(provider: &str, config: &str) -> Tester {
    Tester::of::<jwt_auth>(&format!("{{{}{config}}}", inline(&[SECRET], provider)))
}

/// The status of a request with that token, and the code of the refusal.
pub(super) fn ask(tester: &mut Tester, token: &str) -> (u16, String) {
    let ask = tester
        .get("/a")
        .header("authorization", format!("Bearer {token}"));
    let answer = ask.send();
    (answer.status(), code(answer.text()))
}

pub(super) fn code(body: &str) -> String {
    let code = body
        .split_once(r#""code":""#)
        .and_then(|(_, rest)| rest.split_once('"'));
    code.map(|(code, _)| code.to_owned()).unwrap_or_default()
}

pub(super) fn decode(text: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text).unwrap()
}
