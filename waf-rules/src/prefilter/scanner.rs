//! Finds which of thousands of literals are in a value.
//!
//! ```text
//! value --lower case--> its last 4 bytes --hash, bit set--> few --table--> literals --compare--> found
//! ```
//!
//! Of each literal the four bytes that text has least often stand for it, and what they are
//! found in is compared with the whole. So a byte costs a shift, a product and two bits,
//! whatever came before it, and the bits stay in the nearest cache. An automaton of as many
//! literals is either slow, since its states are lists, or takes a hundred megabytes.

use std::cell::RefCell;

/// Bytes that stand for a literal.
const WINDOW: usize = 4;

/// Bits of the hash of a window: a set of them is 32 KiB, of which the CRS has one in forty.
const HASH_BITS: u32 = 18;

/// Bits of a hash by which windows are looked up.
const BUCKET_BITS: u32 = 13;

/// Literals of two bytes or more, without regard to case.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// All literals, in lower case.
    text: Vec<u8>,
    /// Where in `text` each begins; one more than there are.
    starts: Vec<u32>,
    /// The first two bytes of literals that are shorter than a window.
    pairs: BitSet<1024>,
    short: Vec<(u16, u32)>,
    /// The hashes of windows.
    hashes: BitSet<4096>,
    anchors: Vec<Anchor>,
    /// By the upper bits of a hash, where its anchors begin.
    buckets: Vec<u32>,
}

/// What stands for a literal. They are sorted by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Anchor {
    hash: u32,
    window: u32,
    literal: u32,
    /// Where in the literal the window is.
    offset: u32,
}

/// A set of numbers below 64 times its words.
#[derive(Debug)]
struct BitSet<const WORDS: usize>(Box<[u64; WORDS]>);

impl<const WORDS: usize> Default for BitSet<WORDS> {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl<const WORDS: usize> BitSet<WORDS> {
    fn insert(&mut self, bit: u32) {
        self.0[bit as usize / 64 % WORDS] |= 1 << (bit % 64);
    }

    fn has(&self, bit: u32) -> bool {
        // The words are a power of two, so that the remainder is a mask, or nothing.
        self.0[bit as usize / 64 % WORDS] >> (bit % 64) & 1 == 1
    }
}

thread_local! {
    /// Shared by all scanners of a thread: a number is of one value only.
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// The literals that a value was found to have. A value that repeats one a million times
/// costs no more than its length.
#[derive(Default)]
struct Seen {
    /// By literal, the number of the last value that had it.
    last: Vec<u32>,
    value: u32,
}

impl Seen {
    /// Begins the next value.
    fn next(&mut self, literals: usize) {
        if self.last.len() < literals {
            self.last.resize(literals, 0);
        }
        self.value = self.value.checked_add(1).unwrap_or_else(|| {
            self.last.fill(0);
            1
        });
    }

    /// Notes a literal, and tells whether this value had it not before.
    fn is_new(&mut self, literal: u32) -> bool {
        let value = self.value;
        std::mem::replace(&mut self.last[literal as usize], value) != value
    }
}

impl Scanner {
    /// Takes literals in lower case, each of two bytes or more.
    pub(super) fn new<'l>(literals: impl Iterator<Item = &'l [u8]>) -> Self {
        let mut scanner = Self {
            starts: vec![0],
            ..Self::default()
        };
        for (literal, number) in literals.zip(0..) {
            scanner.text.extend_from_slice(literal);
            scanner.starts.push(scanner.text.len() as u32);
            match rarest(literal) {
                Some((offset, window)) => {
                    scanner.hashes.insert(hash(window));
                    scanner.anchors.push(Anchor {
                        hash: hash(window),
                        window,
                        literal: number,
                        offset,
                    });
                }
                None => {
                    let pair = u16::from_le_bytes([literal[0], literal[1]]);
                    scanner.pairs.insert(pair.into());
                    scanner.short.push((pair, number));
                }
            }
        }
        scanner.short.sort_unstable();
        scanner.anchors.sort_unstable();
        let anchors = &scanner.anchors;
        let begin = |bucket: u32| anchors.partition_point(|anchor| bucket_of(anchor.hash) < bucket);
        let buckets = (0..=1 << BUCKET_BITS).map(|bucket| begin(bucket) as u32);
        scanner.buckets = buckets.collect();
        scanner
    }

    /// How many literals there are.
    fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Tells of each literal that the value has, once.
    pub(super) fn find(&self, value: &[u8], mut told: impl FnMut(usize)) {
        if value.len() < 2 || self.len() == 0 {
            return;
        }
        SEEN.with_borrow_mut(|seen| {
            seen.next(self.len());
            let mut told = |literal: u32| {
                if seen.is_new(literal) {
                    told(literal as usize);
                }
            };
            let mut window = 0_u32;
            for (at, byte) in value.iter().enumerate() {
                window = window >> 8 | u32::from(byte.to_ascii_lowercase()) << 24;
                if self.pairs.has(window >> 16) {
                    self.short(value, at, window >> 16, &mut told);
                }
                let hash = hash(window);
                if self.hashes.has(hash) {
                    self.long(value, at, window, hash, &mut told);
                }
            }
        });
    }

    /// Looks for literals that begin with a pair; `last` is the place of its second byte.
    #[inline(never)]
    fn short(&self, value: &[u8], last: usize, pair: u32, told: &mut impl FnMut(u32)) {
        let Some(at) = last.checked_sub(1) else {
            return;
        };
        let first = self
            .short
            .partition_point(|(known, _)| u32::from(*known) < pair);
        let same = self.short[first..].iter();
        for (_, literal) in same.take_while(|(known, _)| u32::from(*known) == pair) {
            if self.is_at(value, at, *literal) {
                told(*literal);
            }
        }
    }

    /// Looks for literals that a window stands for; `last` is the place of its last byte.
    #[inline(never)]
    fn long(&self, value: &[u8], last: usize, window: u32, hash: u32, told: &mut impl FnMut(u32)) {
        let bucket = bucket_of(hash) as usize;
        let (start, end) = (self.buckets[bucket], self.buckets[bucket + 1]);
        for anchor in &self.anchors[start as usize..end as usize] {
            if anchor.window == window
                && let Some(at) = last.checked_sub(anchor.offset as usize + WINDOW - 1)
                && self.is_at(value, at, anchor.literal)
            {
                told(anchor.literal);
            }
        }
    }

    fn is_at(&self, value: &[u8], at: usize, literal: u32) -> bool {
        let [start, end] = [0, 1].map(|more| self.starts[literal as usize + more] as usize);
        let literal = &self.text[start..end];
        let there = value.get(at..at + literal.len());
        there.is_some_and(|there| there.eq_ignore_ascii_case(literal))
    }
}

/// A window as a number.
fn number(window: &[u8]) -> u32 {
    let bytes: [u8; WINDOW] = window.try_into().unwrap_or_default();
    u32::from_le_bytes(bytes)
}

fn hash(window: u32) -> u32 {
    window.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)
}

fn bucket_of(hash: u32) -> u32 {
    hash >> (HASH_BITS - BUCKET_BITS)
}

/// The window of a literal that text has least often, and where it is; `None` of literals
/// that are shorter.
fn rarest(literal: &[u8]) -> Option<(u32, u32)> {
    let windows = literal.windows(WINDOW).zip(0..);
    let rarest = windows.min_by_key(|(window, _)| window.iter().map(commonness).sum::<u32>());
    rarest.map(|(window, offset)| (offset, number(window)))
}

/// How often text has a byte, as a logarithm.
fn commonness(byte: &u8) -> u32 {
    match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'h' | b'l' => 8,
        b'd' | b'c' | b'u' | b'm' | b'p' | b' ' => 7,
        b'w' | b'f' | b'g' | b'y' | b'b' | b'v' | b'0'..=b'9' => 6,
        b'k' | b'.' | b'/' | b'-' | b'_' | b'=' | b'&' | b',' => 5,
        b'j' | b'x' | b'q' | b'z' | b'%' | b'"' | b':' => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITERALS: [&str; 9] = [
        "or",
        "${",
        "abc",
        "union select",
        "/etc/passwd",
        "select",
        "xxxx",
        ";\0",
        "\0\0\0\0",
    ];

    fn found(value: &[u8]) -> Vec<usize> {
        let scanner = Scanner::new(LITERALS.iter().map(|literal| literal.as_bytes()));
        let mut found = Vec::new();
        scanner.find(value, |literal| found.push(literal));
        found.sort_unstable();
        found
    }

    #[test]
    fn each_literal_is_found_once_in_any_case_and_at_any_place() {
        for (number, literal) in LITERALS.iter().enumerate() {
            for before in [0, 1, 1019, 1020, 1021, 1022, 1023, 1024, 2047, 5000] {
                let value = format!("{}{literal}{literal}", "-".repeat(before)).to_uppercase();
                assert!(
                    found(value.as_bytes()).contains(&number),
                    "{literal} {before}"
                );
                assert!(found(&value.as_bytes()[..value.len() - literal.len()]).contains(&number));
                let part = &value.as_bytes()[..before + literal.len() - 1];
                assert!(!found(part).contains(&number), "{literal} {before}");
            }
        }
        assert_eq!(found(b"UNION SELECT or union select"), [0, 3, 5]);
    }

    #[test]
    fn a_value_without_any_is_without_any() {
        for value in [
            &b""[..],
            b"o",
            b"o r",
            b"unionselec",
            b"xxx",
            b";",
            b"\0\0\0",
            b"ab",
        ] {
            assert_eq!(found(value), [0_usize; 0], "{value:?}");
        }
        assert!(Scanner::new(std::iter::empty()).len() == 0);
        Scanner::new(std::iter::empty()).find(b"anything", |_| panic!("there is none"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_found_is_there(value in "[oOrR${abcABC;\\x00x/ectunils pwd]{0,60}") {
            let lower = value.to_lowercase();
            let there = LITERALS.iter().enumerate();
            let there = there.filter(|(_, literal)| lower.contains(**literal));
            let there: Vec<usize> = there.map(|(number, _)| number).collect();
            proptest::prop_assert_eq!(found(value.as_bytes()), there);
        }
    }
}
