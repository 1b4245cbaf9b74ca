//! Networks, and whose word on where a connection comes from is taken.

use std::net::{IpAddr, SocketAddr};

/// How connections of a listener say where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who is believed. `None` on a unix socket: whoever can connect to it.
    pub from: Option<Vec<Network>>,
    /// Whether a connection without a header is closed. Default true.
    pub required: bool,
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// In bits.
    prefix: u32,
}

// === impl ProxyProtocol ===

impl ProxyProtocol {
    /// Whether this peer is believed.
    #[must_use]
    pub fn believes(&self, peer: Option<SocketAddr>) -> bool {
        match (&self.from, peer) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(from), Some(peer)) => from.iter().any(|network| network.contains(peer.ip())),
        }
    }
}

// === impl Network ===

impl Network {
    /// `10.0.0.0/8`, or an address by itself.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        const NEITHER: &str = "is neither an address nor a network";
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NEITHER.to_owned())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let prefix = match prefix {
            None => bits,
            Some(text) if digits(text) => match text.parse() {
                Ok(prefix) if prefix <= bits => prefix,
                _ => return Err(format!("has a prefix of more than {bits} bits")),
            },
            Some(_) => return Err(NEITHER.to_owned()),
        };
        let network = Self { address, prefix };
        let first = network.first();
        if first != address {
            return Err(format!(
                "has bits behind its prefix; the network is {first}/{prefix}"
            ));
        }
        Ok(network)
    }

    /// Whether this address is in it. An IPv4 client of a dual-stack socket is the IPv4
    /// client it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                high(own.to_bits().into(), self.prefix + 96)
                    == high(other.to_bits().into(), self.prefix + 96)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                high(own.to_bits(), self.prefix) == high(other.to_bits(), self.prefix)
            }
            _ => false,
        }
    }

    fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(own) => {
                let bits = u32::try_from(high(own.to_bits().into(), self.prefix + 96));
                IpAddr::V4(bits.unwrap_or_default().into())
            }
            IpAddr::V6(own) => IpAddr::V6(high(own.to_bits(), self.prefix).into()),
        }
    }
}

/// The first `prefix` of 128 bits, the others zero.
fn high(bits: u128, prefix: u32) -> u128 {
    match 128_u32.saturating_sub(prefix) {
        128 => 0,
        low => bits >> low << low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_networks_and_in_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.0/23", "10.1.3.255", "10.1.4.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
        ] {
            let parsed = Network::parse(network).expect(network);
            let contains = |address: &str| parsed.contains(address.parse().expect("an address"));
            assert!(contains(inside), "{network} {inside}");
            assert!(!contains(outside), "{network} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_told_why() {
        for (text, why) in [
            ("10.0.0.0/33", "more than 32 bits"),
            ("::/129", "more than 128 bits"),
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("fd00::1/8", "fd00::/8"),
            ("10.0.0/8", "neither"),
            ("10.0.0.0/", "neither"),
            ("10.0.0.0/+8", "neither"),
            ("10.0.0.0/99999999999", "more than 32 bits"),
            ("a.example", "neither"),
            ("", "neither"),
        ] {
            let told = Network::parse(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
