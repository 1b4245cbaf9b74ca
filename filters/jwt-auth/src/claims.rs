//! What is asked of a token's claims.

use cofferdam_sdk::config::Schema;
use serde::Deserialize;

use crate::json::Json;

/// A claim that a token must have.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Required {
    /// Its name, or the way to it: `realm_access.roles`. Alone: it has to be there.
    claim: String,
    /// What it has to be, or to have among its values.
    equals: Option<String>,
    /// One of these it has to be, or to have among its values.
    #[serde(default)]
    any_of: Vec<String>,
    /// All of these it has to have among its values.
    #[serde(default)]
    all_of: Vec<String>,
}

// === impl Required ===

impl Required {
    pub(crate) fn is_met(&self, claims: &Json) -> bool {
        let values = match claims.follow(&self.claim) {
            None | Some(Json::Null) => return false,
            Some(claim) => values(&self.claim, claim),
        };
        let has = |wanted: &String| values.contains(wanted);
        self.equals.as_ref().is_none_or(has)
            && (self.any_of.is_empty() || self.any_of.iter().any(has))
            && self.all_of.iter().all(has)
    }
}

/// The values of a claim: a list's members; the words of a scope (RFC 8693, section 4.2); or
/// itself.
fn values(name: &str, claim: &Json) -> Vec<String> {
    match claim {
        Json::List(list) => list.iter().filter_map(Json::scalar).collect(),
        Json::Text(words) if matches!(name, "scope" | "scp") => {
            words.split(' ').map(str::to_owned).collect()
        }
        other => other.scalar().into_iter().collect(),
    }
}

/// Whether a token is for one of these.
pub(crate) fn is_for(claims: &Json, audiences: &[String]) -> bool {
    let audience = claims.get("aud");
    audience.is_some_and(|audience| {
        let mut values = values("aud", audience).into_iter();
        values.any(|value| audiences.contains(&value))
    })
}

/// A claim as the value of a header; `None` where there is none, and of a map.
pub(crate) fn header_value(claim: &Json) -> Option<String> {
    let value = match claim {
        Json::List(list) => {
            // One with a comma in it would pass for two.
            let members = list.iter().filter_map(Json::scalar);
            let members: Vec<_> = members.filter(|member| !member.contains(',')).collect();
            members.join(",")
        }
        other => other.scalar()?,
    };
    let value: String = value
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_there_is_this_or_is_one_of_these() {
        let claims = br#"{"sub": "ann", "n": 7, "on": true, "no": null, "scope": "read write",
            "name": "read write", "realm": {"roles": ["a", "b", 3]}}"#;
        let claims = Json::read(claims).unwrap();
        for (required, met) in [
            (r#"{"claim": "sub"}"#, true),
            (r#"{"claim": "none"}"#, false),
            (r#"{"claim": "no"}"#, false),
            (r#"{"claim": "sub", "equals": "ann"}"#, true),
            (r#"{"claim": "sub", "equals": "an"}"#, false),
            (r#"{"claim": "n", "equals": "7"}"#, true),
            (r#"{"claim": "on", "any_of": ["false", "true"]}"#, true),
            (r#"{"claim": "scope", "equals": "write"}"#, true),
            (r#"{"claim": "name", "equals": "write"}"#, false),
            (r#"{"claim": "scope", "all_of": ["write", "read"]}"#, true),
            (r#"{"claim": "scope", "all_of": ["write", "admin"]}"#, false),
            (r#"{"claim": "realm.roles", "any_of": ["x", "3"]}"#, true),
            (r#"{"claim": "realm.roles", "any_of": ["x"]}"#, false),
            (r#"{"claim": "realm", "equals": "roles"}"#, false),
        ] {
            let parsed: Required = cofferdam_sdk::config::parse(required.as_bytes()).unwrap();
            assert_eq!(parsed.is_met(&claims), met, "{required}");
        }
    }

    #[test]
    fn a_header_holds_texts_numbers_booleans_and_lists_of_them() {
        for (json, value) in [
            (r#"" a\r\nb ""#, Some("ab")),
            ("7", Some("7")),
            ("-1.5", Some("-1.5")),
            ("true", Some("true")),
            (
                r#"["a", 1, false, null, ["x"], {"y": 1}]"#,
                Some("a,1,false"),
            ),
            (r#"["user", "a,admin"]"#, Some("user")),
            ("[]", None),
            ("null", None),
            ("{}", None),
            (r#""\n""#, None),
        ] {
            let json = Json::read(json.as_bytes()).unwrap();
            assert_eq!(header_value(&json).as_deref(), value);
        }
    }
}
