//! The PROXY protocol header that an endpoint gets.

use std::net::{IpAddr, SocketAddr};

use portcullis_config::model::ProxyProtocol;
use proxy_header::{ProxiedAddress, ProxyHeader};

/// Writes the header of a connection from a client to where it came in.
pub(super) fn proxy_header(
    version: ProxyProtocol,
    client: SocketAddr,
    local: SocketAddr,
) -> Vec<u8> {
    let (client, local) = same_family(client, local);
    let header = ProxyHeader::with_address(ProxiedAddress::stream(client, local));
    let mut bytes = Vec::with_capacity(128);
    let written = match version {
        ProxyProtocol::V1 => header.encode_v1(&mut bytes),
        ProxyProtocol::V2 => header.encode_v2(&mut bytes),
    };
    written.expect("both addresses are of one family, and a Vec has room");
    bytes
}

/// The header has one family for both; an IPv4 address has a form in IPv6.
fn same_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (one, other) = (client.ip().to_canonical(), local.ip().to_canonical());
    let (one, other) = match (one, other) {
        (IpAddr::V4(v4), IpAddr::V6(_)) => (v4.to_ipv6_mapped().into(), other),
        (IpAddr::V6(_), IpAddr::V4(v4)) => (one, v4.to_ipv6_mapped().into()),
        same => same,
    };
    (
        SocketAddr::new(one, client.port()),
        SocketAddr::new(other, local.port()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_are_of_one_family() {
        let line = |client: &str, local: &str| {
            let (client, local) = (client.parse(), local.parse());
            let (client, local) = (client.expect("an address"), local.expect("an address"));
            assert!(!proxy_header(ProxyProtocol::V2, client, local).is_empty());
            String::from_utf8(proxy_header(ProxyProtocol::V1, client, local)).expect("text")
        };
        assert_eq!(
            line("192.0.2.1:5", "10.0.0.1:443"),
            "PROXY TCP4 192.0.2.1 10.0.0.1 5 443\r\n"
        );
        assert_eq!(
            line("[::ffff:192.0.2.1]:5", "[::ffff:10.0.0.1]:443"),
            "PROXY TCP4 192.0.2.1 10.0.0.1 5 443\r\n"
        );
        assert_eq!(
            line("[2001:db8::1]:5", "10.0.0.1:443"),
            "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 5 443\r\n"
        );
        assert_eq!(
            line("192.0.2.1:5", "[2001:db8::1]:443"),
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 5 443\r\n"
        );
    }
}
