//! What became of a policy, as its status tells it.

use serde::{Deserialize, Serialize};

/// A condition of a status (`meta/v1` Condition).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::kube) struct Condition {
    /// What it is about, such as `Accepted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Version of the spec that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` changed last, RFC 3339.
    pub last_transition_time: String,
}

/// The condition that tells what is in force.
pub(in crate::kube) const PROGRAMMED: &str = "Programmed";

/// What is in force of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kube) enum Verdict {
    /// The version that is there.
    Accepted,
    /// An older one, since the one that is there has errors.
    LastGood {
        /// Its `metadata.generation`.
        generation: Option<i64>,
        /// What is wrong with the one that is there.
        errors: String,
    },
    /// None: this gateway has no egress proxy any more.
    NotServed,
    /// Its clients reach nothing: it has errors, and no good version is known.
    Closed {
        /// What is wrong.
        errors: String,
        /// Whether pods without the labels that its subjects name reach nothing either, since the
        /// settings tell no labels.
        for_any_labels: bool,
    },
}

/// Longest message (`meta/v1` Condition).
const MESSAGE_BYTES: usize = 32_768;

impl Verdict {
    /// The conditions that tell it, as they stand behind those that are there.
    pub(in crate::kube) fn conditions(
        &self,
        before: &[Condition],
        generation: Option<i64>,
        now: &str,
    ) -> Vec<Condition> {
        let (accepted, in_force) = match self {
            Self::Accepted => (
                ("True", "Accepted", "the policy is good".to_owned()),
                ("True", "Programmed", "the policy is in force".to_owned()),
            ),
            Self::LastGood { generation, errors } => {
                let which = generation.map_or_else(String::new, |it| format!(" (generation {it})"));
                let told = format!("the last good version{which} is in force");
                (
                    ("False", "Invalid", errors.clone()),
                    ("False", "LastGoodVersion", told),
                )
            }
            Self::NotServed => {
                let told = "there is no egress proxy";
                (
                    ("Unknown", "NotServed", told.to_owned()),
                    ("False", "NotServed", told.to_owned()),
                )
            }
            Self::Closed {
                errors,
                for_any_labels,
            } => {
                let told = format!("no good version is known: {}", closed_to(*for_any_labels));
                (
                    ("False", "Invalid", errors.clone()),
                    ("False", "Closed", told),
                )
            }
        };
        let ours = [("Accepted", accepted), (PROGRAMMED, in_force)];
        let is_ours = |condition: &Condition| ours.iter().any(|(kind, _)| *kind == condition.kind);
        let mut conditions: Vec<Condition> = before
            .iter()
            .filter(|condition| !is_ours(condition))
            .cloned()
            .collect();
        conditions.extend(ours.iter().map(|(kind, (status, reason, message))| {
            let known = before.iter().find(|condition| condition.kind == *kind);
            let since = known
                .filter(|known| known.status == *status)
                .map(|known| known.last_transition_time.clone())
                .filter(|since| !since.is_empty());
            Condition {
                kind: (*kind).to_owned(),
                status: (*status).to_owned(),
                reason: (*reason).to_owned(),
                message: shortened(message),
                observed_generation: generation,
                last_transition_time: since.unwrap_or_else(|| now.to_owned()),
            }
        }));
        conditions
    }
}

/// Who reaches nothing by a policy that is closed.
pub(in crate::kube) fn closed_to(any_labels: bool) -> &'static str {
    match any_labels {
        false => "its clients reach nothing",
        true => {
            "its clients reach nothing, and neither do pods without the labels that it names: \
             without `egress.identity.pods` no labels are known"
        }
    }
}

fn shortened(message: &str) -> String {
    let end = message.floor_char_boundary(MESSAGE_BYTES);
    message.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(conditions: &[Condition]) -> Vec<String> {
        let shown = conditions.iter().map(|condition| {
            format!(
                "{}={} {} {:?} {}",
                condition.kind,
                condition.status,
                condition.reason,
                condition.observed_generation,
                condition.last_transition_time
            )
        });
        shown.collect()
    }

    #[test]
    fn a_condition_keeps_its_time_while_it_says_the_same_and_those_of_others_stay() {
        let theirs = Condition {
            kind: "Audited".into(),
            status: "True".into(),
            ..Condition::default()
        };
        let first = Verdict::Accepted.conditions(&[theirs], Some(1), "at 1");
        assert_eq!(
            shown(&first),
            [
                "Audited=True  None ",
                "Accepted=True Accepted Some(1) at 1",
                "Programmed=True Programmed Some(1) at 1",
            ]
        );
        let again = Verdict::Accepted.conditions(&first, Some(2), "at 2");
        assert_eq!(shown(&again)[1], "Accepted=True Accepted Some(2) at 1");
        let errors = "é".repeat(MESSAGE_BYTES);
        let broken = Verdict::LastGood {
            generation: Some(2),
            errors,
        };
        let broken = broken.conditions(&again, Some(3), "at 3");
        assert_eq!(
            shown(&broken)[1..],
            [
                "Accepted=False Invalid Some(3) at 3",
                "Programmed=False LastGoodVersion Some(3) at 3",
            ]
        );
        assert!(broken[1].message.len() <= MESSAGE_BYTES);
        assert!(broken[2].message.contains("generation 2"));
    }

    #[test]
    fn a_policy_that_closes_more_than_its_clients_says_so() {
        let told = |for_any_labels| {
            let closed = Verdict::Closed {
                errors: "wrong".into(),
                for_any_labels,
            };
            let conditions = closed.conditions(&[], Some(1), "at 1");
            let programmed = conditions.into_iter().find(|one| one.kind == PROGRAMMED);
            programmed.expect("the condition").message
        };
        assert!(told(true).contains("pods without the labels"));
        assert!(!told(false).contains("labels"));
    }
}
