//! The values of the secrets of one transaction.

use aho_corasick::AhoCorasick;

use super::MASK;

/// Shorter values are not looked for in texts: they stand in every word. Names alone hide them.
const SHORTEST: usize = 4;

/// Values that are looked for. A request with more has its texts left out whole.
const MOST: usize = 256;

/// Bytes of a value that are looked for first: few texts have any of them.
const BEGINNING: usize = 64;

/// So many are looked for one by one: an automaton would cost more than it saves.
const FEW: usize = 16;

/// The values of the secrets of one transaction, to take out of texts that rules made.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// In lower case, the longest first.
    values: Vec<Vec<u8>>,
    /// Finds whether a text has the beginning of one; `None` where there are [`FEW`].
    beginnings: Option<AhoCorasick>,
    too_many: bool,
}

impl Values {
    /// Takes values; short ones are left out.
    pub(crate) fn new<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut too_many = false;
        for value in values.filter(|value| value.len() >= SHORTEST) {
            if found.len() == MOST {
                too_many = true;
                break;
            }
            found.push(value.to_ascii_lowercase());
        }
        found.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        found.dedup();
        if found.len() <= FEW {
            return Self {
                values: found,
                beginnings: None,
                too_many,
            };
        }
        let beginnings = found
            .iter()
            .map(|value| &value[..value.len().min(BEGINNING)]);
        let beginnings = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(beginnings);
        Self {
            // Some 16 KiB of patterns are no problem; if they were, nothing would be told.
            too_many: too_many || beginnings.is_err(),
            beginnings: beginnings.ok(),
            values: found,
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
        let is_free = |beginnings: &AhoCorasick| !beginnings.is_match(&text);
        if self.values.is_empty() || self.beginnings.as_ref().is_some_and(is_free) {
            return text;
        }
        let mut lower = text.to_ascii_lowercase();
        let mut text = text;
        for value in &self.values {
            if value.len() > text.len() {
                continue;
            }
            let finder = memchr::memmem::Finder::new(value);
            let places: Vec<usize> = finder.find_iter(&lower).collect();
            if places.is_empty() {
                continue;
            }
            let mut output = Vec::with_capacity(text.len());
            let mut at = 0;
            for place in places {
                output.extend_from_slice(&text[at..place]);
                output.extend_from_slice(MASK.as_bytes());
                at = place + value.len();
            }
            output.extend_from_slice(&text[at..]);
            lower = output.to_ascii_lowercase();
            text = output;
        }
        text
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
    fn too_many_values_hide_the_whole_text() {
        let many: Vec<String> = (0..300).map(|n| format!("value-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(masked(&many, "some text"), "***");
    }
}
