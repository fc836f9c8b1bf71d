//! "Did you mean …?" for names that are not known.

/// Returns the hint for a name that is close to one of the known names.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_ascii_lowercase();
    let allowed = wanted.chars().count().div_ceil(3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| {
            (
                distance(&wanted, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| format!("did you mean {candidate}?"))
}

/// Counts the insertions, deletions and substitutions between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["ARGS", "ARGS_NAMES", "REQUEST_URI"];
        assert_eq!(
            hint("AGRS_NAMES", known).as_deref(),
            Some("did you mean ARGS_NAMES?")
        );
        assert_eq!(
            hint("request_url", known).as_deref(),
            Some("did you mean REQUEST_URI?")
        );
        assert_eq!(hint("GEO", known), None);
    }
}
