//! Who a peer may be, by the alternative names of its certificate: what Envoy calls
//! `match_typed_subject_alt_names`. SPIFFE identities are URIs among them.

use std::net::IpAddr;

use regex::Regex;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::names::covers;

/// Any one of these; empty: everybody.
#[derive(Debug, Clone, Default)]
pub struct Allowed(pub Vec<Matcher>);

/// A condition on one name of a certificate.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Which kind of name.
    pub kind: NameKind,
    /// What it must be.
    pub text: TextMatch,
}

/// The kinds of names that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A URI, such as a SPIFFE identity.
    Uri,
    /// A DNS name.
    Dns,
    /// A mail address.
    Email,
    /// An IP address.
    Ip,
}

/// What a name must be.
#[derive(Debug, Clone)]
pub enum TextMatch {
    /// This, whole. A DNS name that is a wildcard in the certificate stands for what it covers.
    Exact(String),
    /// It begins so.
    Prefix(String),
    /// It ends so.
    Suffix(String),
    /// It matches as a whole.
    Regex(Regex),
}

// === impl Allowed ===

impl Allowed {
    /// Whether everybody may.
    #[must_use]
    pub fn is_everybody(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the owner of this certificate may. A certificate that has a SPIFFE identity and
    /// another URI beside it is no valid identity document, so none of its URIs count.
    #[must_use]
    pub fn permits(&self, der: &[u8]) -> bool {
        if self.is_everybody() {
            return true;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return false;
        };
        let Ok(Some(names)) = certificate.subject_alternative_name() else {
            return false;
        };
        let names = &names.value.general_names;
        let uris = || {
            names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
        };
        let ambiguous = uris().count() > 1 && uris().any(is_spiffe);
        names.iter().any(|name| match name {
            GeneralName::URI(_) if ambiguous => false,
            GeneralName::URI(uri) => self.any(NameKind::Uri, uri),
            GeneralName::DNSName(name) => self.any(NameKind::Dns, name),
            GeneralName::RFC822Name(name) => self.any(NameKind::Email, name),
            GeneralName::IPAddress(bytes) => {
                address(bytes).is_some_and(|address| self.any(NameKind::Ip, &address.to_string()))
            }
            _ => false,
        })
    }

    fn any(&self, kind: NameKind, name: &str) -> bool {
        let mut matchers = self.0.iter().filter(|matcher| matcher.kind == kind);
        matchers.any(|matcher| matcher.text.is_met_by(kind, name))
    }
}

// === impl TextMatch ===

impl TextMatch {
    fn is_met_by(&self, kind: NameKind, name: &str) -> bool {
        match self {
            Self::Exact(wanted) if kind == NameKind::Dns => covers(name, wanted),
            Self::Exact(wanted) => name == wanted,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
            Self::Suffix(suffix) => name.ends_with(&**suffix),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

fn is_spiffe(uri: &str) -> bool {
    let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("spiffe")
}

/// An address as certificates hold it.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
