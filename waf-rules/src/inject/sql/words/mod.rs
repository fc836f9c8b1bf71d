//! The words that SQL gives a meaning to, and phrases of several.
//!
//! A table of slots by hash, made from `data/sql-words.txt` at its first use. Most
//! words are in no table, so a look-up asks first whether any word begins and is as
//! long as this one.

mod key;

use std::sync::LazyLock;

use self::key::{Key, hash, key};
use super::{kind::Kind, token::LONGEST};

/// Twice the number of words, and a power of two.
const SLOTS: usize = 2048;

/// A word or a phrase in capitals, and what it is.
pub(super) struct Word {
    text: &'static [u8],
    key: Key,
    pub(super) kind: Kind,
    /// Where it is in the table, from 1.
    pub(super) place: u16,
}

/// Returns the text of the word at a place.
pub(super) fn text(place: u16) -> &'static [u8] {
    TABLE.at(place).map(|word| word.text).unwrap_or_default()
}

/// Looks a word up, in any case.
pub(super) fn word(word: &[u8]) -> Option<&'static Word> {
    let table = &*TABLE;
    if !has(&table.words, word, word.len()) {
        return None;
    }
    table.find(word)
}

/// Looks up the phrase of two texts with a space between them, in any case.
pub(super) fn phrase(first: &[u8], second: &[u8]) -> Option<&'static Word> {
    let table = &*TABLE;
    let length = first.len() + 1 + second.len();
    if !has(&table.phrases, first, length) {
        return None;
    }
    let mut text = [b' '; 32];
    text.get_mut(..first.len())?.copy_from_slice(first);
    text.get_mut(first.len() + 1..length)?
        .copy_from_slice(second);
    table.find(text.get(..length)?)
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_str!("../../data/sql-words.txt")));

/// For each two letters that a word may begin with, a bit for each length of such a word.
type Lengths = [u32; 1 << 10];

struct Table {
    words: Lengths,
    phrases: Lengths,
    slots: Box<[Slot; SLOTS]>,
    entries: Vec<Word>,
}

impl Table {
    /// Lines of a letter, a space and a word.
    fn read(lines: &'static str) -> Self {
        let mut table = Self {
            words: [0; 1 << 10],
            phrases: [0; 1 << 10],
            slots: Box::new([Slot::EMPTY; SLOTS]),
            entries: Vec::new(),
        };
        for (letter, word) in lines.lines().filter_map(|line| line.split_once(' ')) {
            let text = word.as_bytes();
            let kind = letter.bytes().next().and_then(Kind::of_word);
            let (Some(kind), Some(start), ..LONGEST) = (kind, start(text), text.len()) else {
                continue;
            };
            table.words[start] |= 1 << text.len();
            if text.contains(&b' ') {
                table.phrases[start] |= 1 << text.len();
            }
            table.insert(Word {
                text,
                key: key(text),
                kind,
                place: table.entries.len() as u16 + 1,
            });
        }
        table
    }

    fn insert(&mut self, word: Word) {
        let hash = hash(&word.key);
        let mut slot = first_slot(hash);
        while self.slots[slot] != Slot::EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        self.slots[slot] = Slot {
            place: word.place,
            tag: tag(hash),
        };
        self.entries.push(word);
    }

    fn find(&self, word: &[u8]) -> Option<&Word> {
        let key = key(word);
        let hash = hash(&key);
        let mut slot = first_slot(hash);
        loop {
            let Slot { place, tag: found } = self.slots[slot];
            if place == 0 {
                return None;
            }
            if found == tag(hash) {
                let entry = self.at(place)?;
                // A NUL inside of a word is not the zeros behind it.
                if entry.key == key && entry.text.len() == word.len() {
                    return Some(entry);
                }
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    fn at(&self, place: u16) -> Option<&Word> {
        self.entries.get(usize::from(place).wrapping_sub(1))
    }
}

/// Where a word is, and a part of its hash, so that few others are compared with it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot {
    place: u16,
    tag: u16,
}

impl Slot {
    const EMPTY: Self = Self { place: 0, tag: 0 };
}

/// Tells whether there may be a word that begins like this one and has that length.
fn has(lengths: &Lengths, word: &[u8], length: usize) -> bool {
    length <= LONGEST && start(word).is_some_and(|start| lengths[start] >> length & 1 == 1)
}

/// Returns a number for the first two bytes, the same for capital and small letters.
fn start(word: &[u8]) -> Option<usize> {
    let [first, second] = word.first_chunk()?.map(|byte: u8| usize::from(byte & 31));
    Some(first << 5 | second)
}

fn first_slot(hash: u64) -> usize {
    (hash >> 16) as usize % SLOTS
}

fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_file_is_found_in_any_case() {
        let lines = include_str!("../../data/sql-words.txt");
        assert_eq!(TABLE.entries.len(), lines.lines().count());
        for line in lines.lines() {
            let (kind, text) = line.split_once(' ').unwrap();
            let found = word(text.to_ascii_lowercase().as_bytes()).unwrap();
            assert_eq!(super::text(found.place), text.as_bytes());
            assert_eq!(found.kind as u8, kind.as_bytes()[0]);
            if let Some((first, second)) = text.split_once(' ') {
                assert!(phrase(first.as_bytes(), second.as_bytes()).is_some());
            }
        }
    }

    #[test]
    fn what_is_no_word_is_not_found() {
        for text in [
            "",
            "S",
            "SELEC",
            "SELECTS",
            "SELECT\0",
            "UNION  ALL",
            "ſELECT",
        ] {
            assert!(word(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(word(&[b'A'; 40]).is_none());
        assert!(phrase(b"UNION", b"").is_none());
        assert!(phrase(b"", b"ALL").is_none());
    }
}
