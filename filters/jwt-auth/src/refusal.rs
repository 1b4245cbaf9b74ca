//! Why a token does not do.

use cofferdam_sdk::Reply;
use filters_common::problem;

/// From what says least to what says most: where several providers were asked, the last of
/// this order is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    Missing,
    Issuer,
    Malformed,
    Critical,
    Algorithm,
    UnknownKey,
    KeysUnavailable,
    Signature,
    NotYet,
    Expired,
    Audience,
    Claim,
    Several,
}

// === impl Refusal ===

impl Refusal {
    /// For programs, and for the metric.
    pub(crate) const fn code(self) -> &'static str {
        self.words().1
    }

    /// Status, code, RFC 6750's error, and what it says to people.
    const fn words(self) -> (u16, &'static str, &'static str, &'static str) {
        const INVALID: &str = "invalid_token";
        match self {
            Self::Missing => (401, "missing_token", "", "a token is needed"),
            Self::Issuer => (
                401,
                "wrong_issuer",
                INVALID,
                "nobody trusts its issuer here",
            ),
            Self::Malformed => (401, "malformed_token", INVALID, "it is no signed token"),
            Self::Critical => (
                401,
                "critical_header",
                INVALID,
                "it asks for extensions that are not known here",
            ),
            Self::Algorithm => (
                401,
                "wrong_algorithm",
                INVALID,
                "it is signed by an algorithm that is not allowed",
            ),
            Self::UnknownKey => (401, "unknown_key", INVALID, "no key that is known fits it"),
            Self::KeysUnavailable => (
                503,
                "keys_unavailable",
                "",
                "the keys of its issuer cannot be had now",
            ),
            Self::Signature => (401, "wrong_signature", INVALID, "its signature is wrong"),
            Self::NotYet => (401, "token_not_yet_valid", INVALID, "it is not valid yet"),
            Self::Expired => (401, "token_expired", INVALID, "it has expired"),
            Self::Audience => (401, "wrong_audience", INVALID, "it is for somebody else"),
            Self::Claim => (
                403,
                "claim_refused",
                "insufficient_scope",
                "its claims do not allow this",
            ),
            Self::Several => (
                400,
                "several_tokens",
                "invalid_request",
                "there are several tokens",
            ),
        }
    }

    /// The answer, with the challenge of RFC 6750, section 3.
    pub(crate) fn reply(self, realm: Option<&str>) -> Reply {
        let (status, code, error, detail) = self.words();
        let reply = problem(status, code, detail);
        if self == Self::KeysUnavailable {
            return reply;
        }
        let mut parts = Vec::new();
        if let Some(realm) = realm {
            parts.push(format!("realm=\"{}\"", quoted(realm)));
        }
        if !error.is_empty() {
            parts.push(format!("error=\"{error}\""));
            parts.push(format!("error_description=\"{detail}\""));
        }
        let challenge = format!("Bearer {}", parts.join(", "));
        reply.header("www-authenticate", challenge.trim_end())
    }
}

/// What may stand between quotes in a header.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_realm_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b\\\r\nc"), "a\\\"b\\\\c");
    }
}
