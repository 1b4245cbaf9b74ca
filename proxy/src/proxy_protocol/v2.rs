//! Version 2: a signature, a length, addresses in binary, and further values by type.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::Origin;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, and the length of what follows.
const FIXED: usize = SIGNATURE.len() + 4;
/// Most bytes that may follow: room for a client's certificate among the values.
pub(super) const LONGEST: usize = 16 << 10;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// Two paths of 108 bytes.
const UNIX_BYTES: usize = 216;
/// The type of the value that is a checksum.
const CRC32C: u8 = 0x03;

/// The header and its length; `None` while it is not whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Origin, usize)>, &'static str> {
    let Some(mut fixed) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(None);
    };
    let (command, family) = (fixed.get_u8(), fixed.get_u8());
    if !matches!(command, LOCAL | PROXY) {
        return Err("the version is not 2, or the command neither LOCAL nor PROXY");
    }
    let length = usize::from(fixed.get_u16());
    if length > LONGEST {
        return Err("the header is too long");
    }
    let Some(header) = bytes.get(..FIXED + length) else {
        return Ok(None);
    };
    if command == LOCAL {
        // Whatever it says of addresses is to be passed over.
        return Ok(Some((Origin::Sender, header.len())));
    }
    let mut rest = &header[FIXED..];
    const SHORT: &str = "the header is too short for its addresses";
    let origin = match family {
        // Without a family nothing in it can be told apart.
        0x00..=0x02 => return Ok(Some((Origin::Sender, header.len()))),
        TCP4 => {
            let (from, to): ([u8; 4], [u8; 4]) = pair(&mut rest).ok_or(SHORT)?;
            client(&mut rest, from.into(), to.into(), |ip: Ipv4Addr| ip.into()).ok_or(SHORT)?
        }
        TCP6 => {
            let (from, to): ([u8; 16], [u8; 16]) = pair(&mut rest).ok_or(SHORT)?;
            client(&mut rest, from.into(), to.into(), |ip: Ipv6Addr| ip.into()).ok_or(SHORT)?
        }
        UNIX_STREAM => {
            rest = rest.get(UNIX_BYTES..).ok_or(SHORT)?;
            Origin::Unix
        }
        _ => return Err("the family or transport is none that a stream has"),
    };
    values(header, rest)?;
    Ok(Some((origin, header.len())))
}

fn pair<const N: usize>(rest: &mut &[u8]) -> Option<([u8; N], [u8; N])> {
    let (from, others) = rest.split_first_chunk::<N>()?;
    let (to, others) = others.split_first_chunk::<N>()?;
    *rest = others;
    Some((*from, *to))
}

fn client<A>(
    rest: &mut &[u8],
    from: A,
    to: A,
    ip: impl Fn(A) -> std::net::IpAddr,
) -> Option<Origin> {
    let (source, destination): ([u8; 2], [u8; 2]) = pair(rest)?;
    Some(Origin::Client {
        source: SocketAddr::new(ip(from), u16::from_be_bytes(source)),
        destination: SocketAddr::new(ip(to), u16::from_be_bytes(destination)),
    })
}

/// Passes over the values behind the addresses; a checksum among them must be right.
fn values(header: &[u8], mut rest: &[u8]) -> Result<(), &'static str> {
    let mut checked = false;
    while let Some((&kind, after)) = rest.split_first() {
        const BROKEN: &str = "a value goes past the end";
        let (length, after) = after.split_first_chunk::<2>().ok_or(BROKEN)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, after) = after.split_at_checked(length).ok_or(BROKEN)?;
        if kind == CRC32C {
            if std::mem::replace(&mut checked, true) {
                return Err("there are two checksums");
            }
            let at = header.len() - after.len() - length;
            let wanted: [u8; 4] = value
                .try_into()
                .map_err(|_| "the checksum has not 4 bytes")?;
            let zeros = header[..at].iter().chain(&[0; 4]).chain(after);
            if crc32c(zeros.copied()) != u32::from_be_bytes(wanted) {
                return Err("the checksum is wrong");
            }
        }
        rest = after;
    }
    Ok(())
}

/// Castagnoli's (RFC 3720, appendix B.4), bit by bit: headers with a checksum are rare and
/// short.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let sum = bytes.fold(u32::MAX, |mut sum, byte| {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            let low = sum & 1;
            sum = (sum >> 1) ^ (POLYNOMIAL * low);
        }
        sum
    });
    !sum
}

pub(super) fn header(client: Option<(SocketAddr, SocketAddr)>) -> Bytes {
    let mut header = BytesMut::from(SIGNATURE);
    match client {
        None => header.extend_from_slice(&[LOCAL, 0, 0, 0]),
        Some((SocketAddr::V4(source), SocketAddr::V4(destination))) => {
            header.extend_from_slice(&[PROXY, TCP4, 0, 12]);
            header.extend_from_slice(&source.ip().octets());
            header.extend_from_slice(&destination.ip().octets());
            header.put_u16(source.port());
            header.put_u16(destination.port());
        }
        Some((source, destination)) => {
            header.extend_from_slice(&[PROXY, TCP6, 0, 36]);
            for address in [source, destination] {
                let ip = match address.ip() {
                    std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    std::net::IpAddr::V6(ip) => ip,
                };
                header.extend_from_slice(&ip.octets());
            }
            header.put_u16(source.port());
            header.put_u16(destination.port());
        }
    }
    header.freeze()
}
