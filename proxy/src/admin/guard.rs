//! Who may do what.
//!
//! On a loopback address whoever has a shell on the machine is the operator; but so that no
//! web page in that operator's browser is, nothing that matters is done for a request that
//! names another host (a name that was made to point here) or says that a page sent it.
//! Elsewhere, and wherever there is a token, the token decides.

use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};

use super::endpoint::Access;
use super::{Answer, text};
use crate::config::Admin;

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No token, or not as it must be sent.
    NoToken,
    WrongToken,
    /// It is for a host of another name.
    Host,
    /// A page in a browser sent it.
    Browser,
}

/// Whether this may be answered.
pub(super) fn permit<B>(
    config: &Admin,
    access: Access,
    request: &Request<B>,
) -> Result<(), Refused> {
    let loopback = config.address.ip().to_canonical().is_loopback();
    let token = config.token.as_ref();
    match (access, token) {
        (Access::Open, _) => Ok(()),
        (Access::Change, Some(token)) => bearer(request).and_then(|word| {
            let right = token.is(word);
            right.then_some(()).ok_or(Refused::WrongToken)
        }),
        (Access::Private, Some(token)) if !loopback => bearer(request).and_then(|word| {
            let right = token.is(word);
            right.then_some(()).ok_or(Refused::WrongToken)
        }),
        (Access::Private, _) => local(request),
        (Access::Change, None) => {
            // Browsers send it with every POST, and with no request of anything else.
            if request.headers().contains_key(ORIGIN) {
                return Err(Refused::Browser);
            }
            local(request)
        }
    }
}

fn bearer<B>(request: &Request<B>) -> Result<&[u8], Refused> {
    let mut sent = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else {
        return Err(Refused::NoToken);
    };
    let (scheme, word) = value
        .as_bytes()
        .split_at_checked("Bearer ".len())
        .ok_or(Refused::NoToken)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err(Refused::NoToken);
    }
    Ok(word.trim_ascii())
}

/// Whether it is for an address or for this machine by its one name. HTTP/1.0, which needs
/// no `host`, is no browser's.
fn local<B>(request: &Request<B>) -> Result<(), Refused> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let sent = match (request.uri().authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Err(Refused::Host),
        (Some(authority), ..) => authority.as_str(),
        (None, Some(host), None) => host.to_str().map_err(|_| Refused::Host)?,
        (None, None, None) => return Ok(()),
    };
    let name = match sent.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => sent,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_address = bare.unwrap_or(name).parse::<std::net::IpAddr>().is_ok();
    if is_address || name.eq_ignore_ascii_case("localhost") {
        Ok(())
    } else {
        Err(Refused::Host)
    }
}

// === impl Refused ===

impl Refused {
    pub(super) fn answer(self) -> Answer {
        let (status, what, challenge) = match self {
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "this takes `authorization: Bearer TOKEN`, the word in the token file\n",
                Some("Bearer"),
            ),
            Self::WrongToken => (
                StatusCode::UNAUTHORIZED,
                "that is not the token\n",
                Some("Bearer error=\"invalid_token\""),
            ),
            Self::Host => (
                StatusCode::FORBIDDEN,
                "ask for it by an IP address or as localhost\n",
                None,
            ),
            Self::Browser => (
                StatusCode::FORBIDDEN,
                "this is not for pages in browsers\n",
                None,
            ),
        };
        let mut answer = text(status, what);
        if let Some(challenge) = challenge {
            let challenge = HeaderValue::from_static(challenge);
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Token;

    fn admin(address: &str, token: Option<&str>) -> Admin {
        Admin {
            address: address.parse().expect("an address"),
            token: token.map(|token| Token::new(token.as_bytes())),
            tags: Vec::new(),
        }
    }

    fn permitted(admin: &Admin, access: Access, fields: &[(&str, &str)]) -> Result<(), Refused> {
        let mut request = Request::builder().uri("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        permit(admin, access, &request.body(()).expect("a request"))
    }

    #[test]
    fn on_loopback_only_addresses_and_localhost_are_asked() {
        let admin = admin("127.0.0.1:1", None);
        for host in [
            "127.0.0.1",
            "127.0.0.1:9901",
            "localhost:1",
            "LOCALHOST",
            "[::1]:9",
            "[::1]",
            "10.1.2.3",
        ] {
            for access in [Access::Open, Access::Private, Access::Change] {
                assert_eq!(
                    permitted(&admin, access, &[("host", host)]),
                    Ok(()),
                    "{host}"
                );
            }
        }
        for host in [
            "evil.example",
            "localhost.evil.example:9901",
            "127.0.0.1.evil.example",
            "",
            "x:1:2",
        ] {
            assert_eq!(permitted(&admin, Access::Open, &[("host", host)]), Ok(()));
            for access in [Access::Private, Access::Change] {
                let refused = permitted(&admin, access, &[("host", host)]);
                assert_eq!(refused, Err(Refused::Host), "{host}");
            }
        }
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(
            permitted(&admin, Access::Change, &twice),
            Err(Refused::Host)
        );
        assert_eq!(permitted(&admin, Access::Change, &[]), Ok(()));
    }

    #[test]
    fn a_page_changes_nothing() {
        let admin = admin("127.0.0.1:1", None);
        for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
            let fields = [("host", "127.0.0.1"), ("origin", origin)];
            assert_eq!(
                permitted(&admin, Access::Change, &fields),
                Err(Refused::Browser)
            );
            assert_eq!(permitted(&admin, Access::Private, &fields), Ok(()));
        }
    }

    #[test]
    fn a_token_decides_wherever_there_is_one() {
        for (address, private) in [
            ("127.0.0.1:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
        ] {
            let admin = admin(address, Some("word"));
            let of = |value: &str| {
                permitted(
                    &admin,
                    Access::Change,
                    &[("authorization", value), ("host", "proxy")],
                )
            };
            assert_eq!(of("Bearer word"), Ok(()));
            assert_eq!(of("bearer  word "), Ok(()));
            assert_eq!(of("Bearer wor"), Err(Refused::WrongToken));
            assert_eq!(of("Bearer "), Err(Refused::WrongToken));
            assert_eq!(of("Basic word"), Err(Refused::NoToken));
            assert_eq!(of("word"), Err(Refused::NoToken));
            assert_eq!(
                permitted(&admin, Access::Change, &[]),
                Err(Refused::NoToken)
            );
            let twice = [
                ("authorization", "Bearer word"),
                ("authorization", "Bearer word"),
            ];
            assert_eq!(
                permitted(&admin, Access::Change, &twice),
                Err(Refused::NoToken)
            );
            assert_eq!(permitted(&admin, Access::Open, &[]), Ok(()));
            let wanted = if private {
                Err(Refused::NoToken)
            } else {
                Ok(())
            };
            assert_eq!(permitted(&admin, Access::Private, &[]), wanted);
        }
    }
}
