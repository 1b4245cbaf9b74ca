//! `callouts`: how filters call other services.

use std::sync::Arc;

use cofferdam_abi::Target;

use super::Context;
use crate::config::yaml::{Node, Object, quote};
use crate::config::{Callouts, Dns, PluginConfig};
use crate::tls::{self, ClientSettings, ClientTls};

/// Where nothing is written the defaults hold. Certificate authorities are needed only by
/// a plugin that may call servers by an `https://` URL.
pub(super) fn read(
    root: &Object<'_>,
    plugins: &[Arc<PluginConfig>],
    dns: &Arc<Dns>,
    context: &Context<'_>,
) -> Callouts {
    let written = root.table("callouts");
    let needed = plugins.iter().any(|plugin| {
        let mut targets = plugin.capabilities.callouts().unwrap_or_default().iter();
        targets.any(|target| matches!(target, Target::Url { tls: true, .. }))
    });
    let mut callouts = Callouts {
        dns: dns.clone(),
        ..Callouts::default()
    };
    if let Some(object) = &written {
        callouts.connect_timeout = object.duration("connect_timeout");
        callouts.idle_timeout = object.duration("idle_timeout");
        callouts.body = object.size("body");
        callouts.message = object.size("message");
    }
    let ca = written.and_then(|object| object.get("ca"));
    if ca.is_some() || needed {
        callouts.tls = client(ca.as_ref(), &root.node().clone(), context).map(Arc::new);
    }
    callouts
}

/// Verifies servers by a file of authorities, or by this system's.
fn client(ca: Option<&Node<'_>>, root: &Node<'_>, context: &Context<'_>) -> Option<ClientTls> {
    let settings = ClientSettings {
        ca: match ca {
            Some(node) => Some(context.files.read(node)?.0),
            None => None,
        },
        alpn: vec![tls::H2.to_vec(), tls::HTTP1.to_vec()],
        resumption: true,
        ..ClientSettings::default()
    };
    let read = |path: &std::path::Path| context.files.content(path);
    let refused = match ClientTls::new("callouts".to_owned(), settings, &read) {
        Ok(client) => return Some(client),
        Err(refused) => refused,
    };
    for error in refused {
        match ca {
            Some(node) => {
                let file = quote(node.as_text().unwrap_or(""));
                let help = "name a PEM file with CA certificates";
                node.refused(&format!("{file}: "), &error.what, help);
            }
            None => {
                let help = "name a PEM file with CA certificates in `callouts.ca`";
                root.refused("", &error.what, help);
            }
        }
    }
    None
}
