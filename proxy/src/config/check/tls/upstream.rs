//! `clusters[].tls`.

use rustls::pki_types::ServerName;

use super::{allowed, min_version, pair};
use crate::config::check::Context;
use crate::config::yaml::{Node, Object, quote};
use crate::config::{Protocol, UpstreamTls};
use crate::tls::{ClientSettings, ClientTls, H2, HTTP1, Whose};

/// TLS to the cluster `name`; `None` where something is wrong with it.
pub(in crate::config::check) fn read(
    tls: &Object<'_>,
    name: &str,
    protocol: Protocol,
    context: &Context<'_>,
) -> Option<UpstreamTls> {
    let allowed = allowed(tls);
    let name_node = tls.get("server_name");
    let server_name = name_node.as_ref().map(server_name);
    if name_node.is_none()
        && tls.get("allowed_sans").is_none()
        && !tls.slipped(&["server_name", "allowed_sans"])
    {
        let help = "add `server_name: …` (the name its certificate must carry, also sent as SNI), \
                    or `allowed_sans: …` where its certificate has another identity";
        tls.node().wrong("`server_name` is missing", help);
    }
    let ca_node = tls.get("ca");
    let ca = ca_node.as_ref().map(|node| context.files.named(node));
    let shown = match (tls.get("certificate"), tls.get("key")) {
        (None, None) => None,
        (certificate, key) => {
            let shown = pair(tls, context);
            for (missing, node) in [("certificate", certificate), ("key", key)] {
                if node.is_none() && !tls.slipped(&[missing]) {
                    let help = format!("add `{missing}: …`, or remove the other");
                    tls.node().wrong(format!("`{missing}` is missing"), help);
                }
            }
            shown
        }
    };
    let min_version = min_version(tls);
    let resumption = tls.boolean("resumption");
    let alpn: &[&[u8]] = match protocol {
        Protocol::Http1 => &[HTTP1],
        Protocol::Http2 => &[H2],
        Protocol::Auto => &[H2, HTTP1],
    };
    let ca = match ca {
        Some(named) => Some(named?),
        None => None,
    };
    let settings = ClientSettings {
        ca,
        pair: shown.as_ref().map(|pair| pair.files.clone()),
        allowed,
        min_version,
        alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
        resumption,
    };
    let read = |path: &std::path::Path| context.files.content(path);
    let refused = match ClientTls::new(format!("cluster {name}"), settings, &read) {
        Ok(client) => {
            return Some(UpstreamTls {
                server_name: match server_name {
                    Some(name) => Some(name?),
                    None => None,
                },
                tls: client.into(),
                only_http2: false,
            });
        }
        Err(refused) => refused,
    };
    // What cannot be read has been told.
    for error in refused.into_iter().filter(|error| !error.is_unread) {
        let help = "name a PEM file with CA certificates in `ca`";
        match (error.whose, &shown, &ca_node) {
            (Whose::Certificate(_), Some(pair), _) => pair.blame_certificate(&error),
            (Whose::Key(_), Some(pair), _) => pair.blame_key(&error),
            (Whose::Both(_), Some(pair), _) => pair.blame_both(&error),
            (_, _, Some(node)) => {
                node.refused(&format!("{}: ", super::file(node)), &error.what, help);
            }
            _ => tls.node().refused("", &error.what, help),
        }
    }
    None
}

fn server_name(node: &Node<'_>) -> Option<ServerName<'static>> {
    let text = node.text()?;
    if text.is_empty() {
        let help = "write the name the upstream's certificate carries; verification cannot be \
                    switched off";
        node.wrong("the server name is empty", help);
        return None;
    }
    let name = ServerName::try_from(text.to_owned()).ok();
    if name.is_none() {
        let what = format!("{} is not a host name or address", quote(text));
        node.wrong(
            what,
            "write the name the upstream's certificate carries, without a port",
        );
    }
    name
}
