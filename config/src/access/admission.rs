//! Whether an address is enough.

use std::{net::IpAddr, sync::Arc};

use super::{AccessList, AccessVerdict};
use crate::document::Satisfy;

/// What the access lists of a rule leave to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing: the request passes.
    ByAddress,
    /// Who the client is: the request passes where it authenticates.
    ByIdentity,
}

/// A request that an access list refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAdmitted<'a> {
    /// Name of the list.
    pub list: &'a str,
    /// Its verdict; never [`AccessVerdict::Allow`].
    pub verdict: AccessVerdict,
}

/// Judges the two addresses of a request by the access lists of its rule, which
/// asks for an identity where it `authenticates`.
///
/// With [`Satisfy::Any`] an address is enough only where a list names it on
/// `allow`: not to be on `deny` is no merit.
///
/// # Errors
/// The first list that refuses it.
pub fn admit<'a>(
    lists: &'a [Arc<AccessList>],
    satisfy: Satisfy,
    authenticates: bool,
    client: IpAddr,
    peer: IpAddr,
) -> Result<Admission, NotAdmitted<'a>> {
    let either = authenticates && satisfy == Satisfy::Any;
    let (mut named, mut outside) = (false, false);
    for list in lists {
        match list.judge(client, peer) {
            AccessVerdict::Allow => named |= list.allow.is_some(),
            // The lists behind it may deny the address still.
            AccessVerdict::NotAllowed if either => outside = true,
            verdict => {
                return Err(NotAdmitted {
                    list: &list.name,
                    verdict,
                });
            }
        }
    }
    Ok(match authenticates && !(either && named && !outside) {
        true => Admission::ByIdentity,
        false => Admission::ByAddress,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AddressSet, parse_network};

    fn list(name: &str, allow: Option<&str>, deny: &str) -> Arc<AccessList> {
        let set = |text: &str| {
            let mut set = AddressSet::default();
            for network in text.split_whitespace() {
                set.insert(parse_network(network).unwrap().0);
            }
            set
        };
        Arc::new(AccessList {
            name: name.into(),
            allow: allow.map(set),
            deny: set(deny),
            ..AccessList::default()
        })
    }

    #[test]
    fn addresses_and_identities_make_up_for_each_other_only_as_told() {
        use Satisfy::{All, Any};
        let office = list("office", Some("10.0.0.0/8"), "10.6.6.6");
        let lab = list("lab", Some("10.1.0.0/16"), "");
        let pests = list("pests", None, "192.0.2.6 10.1.0.6");
        let nobody = list("nobody", Some(""), "");
        let by_address = Ok(Admission::ByAddress);
        let by_identity = Ok(Admission::ByIdentity);
        let denied = |list| Err((list, AccessVerdict::Denied));
        let outside = |list| Err((list, AccessVerdict::NotAllowed));
        for (lists, satisfy, authenticates, client, expected) in [
            // Without authentication `any` changes nothing.
            (vec![], All, false, "10.0.0.1", by_address),
            (vec![], Any, false, "10.0.0.1", by_address),
            (vec![&office], Any, false, "10.0.0.1", by_address),
            (vec![&office], Any, false, "192.0.2.1", outside("office")),
            (vec![&office], All, false, "192.0.2.1", outside("office")),
            (vec![&office], Any, false, "10.6.6.6", denied("office")),
            // Both.
            (vec![], All, true, "10.0.0.1", by_identity),
            (vec![&office], All, true, "10.0.0.1", by_identity),
            (vec![&office], All, true, "192.0.2.1", outside("office")),
            (vec![&office], All, true, "10.6.6.6", denied("office")),
            (vec![&pests], All, true, "192.0.2.6", denied("pests")),
            (vec![&pests], All, true, "192.0.2.1", by_identity),
            // One of both.
            (vec![], Any, true, "10.0.0.1", by_identity),
            (vec![&office], Any, true, "10.0.0.1", by_address),
            (vec![&office], Any, true, "192.0.2.1", by_identity),
            (vec![&office], Any, true, "10.6.6.6", denied("office")),
            // Not to be denied is not to be named.
            (vec![&pests], Any, true, "192.0.2.1", by_identity),
            (vec![&pests], Any, true, "192.0.2.6", denied("pests")),
            (vec![&office, &pests], Any, true, "10.0.0.1", by_address),
            (
                vec![&office, &pests],
                Any,
                true,
                "10.1.0.6",
                denied("pests"),
            ),
            (
                vec![&office, &pests],
                Any,
                true,
                "192.0.2.6",
                denied("pests"),
            ),
            (vec![&pests, &office], Any, true, "192.0.2.1", by_identity),
            // Every list with `allow` must name it.
            (vec![&office, &lab], Any, true, "10.1.0.1", by_address),
            (vec![&office, &lab], Any, true, "10.2.0.1", by_identity),
            (vec![&lab, &office], Any, true, "10.2.0.1", by_identity),
            (vec![&nobody, &office], Any, true, "10.0.0.1", by_identity),
            (vec![&lab, &office], Any, true, "10.6.6.6", denied("office")),
        ] {
            let lists: Vec<_> = lists.into_iter().cloned().collect();
            let client = client.parse().unwrap();
            let found = admit(&lists, satisfy, authenticates, client, client);
            let found = found.map_err(|refused| (refused.list, refused.verdict));
            let names: Vec<_> = lists.iter().map(|list| &list.name).collect();
            assert_eq!(
                found, expected,
                "{names:?} {satisfy:?} {authenticates} {client}"
            );
        }
    }
}
