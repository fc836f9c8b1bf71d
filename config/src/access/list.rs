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
