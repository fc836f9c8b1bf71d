//! The values of the secrets of one transaction.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::MASK;

/// Shorter values are not looked for in texts: they stand in every word. Names alone hide them.
pub(crate) const SHORTEST: usize = 4;

/// Values that are looked for, far above the cookies, arguments and headers of any client.
/// A request with more has its texts left out whole.
const MOST: usize = 16 << 10;

/// Bytes of a value that are looked for first.
const BEGINNING: usize = 64;

/// Bytes of all beginnings together: their automaton takes some 30 times as much.
const BEGINNINGS: usize = 64 << 10;

/// Values with one beginning that are told apart; where there are more, the longest hides all.
const ALIKE: usize = 16;

/// So many are looked for one by one: an automaton would cost more than it saves.
const FEW: usize = 16;

/// The values of the secrets of one transaction, to take out of texts that rules made.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// In lower case, in order.
    values: Vec<Vec<u8>>,
    /// Finds where one may begin; `None` where there are [`FEW`].
    beginnings: Option<Beginnings>,
    too_many: bool,
}

/// The beginnings of values, and which values have each.
#[derive(Debug)]
struct Beginnings {
    automaton: AhoCorasick,
    /// By pattern, and how long the longest of them is.
    values: Vec<(Range<usize>, usize)>,
}

impl Values {
    /// Takes values; short ones are left out.
    pub(crate) fn new<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found: Vec<Vec<u8>> = Vec::new();
        for value in values.filter(|value| value.len() >= SHORTEST) {
            if found.len() == MOST {
                return Self::unknown();
            }
            found.push(value.to_ascii_lowercase());
        }
        found.sort_unstable();
        found.dedup();
        if found.len() <= FEW {
            return Self {
                values: found,
                ..Self::default()
            };
        }
        match Beginnings::of(&found) {
            Some(beginnings) => Self {
                values: found,
                beginnings: Some(beginnings),
                too_many: false,
            },
            // So few bytes are no problem; if they were, nothing would be told.
            None => Self::unknown(),
        }
    }

    /// Values that are not known: every text may have them.
    pub(crate) fn unknown() -> Self {
        Self {
            too_many: true,
            ..Self::default()
        }
    }

    /// Replaces every secret in a text, without regard to case.
    pub(crate) fn masked(&self, text: Vec<u8>) -> Vec<u8> {
        if self.too_many && !text.is_empty() {
            return MASK.as_bytes().to_vec();
        }
        if self.values.is_empty() {
            return text;
        }
        let lower = text.to_ascii_lowercase();
        let mut places = match &self.beginnings {
            Some(beginnings) => beginnings.places(&lower, &self.values),
            None => places(&lower, &self.values),
        };
        if places.is_empty() {
            return text;
        }
        places.sort_unstable_by_key(|place| (place.start, std::cmp::Reverse(place.end)));
        let mut output = Vec::with_capacity(text.len());
        let mut at = 0;
        for place in places {
            // What overlaps is one secret for whoever reads it.
            if place.start >= at {
                output.extend_from_slice(&text[at..place.start]);
                output.extend_from_slice(MASK.as_bytes());
            }
            at = at.max(place.end);
        }
        output.extend_from_slice(&text[at..]);
        output
    }
}

/// Where values stand in a text, each looked for by itself.
fn places(text: &[u8], values: &[Vec<u8>]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for value in values.iter().filter(|value| value.len() <= text.len()) {
        let found = memchr::memmem::find_iter(text, value);
        places.extend(found.map(|at| at..at + value.len()));
    }
    places
}

impl Beginnings {
    /// Takes values in order; `None` where no automaton can be made.
    fn of(values: &[Vec<u8>]) -> Option<Self> {
        let length = (BEGINNINGS / values.len()).clamp(SHORTEST, BEGINNING);
        let beginning = |value: &[u8]| value[..value.len().min(length)].to_vec();
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut ranges: Vec<(Range<usize>, usize)> = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let beginning = beginning(value);
            match ranges.last_mut() {
                Some((range, longest)) if patterns.last() == Some(&beginning) => {
                    range.end = at + 1;
                    *longest = value.len().max(*longest);
                }
                _ => {
                    patterns.push(beginning);
                    ranges.push((at..at + 1, value.len()));
                }
            }
        }
        Some(Self {
            automaton: AhoCorasick::new(patterns).ok()?,
            values: ranges,
        })
    }

    /// Where values stand in a text, in lower case.
    fn places(&self, text: &[u8], values: &[Vec<u8>]) -> Vec<Range<usize>> {
        let mut places: Vec<Range<usize>> = Vec::new();
        for found in self.automaton.find_overlapping_iter(text) {
            let Some((range, longest)) = self.values.get(found.pattern().as_usize()) else {
                continue;
            };
            let rest = &text[found.start()..];
            let longest = match values.get(range.clone()) {
                Some(alike) if alike.len() <= ALIKE => {
                    let standing = alike.iter().filter(|value| rest.starts_with(value));
                    standing.map(Vec::len).max()
                }
                _ => Some(*longest),
            };
            if let Some(longest) = longest {
                let end = found.start() + longest.min(rest.len());
                match places.last_mut() {
                    // One for all that overlap, as they come.
                    Some(last) if (last.start..=last.end).contains(&found.start()) => {
                        last.end = end.max(last.end);
                    }
                    _ => places.push(found.start()..end),
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(values: &[&str], text: &str) -> String {
        let values = Values::new(values.iter().map(|value| value.as_bytes()));
        String::from_utf8(values.masked(text.into())).expect("text")
    }

    #[test]
    fn values_are_taken_out_wherever_they_stand() {
        assert_eq!(
            masked(
                &["hunter2", "hunter2-and-more", "abc"],
                "HUNTER2 hunter2-and-more, abc"
            ),
            "*** ***, abc"
        );
        assert_eq!(masked(&[], "text"), "text");
    }

    #[test]
    fn many_values_are_taken_out_and_the_rest_stays() {
        let shared = "s".repeat(BEGINNING);
        let mut many: Vec<String> = (0..1000).map(|n| format!("value-{n:04}")).collect();
        many.extend(["a", "ab", "abcdef"].map(|end| format!("{shared}{end}")));
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            masked(&many, "some text, VALUE-0007 value-0999 value-1000 valu"),
            "some text, *** *** value-1000 valu"
        );
        assert_eq!(masked(&many, &format!("<{shared}abc>")), "<***c>");
        assert_eq!(
            masked(&many, &format!("<{shared}x>")),
            format!("<{shared}x>")
        );
    }

    #[test]
    fn values_that_overlap_or_are_alike_leave_nothing_of_either() {
        for more in [0, FEW] {
            let more: Vec<String> = (0..more).map(|n| format!("other{n}")).collect();
            let values = ["abcd1234", "1234efgh"];
            let all: Vec<&str> = values
                .into_iter()
                .chain(more.iter().map(|v| &**v))
                .collect();
            assert_eq!(masked(&all, "<abcd1234efgh>"), "<***>");
        }
        let shared = "s".repeat(BEGINNING);
        let alike: Vec<String> = (0..1000).map(|n| format!("{shared}{n:04}")).collect();
        let alike: Vec<&str> = alike.iter().map(String::as_str).collect();
        assert_eq!(masked(&alike, &format!("<{shared}0007>")), "<***>");
    }

    #[test]
    fn too_many_values_hide_the_whole_text() {
        let many: Vec<String> = (0..=MOST).map(|n| format!("value-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(masked(&many, "some text"), "***");
    }
}
