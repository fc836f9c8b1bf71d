//! One record: the variables of one address, session or user.

use std::collections::BTreeMap;

use crate::operators::compare::number;

/// Names that the record itself answers; `TIMEOUT` alone can be set.
const TIMEOUT: &[u8] = b"timeout";
const OWN: [&[u8]; 6] = [
    b"create_time",
    b"is_new",
    b"key",
    b"last_update_time",
    b"update_counter",
    b"update_rate",
];

/// A change of one variable, with every macro replaced.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(Vec<u8>),
    Add(i64),
    Subtract(i64),
    Delete,
    /// The variable goes after so many seconds.
    Expire(u64),
    /// The value loses `by` for every `seconds` since the last update.
    Deprecate {
        by: i64,
        seconds: u64,
    },
}

/// What a value costs besides its bytes and those of its name.
const VALUE_BYTES: usize = 64;

#[derive(Debug)]
struct Value {
    bytes: Vec<u8>,
    /// When it goes by itself.
    expires: Option<u64>,
    /// The update of the record that wrote it last.
    update: u64,
}

/// Times are seconds since 1970.
#[derive(Debug)]
pub(super) struct Record {
    values: BTreeMap<Vec<u8>, Value>,
    created: u64,
    updated: u64,
    updates: u64,
    timeout: u64,
}

impl Record {
    pub(super) fn new(now: u64, timeout: u64) -> Self {
        Self {
            values: BTreeMap::new(),
            created: now,
            updated: now,
            updates: 0,
            timeout,
        }
    }

    /// The time of the last update.
    pub(super) fn updated(&self) -> u64 {
        self.updated
    }

    /// Tells whether the record was left alone for longer than its timeout.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.updated.saturating_add(self.timeout) <= now
    }

    /// Makes a change; what the record holds stays within `most` bytes.
    pub(super) fn change(&mut self, name: &[u8], change: &Change, now: u64, most: usize) {
        if OWN.contains(&name) {
            return;
        }
        if name == TIMEOUT {
            if let Change::Set(value) = change {
                self.timeout = u64::try_from(number(value)).unwrap_or(0);
            }
            return;
        }
        let idle = now.saturating_sub(self.updated);
        self.updates += 1;
        self.updated = now;
        let old = self
            .values
            .get(name)
            .map_or(0, |value| number(&value.bytes));
        match change {
            Change::Set(bytes) => self.write(name, bytes.clone(), most),
            Change::Add(by) => self.write(name, text(old.saturating_add(*by)), most),
            Change::Subtract(by) => self.write(name, text(old.saturating_sub(*by)), most),
            Change::Delete => drop(self.values.remove(name)),
            Change::Expire(seconds) => {
                if let Some(value) = self.values.get_mut(name) {
                    value.expires = Some(now.saturating_add(*seconds));
                }
            }
            Change::Deprecate { by, seconds } => {
                let times = i64::try_from(idle / (*seconds).max(1)).unwrap_or(i64::MAX);
                if self.values.contains_key(name) && times > 0 {
                    let left = old.saturating_sub(by.saturating_mul(times)).max(0);
                    self.write(name, text(left), most);
                }
            }
        }
    }

    /// Writes a value; older ones make room for it.
    fn write(&mut self, name: &[u8], mut bytes: Vec<u8>, most: usize) {
        let Some(room) = most.checked_sub(name.len() + VALUE_BYTES) else {
            return;
        };
        bytes.truncate(room);
        let expires = self.values.remove(name).and_then(|value| value.expires);
        while self.bytes() + name.len() + bytes.len() + VALUE_BYTES > most {
            let oldest = self.values.iter().min_by_key(|(_, value)| value.update);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            self.values.remove(&oldest);
        }
        let update = self.updates;
        self.values.insert(
            name.to_vec(),
            Value {
                bytes,
                expires,
                update,
            },
        );
    }

    /// Bytes of names and values, and what each costs besides.
    pub(super) fn bytes(&self) -> usize {
        let sizes = self
            .values
            .iter()
            .map(|(name, value)| name.len() + value.bytes.len() + VALUE_BYTES);
        sizes.sum()
    }

    /// Returns the variables, with those that the record answers itself.
    pub(super) fn seen(&self, key: &[u8], now: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let minutes = (now.saturating_sub(self.created) / 60).max(1);
        let is_new = i64::from(self.updates == 0);
        let mut seen: BTreeMap<Vec<u8>, Vec<u8>> = self
            .values
            .iter()
            .filter(|(_, value)| value.expires.is_none_or(|expires| expires > now))
            .map(|(name, value)| (name.clone(), value.bytes.clone()))
            .collect();
        for (name, own) in [
            (&b"create_time"[..], text(self.created)),
            (b"is_new", text(is_new)),
            (b"key", key.to_vec()),
            (b"last_update_time", text(self.updated)),
            (b"timeout", text(self.timeout)),
            (b"update_counter", text(self.updates)),
            (b"update_rate", text(self.updates / minutes)),
        ] {
            seen.insert(name.to_vec(), own);
        }
        seen
    }

    /// Removes the variables whose time is over.
    pub(super) fn forget(&mut self, now: u64) {
        let stays = |value: &Value| value.expires.is_none_or(|expires| expires > now);
        self.values.retain(|_, value| stays(value));
    }
}

fn text(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}
