//! `listeners`: addresses, TLS, and the routes behind them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::chain::Chains;
use super::{Context, Names, routes, tcp};
use crate::config::yaml::{Node, Object, Position, quote};
use crate::config::{Address, DownstreamTls, Listener, ServerHeader};
use crate::tls::{TlsError, Whose};

/// Longest path of a unix socket, as the kernel has it: 108 bytes with the closing zero.
const MAX_UNIX_PATH: usize = 107;

/// All listeners; what is wrong with them is noted.
pub(super) fn read(
    root: &Object<'_>,
    context: &Context<'_>,
    chains: &mut Chains<'_>,
    clusters: &Names,
) -> Vec<Listener> {
    let Some(node) = root.get("listeners") else {
        return Vec::new();
    };
    let Some(nodes) = node.list() else {
        return Vec::new();
    };
    if nodes.is_empty() {
        node.wrong("there are no listeners", "add at least one");
    }
    let mut names = Names::new("listener");
    let mut taken = HashMap::new();
    let mut listeners = Vec::new();
    for node in nodes {
        let Some(object) = node.object(&super::fields::LISTENER) else {
            continue;
        };
        let name = object.get("name").and_then(|node| {
            let name = node.name()?;
            names.add(name, &node, 0);
            Some(name)
        });
        let address = address(&object, context, name.unwrap_or(""), &mut taken);
        let tls = object.table("tls");
        let tls = tls.as_ref().map(|tls| downstream_tls(tls, context));
        let base = chains.base(&object.list("filters"));
        let filters = chains.route(&base, &[]);
        let routes = routes::read(&object, chains, &base, clusters);
        let loggers = chains.loggers(&object.list("access_log_filters"));
        let forward = tcp::read(&object, chains, clusters);
        let mut tls = tls.flatten();
        let mut idle_timeout = object.duration("idle_timeout");
        if forward.is_some() {
            tls = tls.map(tcp::without_alpn);
            if object.get("idle_timeout").is_none() {
                idle_timeout = tcp::IDLE;
            }
        }
        listeners.push(Listener {
            name: name.unwrap_or_default().to_owned(),
            // Without an address the file is refused; this one stands in until then.
            address: address.unwrap_or_else(|| Address::Unix(PathBuf::new())),
            tls,
            filters,
            routes,
            tcp: forward,
            max_header_bytes: object.size("max_header_bytes"),
            idle_timeout,
            header_timeout: object.duration("header_timeout"),
            server_header: match object.choice("server_header") {
                "if_absent" => ServerHeader::IfAbsent,
                "pass" => ServerHeader::Pass,
                _ => ServerHeader::Overwrite,
            },
            access_log_filters: loggers,
        });
    }
    listeners
}

/// The address, unless another listener has it.
fn address(
    listener: &Object<'_>,
    context: &Context<'_>,
    name: &str,
    taken: &mut HashMap<Address, (String, Position)>,
) -> Option<Address> {
    let node = listener.get("address")?;
    let text = node.filled()?;
    let address = match text.strip_prefix("unix:") {
        Some(path) => unix(path, &node, context)?,
        None => Address::Tcp(socket(text, &node)?),
    };
    // The system picks another port for each listener that asks for port 0.
    if matches!(address, Address::Tcp(address) if address.port() == 0) {
        return Some(address);
    }
    if let Some((other, first)) = taken.get(&address) {
        let what = format!(
            "listeners {} (line {}) and {} have the same address {text}",
            quote(other),
            first.line,
            quote(name)
        );
        node.wrong(what, "give one of them another address");
        return None;
    }
    taken.insert(address.clone(), (name.to_owned(), node.position()));
    Some(address)
}

fn socket(text: &str, node: &Node<'_>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let help = "write an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or \
                    [::]:8080, or unix:/path";
        node.wrong(
            format!("{} is not an address to listen on", quote(text)),
            help,
        );
    }
    address
}

fn unix(path: &str, node: &Node<'_>, context: &Context<'_>) -> Option<Address> {
    if path.is_empty() || path.contains('\0') {
        node.wrong("this unix address has no path", "write unix:/path");
        return None;
    }
    let path: PathBuf = context.files.locate(path);
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_UNIX_PATH {
        let what = format!("the path of this unix address is {length} bytes long");
        node.wrong(what, format!("use a path of at most {MAX_UNIX_PATH} bytes"));
        return None;
    }
    Some(Address::Unix(path))
}

fn downstream_tls(tls: &Object<'_>, context: &Context<'_>) -> Option<DownstreamTls> {
    let certificate = tls.get("certificate");
    let key = tls.get("key");
    // Both are read before either is given up on.
    let certificate_pem = certificate
        .as_ref()
        .and_then(|node| context.files.read(node));
    let key_pem = key.as_ref().and_then(|node| context.files.read(node));
    let (certificate, key) = (certificate?, key?);
    let ((_, certificate_pem), (_, key_pem)) = (certificate_pem?, key_pem?);
    match crate::tls::server_config(&certificate_pem, &key_pem) {
        Ok((server, certificate)) => Some(DownstreamTls {
            server,
            certificate,
        }),
        Err(error) => {
            blame(&error, tls.node(), &certificate, &key);
            None
        }
    }
}

/// Says what is wrong where it is wrong.
fn blame(error: &TlsError, both: &Node<'_>, certificate: &Node<'_>, key: &Node<'_>) {
    let file = |node: &Node<'_>| quote(node.as_text().unwrap_or(""));
    let help = "give a certificate chain, leaf first, and its unencrypted key, both PEM";
    match error.whose {
        Whose::Certificate => {
            certificate.refused(&format!("{}: ", file(certificate)), &error.what, help);
        }
        Whose::Key => key.refused(&format!("{}: ", file(key)), &error.what, help),
        Whose::Both | Whose::Ca | Whose::Name => {
            let about = format!("{} and {}: ", file(certificate), file(key));
            both.refused(&about, &error.what, help);
        }
    }
}
