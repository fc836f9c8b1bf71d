//! Matches that stand twice, so that a rule never gets a request.

use std::{collections::HashMap, fmt::Write as _};

use super::report::Report;
use crate::{
    document::Document,
    model::{HostPattern, Match, PathMatch, Route},
};

/// The matches so far, by host and condition as text.
pub(super) struct Repeats<'d> {
    document: &'d Document,
    seen: HashMap<String, Vec<Place>>,
}

/// Where a match stands: its route, its rule and its own number, which a rule for everything has
/// none of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) route: usize,
    pub(super) rule: usize,
    pub(super) index: Option<usize>,
}

impl Place {
    fn path(self) -> String {
        let Self { route, rule, index } = self;
        match index {
            Some(index) => format!("routes[{route}].rules[{rule}].matches[{index}]"),
            None => format!("routes[{route}].rules[{rule}]"),
        }
    }
}

impl<'d> Repeats<'d> {
    pub(super) fn new(document: &'d Document) -> Self {
        Self {
            document,
            seen: HashMap::new(),
        }
    }

    /// Notes the matches of a route without an error.
    pub(super) fn note_all(&mut self, number: usize, route: &Route, report: &mut Report<'_>) {
        let Some(wanted) = self.document.routes.get(number) else {
            return;
        };
        for (rule, (matches, _)) in route.rules.iter().enumerate() {
            let is_for_all = wanted
                .rules
                .get(rule)
                .is_some_and(|rule| rule.matches.is_empty());
            for (index, condition) in matches.iter().enumerate() {
                let place = Place {
                    route: number,
                    rule,
                    index: (!is_for_all).then_some(index),
                };
                self.note(place, &route.hosts, condition, report);
            }
        }
    }

    /// Warns where an earlier rule has the same match on the same host and on
    /// every listener of this one.
    pub(super) fn note(
        &mut self,
        place: Place,
        hosts: &[HostPattern],
        condition: &Match,
        report: &mut Report<'_>,
    ) {
        let document = self.document;
        let listeners = |place: Place| document.routes[place.route].listeners.as_slice();
        let own = listeners(place);
        let is_same = |other: &&Place| {
            let others = listeners(**other);
            (other.route, other.rule) != (place.route, place.rule)
                && (others.is_empty()
                    || !own.is_empty() && own.iter().all(|name| others.contains(name)))
        };
        let mut first = None;
        let all = [None];
        let some: Vec<Option<&_>> = hosts.iter().map(Some).collect();
        let hosts = match hosts.is_empty() {
            true => &all[..],
            false => &some,
        };
        for host in hosts {
            let mut key = String::new();
            // Writing to text never fails.
            let _ = match host {
                Some(host) => write!(key, "{host}\0"),
                None => write!(key, "\0"),
            };
            write_condition(&mut key, condition);
            let seen = self.seen.entry(key).or_default();
            first = first.or_else(|| seen.iter().find(is_same).copied());
            seen.push(place);
        }
        if let Some(other) = first {
            let origin = report.origins().locate(&other.path());
            let route = &document.routes[other.route].name;
            report.warn(
                place.path(),
                format!(
                    "rule \"{route}/{}\" at {origin} has the same match and comes first",
                    other.rule
                ),
            );
        }
    }
}

/// Writes a condition; the order of its headers, cookies and parameters does not matter.
fn write_condition(text: &mut String, wanted: &Match) {
    let (kind, path) = match &wanted.path {
        PathMatch::Exact(path) => ('=', path.as_str()),
        PathMatch::Prefix(path) => ('^', path.as_str()),
        PathMatch::Regex(regex) => ('~', regex.as_str()),
    };
    text.push(kind);
    text.push_str(path);
    // In no path.
    text.push('\0');
    if let Some(method) = &wanted.method {
        text.push_str(method.as_str());
    }
    // Few rules have any.
    for conditions in [
        sorted(&wanted.headers),
        sorted(&wanted.cookies),
        sorted(&wanted.query),
    ] {
        text.push('\0');
        text.extend(conditions);
    }
}

fn sorted(conditions: &[impl std::fmt::Debug]) -> Vec<String> {
    let mut texts: Vec<String> = conditions
        .iter()
        .map(|condition| format!("{condition:?}"))
        .collect();
    texts.sort_unstable();
    texts
}
