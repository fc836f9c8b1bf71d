//! The words that SQL gives a meaning to, and phrases of several.
//!
//! A table of slots by hash, made from `data/sql-words.txt` at its first use. Most
//! words are in no table, so a look-up asks first whether any word begins and is as
//! long as this one.

use std::sync::LazyLock;

use super::{kind::Kind, token::LONGEST};

/// A word of up to 31 bytes in capitals, eight bytes in a number, with zeros behind it.
type Text = [u64; 4];

/// Twice the number of words, and a power of two.
const SLOTS: usize = 2048;

/// A word or a phrase in capitals, and what it is.
pub(super) struct Word {
    text: &'static [u8],
    key: Text,
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
    LazyLock::new(|| Table::read(include_str!("../data/sql-words.txt")));

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

/// Reads a word as numbers. Copying it into an array first took twice the time of all that
/// is done with it: processors wait where they read many bytes that were written as few.
fn key(word: &[u8]) -> Text {
    let mut key = Text::default();
    let (parts, rest) = word.as_chunks::<8>();
    for (number, part) in key.iter_mut().zip(parts) {
        *number = upper(u64::from_le_bytes(*part));
    }
    if let Some(number) = key.get_mut(parts.len())
        && !rest.is_empty()
    {
        *number = upper(match word.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => few(rest),
        });
    }
    key
}

/// Reads less than eight bytes.
fn few(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (bytes.len() - 4));
    }
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Makes letters capital, eight at once.
fn upper(bytes: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = bytes & (ONES * 0x7f);
    // The highest bit of each sum tells whether the byte is as high.
    let from_a = low + ONES * (0x80 - b'a' as u64);
    let beyond_z = low + ONES * (0x7f - b'z' as u64);
    let letters = (from_a ^ beyond_z) & !bytes & (ONES * 0x80);
    bytes ^ letters >> 2
}

fn hash(key: &Text) -> u64 {
    const FACTORS: [u64; 4] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
    ];
    // The products do not wait for each other.
    let products = key.iter().zip(FACTORS);
    let products = products.map(|(part, factor)| part.wrapping_mul(factor));
    let sum = products.fold(0, u64::wrapping_add);
    sum ^ sum >> 32
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
        let lines = include_str!("../data/sql-words.txt");
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
    fn letters_become_capital_whatever_is_beside_them() {
        for byte in 0..=255_u8 {
            let bytes = [byte, 0xff, byte, b'z', byte, b'{', 0x80, b'`'];
            let capital = bytes.map(|byte| byte.to_ascii_uppercase());
            assert_eq!(
                upper(u64::from_le_bytes(bytes)),
                u64::from_le_bytes(capital)
            );
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
