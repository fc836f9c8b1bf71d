//! What a value must have to match where no literal says so: a length, and one byte of a set.
//!
//! ```text
//! (?:b["']*u["']*s["']*y)["']*\s*[;|&]   ->   4 bytes, one of them `;`, `|` or `&`
//! ```
//!
//! Words and numbers, which most values are, have no such byte.

use std::collections::HashMap;

use regex_syntax::hir::{Class, Hir, HirKind};

use super::bits;
use crate::transformations::Classes;

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every byte.
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    /// The bytes of a value.
    pub(crate) fn of(value: &[u8]) -> Self {
        let mut words = [0; 4];
        for byte in value {
            words[usize::from(byte / 64)] |= 1 << (byte % 64);
        }
        Self(words)
    }

    /// The bytes that a test picks.
    pub(crate) fn from_fn(picks: impl Fn(u8) -> bool) -> Self {
        let mut words = [0; 4];
        for (index, word) in words.iter_mut().enumerate() {
            for bit in 0..64 {
                *word |= u64::from(picks((index * 64 + bit) as u8)) << bit;
            }
        }
        Self(words)
    }

    fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] | other.0[index]))
    }

    fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }

    /// The same with both cases of each letter.
    fn in_any_case(self) -> Self {
        Self::from_fn(|byte| {
            self.has(byte.to_ascii_lowercase()) || self.has(byte.to_ascii_uppercase())
        })
    }

    /// How likely a harmless value is to have one of the bytes.
    fn commonness(self) -> u32 {
        let of = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' => 8,
            b'0'..=b'9' | b' ' => 6,
            b'.' | b'-' | b'_' | b'/' | b',' => 4,
            _ => 1,
        };
        let bytes = (0..=u8::MAX).filter(|byte| self.has(*byte));
        bytes.map(of).sum()
    }
}

/// What a value must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Need {
    /// So many bytes at least.
    pub(crate) length: usize,
    /// One of these; [`ByteSet::ALL`] where there is nothing to say.
    pub(crate) bytes: ByteSet,
}

impl Need {
    /// One of some bytes, in any case.
    pub(crate) fn one_of(bytes: ByteSet) -> Self {
        Self {
            length: 1,
            bytes: bytes.in_any_case(),
        }
    }

    /// A text within the value.
    pub(crate) fn text(text: &[u8]) -> Self {
        let each = text.iter().map(|byte| ByteSet::of(&[*byte]));
        let rarest = each.min_by_key(|byte| byte.commonness());
        Self {
            length: text.len(),
            bytes: rarest.unwrap_or(ByteSet::ALL).in_any_case(),
        }
    }

    /// What every match of an expression has.
    pub(crate) fn of(hir: &Hir) -> Self {
        Self {
            length: hir.properties().minimum_len().unwrap_or(0),
            bytes: needed(hir).unwrap_or(ByteSet::ALL).in_any_case(),
        }
    }

    /// Whether it can rule out anything but empty values.
    pub(crate) fn is_useful(&self) -> bool {
        self.length > 1 || self.bytes != ByteSet::ALL
    }
}

/// The kinds of bytes of a value: those that transformations may change, in the lower bits,
/// and above them those that make a difference to needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u128);

/// The first bit of a kind of needs.
const FIRST: usize = 16;

/// How many kinds of needs there are room for; more share their bits.
const MOST: usize = 128 - FIRST;

impl Kinds {
    /// Classes alone.
    pub(crate) fn of(classes: Classes) -> Self {
        Self(classes.bits().into())
    }

    /// The classes of bytes that transformations may change.
    pub(crate) fn classes(self) -> Classes {
        Classes::from_bits(self.0 as u16)
    }

    /// Each kind of needs.
    fn for_each(self, mut given: impl FnMut(usize)) {
        let mut rest = self.0 >> FIRST;
        while rest != 0 {
            given(rest.trailing_zeros() as usize);
            rest &= rest - 1;
        }
    }
}

/// The needs of all conditions.
///
/// Bytes that are in the same needs are of one kind; there are some forty.
#[derive(Debug)]
pub(super) struct Needs {
    /// The kind of each byte.
    kinds: Box<[Kinds; 256]>,
    /// By kind, the conditions that need no more than one of it.
    short: Vec<u64>,
    /// Words of a set of conditions.
    stride: usize,
    /// Needs of more than one byte: how many, and the conditions.
    longer: Vec<(usize, Vec<u32>)>,
    /// By kind, which of those it is enough for.
    enough: Vec<u64>,
}

impl Default for Needs {
    fn default() -> Self {
        Self::new([], 0)
    }
}

impl Needs {
    /// Takes needs and the conditions that have each, of so many conditions.
    pub(super) fn new(
        needs: impl IntoIterator<Item = (Need, Vec<u32>)>,
        conditions: usize,
    ) -> Self {
        let needs = needs.into_iter();
        let (short, longer): (Vec<_>, Vec<_>) = needs.partition(|(need, _)| need.length <= 1);
        let stride = bits::words(conditions);
        let words = longer.len().div_ceil(64);
        let mut known: HashMap<Vec<bool>, usize> = HashMap::new();
        let mut made = Self {
            kinds: Box::new([Kinds::default(); 256]),
            short: vec![0; MOST * stride],
            stride,
            longer: Vec::new(),
            enough: vec![0; MOST * words],
        };
        for byte in 0..=u8::MAX {
            let all = short.iter().chain(&longer);
            let having = all.map(|(need, _)| need.bytes.has(byte)).collect();
            let next = known.len();
            let kind = *known.entry(having).or_insert(next) % MOST;
            let bits = 1 << (FIRST + kind) | u128::from(Classes::of_byte(byte).bits());
            made.kinds[usize::from(byte)] = Kinds(bits);
            let row = &mut made.short[kind * stride..][..stride];
            let meeting = short.iter().filter(|(need, _)| need.bytes.has(byte));
            meeting.for_each(|(_, owners)| insert(row, owners));
            let row = &mut made.enough[kind * words..][..words];
            for (index, _) in longer
                .iter()
                .enumerate()
                .filter(|(_, (need, _))| need.bytes.has(byte))
            {
                row[index / 64] |= 1 << (index % 64);
            }
        }
        let longer = longer.into_iter();
        made.longer = longer.map(|(need, owners)| (need.length, owners)).collect();
        made
    }

    /// The kinds of the bytes of a value.
    pub(super) fn kinds(&self, value: &[u8]) -> Kinds {
        let mut kinds = u128::from(Classes::of_all(value).bits());
        for byte in value {
            kinds |= self.kinds[usize::from(*byte)].0;
        }
        Kinds(kinds)
    }

    /// Adds each condition whose need a value of so many bytes, of these kinds, meets.
    pub(super) fn met(&self, length: usize, kinds: Kinds, conditions: &mut [u64]) {
        kinds.for_each(|kind| {
            bits::add(conditions, &self.short[kind * self.stride..][..self.stride])
        });
        let words = self.longer.len().div_ceil(64);
        for word in 0..words {
            let mut met = 0;
            kinds.for_each(|kind| met |= self.enough[kind * words + word]);
            while met != 0 {
                let (needed, owners) = &self.longer[word * 64 + met.trailing_zeros() as usize];
                met &= met - 1;
                if length >= *needed {
                    insert(conditions, owners);
                }
            }
        }
    }
}

/// Adds conditions to a set.
pub(super) fn insert(set: &mut [u64], conditions: &[u32]) {
    for condition in conditions {
        set[*condition as usize / 64] |= 1 << (condition % 64);
    }
}

/// Bytes of which each match has one; `None` where it can do without any.
fn needed(hir: &Hir) -> Option<ByteSet> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Literal(literal) => {
            let each = literal.0.iter().map(|byte| ByteSet::of(&[*byte]));
            each.min_by_key(|byte| byte.commonness())
        }
        HirKind::Class(class) => {
            let class = match class {
                Class::Bytes(class) => class.clone(),
                Class::Unicode(class) => class.to_byte_class()?,
            };
            Some(ByteSet::from_fn(|byte| {
                let mut ranges = class.ranges().iter();
                ranges.any(|range| (range.start()..=range.end()).contains(&byte))
            }))
        }
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Repetition(repetition) => match repetition.min {
            0 => None,
            _ => needed(&repetition.sub),
        },
        HirKind::Concat(parts) => {
            let sets = parts.iter().filter_map(needed);
            sets.min_by_key(|set| set.commonness())
        }
        HirKind::Alternation(parts) => {
            let mut all = ByteSet::default();
            for part in parts {
                all = all.or(needed(part)?);
            }
            Some(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefilter::literals::tests::{check_matches, parse};

    #[test]
    fn the_need_is_what_no_match_can_do_without() {
        let cases = [
            ("[;|&]\\s*(?:cat|ls)", 3, ";&|"),
            ("a?b?c", 1, "cC"),
            ("(?:ab=|cd=)", 3, "="),
            ("(?:ab=|cd:)x", 4, "=:"),
            ("[0-9]+['\"]", 2, "'\""),
            ("(?:x;)+", 2, ";"),
        ];
        for (pattern, length, bytes) in cases {
            let need = Need::of(&parse(pattern));
            let bytes = ByteSet::of(bytes.as_bytes());
            assert_eq!(need, Need { length, bytes }, "{pattern}");
        }
        for pattern in ["", "a*", "^$", "(?:a|)", "\\b"] {
            assert!(!Need::of(&parse(pattern)).is_useful(), "{pattern}");
        }
    }

    #[test]
    fn every_match_has_what_it_needs() {
        let judged = check_matches(|hir| {
            let need = Need::of(hir);
            // Behind others, so that both words of a block are looked at.
            let other = Need::text(b"a text that is in no value");
            let needs = vec![(other, vec![0]); 100].into_iter();
            let needs = Needs::new(needs.chain([(need, vec![70])]), 71);
            let met = move |value: &[u8]| {
                let mut met = [0; 4];
                needs.met(value.len(), needs.kinds(value), &mut met);
                met[1] >> 6 & 1 == 1
            };
            need.is_useful().then_some(met)
        });
        assert!(judged > 500, "{judged}");
    }
}
