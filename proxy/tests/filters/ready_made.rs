//! The ready-made filters (`filters/`) in the real binary: a configuration that is wrong is
//! told with the filter, the field and why.

use crate::support::{Config, Filter, Upstream, built_guest, check};

/// A filter, a configuration that is wrong, the way to the field, and what is said of it.
const WRONG: [(&str, &str, &str, &str); 8] = [
    (
        "header_transform",
        r#"{"rules": [{"request": {"set": [{"name": "content-length", "value": "1"}]}}]}"#,
        "rules[0].request.set[0].name",
        "`content-length` is for the proxy to set",
    ),
    (
        "header_transform",
        r#"{"rules": [{"response": {"set": [{"name": "x-a", "value": "{nothing}"}]}}]}"#,
        "rules[0].response.set[0].value",
        "no such variable: `nothing`",
    ),
    (
        "local_rate_limit",
        r#"{"rules": [{"limit": 1, "per": "day", "key": ["ip", "header"]}]}"#,
        "rules[0].key[1]",
        "no such variable: `header`",
    ),
    (
        "local_rate_limit",
        r#"{"rules": [{"limit": 0, "per": "day"}]}"#,
        "rules[0].limit",
        "1",
    ),
    (
        "pii_mask",
        r#"{"rules": [{"custom": [{"name": "a", "regex": "("}]}]}"#,
        "rules[0].custom[0].regex",
        "",
    ),
    (
        "pii_mask",
        r#"{"rules": [{"patterns": ["card", "dna"]}]}"#,
        "rules[0].patterns[1]",
        "card",
    ),
    (
        "jwt_auth",
        r#"{"providers": [{"name": "a", "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}]}"#,
        "providers[0].jwks.keys[0]",
        "`k` has less than 32 bytes",
    ),
    (
        "jwt_auth",
        r#"{"providers": [{"name": "a", "remote_jwks": {"uri": "https://a/", "cluster": "a"}}], "rules": [{"providers": ["b"]}]}"#,
        "rules[0].providers[0]",
        "no provider is called `b`",
    ),
];

#[test]
fn a_bad_configuration_of_each_names_filter_and_field() {
    for (name, configuration, field, why) in WRONG {
        let Some(module) = built_guest(name) else {
            continue;
        };
        for command in ["check", "run"] {
            let filter =
                Filter::file(name, &module).with(format!("configuration: '{configuration}'"));
            let config = Config::new(Upstream::nowhere()).filter(filter);
            let (status, said) = check(&config, command);
            assert_eq!(status, Some(64), "{command}: {said}");
            let line = said.lines().find(|line| line.contains(field));
            let line = line.unwrap_or_else(|| panic!("{field} in {said}"));
            assert!(line.contains(why), "{why} in {line}");
            assert!(said.contains(&format!("filter {name}")), "{said}");
        }
    }
}
