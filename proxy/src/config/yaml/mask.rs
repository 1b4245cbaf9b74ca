//! A file as it may be shown: JSON, without what looks like a secret.
//!
//! Nobody can know what is one in a filter's own configuration, so keys are judged by their
//! names and text by its looks; what is doubtful is masked.

use serde_json::{Map, Number, Value as Json};

use super::{Item, Node, Value};

/// What stands in a secret's place.
const MASK: &str = "***";

/// What keys of secrets have in their names, separators left out.
const SECRET: [&str; 12] = [
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "signingkey",
    "token",
];

impl Node<'_> {
    /// This value as JSON, with its secrets masked. Numbers that JSON does not have are text.
    #[must_use]
    pub fn masked(&self) -> Json {
        item(self.item(), false)
    }
}

fn item(given: &Item, secret: bool) -> Json {
    match &given.value {
        Value::Null => Json::Null,
        Value::List(items) => items.iter().map(|one| item(one, secret)).collect(),
        Value::Table(pairs) => {
            let jwk = pairs.iter().any(|pair| &*pair.key == "kty");
            let pairs = pairs.iter().map(|pair| {
                let secret = secret || is_secret(&pair.key) || jwk && is_private(&pair.key);
                (pair.key.to_string(), item(&pair.value, secret))
            });
            Json::Object(pairs.collect::<Map<_, _>>())
        }
        _ if secret => Json::from(MASK),
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(number) => i64::try_from(*number).map_or_else(
            |_| Json::from(&given.text[..]),
            |number| Json::Number(number.into()),
        ),
        Value::Float(number) => {
            Number::from_f64(*number).map_or_else(|| Json::from(&given.text[..]), Json::Number)
        }
        Value::Text => Json::String(text(&given.text)),
    }
}

/// A file's name is no secret, whatever is in the file.
fn is_secret(key: &str) -> bool {
    let plain = |letter: &char| letter.is_alphanumeric();
    let name: String = key.to_ascii_lowercase().chars().filter(plain).collect();
    !name.ends_with("file") && SECRET.iter().any(|word| name.contains(word))
}

/// What of a JSON Web Key only its owner knows: HMAC's key, and what is private of others
/// (RFC 7518, sections 6.2 to 6.4).
fn is_private(member: &str) -> bool {
    ["k", "d", "p", "q", "dp", "dq", "qi", "oth"].contains(&member)
}

/// Text, which may be JSON, a URL or a key by itself.
fn text(given: &str) -> String {
    let begins = |prefix: &str| {
        let start = given.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if given.contains("PRIVATE KEY-----") || begins("bearer ") || begins("basic ") {
        return MASK.to_owned();
    }
    if given.trim_start().starts_with(['{', '['])
        && let Ok(json) = serde_json::from_str::<Json>(given)
    {
        return inner(json, false).to_string();
    }
    without_password(given)
}

/// JSON that was text in the file.
fn inner(json: Json, secret: bool) -> Json {
    match json {
        Json::Object(fields) => {
            let jwk = fields.contains_key("kty");
            let fields = fields.into_iter().map(|(key, value)| {
                let secret = secret || is_secret(&key) || jwk && is_private(&key);
                (key, inner(value, secret))
            });
            Json::Object(fields.collect())
        }
        Json::Array(items) => items.into_iter().map(|one| inner(one, secret)).collect(),
        Json::Null => Json::Null,
        _ if secret => Json::from(MASK),
        Json::String(value) => Json::String(text(&value)),
        other => other,
    }
}

/// `scheme://user:password@host`, wherever it stands in a text.
fn without_password(given: &str) -> String {
    let mut out = String::with_capacity(given.len());
    let mut rest = given;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(['/', '?', '#', ' ', '"', '\n']);
        let authority = &after[..end.unwrap_or(after.len())];
        if let Some((user, host)) = authority.rsplit_once('@') {
            // A user without a password may be a token.
            let name = user.split_once(':').map_or("", |(name, _)| name);
            out.push_str(name);
            out.push(':');
            out.push_str(MASK);
            out.push('@');
            out.push_str(host);
        } else {
            out.push_str(authority);
        }
        rest = &after[authority.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Problems, parse};
    use super::*;

    fn shown(yaml: &str) -> String {
        let problems = Problems::new("test.yaml");
        let tree = parse(yaml, "", &problems).expect("YAML");
        Node::root(&tree, &problems).masked().to_string()
    }

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        for (given, wanted) in [
            ("a: 1", r#"{"a":1}"#),
            ("password: 1", r#"{"password":"***"}"#),
            ("API-Key: [x, {y: z}]", r#"{"API-Key":["***",{"y":"***"}]}"#),
            ("client_secret: x", r#"{"client_secret":"***"}"#),
            ("token_file: t.txt", r#"{"token_file":"t.txt"}"#),
            (
                "set: { Authorization: Basic eA== }",
                r#"{"set":{"Authorization":"***"}}"#,
            ),
            ("x: 'Bearer abc'", r#"{"x":"***"}"#),
            (
                "url: redis://me:pass@host:1/0?x",
                r#"{"url":"redis://me:***@host:1/0?x"}"#,
            ),
            ("url: https://tok@host", r#"{"url":"https://:***@host"}"#),
            ("url: https://host/a@b", r#"{"url":"https://host/a@b"}"#),
            (
                r#"configuration: '{"secret":"x","n":2}'"#,
                r#"{"configuration":"{\"secret\":\"***\",\"n\":2}"}"#,
            ),
            (
                "pem: |\n  -----BEGIN PRIVATE KEY-----\n  AAAA",
                r#"{"pem":"***"}"#,
            ),
            ("n: .nan", r#"{"n":".nan"}"#),
            (
                "keys: [{ kty: oct, kid: a, k: c2VjcmV0 }]",
                r#"{"keys":[{"kty":"oct","kid":"a","k":"***"}]}"#,
            ),
            (
                r#"configuration: '{"kty":"RSA","n":"b","e":"AQAB","d":"x","p":"y"}'"#,
                r#"{"configuration":"{\"kty\":\"RSA\",\"n\":\"b\",\"e\":\"AQAB\",\"d\":\"***\",\"p\":\"***\"}"}"#,
            ),
            // A key of something else is none.
            ("k: 1", r#"{"k":1}"#),
        ] {
            assert_eq!(shown(given), wanted, "{given}");
        }
    }
}
