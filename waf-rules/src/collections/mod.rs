//! What rules remember from one transaction to the next: `GLOBAL`, `IP`,
//! `RESOURCE`, `SESSION` and `USER`.
//!
//! ```text
//! initcol:ip=KEY --open--> Open { key, values }   read by variables and macros
//! setvar:ip.x=+1 --change--> the record in Collections, then the same in Open
//! ```
//!
//! Every change is made in the shared record at once, under its lock, so that two
//! transactions which count at the same time are both counted. ModSecurity v2
//! writes at the end of a transaction and merges differences; what rules see is
//! the same. Nothing is written to a disk: a restart forgets.

mod record;
mod store;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use record::Change;
pub use store::{CollectionLimits, Collections};

use crate::error::Complaint;

/// Seconds for which a record stays that nobody updates, where
/// `SecCollectionTimeout` says nothing.
pub(crate) const DEFAULT_TIMEOUT: u64 = 3600;

/// A collection that outlives a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Collection {
    Global,
    Ip,
    Resource,
    Session,
    User,
}

impl Collection {
    const ALL: [(&'static str, Self); 5] = [
        ("global", Self::Global),
        ("ip", Self::Ip),
        ("resource", Self::Resource),
        ("session", Self::Session),
        ("user", Self::User),
    ];

    /// Finds a collection by its SecLang name, in any case.
    pub(crate) fn find(name: &str) -> Result<Self, Complaint> {
        let found = Self::ALL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, collection)| *collection).ok_or_else(|| {
            Complaint::unknown(
                "collection",
                name,
                Self::ALL.iter().map(|(known, _)| *known),
            )
        })
    }
}

/// One record as a transaction sees it.
#[derive(Debug)]
struct Open {
    key: Vec<u8>,
    /// Of a record that is still to be made.
    timeout: u64,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The records that one transaction has opened.
#[derive(Debug, Default)]
pub(crate) struct OpenCollections {
    /// Made when it is first needed, where the caller has given none.
    store: Option<Arc<Collections>>,
    open: BTreeMap<Collection, Open>,
}

impl OpenCollections {
    pub(crate) fn new(store: Option<Arc<Collections>>) -> Self {
        Self {
            store,
            open: BTreeMap::new(),
        }
    }

    /// Opens a record, an empty one where there is none; the first key of a
    /// transaction counts. `now` and `timeout` are seconds.
    pub(crate) fn open(&mut self, collection: Collection, key: Vec<u8>, now: u64, timeout: u64) {
        let store = self.store.get_or_insert_with(Arc::default);
        self.open.entry(collection).or_insert_with(|| {
            let values = store.open(collection, &key, now, timeout);
            Open {
                key,
                timeout,
                values,
            }
        });
    }

    /// Changes a variable; nothing happens in a collection that is not open.
    pub(crate) fn change(
        &mut self,
        collection: Collection,
        name: &[u8],
        change: &Change,
        now: u64,
    ) {
        if let (Some(store), Some(open)) = (&self.store, self.open.get_mut(&collection)) {
            open.values = store.change(collection, &open.key, name, change, (now, open.timeout));
        }
    }

    /// Returns the key of the open record.
    pub(crate) fn key(&self, collection: Collection) -> Option<&Vec<u8>> {
        self.open.get(&collection).map(|open| &open.key)
    }

    /// Iterates over the values of the open record.
    pub(crate) fn values(
        &self,
        collection: Collection,
    ) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.open
            .get(&collection)
            .into_iter()
            .flat_map(|open| &open.values)
    }
}

#[cfg(test)]
mod tests;
