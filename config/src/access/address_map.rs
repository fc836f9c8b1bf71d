//! Values of networks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

/// A value for each of some networks, found by the addresses in them.
///
/// IPv4-mapped IPv6 addresses are looked up as IPv4.
#[derive(Clone, Debug, Default)]
pub struct AddressMap<T> {
    v4: PrefixMap<Ipv4Net, T>,
    v6: PrefixMap<Ipv6Net, T>,
}

impl<T: Default> AddressMap<T> {
    /// The value of a network; the default one where it has none yet.
    pub fn entry(&mut self, network: IpNet) -> &mut T {
        match network {
            IpNet::V4(network) => self.v4.entry(network).or_default(),
            IpNet::V6(network) => self.v6.entry(network).or_default(),
        }
    }
}

impl<T> AddressMap<T> {
    /// The values of all networks that contain an address, from the widest.
    pub fn covering(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let (v4, v6) = match address.to_canonical() {
            IpAddr::V4(address) => (Some(Ipv4Net::from(address)), None),
            IpAddr::V6(address) => (None, Some(Ipv6Net::from(address))),
        };
        let v4 = v4.into_iter();
        let v4 = v4.flat_map(|address| self.v4.cover_values(&address));
        let v6 = v6.into_iter();
        v4.chain(v6.flat_map(|address| self.v6.cover_values(&address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_values_of_all_its_networks() {
        let mut map = AddressMap::<Vec<u8>>::default();
        for (network, value) in [
            ("10.0.0.0/8", 1),
            ("10.1.0.0/16", 2),
            ("10.1.0.0/16", 3),
            ("0.0.0.0/0", 4),
            ("10.1.2.3/32", 5),
            ("::/0", 6),
            ("2001:db8::/32", 7),
        ] {
            map.entry(network.parse().expect("a network")).push(value);
        }
        for (address, expected) in [
            ("10.1.2.3", vec![4, 1, 2, 3, 5]),
            ("::ffff:10.2.0.1", vec![4, 1]),
            ("192.0.2.1", vec![4]),
            ("2001:db8::1", vec![6, 7]),
            ("2001:db9::1", vec![6]),
        ] {
            let found = map.covering(address.parse().expect("an address"));
            let found: Vec<u8> = found.flatten().copied().collect();
            assert_eq!(found, expected, "{address}");
        }
    }
}
