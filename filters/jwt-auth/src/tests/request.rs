//! Where tokens are, what becomes of requests, and what the upstream is told.

use cofferdam_sdk::testing::Tester;

use super::tokens::{CLAIMS, SECRET, ask, base64, code, inline, sign, token};
use crate::jwt_auth;

#[test]
fn without_a_token_there_is_a_challenge() {
    let mut tester = tester("", r#", "realm": "the \"api\"""#);
    let answer = tester.get("/").send();
    assert_eq!((answer.status(), answer.upstream()), (401, None));
    let challenge = answer.header("www-authenticate");
    assert_eq!(challenge, Some(r#"Bearer realm="the \"api\"""#));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        answer.text(),
        r#"{"type":"about:blank","title":"Unauthorized","status":401,"code":"missing_token","detail":"a token is needed"}"#
    );
    let answer = tester.get("/").header("authorization", "Bearer x").send();
    assert_eq!(
        answer.header("www-authenticate"),
        Some(
            r#"Bearer realm="the \"api\"", error="invalid_token", error_description="it is no signed token""#
        )
    );
    // Another scheme is no token.
    let answer = tester.get("/").header("authorization", "Basic YTpi").send();
    assert_eq!(code(answer.text()), "missing_token");
    assert_eq!(tester.metric("jwt_auth.rule=0.result=missing_token"), 2);
    assert_eq!(tester.metric("jwt_auth.rule=0.result=malformed_token"), 1);

    let answer = self::tester("", "").get("/").send();
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

fn tester(provider: &str, config: &str) -> Tester {
    let mut tester = super::tokens::tester(provider, config);
    // They have an `authorization` too.
    tester.without_hostile_headers();
    tester
}

const PLACES: &str = r#", "from_headers": [{"name": "X-Token"}, {"name": "authorization", "value_prefix": "JWT "}],
    "from_cookies": ["session"], "from_params": ["access_token"]"#;

#[test]
fn it_is_taken_from_where_the_configuration_says_and_out_of_there() {
    let good = token(CLAIMS);
    for (forward, kept) in [(false, None), (true, Some(()))] {
        let mut tester = tester(&format!(r#"{PLACES}, "forward": {forward}"#), "");
        let answer = tester.get("/a").header("x-token", &good).send();
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.upstream().unwrap().header("x-token").map(|_| ()),
            kept
        );

        let ask = tester
            .get("/a")
            .header("authorization", format!("jwt {good}"));
        let answer = ask.header("x-other", "1").send();
        let seen = answer.upstream().unwrap();
        assert_eq!(seen.header("authorization").map(|_| ()), kept);
        assert_eq!(seen.header("x-other"), Some("1"));

        let ask = tester
            .get("/a")
            .header("cookie", format!("a=1; session={good};b=2"));
        let answer = ask.header("cookie", "c=3").send();
        let seen = answer.upstream().unwrap();
        let cookies = match forward {
            true => vec![format!("a=1; session={good};b=2"), "c=3".to_owned()],
            false => vec!["a=1; b=2".to_owned(), "c=3".to_owned()],
        };
        let all: Vec<_> = seen
            .all("cookie")
            .iter()
            .map(|value| value.lossy().into_owned())
            .collect();
        assert_eq!(all, cookies);

        let path = format!("/a?x=%41&access%5Ftoken={good}&y");
        let answer = tester.get(&path).send();
        let path = if forward { &*path } else { "/a?x=%41&y" };
        assert_eq!(answer.upstream().unwrap().path(), path);
    }
    let mut tester = tester(PLACES, "");
    let answer = tester.get(&format!("/a?access_token={good}")).send();
    assert_eq!(answer.upstream().unwrap().path(), "/a");
    let answer = tester
        .get("/a")
        .header("cookie", format!("session={good}"))
        .send();
    assert_eq!(answer.upstream().unwrap().header("cookie"), None);
    // Where it is not asked for there is none.
    assert_eq!(ask(&mut tester, &good).1, "missing_token");
}

#[test]
fn of_several_tokens_none_counts() {
    let good = token(CLAIMS);
    let bearer = format!("Bearer {good}");
    let mut usual = tester("", "");
    let ask = usual.get("/").header("authorization", &bearer);
    let answer = ask.header("authorization", "bearer x").send();
    assert_eq!(
        (answer.status(), code(answer.text())),
        (400, "several_tokens".to_owned())
    );
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains(r#"error="invalid_request""#)
    );
    let mut places = tester(PLACES, "");
    let ask = places.get("/?access_token=x").header("x-token", &good);
    assert_eq!(code(ask.send().text()), "several_tokens");
    let ask = places
        .get("/")
        .header("cookie", format!("session={good}; session=x"));
    assert_eq!(code(ask.send().text()), "several_tokens");
}

const HEADERS: &str = r#", "forward_payload_header": "x-payload", "claims_to_headers": [
    {"claim": "sub", "header": "x-sub"}, {"claim": "user.id", "header": "x-id"},
    {"claim": "user.roles", "header": "x-roles"}, {"claim": "staff", "header": "x-staff"},
    {"claim": "user", "header": "x-user"}, {"claim": "none", "header": "x-none"}]"#;

#[test]
fn the_upstream_is_told_what_is_in_the_token_and_by_nobody_else() {
    let rules = r#", "rules": [{"match": {"paths": ["/open"]}, "skip": true}, {"match": {"paths": ["/a"]}}]"#;
    let mut tester = tester(HEADERS, rules);
    let forge = |mut ask: cofferdam_sdk::testing::Ask<'_>| {
        for name in [
            "x-sub",
            "X-Id",
            "x-roles",
            "x-staff",
            "x-user",
            "x-none",
            "x-payload",
        ] {
            ask = ask.header(name, "forged").header(name, "twice");
        }
        let answer = ask.send();
        answer.upstream().unwrap().clone()
    };
    let bearer = format!("Bearer {}", token(CLAIMS));
    let seen = forge(tester.get("/a").header("authorization", &bearer));
    let payload = base64(CLAIMS);
    for (name, values) in [
        ("x-sub", &["ann"][..]),
        ("x-id", &["7"]),
        ("x-roles", &["reader,writer"]),
        ("x-staff", &["true"]),
        ("x-user", &[]),
        ("x-none", &[]),
        ("x-payload", &[&payload]),
        ("authorization", &[]),
    ] {
        assert_eq!(seen.all(name), values, "{name}");
    }
    // Where no token is looked at, nobody says who it is either.
    for path in ["/open", "/other"] {
        let seen = forge(tester.get(path).header("authorization", &bearer));
        for name in [
            "x-sub",
            "x-id",
            "x-roles",
            "x-staff",
            "x-user",
            "x-none",
            "x-payload",
        ] {
            assert_eq!(seen.header(name), None, "{path} {name}");
        }
        assert_eq!(seen.header("authorization"), Some(&*bearer), "{path}");
    }
}

#[test]
fn a_claim_cannot_make_another_header() {
    let mut tester = tester(HEADERS, "");
    let token = token(r#"{"sub": "a\r\nx-id: 0\u0000", "user.roles": ["b", "c,admin"]}"#);
    let ask = tester
        .get("/")
        .header("authorization", format!("Bearer {token}"));
    let answer = ask.send();
    let seen = answer.upstream().unwrap();
    assert_eq!(seen.header("x-sub"), Some("ax-id: 0"));
    assert_eq!(
        (seen.header("x-roles"), seen.header("x-id")),
        (Some("b"), None)
    );
}

#[test]
fn required_claims_are_asked_of_a_token_that_is_right() {
    let rules = r#", "rules": [
        {"match": {"paths": ["/admin/*"]}, "required_claims": [{"claim": "user.roles", "any_of": ["admin"]}]},
        {"match": {"methods": ["POST"]}, "required_claims": [{"claim": "user.roles", "any_of": ["writer"]}, {"claim": "exp"}]},
        {}]"#;
    let mut tester = tester("", rules);
    let bearer = format!("Bearer {}", token(CLAIMS));
    let answer = tester
        .get("/admin/a")
        .header("authorization", &bearer)
        .send();
    assert_eq!(
        (answer.status(), code(answer.text())),
        (403, "claim_refused".to_owned())
    );
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains(r#"error="insufficient_scope""#)
    );
    let mut status = |method: &str, bearer: &str| {
        let ask = tester.request(method, "/a").header("authorization", bearer);
        ask.send().status()
    };
    assert_eq!(
        (status("POST", &bearer), status("GET", &bearer)),
        (200, 200)
    );
    let endless = format!("Bearer {}", token(&CLAIMS.replace("exp", "expiry")));
    assert_eq!(
        (status("POST", &endless), status("GET", &endless)),
        (403, 200)
    );
}

#[test]
fn some_requests_pass_without_a_token_or_with_a_wrong_one() {
    let rules = r#", "rules": [
        {"match": {"hosts": ["test"], "paths": ["/missing"]}, "name": "m", "allow_missing": true},
        {"match": {"paths": ["/failed"]}, "name": "f", "allow_missing_or_failed": true}]"#;
    let mut tester = tester(HEADERS, rules);
    let mut ask = |path: &str, token: Option<&str>| {
        let mut ask = tester.get(path).header("x-sub", "forged");
        if let Some(token) = token {
            ask = ask.header("authorization", format!("Bearer {token}"));
        }
        let answer = ask.send();
        let seen = answer.upstream();
        let header = |name| seen.and_then(|seen| seen.header(name)).map(str::to_owned);
        (answer.status(), header("x-sub"), header("authorization"))
    };
    let good = token(CLAIMS);
    let ann = Some("ann".to_owned());
    assert_eq!(ask("/missing", None), (200, None, None));
    assert_eq!(ask("/missing", Some("x")).0, 401);
    assert_eq!(ask("/missing", Some(&good)), (200, ann.clone(), None));
    assert_eq!(ask("/failed", None), (200, None, None));
    assert_eq!(ask("/failed", Some("x")), (200, None, None));
    assert_eq!(ask("/failed", Some(&good)), (200, ann, None));
    assert_eq!(tester.metric("jwt_auth.rule=m.result=missing_allowed"), 1);
    assert_eq!(tester.metric("jwt_auth.rule=f.result=missing_allowed"), 1);
    assert_eq!(tester.metric("jwt_auth.rule=f.result=failed_allowed"), 1);
    assert_eq!(tester.metric("jwt_auth.rule=f.result=allowed"), 1);
}

#[test]
fn a_dry_run_refuses_nobody_and_changes_nothing() {
    let mut tester = tester(HEADERS, r#", "dry_run": true"#);
    let answer = tester.get("/").header("x-sub", "me").send();
    assert_eq!(answer.upstream().unwrap().header("x-sub"), Some("me"));
    let bearer = format!("Bearer {}", token(CLAIMS));
    let answer = tester.get("/").header("authorization", &bearer).send();
    let seen = answer.upstream().unwrap();
    assert_eq!(
        (seen.header("authorization"), seen.header("x-sub")),
        (Some(&*bearer), None)
    );
    assert_eq!(tester.metric("jwt_auth.rule=0.result=missing_token_dry"), 1);
    assert_eq!(tester.metric("jwt_auth.rule=0.result=allowed_dry"), 1);
    let said = tester.logs().join("\n");
    assert!(
        said.contains("rule 0 would refuse: missing_token"),
        "{said}"
    );
}

#[test]
fn several_providers_each_have_their_tokens() {
    let secret = |byte: u8| format!(r#"{{"kty":"oct","k":"{}"}}"#, base64([byte; 32]));
    let config = format!(
        r#"{{"providers": [
            {{"name": "one", "issuer": "1", "jwks": {{"keys": [{}]}}, "claims_to_headers": [{{"claim": "sub", "header": "x-one"}}]}},
            {{"name": "two", "issuer": "2", "jwks": {{"keys": [{}]}}, "from_headers": [{{"name": "x-two"}}], "claims_to_headers": [{{"claim": "sub", "header": "x-is-two"}}]}},
            {{"name": "three", "issuer": "3", "jwks": {{"keys": [{}]}}}}],
          "rules": [{{"match": {{"paths": ["/two"]}}, "providers": ["two"]}}, {{"providers": ["one", "three"]}}]}}"#,
        secret(1),
        secret(2),
        secret(3),
    );
    let mut tester = Tester::of::<jwt_auth>(&config);
    let make = |issuer: u8, byte: u8| {
        let claims = format!(r#"{{"iss": "{issuer}", "sub": "s"}}"#);
        sign(r#"{"alg":"HS256"}"#, &claims, &[byte; 32])
    };
    assert_eq!(ask(&mut tester, &make(1, 1)).0, 200);
    assert_eq!(ask(&mut tester, &make(3, 3)).0, 200);
    // Nobody signs for another, and what says most is told.
    assert_eq!(ask(&mut tester, &make(1, 3)).1, "wrong_signature");
    assert_eq!(ask(&mut tester, &make(2, 2)).1, "wrong_issuer");
    let ask = tester
        .get("/two")
        .header("x-two", make(2, 2))
        .header("x-one", "forged");
    let answer = ask.header("authorization", "Bearer kept").send();
    let seen = answer.upstream().unwrap();
    assert_eq!(
        (seen.header("x-is-two"), seen.header("x-one")),
        (Some("s"), None)
    );
    assert_eq!(seen.header("authorization"), Some("Bearer kept"));
}

#[test]
fn the_secret_is_in_no_answer_and_no_log() {
    let config = format!("{{{}}}", inline(&[SECRET], r#", "issuer": 7"#));
    let said = Tester::refusal::<jwt_auth>(&config);
    assert!(!said.contains("AAECAwQF"), "{said}");
}
