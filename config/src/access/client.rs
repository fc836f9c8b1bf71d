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
