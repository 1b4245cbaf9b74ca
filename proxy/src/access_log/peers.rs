//! Who was spoken to: addresses, networks, names, and endpoints in turn.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Record;
use super::noted::Attempt;
use super::operator::{Turn, Which};
use super::plain::{Attempted, Form, Whose};
use super::write::Value;

/// The endpoints that were tried.
pub(super) fn attempted<'a>(what: Attempted, attempts: &[Attempt]) -> Value<'a> {
    let told = |attempt: &Attempt| {
        let address = attempt.address;
        let name = attempt.name.as_ref().map(ToString::to_string);
        Some(match what {
            Attempted::Addresses => address.to_string(),
            Attempted::Ips => address.ip().to_string(),
            Attempted::Names => name.unwrap_or_else(|| address.to_string()),
            Attempted::BareNames => name.unwrap_or_else(|| address.ip().to_string()),
            Attempted::Connections => attempt.connection?.to_string(),
        })
    };
    Value::list(attempts.iter().filter_map(told))
}

/// The network that an address is in; one that has more bits than the address is itself.
pub(super) fn network(ip: IpAddr, bits: u8) -> String {
    let (whole, bits) = match ip {
        IpAddr::V4(_) => (32, bits.min(32)),
        IpAddr::V6(_) => (128, bits.min(128)),
    };
    let unset = u32::from(whole - bits);
    let masked: IpAddr = match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(unset).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(unset).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    };
    format!("{masked}/{bits}")
}

/// What the client asked for.
pub(super) fn host<'a>(tls: Turn, which: Which, record: &Record<'a>) -> Value<'a> {
    let original = || {
        record
            .request_headers
            .get("x-envoy-original-host")?
            .to_str()
            .ok()
    };
    let present = || Some(record.authority).filter(|host| !host.is_empty());
    let asked = || match which {
        Which::Original => original(),
        Which::Present => present(),
        Which::OriginalOrPresent => original().or_else(present),
    };
    Value::text(match tls {
        Turn::Only => record.server_name,
        Turn::First => record.server_name.or_else(asked),
        Turn::Last => asked().or(record.server_name),
    })
}

/// That address, if it is known.
pub(super) fn address_of(whose: Whose, record: &Record<'_>) -> Option<SocketAddr> {
    match whose {
        Whose::Downstream => record.downstream_remote,
        Whose::Direct => record.downstream_direct,
        Whose::Listener => record.downstream_local,
        Whose::DirectListener => record.direct_local,
        Whose::Upstream => record.upstream_host,
        Whose::UpstreamLocal => record.upstream_local,
    }
}

/// The same, or a part of it.
pub(super) fn address<'a>(whose: Whose, form: Form, record: &Record<'a>) -> Value<'a> {
    match (address_of(whose, record), form) {
        (None, _) => Value::Absent,
        (Some(address), Form::Whole) => Value::Address(address),
        (Some(address), Form::Ip) => Value::Ip(address),
        (Some(address), Form::Port) => Value::Number(address.port().into()),
    }
}
