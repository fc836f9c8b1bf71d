//! Where policies and their entries stand in the configuration.

use std::{fmt, sync::Arc};

use portcullis_config::{
    egress::{EgressPolicy, EgressRules},
    model::Egress,
    problem::Origin,
    read::Origins,
};
use serde::Serialize;

/// A place of the configuration.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Place {
    /// The path in the document, as `egress.policies[0].allow[1]`.
    pub(super) path: String,
    /// Where that was read.
    pub(super) origin: Origin,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path, self.origin)
    }
}

/// Finds places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    egress: &'a Egress,
    origins: &'a Origins,
}

impl<'a> Places<'a> {
    pub(super) fn new(egress: &'a Egress, origins: &'a Origins) -> Self {
        Self { egress, origins }
    }

    /// The place of a policy.
    pub(super) fn policy(self, name: &str) -> Option<Place> {
        let (path, _) = self.policies().find(|(_, policy)| *policy.name == *name)?;
        Some(self.at(path))
    }

    /// The place of an entry, by the text that is its own: two may read the same.
    pub(super) fn entry(self, text: &Arc<str>) -> Option<Place> {
        let found = self.policies().find_map(|(path, policy)| {
            let left = policy.delegate.as_ref();
            let left = left.and_then(|delegate| delegate.allow.as_ref());
            let lists = [
                ("allow", Some(&policy.allow)),
                ("deny", Some(&policy.deny)),
                ("delegate.allow", left),
            ];
            lists.into_iter().find_map(|(list, rules)| {
                let index = position(rules?, text)?;
                Some(format!("{path}.{list}[{index}]"))
            })
        });
        Some(self.at(found?))
    }

    fn policies(self) -> impl Iterator<Item = (String, &'a EgressPolicy)> {
        let named = |list: &'static str| {
            move |(index, policy): (usize, &'a EgressPolicy)| {
                (format!("egress.{list}[{index}]"), policy)
            }
        };
        let floors = self.egress.cluster_policies.iter().enumerate();
        let policies = self.egress.policies.iter().enumerate();
        let floors = floors.map(named("clusterPolicies"));
        floors.chain(policies.map(named("policies")))
    }

    fn at(self, path: String) -> Place {
        let origin = self.origins.locate(&path);
        Place { path, origin }
    }
}

fn position(rules: &EgressRules, text: &Arc<str>) -> Option<usize> {
    rules.iter().position(|rule| Arc::ptr_eq(&rule.text, text))
}
