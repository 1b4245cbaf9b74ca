//! What the TLS of listeners and clusters has in common.

pub(super) mod downstream;
pub(super) mod upstream;

use super::{Context, fields, matching, one_condition};
use crate::config::yaml::{Node, Object, quote};
use crate::tls::identity::{Allowed, Matcher, NameKind, TextMatch};
use crate::tls::{MinVersion, PairFiles, TlsError};

/// A certificate and its key, as the file has them.
struct Pair<'t> {
    certificate: Node<'t>,
    key: Node<'t>,
    /// What they stand in.
    both: Node<'t>,
    names: Option<Node<'t>>,
    files: PairFiles,
}

/// The conditions on names of a certificate.
const CONDITIONS: [&str; 4] = ["exact", "prefix", "suffix", "regex"];

/// `certificate` and `key` of a table, where both are named.
fn pair<'t>(table: &Object<'t>, context: &Context<'_>) -> Option<Pair<'t>> {
    let (certificate, key) = (table.get("certificate"), table.get("key"));
    // Both are read before either is given up on.
    let named = |node: Option<&Node<'_>>| context.files.named(node?);
    let (certificate_file, key_file) = (named(certificate.as_ref()), named(key.as_ref()));
    Some(Pair {
        certificate: certificate?,
        key: key?,
        both: table.node().clone(),
        names: None,
        files: PairFiles {
            certificate: certificate_file?,
            key: key_file?,
            names: None,
        },
    })
}

// === impl Pair ===

impl Pair<'_> {
    const HELP: &'static str =
        "give a certificate chain, leaf first, and its unencrypted key, both PEM";

    fn blame_certificate(&self, error: &TlsError) {
        let about = format!("{}: ", file(&self.certificate));
        self.certificate.refused(&about, &error.what, Self::HELP);
    }

    fn blame_key(&self, error: &TlsError) {
        let about = format!("{}: ", file(&self.key));
        self.key.refused(&about, &error.what, Self::HELP);
    }

    fn blame_both(&self, error: &TlsError) {
        let about = format!("{} and {}: ", file(&self.certificate), file(&self.key));
        self.both.refused(&about, &error.what, Self::HELP);
    }

    fn blame_names(&self, error: &TlsError) {
        let node = self.names.as_ref().unwrap_or(&self.certificate);
        let about = format!("{}: ", file(&self.certificate));
        node.refused(&about, &error.what, "give each name to one certificate");
    }
}

fn file(node: &Node<'_>) -> String {
    quote(node.as_text().unwrap_or(""))
}

/// `min_version`, as a number or in quotes.
fn min_version(table: &Object<'_>) -> MinVersion {
    let Some(node) = table.get("min_version") else {
        return MinVersion::default();
    };
    match node.scalar() {
        Some("1.2") => MinVersion::Tls12,
        Some("1.3") => MinVersion::Tls13,
        Some(text) => {
            let what = format!("{} is no version of TLS that is spoken here", quote(text));
            node.wrong(what, "write 1.2 or 1.3");
            MinVersion::default()
        }
        None => MinVersion::default(),
    }
}

/// `allowed_sans`.
fn allowed(table: &Object<'_>) -> Allowed {
    let Some(node) = table.get("allowed_sans") else {
        return Allowed::default();
    };
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() {
        let help = "write who may connect, or remove the key";
        node.wrong("nobody is allowed here", help);
    }
    Allowed(nodes.iter().filter_map(matcher).collect())
}

/// A name, or a condition on one.
fn matcher(node: &Node<'_>) -> Option<Matcher> {
    if !node.is_table() {
        let text = node.filled()?;
        let kind = if text.contains("://") {
            NameKind::Uri
        } else if text.parse::<std::net::IpAddr>().is_ok() {
            NameKind::Ip
        } else if text.contains('@') {
            NameKind::Email
        } else {
            NameKind::Dns
        };
        return Some(Matcher {
            kind,
            text: TextMatch::Exact(text.to_owned()),
        });
    }
    let table = node.object(&fields::ALLOWED_SAN)?;
    let kind = match table.choice("type") {
        "dns" => NameKind::Dns,
        "email" => NameKind::Email,
        "ip" => NameKind::Ip,
        _ => NameKind::Uri,
    };
    let (chosen, condition) = one_condition(&table, CONDITIONS)?;
    let text = condition.filled()?.to_owned();
    let text = match chosen {
        "exact" => TextMatch::Exact(text),
        "prefix" => TextMatch::Prefix(text),
        "suffix" => TextMatch::Suffix(text),
        _ => TextMatch::Regex(matching::whole(&condition)?),
    };
    Some(Matcher { kind, text })
}
