//! Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 40000 443`, one line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytes::Bytes;

use super::Origin;

pub(super) const PREFIX: &[u8] = b"PROXY ";
/// The longest line there may be, its end included.
pub(super) const LONGEST: usize = 107;

/// The header and its length; `None` while its end has not come.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Origin, usize)>, &'static str> {
    let within = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return match within.len() {
            LONGEST => Err("the line is too long"),
            _ => Ok(None),
        };
    };
    let line = within[..end].strip_suffix(b"\r");
    let line = line.ok_or("the line does not end in CR LF")?;
    let fields = line.strip_prefix(PREFIX).unwrap_or_default();
    let mut fields = fields.split(|byte| *byte == b' ');
    let origin = match fields.next() {
        // Whatever follows has no meaning.
        Some(b"UNKNOWN") => Origin::Sender,
        Some(b"TCP4") => client::<Ipv4Addr>(&mut fields)?,
        Some(b"TCP6") => client::<Ipv6Addr>(&mut fields)?,
        _ => return Err("the protocol is none of TCP4, TCP6 and UNKNOWN"),
    };
    Ok(Some((origin, end + 1)))
}

fn client<'l, A: FromStr + Into<IpAddr>>(
    fields: &mut impl Iterator<Item = &'l [u8]>,
) -> Result<Origin, &'static str> {
    let mut field = || {
        fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
    };
    let mut address = || field()?.parse::<A>().ok().map(Into::into);
    let addresses = (address(), address());
    let (Some(from), Some(to)) = addresses else {
        return Err("an address is not one of its family");
    };
    let (Some(from_port), Some(to_port)) = (field().and_then(port), field().and_then(port)) else {
        return Err("a port is not a number from 0 to 65535");
    };
    if field().is_some() {
        return Err("there is more behind the ports");
    }
    Ok(Origin::Client {
        source: SocketAddr::new(from, from_port),
        destination: SocketAddr::new(to, to_port),
    })
}

/// Digits alone, and no zeros before them.
fn port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

pub(super) fn header(client: Option<(SocketAddr, SocketAddr)>) -> Bytes {
    let Some((source, destination)) = client else {
        return Bytes::from_static(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into()
}
