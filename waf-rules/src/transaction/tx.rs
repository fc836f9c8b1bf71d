//! `TX`: the variables that rules set for one transaction.

use std::sync::{Arc, LazyLock};

use ahash::RandomState;
use hashbrown::HashTable;

use crate::secrets::SecretNames;

/// Room for as many variables as the CRS sets.
const CAPACITY: usize = 96;

/// One for the process, so that names of rules are hashed when they are compiled. Its
/// seeds are random: clients may choose names, where a rule makes them of what they sent.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A name that a rule asks for, in lower case.
#[derive(Clone, Debug)]
pub(crate) struct TxName {
    name: Arc<[u8]>,
    hash: u64,
    /// Whether it is one of those that are known for secrets.
    is_secret: bool,
}

impl TxName {
    /// Takes the name of a rule, in any case.
    pub(crate) fn new(name: &[u8]) -> Self {
        Self {
            is_secret: SecretNames::default().has(name),
            ..Self::made(name)
        }
    }

    /// Takes a name that was made for one transaction. Nothing is told by it.
    pub(crate) fn made(name: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        Self {
            hash: HASHER.hash_one(&name[..]),
            is_secret: true,
            name: name.into(),
        }
    }

    /// Whether its value is a secret, by names that are always known.
    pub(crate) fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// The name, in lower case.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.name
    }
}

impl PartialEq for TxName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TxName {}

/// `TX:0` to `TX:9`.
static CAPTURES: LazyLock<[TxName; 10]> =
    LazyLock::new(|| std::array::from_fn(|digit| TxName::new(&[b'0' + digit as u8])));

/// The variables of one transaction.
#[derive(Debug)]
pub(crate) struct Tx(HashTable<Entry>);

#[derive(Debug)]
struct Entry {
    hash: u64,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Tx {
    /// No variable yet.
    pub(crate) fn new() -> Self {
        Self(HashTable::with_capacity(CAPACITY))
    }

    /// Returns a value.
    pub(crate) fn get(&self, name: &TxName) -> Option<&[u8]> {
        self.find(name.hash, &name.name)
    }

    /// Returns the value of a name that no rule was compiled with, in lower case.
    pub(crate) fn get_by_text(&self, name: &[u8]) -> Option<&[u8]> {
        self.find(HASHER.hash_one(name), name)
    }

    fn find(&self, hash: u64, name: &[u8]) -> Option<&[u8]> {
        let found = self.0.find(hash, is(hash, name));
        found.map(|entry| &entry.value[..])
    }

    /// The value to be changed; a variable that does not exist is made, empty, where there
    /// are fewer than `most`.
    pub(crate) fn value_mut(&mut self, name: &TxName, most: usize) -> Option<&mut Vec<u8>> {
        let (hash, bytes) = (name.hash, &*name.name);
        let is_full = self.0.len() >= most;
        let known = self.0.entry(hash, is(hash, bytes), |entry| entry.hash);
        let entry = match known {
            hashbrown::hash_table::Entry::Occupied(known) => known.into_mut(),
            hashbrown::hash_table::Entry::Vacant(_) if is_full => return None,
            hashbrown::hash_table::Entry::Vacant(free) => {
                let entry = Entry {
                    hash,
                    name: bytes.to_vec(),
                    value: Vec::new(),
                };
                free.insert(entry).into_mut()
            }
        };
        Some(&mut entry.value)
    }

    /// Sets `TX:0` to `TX:9`, which no limit holds back, and forgets those without a text.
    pub(crate) fn capture(&mut self, texts: Vec<Vec<u8>>) {
        let mut texts = texts.into_iter();
        for name in CAPTURES.iter() {
            match texts.next() {
                Some(text) => {
                    if let Some(value) = self.value_mut(name, usize::MAX) {
                        *value = text;
                    }
                }
                None => self.remove(name),
            }
        }
    }

    /// Forgets a variable.
    pub(crate) fn remove(&mut self, name: &TxName) {
        if let Ok(known) = self.0.find_entry(name.hash, is(name.hash, &name.name)) {
            known.remove();
        }
    }

    /// Names that are picked and their values, in an order that does not depend on chance.
    pub(crate) fn sorted(&self, picks: impl Fn(&[u8]) -> bool) -> Vec<(&[u8], &[u8])> {
        let all = self.0.iter().filter(|entry| picks(&entry.name));
        let mut all: Vec<_> = all
            .map(|entry| (&entry.name[..], &entry.value[..]))
            .collect();
        all.sort_unstable();
        all
    }
}

fn is<'n>(hash: u64, name: &'n [u8]) -> impl Fn(&Entry) -> bool + 'n {
    move |entry| entry.hash == hash && entry.name == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_the_bound_is_kept() {
        let mut tx = Tx::new();
        let score = TxName::new(b"Score");
        assert_eq!(tx.get(&score), None);
        tx.value_mut(&score, 1).unwrap().push(b'5');
        assert_eq!(tx.get(&TxName::new(b"sCORE")), Some(&b"5"[..]));
        assert_eq!(tx.get_by_text(b"score"), Some(&b"5"[..]));
        let other = TxName::new(b"other");
        assert!(tx.value_mut(&other, 1).is_none());
        assert!(tx.value_mut(&score, 1).is_some(), "it is not a new one");
        assert!(tx.value_mut(&other, 2).is_some());
        assert_eq!(
            tx.sorted(|_| true),
            [(&b"other"[..], &b""[..]), (&b"score"[..], &b"5"[..])]
        );
        tx.remove(&score);
        assert_eq!((tx.get(&score), tx.sorted(|_| true).len()), (None, 1));
    }
}
