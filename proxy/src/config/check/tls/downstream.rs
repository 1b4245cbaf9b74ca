//! `listeners[].tls`, and what the next hop is told of clients.

use crate::config::check::host::is_host;
use crate::config::check::{Context, fields};
use crate::config::yaml::{Node, Object, quote};
use crate::tls::forwarded::{Details, Mode};
use crate::tls::{H2, HTTP1, Resumption, ServerSettings, ServerTls, TlsError, Verify, Whose};

use super::{Pair, allowed, file, min_version, pair};

/// TLS of `owner`; `None` where something is wrong with it. All that is there is looked at,
/// whatever is missing beside it.
pub(in crate::config::check) fn read(
    tls: &Object<'_>,
    owner: String,
    is_http: bool,
    context: &Context<'_>,
) -> Option<ServerTls> {
    let pairs = pairs(tls, context);
    let verify = verify(tls, context);
    let settings = ServerSettings {
        pairs: pairs.iter().map(|pair| pair.files.clone()).collect(),
        verify,
        min_version: min_version(tls),
        alpn: alpn(tls, is_http),
        resumption: match tls.choice("resumption") {
            "store" => Resumption::Store,
            "off" => Resumption::Off,
            _ => Resumption::Tickets,
        },
        refuse_unknown: tls.choice("unknown_server_name") == "refuse",
    };
    if pairs.is_empty() {
        return None;
    }
    let read = |path: &std::path::Path| context.files.content(path);
    match ServerTls::new(owner, settings, &read) {
        Ok(server) => Some(server),
        Err(errors) => {
            errors.iter().for_each(|error| blame(error, tls, &pairs));
            None
        }
    }
}

/// All certificates that are named with their keys, the default first.
fn pairs<'t>(tls: &Object<'t>, context: &Context<'_>) -> Vec<Pair<'t>> {
    let (certificate, key) = (tls.get("certificate"), tls.get("key"));
    let more = tls.get("certificates");
    let mut pairs = Vec::new();
    match (&certificate, &key) {
        (None, None) if more.is_none() => {
            if !tls.slipped(&["certificate", "key", "certificates"]) {
                let help = "add `certificate: …` and `key: …`, or several as `certificates`";
                tls.node().wrong("there is no certificate here", help);
            }
            return pairs;
        }
        (None, None) => {}
        (Some(_), Some(_)) => pairs.extend(pair(tls, context)),
        (certificate, _) => {
            // What is there is read all the same.
            let _ = pair(tls, context);
            let (missing, what) = match certificate {
                Some(_) => ("key", "the private key of the leaf, PEM"),
                None => ("certificate", "the certificate chain, PEM, leaf first"),
            };
            if !tls.slipped(&[missing]) {
                let help = format!("add `{missing}: …` ({what})");
                tls.node().wrong(format!("`{missing}` is missing"), help);
            }
        }
    }
    let nodes = more.as_ref().map(|node| node.list().unwrap_or_default());
    if let (Some(node), Some([])) = (&more, nodes.as_deref()) {
        let help = "add at least one, or remove the key";
        node.wrong("there are no certificates", help);
    }
    for node in nodes.unwrap_or_default() {
        let Some(table) = node.object(&fields::LISTENER_CERTIFICATE) else {
            continue;
        };
        let names = table.get("names");
        let claimed = names.as_ref().map(claimed);
        pairs.extend(pair(&table, context).map(|mut pair| {
            pair.files.names = claimed;
            pair.names = names;
            pair
        }));
    }
    pairs
}

/// Names as clients ask for them.
fn claimed(node: &Node<'_>) -> Vec<String> {
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() {
        let help = "write the names it is for, or remove the key: its own are taken then";
        node.wrong("there are no names here", help);
    }
    let mut names: Vec<String> = Vec::new();
    for node in nodes {
        let Some(text) = node.filled() else { continue };
        let name = text.to_ascii_lowercase();
        let rest = name.strip_prefix("*.").unwrap_or(&name);
        if !is_host(rest) || rest.parse::<std::net::IpAddr>().is_ok() {
            let help = "write a DNS name, or `*.` and one; clients do not ask for addresses";
            node.wrong(format!("{} is not a name to ask for", quote(text)), help);
        } else if names.contains(&name) {
            node.wrong(format!("{name} is there twice"), "remove one of the two");
        } else {
            names.push(name);
        }
    }
    names
}

/// `None`: clients are not asked.
fn verify(tls: &Object<'_>, context: &Context<'_>) -> Option<Verify> {
    let allowed = allowed(tls);
    let required = tls.choice("client_certificate") == "required";
    let Some(ca) = tls.get("client_ca") else {
        for name in ["client_certificate", "client_crl", "allowed_sans"] {
            if let Some(node) = tls.get(name) {
                let what = format!("`{name}` means nothing without `client_ca`");
                let help = "add `client_ca: …` (the authorities that clients are verified against)";
                node.wrong(what, help);
            }
        }
        return None;
    };
    let crl = tls.get("client_crl");
    let (ca, crl) = (
        context.files.named(&ca),
        crl.and_then(|node| context.files.named(&node)),
    );
    Some(Verify {
        ca: ca?,
        crl,
        required,
        allowed,
    })
}

/// What is offered: HTTP's two where nothing is written, and nothing where it is not HTTP.
fn alpn(tls: &Object<'_>, is_http: bool) -> Vec<Vec<u8>> {
    let Some(node) = tls.get("alpn") else {
        return if is_http {
            vec![H2.to_vec(), HTTP1.to_vec()]
        } else {
            Vec::new()
        };
    };
    let mut protocols: Vec<Vec<u8>> = Vec::new();
    for node in node.list().unwrap_or_default() {
        let Some(text) = node.filled() else { continue };
        let protocol = text.as_bytes();
        if is_http && protocol != H2 && protocol != HTTP1 {
            let what = format!("{} is not spoken here", quote(text));
            node.wrong(what, "write h2 and http/1.1, or one of the two");
        } else if protocol.len() > 255 {
            node.wrong(
                "this is longer than 255 bytes",
                "write a name of a protocol",
            );
        } else if protocols.iter().any(|other| other == protocol) {
            node.wrong(
                format!("{} is there twice", quote(text)),
                "remove one of the two",
            );
        } else {
            protocols.push(protocol.to_vec());
        }
    }
    protocols
}

/// Says what is wrong where it is wrong.
fn blame(error: &TlsError, tls: &Object<'_>, pairs: &[Pair<'_>]) {
    if error.is_unread {
        return;
    }
    let of_clients = |key: &str, help: &str| match tls.get(key) {
        Some(node) => node.refused(&format!("{}: ", file(&node)), &error.what, help),
        None => tls.node().refused("", &error.what, help),
    };
    match error.whose {
        Whose::Certificate(index) => pairs[index].blame_certificate(error),
        Whose::Key(index) => pairs[index].blame_key(error),
        Whose::Both(index) => pairs[index].blame_both(error),
        Whose::Names(index) => pairs[index].blame_names(error),
        Whose::Ca | Whose::Name => of_clients(
            "client_ca",
            "name a PEM file with the certificates of authorities",
        ),
        Whose::Crl => of_clients(
            "client_crl",
            "name a PEM file with lists of revoked certificates",
        ),
    }
}

/// `forward_client_cert` and `client_cert_details` of a listener.
pub(in crate::config::check) fn forwarded(listener: &Object<'_>) -> (Mode, Details) {
    let mode = match listener.choice("forward_client_cert") {
        "forward_only" => Mode::ForwardOnly,
        "append_forward" => Mode::AppendForward,
        "sanitize_set" => Mode::SanitizeSet,
        "always_forward_only" => Mode::AlwaysForwardOnly,
        _ => Mode::Sanitize,
    };
    let mut details = Details::default();
    let Some(node) = listener.get("client_cert_details") else {
        return (mode, details);
    };
    if !matches!(mode, Mode::AppendForward | Mode::SanitizeSet) {
        let help = "write `forward_client_cert: append_forward` or `sanitize_set`, or remove it";
        let what = "`client_cert_details` means nothing while nothing is added to requests";
        node.wrong(what, help);
    }
    for node in node.list().unwrap_or_default() {
        let Some(word) = node.filled() else { continue };
        match word.to_ascii_lowercase().as_str() {
            "subject" => details.subject = true,
            "cert" => details.cert = true,
            "chain" => details.chain = true,
            "dns" => details.dns = true,
            "uri" => details.uri = true,
            _ => {
                let help = "write one of subject, cert, chain, dns, uri";
                node.wrong(format!("{} is not known here", quote(word)), help);
            }
        }
    }
    (mode, details)
}
