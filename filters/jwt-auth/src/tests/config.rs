//! Configurations, and what is said of wrong ones.

use cofferdam_sdk::testing::Tester;

use super::tokens::{ED25519, P256, RSA, SECRET, base64, inline};
use crate::jwt_auth;

#[test]
fn a_bad_configuration_names_the_field() {
    let remote = |more: &str| {
        format!(
            r#"{{"providers": [{{"name": "a", "remote_jwks": {{"uri": "https://a.test/k", "cluster": "a"{more}}}}}]}}"#
        )
    };
    let provider = |more: &str| format!("{{{}}}", inline(&[SECRET], more));
    let whole = |more: &str| format!("{{{}{more}}}", inline(&[SECRET], ""));
    for (config, wanted) in [
        ("{}".to_owned(), "missing field `providers`"),
        (
            r#"{"providers": []}"#.to_owned(),
            "providers: there are none",
        ),
        (
            r#"{"providers": [{"name": "a"}]}"#.to_owned(),
            "providers[0].jwks: either this or `remote_jwks` is needed",
        ),
        (
            provider(r#", "remote_jwks": {"uri": "http://a", "cluster": "a"}"#),
            "providers[0].jwks: either this or",
        ),
        (
            provider(r#", "algorithms": ["RS256", "none"]"#),
            "providers[0].algorithms[1]: unknown variant `none`",
        ),
        (
            provider(r#", "audience": "x""#),
            "providers[0]: unknown field `audience`",
        ),
        (
            provider(r#", "clock_skew_seconds": -1"#),
            "providers[0].clock_skew_seconds",
        ),
        (
            provider(r#", "claims_to_headers": [{"claim": "a", "header": "host"}]"#),
            "providers[0].claims_to_headers[0].header: `host` is for the proxy to set",
        ),
        (
            provider(r#", "from_headers": [{"name": "a b"}]"#),
            "providers[0].from_headers[0].name: `a b` is no name of a header",
        ),
        (
            remote(r#", "cache_seconds": 0"#),
            "providers[0].remote_jwks.cache_seconds: must be at least 1",
        ),
        (
            remote("").replace("https://", ""),
            "providers[0].remote_jwks.uri: `a.test/k` is no URI",
        ),
        (
            whole(r#", "rules": [{}, {"providers": ["idp", "idq"]}]"#),
            "rules[1].providers[1]: no provider is called `idq`",
        ),
        (
            whole(r#", "rules": [{"match": {"paths": ["a"]}}]"#),
            "rules[0].match.paths[0]: `a` is no path",
        ),
        (
            whole(r#", "rules": [{"required_claims": [{"equals": "a"}]}]"#),
            "rules[0].required_claims[0]: missing field `claim`",
        ),
        (
            format!(
                r#"{{"providers": [{0}, {0}]}}"#,
                provider("").split_at(15).1.trim_end_matches("]}")
            ),
            "providers[1].name: another has it already",
        ),
    ] {
        let said = Tester::refusal::<jwt_auth>(&config);
        assert!(said.contains(wanted), "{config}\n{said}");
    }
}

#[test]
fn a_bad_key_is_told_by_its_place_and_why() {
    let short_rsa = format!(
        r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#,
        base64([0xff; 128])
    );
    let even_rsa = format!(
        r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#,
        base64([0xfe; 256])
    );
    let odd_exponent = format!(r#"{{"kty":"RSA","e":"AQ","n":"{}"}}"#, base64([0xff; 256]));
    let huge_rsa = format!(
        r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#,
        base64([0xff; 2000])
    );
    let off_curve = format!(
        r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#,
        base64([7; 32])
    );
    let short_secret = format!(r#"{{"kty":"oct","k":"{}"}}"#, base64([7; 31]));
    for (key, wanted) in [
        ("{}", "it is no key: it has no `kty`"),
        ("7", "it is no key"),
        (r#"{"kty":7}"#, "`kty` is no text"),
        (
            r#"{"kty":"DSA"}"#,
            "`kty` is `DSA`: RSA, EC, OKP or oct is known",
        ),
        (r#"{"kty":"RSA","e":"AQAB"}"#, "a key of type RSA needs `n`"),
        (
            r#"{"kty":"RSA","e":"AQAB","n":"a b"}"#,
            "`n` is not base64url",
        ),
        (&short_rsa, "`n` has 1024 bits: 2048 to 8192 are allowed"),
        (&huge_rsa, "`n` has 16000 bits"),
        (&even_rsa, "`n` is even"),
        (&odd_exponent, "`e` is no exponent"),
        (
            r#"{"kty":"EC","crv":"P-521","x":"","y":""}"#,
            "`crv` is `P-521`",
        ),
        (r#"{"kty":"EC"}"#, "`crv` is ``"),
        (
            r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#,
            "`x` and `y` are not 48 bytes each",
        ),
        (&off_curve, "it is no point of its curve"),
        (
            r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
            "`crv` is `X25519`",
        ),
        (
            r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
            "it is no point of its curve",
        ),
        (&short_secret, "`k` has less than 32 bytes"),
        (
            &RSA.replace("\"use\"", "\"alg\":\"HS256\",\"use\""),
            "`alg` is `HS256`, which is not for such a key",
        ),
        (
            &P256.replace("\"use\"", "\"alg\":\"none\",\"use\""),
            "`alg` is `none`, which is not",
        ),
    ] {
        let config = format!("{{{}}}", inline(&[RSA, key], ""));
        let said = Tester::refusal::<jwt_auth>(&config);
        let wanted = format!("providers[0].jwks.keys[1]: {wanted}");
        assert!(said.contains(&wanted), "{key}\n{said}");
    }
    for key in [
        RSA.replace("\"sig\"", "\"enc\""),
        ED25519.replace("\"alg\"", "\"key_ops\":[\"sign\"],\"alg\""),
    ] {
        let config = format!("{{{}}}", inline(&[&key], ""));
        let said = Tester::refusal::<jwt_auth>(&config);
        assert!(
            said.contains("providers[0].jwks.keys: there is no key that verifies"),
            "{said}"
        );
    }
}

#[test]
fn the_example_of_the_readme_is_taken() {
    let mut blocks = include_str!("../../README.md").split("```json\n").skip(1);
    let example = blocks.next().and_then(|rest| rest.split("```").next());
    let _ = Tester::of::<jwt_auth>(example.expect("an example"));
}
