//! A set of networks with longest-prefix look-up.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixSet;

/// A set of IPv4 and IPv6 networks.
///
/// IPv4-mapped IPv6 addresses are looked up as IPv4.
#[derive(Clone, Debug, Default)]
pub struct AddressSet {
    v4: PrefixSet<Ipv4Net>,
    v6: PrefixSet<Ipv6Net>,
}

impl AddressSet {
    /// Adds a network.
    pub fn insert(&mut self, network: IpNet) {
        match network {
            IpNet::V4(network) => self.v4.insert(network),
            IpNet::V6(network) => self.v6.insert(network),
        };
    }

    /// Adds the networks of another set.
    pub fn merge(&mut self, other: Self) {
        for network in other.v4 {
            self.v4.insert(network);
        }
        for network in other.v6 {
            self.v6.insert(network);
        }
    }

    /// Tells whether one of the networks contains the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).is_some(),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).is_some(),
        }
    }

    /// The networks, those of IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4.iter().map(IpNet::from);
        v4.chain(self.v6.iter().map(IpNet::from))
    }

    /// Tells whether the set has no networks.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The number of networks.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

/// Parses an address or a CIDR range; a bare address is its own /32 or /128.
///
/// Returns the network and whether host bits were set and have been masked.
/// IPv4-mapped networks become IPv4 ones.
///
/// # Errors
/// Says why the text is not a network: leading zeros, zones, short forms, a
/// prefix that is too long, and mapped prefixes shorter than /96, which would
/// widen to everything, are refused.
pub fn parse_network(text: &str) -> Result<(IpNet, bool), String> {
    let text = text.trim();
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{text:?} is not an IP address or CIDR range"))?;
    let full = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => full,
        Some(digits)
            if !digits.is_empty()
                && digits.len() <= 3
                && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            digits
                .parse()
                .map_err(|_| format!("{text:?} has a bad prefix length"))?
        }
        Some(_) => return Err(format!("{text:?} has a bad prefix length")),
    };
    if prefix > full {
        return Err(format!("{text:?} has a prefix length above {full}"));
    }
    let network = match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(_) if prefix < 96 => {
                return Err(format!(
                    "{text:?} is an IPv4-mapped range wider than /96, which would cover everything"
                ));
            }
            Some(v4) => IpNet::new(IpAddr::V4(v4), prefix - 96),
            None => IpNet::new(address, prefix),
        },
        IpAddr::V4(_) => IpNet::new(address, prefix),
    }
    .map_err(|_| format!("{text:?} has a bad prefix length"))?;
    let masked = network.trunc();
    Ok((masked, masked != network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lim_07_networks_are_read_one_way_or_refused() {
        for (text, network, masked) in [
            ("10.0.0.5", "10.0.0.5/32", false),
            (" 10.0.0.0/8 ", "10.0.0.0/8", false),
            ("10.1.2.3/8", "10.0.0.0/8", true),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", false),
            ("::ffff:10.0.0.1", "10.0.0.1/32", false),
            ("2001:db8::/32", "2001:db8::/32", false),
            ("2001:db8::7", "2001:db8::7/128", false),
            ("0.0.0.0/0", "0.0.0.0/0", false),
            ("::/0", "::/0", false),
        ] {
            let expected = (network.parse().unwrap(), masked);
            assert_eq!(parse_network(text), Ok(expected), "{text}");
        }
        for text in [
            "::ffff:10.0.0.0/8",
            "010.0.0.1/32",
            "10.0.0.0/33",
            "2001:db8::/129",
            "fe80::1%eth0/64",
            "10.0/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "",
            "example.test",
            "[::1]",
            "10.0.0.5:80",
        ] {
            assert!(parse_network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_set_contains_the_addresses_of_its_networks() {
        let mut set = AddressSet::default();
        for text in ["10.0.0.0/8", "2001:db8:0:1::7"] {
            set.insert(parse_network(text).unwrap().0);
        }
        for (address, inside) in [
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("11.0.0.0", false),
            ("2001:db8:0:1::7", true),
            ("2001:db8:0:1::8", false),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), inside, "{address}");
        }
    }
}
