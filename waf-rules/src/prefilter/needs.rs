//! What a value must have to match where no literal says so: a length, and one byte of a set.
//!
//! ```text
//! (?:b["']*u["']*s["']*y)["']*\s*[;|&]   ->   4 bytes, one of them `;`, `|` or `&`
//! ```
//!
//! Words and numbers, which most values are, have no such byte.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every byte.
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    /// The bytes of a value.
    pub(crate) fn of(value: &[u8]) -> Self {
        const LONG: usize = 512;
        if value.len() < LONG {
            // Four sets, since one would wait for its own last store at each byte.
            let mut sets = [[0_u64; 4]; 4];
            let (chunks, rest) = value.as_chunks::<4>();
            for chunk in chunks {
                for (set, byte) in sets.iter_mut().zip(chunk) {
                    set[usize::from(byte / 64)] |= 1 << (byte % 64);
                }
            }
            for byte in rest {
                sets[0][usize::from(byte / 64)] |= 1 << (byte % 64);
            }
            let [a, b, c, d] = sets.map(Self);
            return a.or(b).or(c.or(d));
        }
        // A store for each byte, with nothing to wait for; then one look at the table.
        let mut has = [false; 256];
        for byte in value {
            has[usize::from(*byte)] = true;
        }
        Self::from_fn(|byte| has[usize::from(byte)])
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

    /// Gives each of its bytes.
    pub(crate) fn for_each(self, mut given: impl FnMut(u8)) {
        for (word, first) in self.0.into_iter().zip([0, 64, 128, 192]) {
            let mut word = word;
            while word != 0 {
                given(first + word.trailing_zeros() as u8);
                word &= word - 1;
            }
        }
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

/// The needs of all conditions, as many at once as there are bits in a word.
#[derive(Debug, Default)]
pub(super) struct Needs(Vec<Block>);

#[derive(Debug)]
struct Block {
    /// How long a value must be, and the conditions that have the need.
    needs: Vec<(usize, Vec<u32>)>,
    /// By byte, the needs that it is enough for.
    by_byte: Box<[u128; 256]>,
}

impl Block {
    fn new(needs: &[(Need, Vec<u32>)]) -> Self {
        let mut by_byte = Box::new([0; 256]);
        for (bits, byte) in by_byte.iter_mut().zip(0..=u8::MAX) {
            for (index, (need, _)) in needs.iter().enumerate() {
                *bits |= u128::from(need.bytes.has(byte)) << index;
            }
        }
        let needs = needs.iter();
        Self {
            needs: needs
                .map(|(need, owners)| (need.length, owners.clone()))
                .collect(),
            by_byte,
        }
    }
}

impl Needs {
    /// Takes needs, and the conditions that have each.
    pub(super) fn new(needs: impl IntoIterator<Item = (Need, Vec<u32>)>) -> Self {
        let needs: Vec<_> = needs.into_iter().collect();
        Self(needs.chunks(128).map(Block::new).collect())
    }

    /// Tells of each condition whose need a value of so many bytes, and with these, meets.
    pub(super) fn met(&self, length: usize, bytes: ByteSet, mut told: impl FnMut(u32)) {
        for block in &self.0 {
            let mut met = 0_u128;
            bytes.for_each(|byte| met |= block.by_byte[usize::from(byte)]);
            while met != 0 {
                let (needed, owners) = &block.needs[met.trailing_zeros() as usize];
                met &= met - 1;
                if length >= *needed {
                    owners.iter().for_each(|&condition| told(condition));
                }
            }
        }
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
            let needs = Needs::new(needs.chain([(need, vec![7])]));
            let met = move |value: &[u8]| {
                let mut met = false;
                needs.met(value.len(), ByteSet::of(value), |condition| {
                    met |= condition == 7
                });
                met
            };
            need.is_useful().then_some(met)
        });
        assert!(judged > 500, "{judged}");
    }
}
