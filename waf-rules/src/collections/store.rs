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

/// What a record costs besides its key and its values.
const RECORD_BYTES: usize = 256;

/// Bounds on what rules may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectionLimits {
    /// Bytes of all records of one collection, with what it takes to keep them.
    /// Default 16 MiB, for five collections. New records take the place of those that
    /// were not updated for longest, and never of those of another collection.
    pub max_collection_bytes: usize,
    /// Bytes of the names and values of one record, and 64 for each. Default 4 KiB. A
    /// new value takes the place of those that were not written for longest; one that
    /// is longer than all is cut.
    pub max_record_bytes: usize,
}

impl Default for CollectionLimits {
    fn default() -> Self {
        Self {
            max_collection_bytes: 16 << 20,
            max_record_bytes: 4 << 10,
        }
    }
}

/// What rules remember, shared by transactions: `GLOBAL`, `IP`, `RESOURCE`,
/// `SESSION` and `USER`.
///
/// A record is there from its first change, and goes when it was not updated for
/// `SecCollectionTimeout` seconds, 3600 where the rules say nothing. With the default
/// limits all of it takes at most some 80 MiB.
#[derive(Debug)]
pub struct Collections {
    limits: CollectionLimits,
    hasher: RandomState,
    shards: [[Mutex<Shard>; SHARDS]; Collection::ALL.len()],
}

/// A part of the records of one collection.
#[derive(Debug, Default)]
struct Shard {
    records: BTreeMap<Key, Record>,
    /// Bytes of all of them.
    bytes: usize,
}

/// The key of a record. A client may choose one, but none that is another's digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Text(Vec<u8>),
    Digest([u8; 20]),
}

impl Key {
    fn new(key: &[u8]) -> Self {
        match key.len() {
            0..=MAX_KEY_BYTES => Self::Text(key.to_vec()),
            _ => Self::Digest(sha1::Sha1::digest(key).into()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Digest(digest) => digest.len(),
        }
    }
}

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
        let shards = self.shards.iter().flatten();
        shards.map(|shard| locked(shard).records.len()).sum()
    }

    /// Tells whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values of a record; those of a new one where it is missing. Nothing
    /// is kept of a key that no rule changes anything for.
    pub(super) fn open(
        &self,
        collection: Collection,
        key: &[u8],
        now: u64,
        timeout: u64,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let place = Key::new(key);
        let shard = locked(self.shard(collection, &place));
        let known = shard.records.get(&place);
        match known.filter(|record| !record.is_over(now)) {
            Some(record) => record.seen(key, now),
            None => Record::new(now, timeout).seen(key, now),
        }
    }

    /// Changes a variable of a record, which is made where it is missing, and returns
    /// all of its values.
    pub(super) fn change(
        &self,
        collection: Collection,
        key: &[u8],
        name: &[u8],
        change: &Change,
        (now, timeout): (u64, u64),
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let place = Key::new(key);
        let mut shard = locked(self.shard(collection, &place));
        let mut record = match shard.take(&place) {
            Some(record) if !record.is_over(now) => record,
            _ => Record::new(now, timeout),
        };
        record.forget(now);
        record.change(name, change, now, self.limits.max_record_bytes);
        let seen = record.seen(key, now);
        let most = self.limits.max_collection_bytes / SHARDS;
        shard.put(place, record, most, now);
        seen
    }

    fn shard(&self, collection: Collection, key: &Key) -> &Mutex<Shard> {
        let place = self.hasher.hash_one(key) % SHARDS as u64;
        &self.shards[collection as usize][usize::try_from(place).unwrap_or(0)]
    }
}

impl Default for Collections {
    fn default() -> Self {
        Self::new(CollectionLimits::default())
    }
}

impl Shard {
    fn take(&mut self, key: &Key) -> Option<Record> {
        let record = self.records.remove(key)?;
        self.bytes -= cost(key, &record);
        Some(record)
    }

    /// Adds a record; where there is no room, others go.
    fn put(&mut self, key: Key, record: Record, most: usize, now: u64) {
        let cost = cost(&key, &record);
        if self.bytes + cost > most {
            self.make_room(most.saturating_sub(cost), now);
        }
        self.bytes += cost;
        self.records.insert(key, record);
    }

    /// Drops what is over, and then what was not updated for longest: an eighth more than
    /// it takes, so that a flood of new keys does not look at all others each time.
    fn make_room(&mut self, most: usize, now: u64) {
        self.retain(|record| !record.is_over(now));
        if self.bytes <= most {
            return;
        }
        let records = self.records.iter();
        let mut by_age: Vec<(u64, &Key, usize)> = records
            .map(|(key, record)| (record.updated(), key, cost(key, record)))
            .collect();
        by_age.sort_unstable();
        let mut left = self.bytes;
        let oldest = by_age.into_iter().take_while(|(_, _, cost)| {
            let goes = left > most - most / 8;
            left -= if goes { *cost } else { 0 };
            goes
        });
        let oldest: Vec<Key> = oldest.map(|(_, key, _)| key.clone()).collect();
        for key in &oldest {
            self.take(key);
        }
    }

    fn retain(&mut self, stays: impl Fn(&Record) -> bool) {
        let bytes = &mut self.bytes;
        self.records.retain(|key, record| {
            let stays = stays(record);
            if !stays {
                *bytes -= cost(key, record);
            }
            stays
        });
    }
}

fn cost(key: &Key, record: &Record) -> usize {
    RECORD_BYTES + key.bytes() + record.bytes()
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A record is whole after every step, so a panic elsewhere spoils none.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
