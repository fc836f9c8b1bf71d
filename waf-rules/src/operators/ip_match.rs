//! `@ipMatch` and `@ipMatchFromFile`.

use std::net::{IpAddr, Ipv6Addr};

use crate::{error::Complaint, source::RuleSource};

/// Addresses and networks. IPv4 is kept as its mapped IPv6 form, so that
/// `::ffff:10.0.0.1` is in `10.0.0.0/8`.
#[derive(Clone, Debug)]
pub(crate) struct IpMatch {
    /// First and last addresses; ascending, and no two touch. A file may have
    /// thousands, and a look-up is a binary search.
    ranges: Vec<(u128, u128)>,
}

impl IpMatch {
    /// Parses a list separated by commas.
    pub(super) fn parse(list: &str) -> Result<Self, Complaint> {
        let parts = list.split(',').map(str::trim);
        let ranges = parts
            .filter(|part| !part.is_empty())
            .map(network)
            .collect::<Result<Vec<_>, _>>()?;
        match ranges.is_empty() {
            true => Err(Complaint::new("@ipMatch needs an argument")),
            false => Ok(Self::new(ranges)),
        }
    }

    /// Reads addresses from files, one a line; `#` begins a comment.
    pub(super) fn files(paths: &str, source: &dyn RuleSource) -> Result<Self, Complaint> {
        let mut ranges = Vec::new();
        for path in paths.split_whitespace() {
            let text = source
                .read(path)
                .map_err(|reason| Complaint::new(format!("cannot read {path}: {reason}")))?;
            for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
                let line = line.split('#').next().unwrap_or_default().trim();
                if line.is_empty() {
                    continue;
                }
                let range = network(line).map_err(|complaint| {
                    Complaint::new(format!("{path}:{}: {}", number + 1, complaint.message))
                })?;
                ranges.push(range);
            }
        }
        match ranges.is_empty() {
            true => Err(Complaint::new("there is no address to look for")),
            false => Ok(Self::new(ranges)),
        }
    }

    fn new(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self { ranges: joined }
    }

    /// Tells whether a text is an address of the list.
    pub(super) fn contains(&self, value: &[u8]) -> bool {
        let address = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.trim().parse::<IpAddr>().ok());
        address.is_some_and(|address| {
            let bits = bits(address);
            let after = self.ranges.partition_point(|(first, _)| *first <= bits);
            let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
            before.is_some_and(|(_, last)| bits <= *last)
        })
    }
}

/// Parses an address or a network, as its first and last address.
fn network(text: &str) -> Result<(u128, u128), Complaint> {
    let complaint = || Complaint::new(format!("{text:?} is not an address or a network"));
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (
            address,
            Some(length.parse::<u32>().map_err(|_| complaint())?),
        ),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| complaint())?;
    let (offset, most) = if address.is_ipv4() {
        (96, 32)
    } else {
        (0, 128)
    };
    let length = length.unwrap_or(most);
    if length > most {
        return Err(complaint());
    }
    let mask = u128::MAX.checked_shl(128 - offset - length).unwrap_or(0);
    let first = bits(address) & mask;
    Ok((first, first | !mask))
}

fn bits(address: IpAddr) -> u128 {
    let v6: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    v6.to_bits()
}

#[cfg(test)]
mod tests {
    use super::IpMatch;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let list = "10.0.0.0/8, 192.0.2.7,10.9.0.0/16,2001:db8::/32 ,192.0.2.8";
        let networks = IpMatch::parse(list).unwrap();
        assert_eq!(networks.ranges.len(), 3);
        for (value, inside) in [
            ("10.255.255.255", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", true),
            ("192.0.2.9", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("10.0.0", false),
            ("", false),
        ] {
            assert_eq!(networks.contains(value.as_bytes()), inside, "{value}");
        }
        assert!(IpMatch::parse("0.0.0.0/0").unwrap().contains(b"8.8.8.8"));
        assert!(!IpMatch::parse("0.0.0.0/0").unwrap().contains(b"2001:db8::"));
        assert!(IpMatch::parse("::/0").unwrap().contains(b"8.8.8.8"));
    }
}
