//! `callouts`: how filters call other services.

use std::sync::Arc;

use cofferdam_abi::Target;
use rustls::ClientConfig;

use super::Context;
use crate::config::yaml::{Node, Object, quote};
use crate::config::{Callouts, PluginConfig};
use crate::tls;

/// Where nothing is written the defaults hold. Certificate authorities are needed only by
/// a plugin that may call servers by an `https://` URL.
pub(super) fn read(
    root: &Object<'_>,
    plugins: &[Arc<PluginConfig>],
    context: &Context<'_>,
) -> Callouts {
    let written = root.table("callouts");
    let needed = plugins.iter().any(|plugin| {
        let mut targets = plugin.capabilities.callouts().unwrap_or_default().iter();
        targets.any(|target| matches!(target, Target::Url { tls: true, .. }))
    });
    let mut callouts = Callouts::default();
    if let Some(object) = &written {
        callouts.connect_timeout = object.duration("connect_timeout");
        callouts.idle_timeout = object.duration("idle_timeout");
        callouts.body = object.size("body");
        callouts.message = object.size("message");
    }
    callouts.tls = match written.and_then(|object| object.get("ca")) {
        Some(node) => by_file(&node, context),
        None if needed => {
            let client = tls::client_config(None, &ALPN);
            let help = "name a PEM file with CA certificates in `callouts.ca`";
            client
                .map_err(|error| root.node().refused("", &error.what, help))
                .ok()
        }
        None => None,
    };
    callouts
}

fn by_file(node: &Node<'_>, context: &Context<'_>) -> Option<Arc<ClientConfig>> {
    let ca = context.files.read(node)?.1;
    let client = tls::client_config(Some(&ca), &ALPN);
    let file = quote(node.as_text().unwrap_or(""));
    let help = "name a PEM file with CA certificates";
    client
        .map_err(|error| node.refused(&format!("{file}: "), &error.what, help))
        .ok()
}

const ALPN: [&[u8]; 2] = [tls::H2, tls::HTTP1];
