//! What of the policies nobody uses.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use portcullis_config::{
    document::Timestamp,
    egress::{EgressPolicy, EgressRules},
};
use serde::Serialize;

use super::record::Record;

/// Policies of records that the configuration does not have, of which so many are told.
const MAX_UNKNOWN: usize = 100;

/// How long the end of a log may lie back before it counts as a gap.
const QUIET: Duration = Duration::from_secs(86_400);

/// When what was last used, beside the policies that are reviewed.
#[derive(Debug)]
pub struct Usage<'p> {
    policies: Vec<&'p EgressPolicy>,
    used: Vec<Used>,
    now: SystemTime,
    window: Duration,
    /// When the first and the last record ended, of those until `now`.
    reach: Option<(SystemTime, SystemTime)>,
    unknown: BTreeSet<String>,
}

/// When a policy was last used within the window.
#[derive(Clone, Debug, Default)]
struct Used {
    named: Option<SystemTime>,
    allow: Vec<Option<SystemTime>>,
    deny: Vec<Option<SystemTime>>,
    allow_all: Option<SystemTime>,
}

/// What nobody uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// When it is.
    pub now: Timestamp,
    /// Days that were looked at.
    pub days: u64,
    /// When the first record of the log ended, also before the window.
    pub log_from: Option<Timestamp>,
    /// When the last one did.
    pub log_to: Option<Timestamp>,
    /// Why the log may not tell everything.
    pub warnings: Vec<String>,
    /// Policies with something that is not used; only that is in them.
    pub policies: Vec<PolicyReview>,
    /// Policies that records name and the configuration does not have, 100 at most.
    pub unknown_policies: Vec<String>,
}

/// What of one policy is not used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReview {
    /// Its name.
    pub name: String,
    /// Whether no record names it: it selects nobody who asks for anything.
    pub unnamed: bool,
    /// Whether its `allowAll` let nothing pass.
    pub allow_all_unused: bool,
    /// Entries that nothing used or that have ended.
    pub entries: Vec<EntryReview>,
}

/// An entry that nothing used or that has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryReview {
    /// The list that it is in.
    pub list: List,
    /// Its place there, from 0.
    pub index: usize,
    /// Its host, regular expression or network, as written.
    pub rule: String,
    /// Its ports; empty means every port.
    pub ports: Vec<u16>,
    /// Whether no record of the window used it.
    pub unused: bool,
    /// When it ended, where it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// A list of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// `allow`.
    Allow,
    /// `deny`.
    Deny,
}

impl<'p> Usage<'p> {
    /// Begins with no record, for a window of days that ends now.
    pub fn new(policies: Vec<&'p EgressPolicy>, now: SystemTime, days: u64) -> Self {
        let used = policies
            .iter()
            .map(|policy| Used {
                allow: vec![None; policy.allow.len()],
                deny: vec![None; policy.deny.len()],
                ..Used::default()
            })
            .collect();
        Self {
            policies,
            used,
            now,
            window: Duration::from_secs(days.saturating_mul(86_400)),
            reach: None,
            unknown: BTreeSet::new(),
        }
    }

    /// Takes a record. Those of the time after now tell nothing.
    pub fn add(&mut self, record: &Record) {
        let time = record.time;
        let Ok(age) = self.now.duration_since(time) else {
            return;
        };
        let (first, last) = self.reach.get_or_insert((time, time));
        *first = time.min(*first);
        *last = time.max(*last);
        let Some(name) = record.policy.as_ref().filter(|_| age <= self.window) else {
            return;
        };
        let place = self
            .policies
            .iter()
            .position(|policy| *policy.name == **name);
        let Some((policy, used)) =
            place.and_then(|at| Some((self.policies.get(at)?, self.used.get_mut(at)?)))
        else {
            if self.unknown.len() < MAX_UNKNOWN {
                self.unknown.insert(name.clone());
            }
            return;
        };
        used.named = used.named.max(Some(time));
        if record.reason == "allow_all" {
            used.allow_all = used.allow_all.max(Some(time));
        }
        match record.reason.as_str() {
            // The entry is the nearest one, and did not hold.
            "port_not_allowed" | "request_not_allowed" | "grant_expired" => {}
            "allowed" => note(&policy.allow, &mut used.allow, record),
            "denied_host" | "denied_address" => note(&policy.deny, &mut used.deny, record),
            // What a tunnel had in it takes the place of the reason, and leaves the entry.
            _ => {
                note(&policy.allow, &mut used.allow, record);
                note(&policy.deny, &mut used.deny, record);
            }
        }
    }

    /// Tells what was not used.
    pub fn review(self) -> Review {
        let (now, days) = (self.now, self.window.as_secs() / 86_400);
        let policies = self.policies.iter().zip(&self.used);
        Review {
            now: Timestamp(now),
            days,
            log_from: self.reach.map(|(first, _)| Timestamp(first)),
            log_to: self.reach.map(|(_, last)| Timestamp(last)),
            warnings: self.warnings(days),
            policies: policies
                .map(|(policy, used)| of_policy(policy, used, now))
                .filter(PolicyReview::has_something)
                .collect(),
            unknown_policies: self.unknown.into_iter().collect(),
        }
    }

    fn warnings(&self, days: u64) -> Vec<String> {
        let Some((first, last)) = self.reach else {
            return vec!["the log has no egress record: everything seems unused".to_owned()];
        };
        let age = |time: SystemTime| self.now.duration_since(time).unwrap_or_default();
        let mut warnings = Vec::new();
        if age(first) < self.window {
            warnings.push(format!(
                "the log begins {} and does not cover {days} days: what is used more seldom seems unused",
                Timestamp(first)
            ));
        }
        if age(last) > QUIET {
            warnings.push(format!(
                "the log ends {}, more than a day ago: what was used since seems unused",
                Timestamp(last)
            ));
        }
        warnings
    }
}

/// Notes a record at the entries that may be the one it names. Of entries with one text those
/// count that have the port.
fn note(rules: &EgressRules, used: &mut [Option<SystemTime>], record: &Record) {
    let (Some(text), Some((_, port))) = (&record.rule, &record.destination) else {
        return;
    };
    for (rule, used) in rules.iter().zip(used) {
        if *rule.text == **text && (rule.ports.is_empty() || rule.ports.contains(port)) {
            *used = (*used).max(Some(record.time));
        }
    }
}

fn of_policy(policy: &EgressPolicy, used: &Used, now: SystemTime) -> PolicyReview {
    let lists = [
        (List::Allow, &policy.allow, &used.allow),
        (List::Deny, &policy.deny, &used.deny),
    ];
    let entries = lists.into_iter().flat_map(|(list, rules, used)| {
        let both = rules.iter().zip(used).enumerate();
        both.map(move |(index, (rule, used))| EntryReview {
            list,
            index,
            rule: rule.text.to_string(),
            ports: rule.ports.clone(),
            unused: used.is_none(),
            ended: rule.until.filter(|until| *until <= now).map(Timestamp),
        })
    });
    PolicyReview {
        name: policy.name.to_string(),
        unnamed: used.named.is_none(),
        allow_all_unused: policy.allow_all && used.allow_all.is_none(),
        entries: entries
            .filter(|entry| entry.unused || entry.ended.is_some())
            .collect(),
    }
}

impl PolicyReview {
    fn has_something(&self) -> bool {
        self.unnamed || self.allow_all_unused || !self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
