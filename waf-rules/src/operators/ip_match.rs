//! `@ipMatch`.

use std::net::{IpAddr, Ipv6Addr};

use crate::error::Complaint;

/// Addresses and networks. IPv4 is kept as its mapped IPv6 form, so that
/// `::ffff:10.0.0.1` is in `10.0.0.0/8`.
#[derive(Clone, Debug)]
pub(crate) struct IpMatch {
    /// Network and mask.
    networks: Vec<(u128, u128)>,
}

impl IpMatch {
    /// Parses a list separated by commas.
    pub(super) fn parse(list: &str) -> Result<Self, Complaint> {
        let parts = list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let networks = parts.map(network).collect::<Result<Vec<_>, _>>()?;
        match networks.is_empty() {
            true => Err(Complaint::new("@ipMatch needs an argument")),
            false => Ok(Self { networks }),
        }
    }

    /// Tells whether a text is an address of the list.
    pub(super) fn contains(&self, value: &[u8]) -> bool {
        let address = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.trim().parse::<IpAddr>().ok());
        address.is_some_and(|address| {
            let bits = bits(address);
            self.networks
                .iter()
                .any(|(network, mask)| bits & mask == *network)
        })
    }
}

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
    Ok((bits(address) & mask, mask))
}

fn bits(address: IpAddr) -> u128 {
    let v6: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    v6.to_bits()
}
