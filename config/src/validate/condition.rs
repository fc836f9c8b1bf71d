//! Conditions on a request.

use std::sync::Arc;

use super::{path_form, report::Report, text};
use crate::{
    document,
    model::{HeaderMatch, Match, ParameterMatch, PathMatch, ValueMatch},
};

/// The matches of a rule, each with its number; the one of a rule that says none has none. One
/// with an error matches nothing: without the condition that cannot be read it would match more.
pub(super) fn matches(
    path: &str,
    rule: &document::Rule,
    report: &mut Report<'_>,
) -> Vec<(Option<usize>, Match)> {
    if rule.matches.is_empty() {
        let every = Match {
            path: PathMatch::Prefix(String::new()),
            method: None,
            headers: Vec::new(),
            cookies: Vec::new(),
            query: Vec::new(),
        };
        return vec![(None, every)];
    }
    let mut matches = Vec::new();
    for (index, wanted) in rule.matches.iter().enumerate() {
        let place = format!("{path}.matches[{index}]");
        matches.extend(one_match(&place, wanted, report).map(|compiled| (Some(index), compiled)));
    }
    matches
}

fn one_match(path: &str, wanted: &document::Match, report: &mut Report<'_>) -> Option<Match> {
    let path_match = match &wanted.path {
        None => Some(PathMatch::Prefix(String::new())),
        Some(document::PathMatch::Exact(exact)) => {
            plain_path(path, "exact", exact, report).map(PathMatch::Exact)
        }
        Some(document::PathMatch::Prefix(prefix)) => plain_path(path, "prefix", prefix, report)
            .map(|prefix| PathMatch::Prefix(text::without_slash(&prefix))),
        Some(document::PathMatch::Regex(pattern)) => report
            .ok(&format!("{path}.path.regex"), text::whole_regex(pattern))
            .map(|regex| PathMatch::Regex(Arc::new(regex))),
    };
    let method = match &wanted.method {
        None => Some(None),
        Some(method) => report
            .ok(&format!("{path}.method"), text::method(method))
            .map(Some),
    };
    let headers = all(&format!("{path}.headers"), &wanted.headers, report, header);
    let cookies = all(&format!("{path}.cookies"), &wanted.cookies, report, cookie);
    let query = all(&format!("{path}.query"), &wanted.query, report, parameter);
    Some(Match {
        path: path_match?,
        method: method?,
        headers: headers?,
        cookies: cookies?,
        query: query?,
    })
}

/// A path that is compared as it is written.
fn plain_path(path: &str, way: &str, wanted: &str, report: &mut Report<'_>) -> Option<String> {
    let place = format!("{path}.path.{way}");
    match (text::path(wanted), path_form::meant(wanted)) {
        (Ok(judged), None) => Some(judged),
        (Ok(judged), Some(_)) if report.is_of_object(&place) => Some(judged),
        (Ok(judged), Some(hint)) => {
            let reason = format!(
                "{wanted:?} looks like a regular expression, and `{way}` takes it letter by letter"
            );
            report.warn_hint(place, reason, hint);
            Some(judged)
        }
        (Err(reason), Some(hint)) => {
            report.error_hint(place, reason, hint);
            None
        }
        (Err(reason), None) => report.ok(&place, Err(reason)),
    }
}

/// Every condition of a list, or none where one has an error.
fn all<D, T>(
    path: &str,
    wanted: &[D],
    report: &mut Report<'_>,
    build: impl Fn(&str, &D, &mut Report<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let built: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(index, wanted)| build(&format!("{path}[{index}]"), wanted, report))
        .collect();
    built.into_iter().collect()
}

fn header(
    path: &str,
    wanted: &document::HeaderMatch,
    report: &mut Report<'_>,
) -> Option<HeaderMatch> {
    let name = report.ok(&format!("{path}.name"), text::header_name(&wanted.name))?;
    if let Some(exact) = &wanted.exact {
        report.ok(&format!("{path}.exact"), text::header_value(exact))?;
    }
    let (exact, regex) = (wanted.exact.as_ref(), wanted.regex.as_ref());
    let value = value(path, exact, regex, wanted.present, report)?;
    Some(HeaderMatch { name, value })
}

fn cookie(
    path: &str,
    wanted: &document::ParameterMatch,
    report: &mut Report<'_>,
) -> Option<ParameterMatch> {
    report.ok(&format!("{path}.name"), text::cookie_name(&wanted.name))?;
    if let Some(exact) = &wanted.exact {
        report.ok(&format!("{path}.exact"), text::cookie_value(exact))?;
    }
    parameter(path, wanted, report)
}

fn parameter(
    path: &str,
    wanted: &document::ParameterMatch,
    report: &mut Report<'_>,
) -> Option<ParameterMatch> {
    let (exact, regex) = (wanted.exact.as_ref(), wanted.regex.as_ref());
    let value = value(path, exact, regex, wanted.present, report)?;
    Some(ParameterMatch {
        name: wanted.name.clone(),
        value,
    })
}

fn value(
    path: &str,
    exact: Option<&String>,
    regex: Option<&String>,
    present: Option<bool>,
    report: &mut Report<'_>,
) -> Option<ValueMatch> {
    match (exact, regex, present) {
        (Some(exact), None, None) => Some(ValueMatch::Exact(exact.clone())),
        (None, Some(pattern), None) => report
            .ok(&format!("{path}.regex"), text::whole_regex(pattern))
            .map(ValueMatch::Regex),
        (None, None, Some(true)) => Some(ValueMatch::Present),
        (None, None, Some(false)) => Some(ValueMatch::Absent),
        _ => {
            report.error(path, "exactly one of exact, regex and present is expected");
            None
        }
    }
}
