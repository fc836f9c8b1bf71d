//! The fingerprints that injections have.
//!
//! Made from `data/sql-fingerprints.txt` at its first use: for each pair of first
//! letters, the sorted endings of up to three more.

use std::sync::LazyLock;

/// Up to five letters, one for the kind of each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    letters: [u8; 5],
    length: u8,
}

impl Fingerprint {
    /// The fingerprint of what cannot be read.
    pub(super) const EVIL: Self = Self {
        letters: *b"X\0\0\0\0",
        length: 1,
    };

    /// Takes the first five letters.
    pub(super) fn new(letters: impl Iterator<Item = u8>) -> Self {
        let mut fingerprint = Self {
            letters: [0; 5],
            length: 0,
        };
        for (place, letter) in fingerprint.letters.iter_mut().zip(letters) {
            *place = letter;
            fingerprint.length += 1;
        }
        fingerprint
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.letters[..usize::from(self.length)]
    }

    /// Tells whether injections have it. Its letters count in any case.
    pub(super) fn is_known(&self) -> bool {
        let Some([first, second, third, fourth, fifth]) = numbers(&self.letters) else {
            return false;
        };
        let table = &*TABLE;
        let ends = &table.ends[first << 5 | second];
        ends.binary_search(&end(third, fourth, fifth)).is_ok()
    }
}

/// Every letter that a known fingerprint has, in capitals. Its place, from 1, is its number.
const LETTERS: &[u8] = b"&(),1:;ABCEFKNOSTUVX";

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_str!("../data/sql-fingerprints.txt")));

struct Table {
    ends: Vec<Box<[u16]>>,
}

impl Table {
    /// Lines of two letters and their endings; `_` is no letter.
    fn read(lines: &str) -> Self {
        let mut ends = vec![Vec::new(); 1 << 10];
        for line in lines.lines() {
            let mut parts = line.split(' ');
            let start = parts.next().unwrap_or_default().as_bytes();
            for part in parts {
                let letters = [start, part.as_bytes()].concat();
                let letters =
                    Fingerprint::new(letters.into_iter().filter(|&letter| letter != b'_'));
                if let Some([first, second, third, fourth, fifth]) = numbers(&letters.letters) {
                    ends[first << 5 | second].push(end(third, fourth, fifth));
                }
            }
        }
        let sorted = |mut ends: Vec<u16>| {
            ends.sort_unstable();
            ends.into_boxed_slice()
        };
        Self {
            ends: ends.into_iter().map(sorted).collect(),
        }
    }
}

/// Returns the number of each letter, below 32; nothing where one is in no fingerprint.
fn numbers(letters: &[u8; 5]) -> Option<[usize; 5]> {
    let mut numbers = [0; 5];
    for (number, &letter) in numbers.iter_mut().zip(letters) {
        *number = usize::from(NUMBERS[usize::from(letter)]);
        if *number == NO_NUMBER as usize {
            return None;
        }
    }
    Some(numbers)
}

const NO_NUMBER: u8 = 31;

/// The number of each letter, in both cases.
const NUMBERS: [u8; 256] = {
    let mut numbers = [NO_NUMBER; 256];
    numbers[0] = 0;
    let mut at = 0;
    while at < LETTERS.len() {
        numbers[LETTERS[at] as usize] = at as u8 + 1;
        numbers[LETTERS[at].to_ascii_lowercase() as usize] = at as u8 + 1;
        at += 1;
    }
    numbers
};

fn end(third: usize, fourth: usize, fifth: usize) -> u16 {
    (third << 10 | fourth << 5 | fifth) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(letters: &str) -> bool {
        Fingerprint::new(letters.bytes()).is_known()
    }

    #[test]
    fn every_fingerprint_of_the_file_is_known() {
        let lines = include_str!("../data/sql-fingerprints.txt");
        let mut count = 0;
        for line in lines.lines() {
            let (start, ends) = line.split_once(' ').unwrap();
            for end in ends.split(' ') {
                assert!(known(&[start, end].concat().replace('_', "")));
                count += 1;
            }
        }
        assert_eq!(
            count,
            TABLE.ends.iter().map(|ends| ends.len()).sum::<usize>()
        );
    }

    #[test]
    fn others_are_not() {
        assert!(known("1&1") && known("s&1c") && known("X"));
        for letters in ["", "1", "n", "nn", "1&", "o", "1o1", "?", "{", "\\"] {
            assert!(!known(letters), "{letters}");
        }
    }
}
