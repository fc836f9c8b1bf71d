//! Conditions on a request.

use super::{report::Report, text};
use crate::{
    document,
    model::{HeaderMatch, HeaderValueMatch, Match, PathMatch},
};

/// The matches of a rule with their paths. One with an error matches nothing:
/// without the condition that cannot be read it would match more.
pub(super) fn matches(
    path: &str,
    rule: &document::Rule,
    report: &mut Report<'_>,
) -> Vec<(String, Match)> {
    if rule.matches.is_empty() {
        let every = Match {
            path: PathMatch::Prefix(String::new()),
            method: None,
            headers: Vec::new(),
        };
        return vec![(path.to_owned(), every)];
    }
    let mut matches = Vec::new();
    for (index, wanted) in rule.matches.iter().enumerate() {
        let place = format!("{path}.matches[{index}]");
        matches.extend(one_match(&place, wanted, report).map(|compiled| (place, compiled)));
    }
    matches
}

fn one_match(path: &str, wanted: &document::Match, report: &mut Report<'_>) -> Option<Match> {
    let path_match = match &wanted.path {
        None => Some(PathMatch::Prefix(String::new())),
        Some(document::PathMatch::Exact(exact)) => report
            .ok(&format!("{path}.path.exact"), text::path(exact))
            .map(PathMatch::Exact),
        Some(document::PathMatch::Prefix(prefix)) => report
            .ok(&format!("{path}.path.prefix"), text::path(prefix))
            .map(|prefix| PathMatch::Prefix(text::without_slash(&prefix))),
        Some(document::PathMatch::Regex(pattern)) => report
            .ok(&format!("{path}.path.regex"), text::whole_regex(pattern))
            .map(PathMatch::Regex),
    };
    let method = match &wanted.method {
        None => Some(None),
        Some(method) => report
            .ok(&format!("{path}.method"), text::method(method))
            .map(Some),
    };
    let headers: Vec<_> = wanted
        .headers
        .iter()
        .enumerate()
        .map(|(index, header)| header_match(&format!("{path}.headers[{index}]"), header, report))
        .collect();
    let headers = headers.into_iter().collect::<Option<Vec<_>>>();
    Some(Match {
        path: path_match?,
        method: method?,
        headers: headers?,
    })
}

fn header_match(
    path: &str,
    wanted: &document::HeaderMatch,
    report: &mut Report<'_>,
) -> Option<HeaderMatch> {
    let name = report.ok(&format!("{path}.name"), text::header_name(&wanted.name))?;
    let value = match (&wanted.exact, &wanted.regex, wanted.present) {
        (Some(exact), None, None) => {
            report.ok(&format!("{path}.exact"), text::header_value(exact))?;
            HeaderValueMatch::Exact(exact.clone())
        }
        (None, Some(pattern), None) => HeaderValueMatch::Regex(
            report.ok(&format!("{path}.regex"), text::whole_regex(pattern))?,
        ),
        (None, None, Some(true)) => HeaderValueMatch::Present,
        (None, None, Some(false)) => HeaderValueMatch::Absent,
        _ => {
            report.error(path, "exactly one of exact, regex and present is expected");
            return None;
        }
    };
    Some(HeaderMatch { name, value })
}
