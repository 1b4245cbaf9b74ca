//! The PROXY protocol, versions 1 and 2: what a proxy in front of this one says of the
//! client, and what this one says to those behind it.
//!
//! Bytes in and out, no sockets. A header is believed as a whole or not at all: what the
//! specification (HAProxy's `proxy-protocol.txt`) forbids is malformed. The libraries there
//! are wait for whole headers before they say that something is none, and leave the checksum
//! to the caller; what is here is shorter than what would have to stand around them.

mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

/// Which form a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Where a connection comes from, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From whoever has sent the header: a health check, or somebody it does not know.
    Sender,
    /// From this client, which had connected to that address.
    Client {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// From a client without an address, on a unix socket.
    Unix,
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Too few to say, or a header that is not whole yet.
    Partial,
    /// No header.
    Other,
    /// A header, and how many bytes it has.
    Whole(Version, Origin, usize),
    /// One that is not as it should be.
    Malformed(Version, &'static str),
}

/// Reads the header at the beginning of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    for (version, prefix) in [(Version::V1, v1::PREFIX), (Version::V2, v2::SIGNATURE)] {
        if bytes.starts_with(prefix) {
            let parsed = match version {
                Version::V1 => v1::parse(bytes),
                Version::V2 => v2::parse(bytes),
            };
            return match parsed {
                Ok(Some((origin, length))) => Parsed::Whole(version, origin, length),
                Ok(None) => Parsed::Partial,
                Err(why) => Parsed::Malformed(version, why),
            };
        }
        if prefix.starts_with(bytes) {
            return Parsed::Partial;
        }
    }
    Parsed::Other
}

/// The header that tells of a client and of where it had connected to. Where either has no
/// address, it says that nothing is known.
pub(crate) fn header(
    version: Version,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) -> Bytes {
    let both = source.zip(destination).map(one_family);
    match version {
        Version::V1 => v1::header(both),
        Version::V2 => v2::header(both),
    }
}

/// An IPv4 client of a dual-stack socket is the IPv4 client it is; a header has addresses of
/// one family.
fn one_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V6(_)) => (from.to_ipv6_mapped().into(), to),
        (IpAddr::V6(_), IpAddr::V4(to)) => (from, to.to_ipv6_mapped().into()),
        same => same,
    };
    (
        SocketAddr::new(from, source.port()),
        SocketAddr::new(to, destination.port()),
    )
}

#[cfg(test)]
mod tests;
