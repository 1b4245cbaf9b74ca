//! `shared_data`, `shared_queues`, `admin` and `upgrade`.

use std::net::SocketAddr;

use cofferdam_abi::shared::{Bounds, Eviction};

use super::Context;
use super::fields::TAG;
use crate::config::yaml::{Node, Object, quote};
use crate::config::{Address, Admin, Listener, Tag, Token, Upgrade};

/// What filters may share; the defaults where nothing is written.
pub(super) fn bounds(root: &Object<'_>) -> Bounds {
    let mut bounds = Bounds::default();
    if let Some(data) = root.table("shared_data") {
        bounds.entries = data.count("entries");
        bounds.bytes = data.size("bytes");
        bounds.ttl = data.duration_or_none("ttl");
        bounds.eviction = match data.choice("eviction") {
            "lru" => Eviction::Lru,
            "none" => Eviction::None,
            _ => Eviction::Slru,
        };
    }
    if let Some(queues) = root.table("shared_queues") {
        bounds.queue_items = queues.count("items");
        bounds.queue_bytes = queues.size("bytes");
        bounds.queues = queues.count("queues");
    }
    bounds
}

/// Where the operator looks and acts.
pub(super) fn admin(
    root: &Object<'_>,
    listeners: &[Listener],
    context: &Context<'_>,
) -> Option<Admin> {
    let table = root.table("admin")?;
    let file = table.get("token_file");
    let token = file.as_ref().map(|node| token(node, context));
    let node = table.get("address")?;
    let text = node.filled()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let what = format!("{} is not an IP address and a port", quote(text));
        node.wrong(what, "write one such as 127.0.0.1:9901");
        return None;
    };
    let same = |listener: &&Listener| matches!(listener.address, Address::Tcp(other) if other == address && other.port() != 0);
    if let Some(listener) = listeners.iter().find(same) {
        let what = format!(
            "the listener {} has the same address {address}",
            quote(&listener.name)
        );
        node.wrong(what, "give one of them another address");
        return None;
    }
    if token.is_none() && !address.ip().to_canonical().is_loopback() {
        let what = format!("whoever reaches {address} could stop this proxy");
        let help = "name a file with a token in `token_file`, or listen on 127.0.0.1";
        node.wrong(what, help);
        return None;
    }
    Some(Admin {
        address,
        token: token.flatten(),
        tags: table.list("tags").iter().filter_map(tag).collect(),
    })
}

/// Where another process may take over.
pub(super) fn upgrade(root: &Object<'_>, context: &Context<'_>) -> Option<Upgrade> {
    let table = root.table("upgrade")?;
    let timeout = table.duration("timeout");
    let node = table.get("socket")?;
    let socket = context.files.locate(node.filled()?);
    // What the system has room for, with the byte that ends it.
    if socket.as_os_str().len() > SOCKET {
        let what = format!("the name has more than {SOCKET} bytes");
        node.wrong(what, "name a socket in a folder with a shorter name");
        return None;
    }
    Some(Upgrade { socket, timeout })
}

/// Bytes of the longest name of a unix socket.
const SOCKET: usize = 107;

/// A label, and where it is in the names of guests' metrics.
fn tag(node: &Node<'_>) -> Option<Tag> {
    let table = node.object(&TAG)?;
    let name = table.get("name")?;
    let text = name.filled()?;
    let allowed = |(at, byte): (usize, u8)| {
        byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit()
    };
    if !text.bytes().enumerate().all(allowed) || matches!(text, "le" | "name") {
        let what = format!("{} cannot be a label", quote(text));
        let help = "write letters, digits and _, but not `le` or `name`, which have a meaning";
        name.wrong(what, help);
        return None;
    }
    let node = table.get("regex")?;
    let pattern = node.filled()?;
    let built = regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build();
    match built {
        Ok(regex) if regex.captures_len() > 1 => Some(Tag {
            name: text.to_owned(),
            regex,
        }),
        Ok(_) => {
            let what = format!("{} has no group", quote(pattern));
            node.wrong(what, "put what is to go out of the name in parentheses");
            None
        }
        Err(_) => {
            let what = format!("{} is not a regular expression", quote(pattern));
            node.wrong(what, "correct it");
            None
        }
    }
}

/// The one word in that file.
fn token(node: &Node<'_>, context: &Context<'_>) -> Option<Token> {
    let (_, bytes) = context.files.read(node)?;
    let word = bytes.trim_ascii();
    // What can stand in a header; and a file that is something else was named by mistake.
    if word.is_empty() || word.len() > TOKEN || !word.iter().all(u8::is_ascii_graphic) {
        let what = format!(
            "{} holds no token: one word of at most {TOKEN} ASCII characters",
            quote(node.as_text().unwrap_or(""))
        );
        node.wrong(what, "write one with `openssl rand -hex 32`");
        return None;
    }
    Some(Token::new(word))
}

/// Bytes of the longest token.
const TOKEN: usize = 4 << 10;
