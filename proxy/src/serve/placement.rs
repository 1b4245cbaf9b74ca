//! What a request's endpoint is chosen by, in a cluster that goes by a hash.

use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::config::{HashOf, HashPolicy};
use crate::connection::Connection;
use crate::upstream::hash::{hash, join};

/// The hash of what `policy` names; `None` when the request has nothing of that.
pub(super) fn of(
    policy: &[HashPolicy],
    headers: &HeaderMap,
    connection: &Connection,
) -> Option<u64> {
    let mut sum = None;
    for part in policy {
        let found = match &part.of {
            HashOf::Header(name) => {
                let values = headers.get_all(name).iter();
                values.fold(None, |sum, value| {
                    Some(join(sum, hash(value.as_bytes(), 0)))
                })
            }
            HashOf::Cookie(name) => cookie(headers, name).map(|value| hash(value, 0)),
            HashOf::SourceIp => connection.peer.map(|peer| match peer.ip() {
                IpAddr::V4(ip) => hash(&ip.octets(), 0),
                IpAddr::V6(ip) => hash(&ip.octets(), 0),
            }),
        };
        if let Some(found) = found {
            sum = Some(join(sum, found));
            if part.terminal {
                break;
            }
        }
    }
    sum
}

/// The value of the first cookie of that name, without quotes around it.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    for pair in pairs {
        let pair = pair.trim_ascii();
        let Some(equals) = pair.iter().position(|b| *b == b'=') else {
            continue;
        };
        if &pair[..equals] == name.as_bytes() {
            let value = &pair[equals + 1..];
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|it| it.strip_suffix(b"\""));
            return Some(bare.unwrap_or(value));
        }
    }
    None
}
