//! What kind of address an answer is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::access::AddressSet;

/// The class of an address, from harmless to never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressClass {
    /// On the internet.
    Public,
    /// In a private or cluster network, or set aside by IANA; an entry with
    /// `private: true` may reach it.
    Private,
    /// Never reached, in no mode: loopback, link-local, metadata services,
    /// unspecified, multicast.
    AlwaysBlocked,
}

/// Networks that are never reached.
const BLOCKED_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(255, 255, 255, 255), 32),
    // Metadata services outside link-local: Azure, Alibaba, Oracle.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(192, 0, 0, 192), 32),
];

/// Networks of the IANA special-purpose registry that are not on the internet.
const PRIVATE_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Networks that are never reached. `fd00:ec2::254` and `fd20:ce::254` are
/// metadata services (AWS, Google).
const BLOCKED_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
];

impl AddressClass {
    /// Classifies an address. Addresses inside addresses (mapped, compatible,
    /// NAT64, 6to4, Teredo, ISATAP) count by the stricter of both.
    pub fn of(address: IpAddr, cluster: &AddressSet) -> Self {
        let class = match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        };
        if class == Self::Public && cluster.contains(address) {
            Self::Private
        } else {
            class
        }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    let within = |table: &[(Ipv4Addr, u8)]| {
        table.iter().any(|(network, length)| {
            let shift = 32 - u32::from(*length);
            u32::from(address).checked_shr(shift) == u32::from(*network).checked_shr(shift)
        })
    };
    if within(BLOCKED_V4) {
        AddressClass::AlwaysBlocked
    } else if within(PRIVATE_V4) {
        AddressClass::Private
    } else {
        AddressClass::Public
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    let blocked = BLOCKED_V6.iter().any(|(network, length)| {
        let shift = 128 - u32::from(*length);
        u128::from(address).checked_shr(shift) == u128::from(*network).checked_shr(shift)
    });
    if blocked {
        return AddressClass::AlwaysBlocked;
    }
    // Global unicast is 2000::/3; of it, IANA has set aside 2001::/23, the
    // documentation ranges 2001:db8::/32 and 3fff::/20, and 6to4's 2002::/16.
    let s = address.segments();
    let global = s[0] & 0xe000 == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x200)
        && !(s[0] == 0x2001 && s[1] == 0xdb8)
        && s[0] != 0x2002
        && !(s[0] == 0x3fff && s[1] < 0x1000);
    let class = if global {
        AddressClass::Public
    } else {
        AddressClass::Private
    };
    embedded(address).map_or(class, |inner| class.max(of_v4(inner)))
}

/// The IPv4 address that an IPv6 address carries.
pub(super) fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match s {
        // IPv4-compatible (RFC 4291), NAT64 (RFC 6052, RFC 8215).
        [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low] => Some(v4(high, low)),
        // SIIT (RFC 2765).
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(v4(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        // Teredo (RFC 4380): the client's address, inverted.
        [0x2001, 0, .., high, low] => Some(v4(!high, !low)),
        // ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_range_is_known() {
        use AddressClass::{AlwaysBlocked, Private, Public};
        let mut cluster = AddressSet::default();
        cluster.insert("44.0.0.0/8".parse().unwrap());
        for (text, class) in [
            ("93.184.216.34", Public),
            ("2606:2800:220:1::1", Public),
            ("44.1.2.3", Private),
            ("0.0.0.0", AlwaysBlocked),
            ("0.1.2.3", AlwaysBlocked),
            ("127.0.0.1", AlwaysBlocked),
            ("127.255.1.1", AlwaysBlocked),
            ("169.254.169.254", AlwaysBlocked),
            ("168.63.129.16", AlwaysBlocked),
            ("100.100.100.200", AlwaysBlocked),
            ("192.0.0.192", AlwaysBlocked),
            ("224.0.0.1", AlwaysBlocked),
            ("255.255.255.255", AlwaysBlocked),
            ("10.0.0.1", Private),
            ("100.64.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.1", Public),
            ("192.168.1.1", Private),
            ("192.0.0.8", Private),
            ("192.0.2.1", Private),
            ("192.31.196.1", Private),
            ("192.52.193.1", Private),
            ("192.88.99.1", Private),
            ("192.175.48.1", Private),
            ("198.18.0.1", Private),
            ("198.51.100.1", Private),
            ("203.0.113.7", Private),
            ("240.0.0.1", Private),
            ("::", AlwaysBlocked),
            ("::1", AlwaysBlocked),
            ("fe80::1", AlwaysBlocked),
            ("ff02::1", AlwaysBlocked),
            ("fd00:ec2::254", AlwaysBlocked),
            ("fd20:ce::254", AlwaysBlocked),
            ("fd12::1", Private),
            ("fec0::1", Private),
            ("2001:20::1", Private),
            ("2001:200::1", Public),
            ("2001:db8::1", Private),
            ("3fff::1", Private),
            ("100::1", Private),
            ("5f00::1", Private),
            ("::ffff:169.254.169.254", AlwaysBlocked),
            ("::ffff:10.0.0.1", Private),
            ("::127.0.0.1", AlwaysBlocked),
            ("64:ff9b::7f00:1", AlwaysBlocked),
            ("64:ff9b::a9fe:a9fe", AlwaysBlocked),
            ("64:ff9b:1::a00:1", Private),
            ("64:ff9b:1::7f00:1", AlwaysBlocked),
            ("::ffff:0:7f00:1", AlwaysBlocked),
            ("2002:5db8:d822::", Private),
            ("2002:7f00:1::", AlwaysBlocked),
            ("2002:a9fe:a9fe::", AlwaysBlocked),
            ("2606:2800::5efe:7f00:1", AlwaysBlocked),
            ("2606:2800::200:5efe:7f00:1", AlwaysBlocked),
        ] {
            let address = text.parse().unwrap();
            assert_eq!(AddressClass::of(address, &cluster), class, "{text}");
        }
        let teredo: IpAddr = Ipv6Addr::new(0x2001, 0, 1, 2, 3, 4, !0x7f00, !0x0001).into();
        assert_eq!(AddressClass::of(teredo, &cluster), AlwaysBlocked);
    }
}
