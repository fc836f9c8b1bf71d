//! The words that SQL gives a meaning to, and phrases of several.
//!
//! A table of slots by hash, made from `data/sql-words.txt` at its first use. Most
//! words are in no table, so a look-up asks first whether any word begins and is as
//! long as this one.

use std::sync::LazyLock;

use super::kind::Kind;

/// Room for a word, in capitals, with zeros behind it.
type Text = [u8; 32];

/// Twice the number of words, and a power of two.
const SLOTS: usize = 2048;

/// A word or a phrase in capitals, and what it is.
pub(super) struct Word {
    text: Text,
    length: u8,
    pub(super) kind: Kind,
}

impl Word {
    pub(super) fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

/// Looks a word up, in any case.
pub(super) fn word(word: &[u8]) -> Option<&'static Word> {
    let table = &*TABLE;
    if !has(&table.words, word.first()?.to_ascii_uppercase(), word.len()) {
        return None;
    }
    let mut text = Text::default();
    text.get_mut(..word.len())?.copy_from_slice(word);
    table.find(text, word.len())
}

/// Looks up the phrase of two texts with a space between them, in any case.
pub(super) fn phrase(first: &[u8], second: &[u8]) -> Option<&'static Word> {
    let table = &*TABLE;
    let length = first.len() + 1 + second.len();
    if !has(&table.phrases, first.first()?.to_ascii_uppercase(), length) {
        return None;
    }
    let mut text = Text::default();
    text.get_mut(..first.len())?.copy_from_slice(first);
    *text.get_mut(first.len())? = b' ';
    text.get_mut(first.len() + 1..length)?
        .copy_from_slice(second);
    table.find(text, length)
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_str!("../data/sql-words.txt")));

/// For each first byte, a bit for each length that a word with it has.
type Lengths = [u32; 256];

struct Table {
    words: Lengths,
    phrases: Lengths,
    /// Places in `entries`, from 1; 0 is empty.
    slots: Box<[u16; SLOTS]>,
    entries: Vec<Word>,
}

impl Table {
    /// Lines of a letter, a space and a word.
    fn read(lines: &str) -> Self {
        let mut table = Self {
            words: [0; 256],
            phrases: [0; 256],
            slots: Box::new([0; SLOTS]),
            entries: Vec::new(),
        };
        for line in lines.lines() {
            let (letter, word) = line.split_at(1);
            let word = word.trim_start().as_bytes();
            let mut text = Text::default();
            let (Some(kind), Some(room)) = (
                letter.bytes().next().and_then(Kind::of_word),
                text.get_mut(..word.len()),
            ) else {
                continue;
            };
            room.copy_from_slice(word);
            let first = usize::from(text[0]);
            table.words[first] |= 1 << word.len();
            if word.contains(&b' ') {
                table.phrases[first] |= 1 << word.len();
            }
            table.insert(Word {
                text,
                length: word.len() as u8,
                kind,
            });
        }
        table
    }

    fn insert(&mut self, word: Word) {
        let mut slot = slot(&word.text);
        while self.slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        self.entries.push(word);
        self.slots[slot] = self.entries.len() as u16;
    }

    fn find(&self, mut text: Text, length: usize) -> Option<&Word> {
        text.make_ascii_uppercase();
        let mut slot = slot(&text);
        loop {
            let place = usize::from(self.slots[slot]);
            // An empty slot has place 0, and what comes before it is no entry.
            let entry = self.entries.get(place.wrapping_sub(1))?;
            // A NUL inside of a word is not the zeros behind it.
            if entry.text == text && usize::from(entry.length) == length {
                return Some(entry);
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

fn has(lengths: &Lengths, first: u8, length: usize) -> bool {
    length < 32 && lengths[usize::from(first)] >> length & 1 == 1
}

/// Returns the first slot for a text.
fn slot(text: &Text) -> usize {
    let mut hash = 0_u64;
    for part in text.chunks_exact(8) {
        let part = part.try_into().map_or(0, u64::from_le_bytes);
        hash = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    (hash >> 40) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_file_is_found_in_any_case() {
        let lines = include_str!("../data/sql-words.txt");
        assert_eq!(TABLE.entries.len(), lines.lines().count());
        for line in lines.lines() {
            let (kind, text) = line.split_once(' ').unwrap();
            let found = word(text.to_ascii_lowercase().as_bytes()).unwrap();
            assert_eq!(found.text(), text.as_bytes());
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
