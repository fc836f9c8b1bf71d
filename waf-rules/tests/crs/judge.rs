//! What came of one request, and whether a test wants that.

use std::path::PathBuf;

use regex::RegexBuilder;

use super::suite::Output;

/// Where the rules and their tests are; says so where nobody knows.
pub(crate) fn crs() -> Option<PathBuf> {
    let path = std::env::var_os("PORTCULLIS_CRS");
    if path.is_none() {
        println!("skipped: PORTCULLIS_CRS does not say where the OWASP CRS is");
    }
    path.map(PathBuf::from)
}

/// What came of one request.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// Whether a client finds no head before the body, as in HTTP/0.9.
    pub(crate) headless: bool,
    /// Rules that matched, in order; `None` where none ran.
    pub(crate) matches: Option<Vec<Found>>,
}

/// A rule that matched.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rule: u64,
    pub(crate) phase: u64,
    pub(crate) severity: Option<u64>,
    pub(crate) tags: Vec<String>,
    pub(crate) message: String,
    pub(crate) data: String,
    pub(crate) file: String,
    pub(crate) line: u64,
}

/// Tells what is not as expected, if anything is not.
pub(crate) fn compare(outcome: &Outcome, expected: &Output) -> Option<String> {
    let matches = outcome.matches.as_deref().unwrap_or_default();
    let ids: Vec<u64> = matches.iter().map(|found| found.rule).collect();
    let log: String = matches.iter().map(line).collect();
    if let Some(status) = expected.status.filter(|status| *status != outcome.status) {
        return Some(format!("status {} instead of {status}", outcome.status));
    }
    if expected
        .expect_error
        .is_some_and(|error| error != outcome.headless)
    {
        return Some("the client understands the answer".into());
    }
    if let Some(id) = expected.log.expect_ids.iter().find(|id| !ids.contains(id)) {
        return Some(format!("{id} is not among {ids:?}"));
    }
    if let Some(id) = expected
        .log
        .no_expect_ids
        .iter()
        .find(|id| ids.contains(id))
    {
        let line = matches.iter().find(|found| found.rule == *id).map(line);
        return Some(format!(
            "{id} matched: {}",
            line.unwrap_or_default().trim_end()
        ));
    }
    // As go-ftw has it, `.` stops at a line end.
    let found = |pattern: &String| {
        let regex = RegexBuilder::new(pattern)
            .build()
            .expect("a pattern compiles");
        regex.is_match(&log)
    };
    if let Some(pattern) = expected
        .log
        .match_regex
        .as_ref()
        .filter(|pattern| !found(pattern))
    {
        return Some(format!("the log has no {pattern:?}: {log}"));
    }
    if let Some(pattern) = expected
        .log
        .no_match_regex
        .as_ref()
        .filter(|pattern| found(pattern))
    {
        return Some(format!("the log has {pattern:?}"));
    }
    None
}

/// The status that a stage has to be answered with at level 1, where it expects a
/// rule of that level which alone reaches the threshold: 5 points of a critical
/// rule for requests, 4 of an error for responses.
pub(crate) fn expected_refusal(matches: &[Found], expected: &Output) -> Option<u16> {
    let decides = |found: &Found| {
        let most = if found.phase > 2 { 3 } else { 2 };
        found.severity.is_some_and(|severity| severity <= most)
            && found.tags.iter().any(|tag| tag == "paranoia-level/1")
            && expected.log.expect_ids.contains(&found.rule)
    };
    let decided = matches.iter().any(decides);
    // A body that cannot be read is refused before the CRS sums up.
    let unreadable = |found: &Found| found.rule / 100 == 2000;
    let status = if matches.iter().any(unreadable) {
        400
    } else {
        403
    };
    decided.then_some(status)
}

/// Writes a match as ModSecurity does in the log of Apache.
fn line(found: &Found) -> String {
    let tags: String = found
        .tags
        .iter()
        .map(|tag| format!(" [tag \"{tag}\"]"))
        .collect();
    format!(
        "ModSecurity: Warning. [file \"{}\"] [line \"{}\"] [id \"{}\"] [msg \"{}\"] [data \"{}\"]{tags}\n",
        found.file, found.line, found.rule, found.message, found.data,
    )
}
