//! The records of every transaction.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha1::Digest;

use super::{
    Collection,
    record::{Change, Record},
};

/// Transactions of different clients seldom wait for each other.
const SHARDS: usize = 16;

/// Longer keys are kept as their digest.
const MAX_KEY_BYTES: usize = 128;

/// Bounds on what rules may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectionLimits {
    /// Records of all collections together. Default 16,384. A new record takes
    /// the place of one that was not updated for longest.
    pub max_records: usize,
    /// Bytes of the names and values of one record. Default 4 KiB. A new value
    /// takes the place of those that were not written for longest; one that is
    /// longer than all is cut.
    pub max_record_bytes: usize,
}

impl Default for CollectionLimits {
    fn default() -> Self {
        Self {
            max_records: 16 << 10,
            max_record_bytes: 4 << 10,
        }
    }
}

/// What rules remember, shared by transactions: `GLOBAL`, `IP`, `RESOURCE`,
/// `SESSION` and `USER`.
///
/// A record goes when it was not updated for `SecCollectionTimeout` seconds, 3600
/// where the rules say nothing. With the default limits all of it takes at most
/// some 70 MiB.
#[derive(Debug)]
pub struct Collections {
    limits: CollectionLimits,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

type Shard = BTreeMap<(Collection, Vec<u8>), Record>;

impl Collections {
    /// Makes a store without a record.
    pub fn new(limits: CollectionLimits) -> Self {
        Self {
            limits,
            hasher: RandomState::new(),
            shards: Default::default(),
        }
    }

    /// Counts the records, those included whose time is over.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).len()).sum()
    }

    /// Tells whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values of a record, which is made where it is missing.
    pub(super) fn open(
        &self,
        collection: Collection,
        key: &[u8],
        now: u64,
        timeout: u64,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.with(collection, key, now, timeout, |record| {
            record.seen(key, now)
        })
    }

    /// Changes a variable of a record, and returns all of its values.
    pub(super) fn change(
        &self,
        collection: Collection,
        key: &[u8],
        name: &[u8],
        change: &Change,
        now: u64,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let most = self.limits.max_record_bytes;
        // The record is there, unless it had to go since it was opened.
        self.with(collection, key, now, super::DEFAULT_TIMEOUT, |record| {
            record.forget(now);
            record.change(name, change, now, most);
            record.seen(key, now)
        })
    }

    fn with<T>(
        &self,
        collection: Collection,
        key: &[u8],
        now: u64,
        timeout: u64,
        act: impl FnOnce(&mut Record) -> T,
    ) -> T {
        let key = match key.len() {
            0..=MAX_KEY_BYTES => key.to_vec(),
            _ => sha1::Sha1::digest(key).to_vec(),
        };
        let key = (collection, key);
        let place = usize::try_from(self.hasher.hash_one(&key) % SHARDS as u64).unwrap_or(0);
        let mut shard = locked(&self.shards[place]);
        if shard.get(&key).is_none_or(|record| record.is_over(now)) {
            shard.remove(&key);
            make_room(&mut shard, (self.limits.max_records / SHARDS).max(1), now);
        }
        act(shard
            .entry(key)
            .or_insert_with(|| Record::new(now, timeout)))
    }
}

impl Default for Collections {
    fn default() -> Self {
        Self::new(CollectionLimits::default())
    }
}

/// Makes room for one record more.
fn make_room(shard: &mut Shard, most: usize, now: u64) {
    if shard.len() < most {
        return;
    }
    shard.retain(|_, record| !record.is_over(now));
    while shard.len() >= most {
        let oldest = shard.iter().min_by_key(|(_, record)| record.updated());
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
            return;
        };
        shard.remove(&oldest);
    }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A record is whole after every step, so a panic elsewhere spoils none.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
