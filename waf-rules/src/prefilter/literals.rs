//! Literals that a regular expression cannot match without.
//!
//! ```text
//! (?i)union\s+(?:all\s+)?select|into\s+outfile   ->   "union" or "outfile"
//! ```
//!
//! Every value that the expression matches has at least one of them, in any ASCII case.
//! Nothing is said about the reverse. From each sequence the literals are taken that a
//! harmless value is least likely to have; an alternative without any spoils the rest.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// Literals, in lower case.
type Set = BTreeSet<Vec<u8>>;

/// Texts that one part of an expression may stand for, when they are written out.
const MAX_EXACT: usize = 64;

/// Bytes of a class that are written out.
const MAX_CLASS: usize = 12;

/// Literals of one expression.
const MAX_LITERALS: usize = 2000;

/// Bytes of a literal; what is longer is cut, which only asks for less.
const MAX_BYTES: usize = 24;

/// What a literal must be worth: one letter or digit is in nearly every value, and looking
/// for it costs more than it saves.
const MIN_RARITY: u32 = 8;

/// Returns the literals of an expression, or `None` where it has none to go by.
pub(crate) fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let part = Part::of(hir);
    let found = [part.exact.clone().filter(is_useful), part.required];
    let best = found.into_iter().flatten().max_by_key(worth)?;
    (worth(&best).0 >= MIN_RARITY).then(|| best.into_iter().collect())
}

/// What is known of a part of an expression.
#[derive(Clone, Debug, Default)]
struct Part {
    /// Every text that it matches, where they are few.
    exact: Option<Set>,
    /// Literals of which each text has one.
    required: Option<Set>,
}

impl Part {
    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            // What only looks at its surroundings takes no bytes.
            HirKind::Empty | HirKind::Look(_) => Self::exactly([Vec::new()]),
            HirKind::Literal(literal) => Self::exactly([literal.0.to_ascii_lowercase()]),
            HirKind::Class(class) => Self {
                exact: bytes_of(class),
                required: None,
            },
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Repetition(repetition) => Self::repeated(repetition),
            HirKind::Concat(parts) => Self::sequence(parts.iter().map(Self::of)),
            HirKind::Alternation(parts) => Self::either(parts.iter().map(Self::of)),
        }
    }

    fn exactly(texts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            exact: Some(texts.into_iter().collect()),
            required: None,
        }
    }

    /// The literals to go by, if nothing stands beside it.
    fn best(self) -> Option<Set> {
        let exact = self.exact.filter(is_useful);
        [exact, self.required]
            .into_iter()
            .flatten()
            .max_by_key(worth)
    }

    fn repeated(repetition: &Repetition) -> Self {
        let part = Self::of(&repetition.sub);
        match (repetition.min, repetition.max) {
            (1, Some(1)) => part,
            (0, Some(1)) => {
                let exact = part.exact.map(|mut exact| {
                    exact.insert(Vec::new());
                    exact
                });
                Self {
                    exact,
                    required: None,
                }
            }
            (0, _) => Self::default(),
            // So often at least: the rest may be anything.
            (least, most) => {
                let times = least.min(4) as usize;
                let mut sequence = Self::sequence(std::iter::repeat_n(part, times));
                if times as u32 != least || most != Some(least) {
                    sequence = Self {
                        exact: None,
                        required: sequence.best(),
                    };
                }
                sequence
            }
        }
    }

    fn sequence(parts: impl Iterator<Item = Self>) -> Self {
        let mut whole = Self::exactly([Vec::new()]);
        // What stands beside each other exactly, since the last part that does not.
        let mut run: Set = [Vec::new()].into();
        let mut required: Option<Set> = None;
        let mut take = |set: Option<Set>| {
            let known = required.take();
            required = [known, set].into_iter().flatten().max_by_key(worth);
        };
        for part in parts {
            let joined = part.exact.as_ref().and_then(|exact| product(&run, exact));
            match joined {
                Some(joined) => run = joined,
                None => {
                    whole.exact = None;
                    let next = match &part.exact {
                        Some(exact) => exact.clone(),
                        None => [Vec::new()].into(),
                    };
                    take(Some(std::mem::replace(&mut run, next)).filter(is_useful));
                }
            }
            take(part.required);
        }
        if whole.exact.is_some() {
            whole.exact = Some(run.clone());
        }
        take(Some(run).filter(is_useful));
        whole.required = required;
        whole
    }

    fn either(parts: impl Iterator<Item = Self>) -> Self {
        let (mut exact, mut required) = (Some(Set::new()), Some(Set::new()));
        for part in parts {
            exact = match (exact, &part.exact) {
                (Some(mut all), Some(texts)) if all.len() + texts.len() <= MAX_LITERALS => {
                    all.extend(texts.iter().cloned());
                    Some(all)
                }
                _ => None,
            };
            required = match (required, part.best()) {
                (Some(mut all), Some(texts)) if all.len() + texts.len() <= MAX_LITERALS => {
                    all.extend(texts);
                    Some(all)
                }
                _ => None,
            };
        }
        Self { exact, required }
    }
}

/// Every text of one and then of another, where they are few.
fn product(one: &Set, other: &Set) -> Option<Set> {
    // A long list is worth as much as it stands; it is not multiplied.
    if one.len() * other.len() > MAX_EXACT && one.len().min(other.len()) > 1 {
        return None;
    }
    let (longest, more) = (longest(one), longest(other));
    if longest + more > MAX_BYTES && more > 0 && longest > 0 {
        return None;
    }
    let joined = one.iter().flat_map(|head| {
        other
            .iter()
            .map(move |tail| [head.as_slice(), tail.as_slice()].concat())
    });
    Some(joined.collect())
}

fn longest(set: &Set) -> usize {
    set.iter().map(Vec::len).max().unwrap_or(0)
}

/// The bytes of a class, where they are few.
fn bytes_of(class: &Class) -> Option<Set> {
    // Alternatives of one character become a class of code points, whatever they are.
    let ascii = match class {
        Class::Bytes(class) => class.clone(),
        Class::Unicode(class) => class.to_byte_class()?,
    };
    let mut bytes = Set::new();
    for range in ascii.ranges() {
        for byte in range.start()..=range.end() {
            bytes.insert(vec![byte.to_ascii_lowercase()]);
            if bytes.len() > MAX_CLASS {
                return None;
            }
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// Whether a set can rule anything out.
fn is_useful(set: &Set) -> bool {
    !set.is_empty() && set.iter().all(|literal| !literal.is_empty())
}

/// How much a set rules out: rare ones before common ones, then the fewer.
fn worth(set: &Set) -> (u32, std::cmp::Reverse<usize>) {
    let weakest = set.iter().map(|literal| rarity(literal)).min();
    (weakest.unwrap_or(0), std::cmp::Reverse(set.len()))
}

/// Whether a literal is worth looking for.
pub(crate) fn is_rare(literal: &[u8]) -> bool {
    rarity(&literal.to_ascii_lowercase()) >= MIN_RARITY
}

/// How rare a literal is in harmless values, by its bytes.
fn rarity(literal: &[u8]) -> u32 {
    let of = |byte: &u8| match byte {
        b'a'..=b'z' | b' ' => 4,
        b'0'..=b'9' | b'.' | b'-' | b'_' | b',' => 5,
        _ => 8,
    };
    literal.iter().map(of).sum()
}

#[cfg(test)]
pub(super) mod tests {
    use regex::bytes::RegexBuilder;
    use regex_syntax::ParserBuilder;

    use super::*;

    pub(in crate::prefilter) fn parse(pattern: &str) -> Hir {
        ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .dot_matches_new_line(true)
            .build()
            .parse(pattern)
            .unwrap()
    }

    fn of(pattern: &str) -> Vec<String> {
        let literals = required(&parse(pattern)).unwrap_or_default();
        let text = |literal: Vec<u8>| literal.escape_ascii().to_string();
        literals.into_iter().map(text).collect()
    }

    #[test]
    fn the_literals_are_those_that_no_match_can_do_without() {
        let cases: [(&str, &[&str]); 18] = [
            ("(?i)union\\s+(?:all\\s+)?select", &["select"]),
            ("(?i)UNION|outfile", &["outfile", "union"]),
            ("a|b|", &[]),
            ("foo.*barbaz", &["barbaz"]),
            ("<scr(?:i|1)pt", &["<scr1pt", "<script"]),
            ("x{3}", &["xxx"]),
            ("x{2,}y", &["xx"]),
            ("(?:ab)*", &[]),
            ("(?:ab)+", &["ab"]),
            ("[0-9]+", &[]),
            ("[\\n\\r]", &["\\n", "\\r"]),
            ("\\bexec\\b", &["exec"]),
            ("^/etc/(?:passwd|shadow)$", &["/etc/passwd", "/etc/shadow"]),
            ("(?:sleep|benchmark)\\s*\\(", &["benchmark", "sleep"]),
            ("\\x00", &["\\x00"]),
            ("(?:a[^b]c|def)", &[]),
            ("https?://", &["http://", "https://"]),
            ("", &[]),
        ];
        for (pattern, expected) in cases {
            let found = of(pattern);
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn every_match_has_a_literal() {
        let judged = check_matches(|hir| {
            let literals = required(hir)?;
            Some(move |value: &[u8]| {
                let lower = value.to_ascii_lowercase();
                let has = |literal: &Vec<u8>| {
                    lower.windows(literal.len()).any(|window| window == literal)
                };
                literals.iter().any(has)
            })
        });
        assert!(judged > 500, "{judged}");
    }

    /// Makes expressions and values, and checks that each value that an expression matches
    /// is one that it is said to be able to match. Returns how many matched.
    pub(in crate::prefilter) fn check_matches<F: Fn(&[u8]) -> bool>(
        rule: impl Fn(&Hir) -> Option<F>,
    ) -> usize {
        const PIECES: [&str; 22] = [
            "a",
            "b",
            "ab",
            "[ab]",
            "[^a]",
            "c?",
            "(?:ab|c)",
            "(?:a|)",
            "b+",
            "a*",
            "(?i:AB)",
            "x{2}",
            "x{1,3}",
            "(?:ab){2,}",
            "\\s",
            ".",
            "^",
            "$",
            "\\b",
            "(?:a|b(?:c|x))?",
            "c",
            "[a-z]",
        ];
        const ALPHABET: &[u8] = b"abcxABX \n";
        let mut state = 0x9e37_79b9_u32;
        let mut next = |most: usize| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize % most
        };
        let (mut matched, mut others) = (0, 0);
        for _ in 0..3000 {
            let mut piece = || PIECES[next(PIECES.len())];
            let pattern = format!("{}{}{}|{}{}", piece(), piece(), piece(), piece(), piece());
            let Some(may_match) = rule(&parse(&pattern)) else {
                continue;
            };
            let regex = RegexBuilder::new(&pattern)
                .unicode(false)
                .dot_matches_new_line(true)
                .build()
                .unwrap();
            for _ in 0..40 {
                let length = next(9);
                let value: Vec<u8> = (0..length)
                    .map(|_| ALPHABET[next(ALPHABET.len())])
                    .collect();
                if !regex.is_match(&value) {
                    others += 1;
                    continue;
                }
                matched += 1;
                let text = value.escape_ascii();
                assert!(may_match(&value), "{pattern} matches {text}");
            }
        }
        assert!(others > 500, "{others}");
        matched
    }
}
