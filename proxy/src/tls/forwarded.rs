//! `x-forwarded-client-cert`: what the next hop is told of the client's certificate, in
//! Envoy's form.
//!
//! An element is `By=…;Hash=…;Subject="…";URI=…`, elements are separated by commas. Values
//! come from certificates, which an authority has signed but a stranger may have worded: what
//! could begin another key or element is put into quotes, and what has no place in a header is
//! escaped.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;

use super::certificate;

/// The field.
pub const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What becomes of the field in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It is taken away.
    #[default]
    Sanitize,
    /// It is passed on as it came, if the client has shown a certificate.
    ForwardOnly,
    /// What is known of the client is added to what came, if it has shown a certificate.
    AppendForward,
    /// What is known of the client takes its place.
    SanitizeSet,
    /// It is passed on as it came.
    AlwaysForwardOnly,
}

/// What is told of the client beside its certificate's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Details {
    /// `Subject`.
    pub subject: bool,
    /// `Cert`, as PEM.
    pub cert: bool,
    /// `Chain`, as PEM.
    pub chain: bool,
    /// `DNS`, each name.
    pub dns: bool,
    /// `URI`.
    pub uri: bool,
}

/// What is done to each request of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// The field is taken away.
    #[default]
    Remove,
    /// It stays as it came.
    Keep,
    /// This is added.
    Append(HeaderValue),
    /// This takes its place.
    Set(HeaderValue),
}

// === impl Forwarded ===

impl Forwarded {
    /// For a connection whose client has shown this chain, where it has, and was shown `own`.
    #[must_use]
    pub fn new(
        mode: Mode,
        details: Details,
        chain: Option<&[CertificateDer<'_>]>,
        own: Option<&[u8]>,
    ) -> Self {
        let chain = chain.filter(|chain| !chain.is_empty());
        match (mode, chain) {
            (Mode::AlwaysForwardOnly, _) | (Mode::ForwardOnly, Some(_)) => Self::Keep,
            (Mode::AppendForward, Some(chain)) => Self::Append(element(details, chain, own)),
            (Mode::SanitizeSet, Some(chain)) => Self::Set(element(details, chain, own)),
            (Mode::Sanitize, _) | (_, None) => Self::Remove,
        }
    }

    /// Makes the field of a request what it is to be.
    pub fn apply(&self, headers: &mut HeaderMap) {
        match self {
            Self::Remove => {
                headers.remove(X_FORWARDED_CLIENT_CERT);
            }
            Self::Keep => {}
            Self::Set(value) => {
                headers.insert(X_FORWARDED_CLIENT_CERT, value.clone());
            }
            Self::Append(value) => {
                let mut joined = Vec::new();
                for before in headers.get_all(X_FORWARDED_CLIENT_CERT) {
                    if !before.is_empty() {
                        joined.extend_from_slice(before.as_bytes());
                        joined.push(b',');
                    }
                }
                joined.extend_from_slice(value.as_bytes());
                let value = HeaderValue::from_bytes(&joined).unwrap_or_else(|_| value.clone());
                headers.insert(X_FORWARDED_CLIENT_CERT, value);
            }
        }
    }
}

fn element(details: Details, chain: &[CertificateDer<'_>], own: Option<&[u8]>) -> HeaderValue {
    let mut text = String::new();
    let mut add = |key: &str, value: &dyn Fn(&mut String)| {
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(key);
        text.push('=');
        value(&mut text);
    };
    let leaf = chain.first().map_or(&[][..], |leaf| leaf);
    for uri in own.map(certificate::uri_names).unwrap_or_default() {
        add("By", &|text| bare(&uri, text));
    }
    add("Hash", &|text| text.push_str(&certificate::digest(leaf)));
    if details.cert {
        let pem = certificate::pem_for_url(leaf);
        add("Cert", &|text| quoted(&pem, text));
    }
    if details.chain {
        let pem: String = chain
            .iter()
            .map(|der| certificate::pem_for_url(der))
            .collect();
        add("Chain", &|text| quoted(&pem, text));
    }
    if details.subject {
        let subject = certificate::subject(leaf).unwrap_or_default();
        add("Subject", &|text| quoted(&subject, text));
    }
    if details.uri {
        let uris = certificate::uri_names(leaf);
        if uris.is_empty() {
            add("URI", &|_| {});
        }
        for uri in &uris {
            add("URI", &|text| bare(uri, text));
        }
    }
    if details.dns {
        for name in certificate::dns_names(leaf) {
            add("DNS", &|text| bare(&name, text));
        }
    }
    // Everything in it is ASCII that can be seen.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Hash="))
}

/// In quotes only where it must be.
fn bare(value: &str, text: &mut String) {
    if value.contains([',', ';', '=', '"', '\\']) {
        quoted(value, text);
    } else {
        visible(value, text, false);
    }
}

fn quoted(value: &str, text: &mut String) {
    text.push('"');
    visible(value, text, true);
    text.push('"');
}

/// Only what a header can hold; in quotes, nothing that ends them early. A subject has its
/// own quotes escaped already, in the same way: then a pair of characters stays as it is.
fn visible(value: &str, text: &mut String, in_quotes: bool) {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_quotes => {
                let next = bytes.next().unwrap_or(b'\\');
                text.push('\\');
                one(next, text);
            }
            b'"' if in_quotes => text.push_str("\\\""),
            byte => one(byte, text),
        }
    }
}

fn one(byte: u8, text: &mut String) {
    match byte {
        b' '..=b'~' => text.push(char::from(byte)),
        byte => {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}
