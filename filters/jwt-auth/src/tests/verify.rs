//! Which tokens do.

use cofferdam_sdk::testing::Tester;

use super::tokens::{
    CLAIMS, ED25519, NOW, P256, P384, RSA, SECRET, TOKENS, ask, base64, inline, secret, sign,
    tester, token,
};
use crate::jwt_auth;
use crate::token::Token;

const ALL: [&str; 5] = [RSA, P256, P384, ED25519, SECRET];

fn of_keys(keys: &[&str], more: &str) -> Tester {
    Tester::of::<jwt_auth>(&format!("{{{}}}", inline(keys, more)))
}

#[test]
fn every_algorithm_verifies_what_openssl_has_signed() {
    let mut tester = of_keys(&ALL, "");
    for (algorithm, token) in TOKENS {
        assert_eq!(ask(&mut tester, token).0, 200, "{algorithm}");
    }
    assert_eq!(tester.metric("jwt_auth.rule=0.result=allowed"), 9);
    tester.no_leaks();
}

#[test]
fn a_bit_that_differs_anywhere_refuses() {
    let mut tester = of_keys(&ALL, "");
    for (algorithm, token) in TOKENS {
        let (text, signature) = token.rsplit_once('.').unwrap();
        let signature = super::tokens::decode(signature);
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut other = signature.clone();
            other[at] ^= 1;
            let forged = format!("{text}.{}", base64(other));
            let refused = (401, "wrong_signature".to_owned());
            assert_eq!(ask(&mut tester, &forged), refused, "{algorithm} {at}");
        }
        for other in [
            &signature[1..],
            &[&signature[..], &[0]].concat(),
            &[0; 64],
            &[],
        ] {
            let forged = format!("{text}.{}", base64(other));
            assert_eq!(ask(&mut tester, &forged).0, 401, "{algorithm}");
        }
        let (header, _) = text.split_once('.').unwrap();
        let claims = base64(CLAIMS.replace("ann", "bob"));
        let forged = format!("{header}.{claims}.{}", base64(&signature));
        assert_eq!(
            ask(&mut tester, &forged).1,
            "wrong_signature",
            "{algorithm}"
        );
    }
}

#[test]
fn the_examples_of_the_standards_verify() {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    // RFC 7515, appendices A.1 to A.3.
    for (header, signature, key) in [
        (
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        ),
        (
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
        ),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        ),
    ] {
        let text = format!("{header}.{claims}.{signature}");
        // They have expired in 2011.
        let skew = r#", "clock_skew_seconds": 1000000000"#;
        assert_eq!(ask(&mut of_keys(&[key], skew), &text).0, 200, "{header}");
        assert_eq!(ask(&mut of_keys(&[key], ""), &text).1, "token_expired");
    }
}

#[test]
fn a_token_is_good_from_then_to_then() {
    let mut strict = tester(r#", "clock_skew_seconds": 0"#, "");
    let mut usual = tester("", "");
    for (claims, of_strict, of_usual) in [
        (format!(r#"{{"exp": {}}}"#, NOW + 1), "", ""),
        (format!(r#"{{"exp": {NOW}}}"#), "token_expired", ""),
        (format!(r#"{{"exp": {NOW}.5}}"#), "", ""),
        (
            format!(r#"{{"exp": {}}}"#, NOW - 60),
            "token_expired",
            "token_expired",
        ),
        (format!(r#"{{"nbf": {NOW}}}"#), "", ""),
        (
            format!(r#"{{"nbf": {}}}"#, NOW + 60),
            "token_not_yet_valid",
            "",
        ),
        (
            format!(r#"{{"nbf": {}}}"#, NOW + 61),
            "token_not_yet_valid",
            "token_not_yet_valid",
        ),
        (
            r#"{"exp": "soon"}"#.to_owned(),
            "malformed_token",
            "malformed_token",
        ),
        (
            r#"{"exp": null}"#.to_owned(),
            "malformed_token",
            "malformed_token",
        ),
        (
            r#"{"exp": 1e999}"#.to_owned(),
            "malformed_token",
            "malformed_token",
        ),
        (
            r#"{"exp": -1}"#.to_owned(),
            "token_expired",
            "token_expired",
        ),
        ("{}".to_owned(), "", ""),
    ] {
        let token = token(&claims);
        assert_eq!(ask(&mut strict, &token).1, of_strict, "{claims}");
        assert_eq!(ask(&mut usual, &token).1, of_usual, "{claims}");
    }
    let soon = token(&format!(r#"{{"exp": {}}}"#, NOW + 100));
    assert_eq!(ask(&mut usual, &soon).0, 200);
    usual.advance(std::time::Duration::from_secs(160));
    assert_eq!(ask(&mut usual, &soon).1, "token_expired");
}

#[test]
fn issuer_and_audience_have_to_be_right() {
    let more = r#", "issuer": "https://idp.test", "audiences": ["api", "other"]"#;
    let mut tester = tester(more, "");
    for (iss, aud, code) in [
        (r#""https://idp.test""#, r#""api""#, ""),
        (r#""https://idp.test""#, r#"["x", "other"]"#, ""),
        (r#""https://idp.test/""#, r#""api""#, "wrong_issuer"),
        (r#"["https://idp.test"]"#, r#""api""#, "wrong_issuer"),
        ("null", r#""api""#, "wrong_issuer"),
        (r#""https://idp.test""#, r#""apis""#, "wrong_audience"),
        (r#""https://idp.test""#, "[]", "wrong_audience"),
        (
            r#""https://idp.test""#,
            r#"{"api": "api"}"#,
            "wrong_audience",
        ),
    ] {
        let token = token(&format!(r#"{{"iss": {iss}, "aud": {aud}}}"#));
        assert_eq!(ask(&mut tester, &token).1, code, "{iss} {aud}");
    }
    assert_eq!(ask(&mut tester, &token("{}")).1, "wrong_issuer");
}

#[test]
fn algorithms_are_not_confused() {
    let mut all = of_keys(&ALL, "");
    // The public key of an algorithm with two keys, in the forms it is published in, as the
    // secret of one with one key.
    for key in [RSA, P256, ED25519] {
        let mut public = of_keys(&[key], "");
        let modulus = super::tokens::decode(key.split('"').max_by_key(|part| part.len()).unwrap());
        for secret in [key.as_bytes(), &modulus, b""] {
            let forged = sign(r#"{"alg":"HS256"}"#, CLAIMS, secret);
            assert_eq!(ask(&mut public, &forged).1, "unknown_key");
            assert_eq!(ask(&mut all, &forged).1, "wrong_signature");
            let forged = sign(r#"{"alg":"HS256","kid":"rsa"}"#, CLAIMS, secret);
            assert_eq!(ask(&mut all, &forged).1, "unknown_key");
        }
    }
    for name in [
        "none", "None", "nOnE", "", "HS255", "RS256 ", "PS256", "ES512", "hs256",
    ] {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        let signed = sign(&header, CLAIMS, &secret());
        assert_eq!(ask(&mut all, &signed).1, "wrong_algorithm", "{name}");
        let (text, _) = signed.rsplit_once('.').unwrap();
        assert_eq!(ask(&mut all, &format!("{text}.")).1, "wrong_algorithm");
    }
    // The right signature, under the name of another algorithm.
    for (algorithm, token) in TOKENS {
        let (_, rest) = token.split_once('.').unwrap();
        for (other, _) in TOKENS.iter().filter(|(other, _)| *other != algorithm) {
            let header = base64(format!(r#"{{"alg":"{other}"}}"#));
            assert_eq!(ask(&mut all, &format!("{header}.{rest}")).0, 401);
        }
    }
}

#[test]
fn only_algorithms_that_are_allowed() {
    let mut tester = of_keys(&ALL, r#", "algorithms": ["ES384", "EdDSA"]"#);
    for (algorithm, token) in TOKENS {
        let code = match algorithm {
            "ES384" | "EdDSA" => "",
            _ => "wrong_algorithm",
        };
        assert_eq!(ask(&mut tester, token).1, code, "{algorithm}");
    }
    // A key says which one it is for.
    let key = RSA.replace(r#""use""#, r#""alg":"RS512","use""#);
    let mut tester = of_keys(&[&key], "");
    for (algorithm, token) in &TOKENS[..3] {
        let status = if *algorithm == "RS512" { 200 } else { 401 };
        assert_eq!(ask(&mut tester, token).0, status, "{algorithm}");
    }
    // A secret is no shorter than what it makes.
    let short = format!(r#"{{"kty":"oct","k":"{}"}}"#, base64([7; 32]));
    let mut tester = of_keys(&[&short], "");
    assert_eq!(
        ask(&mut tester, &sign(r#"{"alg":"HS256"}"#, CLAIMS, &[7; 32])).0,
        200
    );
    assert_eq!(ask(&mut tester, TOKENS[7].1).1, "unknown_key");
}

#[test]
fn what_is_critical_and_not_known_refuses() {
    let mut tester = tester("", "");
    for crit in [r#"["b64"]"#, r#"["exp"]"#, "[]", "null", "7"] {
        let header = format!(r#"{{"alg":"HS256","b64":false,"crit":{crit}}}"#);
        let token = sign(&header, CLAIMS, &secret());
        assert_eq!(
            ask(&mut tester, &token),
            (401, "critical_header".to_owned())
        );
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    let mut tester = tester("", "");
    let good = token(CLAIMS);
    let (text, signature) = good.rsplit_once('.').unwrap();
    let header = base64(r#"{"alg":"HS256"}"#);
    let sign = |header: &str, claims: &str| sign(header, claims, &secret());
    for wrong in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "x".into(),
        text.into(),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}="),
        format!("{text}.{signature}\u{e9}"),
        format!("{text} .{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{}.{signature}", base64("[]")),
        format!(".{}.{signature}", base64(CLAIMS)),
        sign("{}", CLAIMS),
        sign(r#"{"alg":7}"#, CLAIMS),
        sign(r#"["HS256"]"#, CLAIMS),
        sign(r#"{"alg":"HS256","kid":7}"#, CLAIMS),
        sign(r#"{"alg":"HS256","alg":"none"}"#, CLAIMS),
        sign(r#"{"alg":"HS256"}"#, ""),
        sign(r#"{"alg":"HS256"}"#, "\u{0}"),
        sign(r#"{"alg":"HS256"}"#, r#"{"sub":"a","sub":"b"}"#),
        sign(
            r#"{"alg":"HS256"}"#,
            &format!("{}{}", r#"{"a":"#.repeat(500), "}".repeat(500)),
        ),
        sign(
            r#"{"alg":"HS256"}"#,
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000)),
        ),
    ] {
        let answer = tester
            .get("/a")
            .header("authorization", format!("Bearer {wrong}"))
            .send();
        assert_eq!(answer.status(), 401, "{wrong}");
        assert!(
            answer.text().contains("malformed_token"),
            "{wrong}: {}",
            answer.text()
        );
    }
    let answer = tester
        .get("/")
        .header("authorization", b"Bearer \xff\xfe.\x80.")
        .send();
    assert!(answer.text().contains("malformed_token"));
}

#[test]
fn no_bytes_crash_it() {
    // A generator of Marsaglia's: the same bytes each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good: Vec<Vec<u8>> = TOKENS
        .iter()
        .map(|(_, token)| token.as_bytes().to_vec())
        .collect();
    for round in 0..20_000_usize {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..=random() % 3 {
            let at = (random() % bytes.len() as u64) as usize;
            match random() % 4 {
                0 => bytes[at] = random() as u8,
                1 => bytes[at] = b"._-Aa0="[(random() % 7) as usize],
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b'.'),
            }
        }
        let _ = Token::read(bytes);
    }
}
