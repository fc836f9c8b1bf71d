//! The client address behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use super::AddressSet;

/// Entries of `X-Forwarded-For` that are looked at, from the right.
///
/// A bound on work: no honest chain is longer, and the peer side is what counts.
const MAX_HOPS: usize = 64;

/// Finds the client: the right-most address of the chain that is not a trusted proxy.
///
/// The chain is all `X-Forwarded-For` lines joined, with the peer at its right
/// end. An untrusted peer is the client itself, whatever it sends. A token that
/// is not an address ends the walk at the hop that sent it. Where every hop is
/// trusted the left-most is the client. Ports and brackets are dropped.
pub fn client_address<'a, I>(peer: IpAddr, forwarded_for: I, trusted: &AddressSet) -> IpAddr
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: DoubleEndedIterator,
{
    let mut client = peer.to_canonical();
    if !trusted.contains(client) {
        return client;
    }
    let tokens = forwarded_for
        .into_iter()
        .rev()
        .flat_map(|line| line.rsplit(|&byte| byte == b','));
    for (hop, token) in tokens.enumerate() {
        match parse_hop(token) {
            Some(address) if hop < MAX_HOPS => client = address,
            _ => {
                return if hop < MAX_HOPS {
                    client
                } else {
                    peer.to_canonical()
                };
            }
        }
        if !trusted.contains(client) {
            return client;
        }
    }
    client
}

/// Parses `address`, `v4:port`, `[v6]` or `[v6]:port`.
fn parse_hop(token: &[u8]) -> Option<IpAddr> {
    let token = std::str::from_utf8(token).ok()?.trim_matches([' ', '\t']);
    let bare = token
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(token);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => token.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::parse_network;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut set = AddressSet::default();
        for network in trusted {
            set.insert(parse_network(network).unwrap().0);
        }
        let lines = lines.iter().map(|line| line.as_bytes());
        client_address(peer.parse().unwrap(), lines, &set).to_string()
    }

    #[test]
    fn lim_01_an_untrusted_peer_is_the_client_whatever_it_sends() {
        assert_eq!(client("127.0.0.1", &["203.0.113.9"], &[]), "127.0.0.1");
        assert_eq!(
            client("192.0.2.1", &["203.0.113.9"], &["10.0.0.0/8"]),
            "192.0.2.1"
        );
        assert_eq!(client("::ffff:192.0.2.1", &[], &[]), "192.0.2.1");
    }

    #[test]
    fn lim_02_the_client_is_the_rightmost_address_that_is_no_trusted_proxy() {
        let many = ["10.0.0.5"; 300].join(", ");
        let forged = format!("203.0.113.9, {many}");
        for (lines, expected) in [
            (&["1.1.1.1, 203.0.113.9, 10.0.0.5"][..], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9", "10.0.0.5"], "203.0.113.9"),
            (&["203.0.113.9"], "203.0.113.9"),
            (&["10.0.0.5, 10.0.0.6"], "10.0.0.5"),
            (&["junk, 10.0.0.5"], "10.0.0.5"),
            (&["1.1.1.1, junk, 10.0.0.5"], "10.0.0.5"),
            (&["203.0.113.9:51000, 10.0.0.5"], "203.0.113.9"),
            (&["[2001:db8::7]:443"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["2001:DB8::7"], "2001:db8::7"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            (&["\t203.0.113.9 ,10.0.0.5"], "203.0.113.9"),
            (&["unknown"], "127.0.0.1"),
            (&["203.0.113.9,"], "127.0.0.1"),
            (&["010.0.0.1"], "127.0.0.1"),
            (&["fe80::1%eth0"], "127.0.0.1"),
            (&[""], "127.0.0.1"),
            (&[], "127.0.0.1"),
            (&[&many], "127.0.0.1"),
            (&[&forged], "127.0.0.1"),
        ] {
            let trusted = ["127.0.0.1/32", "10.0.0.0/8"];
            let found = client("127.0.0.1", lines, &trusted);
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_gives_an_address(line in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let mut trusted = AddressSet::default();
            trusted.insert(parse_network("::/0").unwrap().0);
            trusted.insert(parse_network("0.0.0.0/0").unwrap().0);
            let _ = client_address(IpAddr::from([127, 0, 0, 1]), [&line[..]], &trusted);
        }
    }
}
