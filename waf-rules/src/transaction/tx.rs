//! `TX`: the variables that rules set for one transaction.

use std::{ops::Range, sync::LazyLock};

use hashbrown::HashTable;

use super::tx_name::{self, TxName};

/// Room for as many variables as the CRS sets.
const CAPACITY: usize = 96;

/// Bytes of their names and values.
const TEXT: usize = 6 << 10;

/// The least room of a value: a score grows by digits.
const SCORE: usize = 4;

/// `TX:0` to `TX:9`.
static CAPTURES: LazyLock<[TxName; 10]> =
    LazyLock::new(|| std::array::from_fn(|digit| TxName::of_tx(&[b'0' + digit as u8])));

/// The variables of one transaction.
///
/// Names and values stand one behind the other in one text: a request sets some seventy,
/// and memory of its own for each would cost more than what is done with them.
#[derive(Debug)]
pub(crate) struct Tx {
    entries: Vec<Entry>,
    /// By the number of a name, which entry is its, counted from 1.
    by_number: Vec<u32>,
    /// Those whose names have no number, or one that is newer than the transaction.
    by_hash: HashTable<u32>,
    text: Vec<u8>,
    /// Bytes of the text that belong to no value any more.
    waste: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    name: Range<usize>,
    /// `None` of one that was removed.
    value: Option<Range<usize>>,
    /// Bytes that the value may have where it stands.
    room: usize,
}

impl Tx {
    /// No variable yet.
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::with_capacity(CAPACITY),
            by_number: vec![0; tx_name::numbered()],
            by_hash: HashTable::new(),
            text: Vec::with_capacity(TEXT),
            waste: 0,
        }
    }

    /// Returns a value.
    pub(crate) fn get(&self, name: &TxName) -> Option<&[u8]> {
        self.value(self.find(name.number(), name.hash(), name.bytes())?)
    }

    /// Returns the value of a name that no rule was compiled with, in lower case.
    pub(crate) fn get_by_text(&self, name: &[u8]) -> Option<&[u8]> {
        let hash = tx_name::hash_of(name);
        self.value(self.find(tx_name::number_of(hash, name), hash, name)?)
    }

    fn value(&self, entry: usize) -> Option<&[u8]> {
        Some(&self.text[self.entries[entry].value.clone()?])
    }

    fn find(&self, number: Option<usize>, hash: u64, name: &[u8]) -> Option<usize> {
        if let Some(known) = number.and_then(|number| self.by_number.get(number)) {
            return (*known as usize).checked_sub(1);
        }
        let is_it = |at: &u32| {
            let entry = &self.entries[*at as usize];
            entry.hash == hash && self.text[entry.name.clone()] == *name
        };
        self.by_hash.find(hash, is_it).map(|at| *at as usize)
    }

    /// Sets a value. A variable that does not exist is made, where there are fewer than
    /// `most`, counting those that were removed; tells whether there was room.
    pub(crate) fn set(&mut self, name: &TxName, value: &[u8], most: usize) -> bool {
        match self.find(name.number(), name.hash(), name.bytes()) {
            Some(known) => self.overwrite(known, value),
            None if self.entries.len() >= most => return false,
            None => self.insert(name, value),
        }
        true
    }

    fn overwrite(&mut self, known: usize, value: &[u8]) {
        let Self { entries, text, .. } = self;
        let entry = &mut entries[known];
        let start = entry.value.as_ref().map_or(usize::MAX, |old| old.start);
        if start == usize::MAX || value.len() > entry.room {
            // Of a removed one the room is 0.
            self.waste += entry.room;
            let (place, room) = place(text, value);
            (entry.value, entry.room) = (Some(place), room);
            self.tidy();
        } else {
            let place = start..start + value.len();
            text[place.clone()].copy_from_slice(value);
            entry.value = Some(place);
        }
    }

    fn insert(&mut self, name: &TxName, value: &[u8]) {
        let Self { entries, text, .. } = self;
        let start = text.len();
        text.extend_from_slice(name.bytes());
        let at = entries.len() as u32;
        let name_place = start..text.len();
        let (value, room) = place(text, value);
        entries.push(Entry {
            hash: name.hash(),
            name: name_place,
            value: Some(value),
            room,
        });
        let number = name.number();
        match number.and_then(|number| self.by_number.get_mut(number)) {
            Some(known) => *known = at + 1,
            None => {
                let hash_of = |at: &u32| entries[*at as usize].hash;
                self.by_hash.insert_unique(name.hash(), at, hash_of);
            }
        }
    }

    /// Sets `TX:0` to `TX:9`, which no limit holds back, and forgets those without a text.
    pub(crate) fn capture(&mut self, texts: &[Vec<u8>]) {
        for (at, name) in CAPTURES.iter().enumerate() {
            match texts.get(at) {
                Some(text) => drop(self.set(name, text, usize::MAX)),
                None => self.remove(name),
            }
        }
    }

    /// Forgets a variable.
    pub(crate) fn remove(&mut self, name: &TxName) {
        if let Some(known) = self.find(name.number(), name.hash(), name.bytes()) {
            let entry = &mut self.entries[known];
            self.waste += std::mem::take(&mut entry.room);
            entry.value = None;
        }
    }

    /// Names that are picked and their values, in an order that does not depend on chance.
    pub(crate) fn sorted(&self, picks: impl Fn(&[u8]) -> bool) -> Vec<(&[u8], &[u8])> {
        let mut all = Vec::new();
        for entry in &self.entries {
            let name = &self.text[entry.name.clone()];
            if let Some(value) = &entry.value
                && picks(name)
            {
                all.push((name, &self.text[value.clone()]));
            }
        }
        all.sort_unstable();
        all
    }

    /// Gives back what belongs to no value, where that is more than what does.
    fn tidy(&mut self) {
        if self.waste <= TEXT.max(self.text.len() / 2) {
            return;
        }
        let mut text = Vec::with_capacity(self.text.len() - self.waste);
        for entry in &mut self.entries {
            let start = text.len();
            text.extend_from_slice(&self.text[entry.name.clone()]);
            entry.name = start..text.len();
            if let Some(value) = entry.value.take() {
                let (value, room) = place(&mut text, &self.text[value]);
                (entry.value, entry.room) = (Some(value), room);
            }
        }
        (self.text, self.waste) = (text, 0);
    }
}

/// Appends a value, and returns where it is and the room that it has.
fn place(text: &mut Vec<u8>, value: &[u8]) -> (Range<usize>, usize) {
    let start = text.len();
    let room = value.len().max(SCORE);
    text.extend_from_slice(value);
    text.resize(start + room, 0);
    (start..start + value.len(), room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_the_bound_is_kept() {
        let mut tx = Tx::new();
        let score = TxName::new(b"Score");
        assert_eq!(tx.get(&score), None);
        assert!(tx.set(&score, b"5", 1));
        assert_eq!(tx.get(&TxName::new(b"sCORE")), Some(&b"5"[..]));
        assert_eq!(tx.get_by_text(b"score"), Some(&b"5"[..]));
        let other = TxName::new(b"other");
        assert!(!tx.set(&other, b"", 1));
        assert!(tx.set(&score, b"10", 1), "it is not a new one");
        assert!(tx.set(&other, b"", 2));
        assert_eq!(
            tx.sorted(|_| true),
            [(&b"other"[..], &b""[..]), (&b"score"[..], &b"10"[..])]
        );
        tx.remove(&score);
        assert_eq!((tx.get(&score), tx.sorted(|_| true).len()), (None, 1));
        assert!(
            tx.set(&score, b"7", 2),
            "there is room for what was removed"
        );
        assert_eq!(tx.get(&score), Some(&b"7"[..]));
    }
    #[test]
    fn names_with_and_without_a_number_are_one_variable_each() {
        let older = Tx::new();
        let numbered = TxName::of_tx(b"numbered_in_a_test");
        for mut tx in [older, Tx::new()] {
            assert!(tx.set(&TxName::made(b"NUMBERED_in_a_test"), b"1", 9));
            assert!(tx.set(&numbered, b"2", 9));
            assert!(tx.set(&TxName::made(b"made_in_a_test"), b"3", 9));
            assert_eq!(tx.get_by_text(b"numbered_in_a_test"), Some(&b"2"[..]));
            assert_eq!(tx.get_by_text(b"made_in_a_test"), Some(&b"3"[..]));
            assert_eq!(tx.sorted(|_| true).len(), 2);
        }
    }

    #[test]
    fn what_was_overwritten_does_not_pile_up() {
        let mut tx = Tx::new();
        let (grows, stays) = (TxName::new(b"grows"), TxName::new(b"stays"));
        assert!(tx.set(&stays, b"7", 9));
        for length in 0..3000 {
            assert!(tx.set(&grows, &vec![b'a'; length], 9));
            tx.capture(&vec![vec![b'b'; 50]; length % 11]);
            assert_eq!(tx.get(&grows).map(<[u8]>::len), Some(length));
            assert_eq!(tx.get_by_text(b"9").is_some(), length % 11 == 10);
        }
        assert_eq!(tx.get(&stays), Some(&b"7"[..]));
        assert!(tx.text.capacity() < 5 * TEXT, "{}", tx.text.capacity());
    }
}
