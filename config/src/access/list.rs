//! An access list and its verdict.

use std::net::IpAddr;

use super::AddressSet;
use crate::document::AccessAddress;

/// A compiled access list.
#[derive(Clone, Debug, Default)]
pub struct AccessList {
    /// Unique name.
    pub name: String,
    /// Which address is judged.
    pub address: AccessAddress,
    /// What passes; `None` means no restriction, an empty set passes nobody.
    pub allow: Option<AddressSet>,
    /// What is refused before `allow` is looked at.
    pub deny: AddressSet,
}

/// What an access list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessVerdict {
    /// The address passes.
    Allow,
    /// The address is on `deny`.
    Denied,
    /// `allow` is there and the address is not on it.
    NotAllowed,
}

impl AccessList {
    /// Judges a request by the one of its two addresses that the list is about.
    pub fn judge(&self, client: IpAddr, peer: IpAddr) -> AccessVerdict {
        let address = match self.address {
            AccessAddress::Client => client,
            AccessAddress::Peer => peer,
        };
        if self.deny.contains(address) {
            return AccessVerdict::Denied;
        }
        match &self.allow {
            Some(allow) if !allow.contains(address) => AccessVerdict::NotAllowed,
            _ => AccessVerdict::Allow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::parse_network;

    fn set(networks: &[&str]) -> AddressSet {
        let mut set = AddressSet::default();
        for network in networks {
            set.insert(parse_network(network).unwrap().0);
        }
        set
    }

    #[test]
    fn deny_goes_before_allow_and_an_empty_allow_passes_nobody() {
        use AccessVerdict::{Allow, Denied, NotAllowed};
        for (allow, deny, address, expected) in [
            (None, &[][..], "192.0.2.1", Allow),
            (None, &["192.0.2.0/24"], "192.0.2.1", Denied),
            (Some(&[][..]), &[], "192.0.2.1", NotAllowed),
            (Some(&["10.0.0.0/8"]), &[], "10.0.0.1", Allow),
            (Some(&["10.0.0.0/8"]), &["10.0.0.1"], "10.0.0.1", Denied),
            (Some(&["10.0.0.0/8"]), &[], "192.0.2.1", NotAllowed),
        ] {
            let list = AccessList {
                allow: allow.map(set),
                deny: set(deny),
                ..AccessList::default()
            };
            let address = address.parse().unwrap();
            assert_eq!(list.judge(address, address), expected, "{list:?}");
        }
    }

    #[test]
    fn lim_05_the_peer_and_the_client_are_two_settings() {
        let (client, peer) = ("203.0.113.9".parse(), "198.51.100.1".parse());
        let (client, peer) = (client.unwrap(), peer.unwrap());
        for (address, expected) in [
            (AccessAddress::Client, AccessVerdict::NotAllowed),
            (AccessAddress::Peer, AccessVerdict::Allow),
        ] {
            let list = AccessList {
                address,
                allow: Some(set(&["198.51.100.0/24"])),
                ..AccessList::default()
            };
            assert_eq!(list.judge(client, peer), expected);
        }
    }
}
