//! Matches that stand twice, so that a rule never gets a request.

use std::collections::HashMap;

use super::report::Report;
use crate::model::{HostPattern, Match};

/// The matches so far, by host and condition.
#[derive(Default)]
pub(super) struct Repeats {
    seen: HashMap<(Option<HostPattern>, String), Vec<Seen>>,
}

/// A match and whose it is.
struct Seen {
    listeners: Vec<String>,
    rule: String,
    path: String,
}

impl Repeats {
    /// Warns where an earlier rule has the same match on the same host and on
    /// every listener of this one.
    pub(super) fn note(
        &mut self,
        rule: &str,
        listeners: &[String],
        hosts: &[HostPattern],
        matches: &[(String, Match)],
        report: &mut Report<'_>,
    ) {
        let hosts: Vec<Option<&HostPattern>> = match hosts.is_empty() {
            true => vec![None],
            false => hosts.iter().map(Some).collect(),
        };
        for (path, wanted) in matches {
            let condition = text_of(wanted);
            let mut first = None;
            for host in &hosts {
                let seen = self
                    .seen
                    .entry((host.cloned(), condition.clone()))
                    .or_default();
                let same = |other: &&Seen| {
                    other.rule != rule
                        && (other.listeners.is_empty()
                            || !listeners.is_empty()
                                && listeners.iter().all(|name| other.listeners.contains(name)))
                };
                first = first.or_else(|| {
                    let other = seen.iter().find(same)?;
                    Some((other.rule.clone(), other.path.clone()))
                });
                seen.push(Seen {
                    listeners: listeners.to_vec(),
                    rule: rule.to_owned(),
                    path: path.clone(),
                });
            }
            if let Some((other, place)) = first {
                let origin = report.origins().locate(&place);
                report.warn(
                    path,
                    format!("rule {other:?} at {origin} has the same match and comes first"),
                );
            }
        }
    }
}

/// A condition as text; the order of its headers, cookies and parameters does not matter.
fn text_of(wanted: &Match) -> String {
    let mut text = format!("{:?} {:?}", wanted.path, wanted.method);
    // Few rules have any.
    for conditions in [
        sorted(&wanted.headers),
        sorted(&wanted.cookies),
        sorted(&wanted.query),
    ] {
        text.push(' ');
        text.extend(conditions);
    }
    text
}

fn sorted(conditions: &[impl std::fmt::Debug]) -> Vec<String> {
    let mut texts: Vec<String> = conditions
        .iter()
        .map(|condition| format!("{condition:?}"))
        .collect();
    texts.sort_unstable();
    texts
}
