//! EgressPolicies and ClusterEgressPolicies to policies of the egress proxy.
//!
//! One with errors hurts itself alone, and opens nothing: its last good version stays in force, or,
//! where none is known, its clients reach nothing. Were it left out, what it denies could be
//! reached by what others allow.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use portcullis_config::{
    document::{Egress, EgressPolicy},
    problem::Problem,
    read::ItemOrigin,
};

use super::Translation;
use crate::kube::{
    ClusterEgressPolicyObject, EgressPolicyObject, ResourceName,
    egress_policy::{PolicyObject, Verdict, closed, judge},
};

/// What became of policies, for the next translation and for their status.
#[derive(Debug, Default)]
pub(super) struct MadePolicies {
    /// The section that they were judged beside, without policies.
    section: Arc<Egress>,
    policies: OfKind<EgressPolicyObject>,
    cluster_policies: OfKind<ClusterEgressPolicyObject>,
}

type OfKind<K> = HashMap<ResourceName, MadePolicy<K>>;

/// What became of an object.
#[derive(Debug)]
struct MadePolicy<K> {
    object: Arc<K>,
    /// What is wrong with it.
    problems: Vec<Problem>,
    /// The last version without errors, and its policy.
    good: Option<(Arc<K>, Arc<EgressPolicy>)>,
    /// What stands in for it where there is none.
    closed: Option<Arc<EgressPolicy>>,
}

/// What is in force of each object, with the version that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::kube) struct Verdicts {
    pub(in crate::kube) policies: BTreeMap<ResourceName, (Option<i64>, Verdict)>,
    pub(in crate::kube) cluster_policies: BTreeMap<ResourceName, (Option<i64>, Verdict)>,
}

impl MadePolicies {
    /// What is in force of each object.
    pub(super) fn verdicts(&self) -> Verdicts {
        Verdicts {
            policies: verdicts(&self.policies),
            cluster_policies: verdicts(&self.cluster_policies),
        }
    }
}

fn verdicts<K: PolicyObject>(made: &OfKind<K>) -> BTreeMap<ResourceName, (Option<i64>, Verdict)> {
    let of_each = made.iter().map(|(name, made)| {
        let generation = made.object.metadata().generation;
        (name.clone(), (generation, made.verdict()))
    });
    of_each.collect()
}

impl<K: PolicyObject> MadePolicy<K> {
    /// What becomes of an object, with what became of its last version.
    fn of(name: &ResourceName, object: &Arc<K>, before: Option<Self>, section: &Egress) -> Self {
        let (good, problems) = match judge(name, &**object, section) {
            Ok(policy) => (Some((Arc::clone(object), Arc::new(policy))), Vec::new()),
            Err(problems) => {
                // With other settings the last good version may be none any more.
                let good = before.and_then(|before| before.good).and_then(|(good, _)| {
                    let policy = judge(name, &*good, section).ok()?;
                    Some((good, Arc::new(policy)))
                });
                (good, problems)
            }
        };
        let is_closed = good.is_none();
        let closed = is_closed
            .then(|| closed(name, &**object, section))
            .flatten();
        Self {
            object: Arc::clone(object),
            problems,
            good,
            closed: closed.map(Arc::new),
        }
    }

    fn policy(&self) -> Option<&Arc<EgressPolicy>> {
        let good = self.good.as_ref().map(|(_, policy)| policy);
        good.or(self.closed.as_ref())
    }

    fn verdict(&self) -> Verdict {
        let told: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        let errors = told.join("\n");
        match &self.good {
            Some(_) if self.problems.is_empty() => Verdict::Accepted,
            Some((good, _)) => Verdict::LastGood {
                generation: good.metadata().generation,
                errors,
            },
            None => Verdict::Closed { errors },
        }
    }

    /// What is to be told of it.
    fn told(&self, name: &ResourceName) -> Vec<Problem> {
        let instead = match &self.good {
            _ if self.problems.is_empty() => return Vec::new(),
            Some(_) => "it has errors: its last good version is in force",
            None => "it has errors, and no good version is known: its clients reach nothing",
        };
        let whole = Problem::warning(K::place(name, ""), "", instead);
        self.problems.iter().cloned().chain([whole]).collect()
    }
}

impl Translation<'_> {
    /// Adds the policies of objects, where there is an egress proxy.
    pub(super) fn egress_policies(&mut self) {
        let Some(mut section) = self.read.document.egress.take() else {
            return;
        };
        let bare = Egress {
            policies: Vec::new(),
            cluster_policies: Vec::new(),
            ..section.clone()
        };
        let before = std::mem::take(&mut self.before.egress);
        let is_same = *before.section == bare;
        let bare = match is_same {
            true => before.section,
            false => Arc::new(bare),
        };
        let objects = self.objects;
        let made = MadePolicies {
            cluster_policies: self.policies_of_kind(
                &objects.cluster_egress_policies,
                (before.cluster_policies, is_same),
                (&bare, &mut section),
            ),
            policies: self.policies_of_kind(
                &objects.egress_policies,
                (before.policies, is_same),
                (&bare, &mut section),
            ),
            section: bare,
        };
        self.made.egress = made;
        self.read.document.egress = Some(section);
    }

    fn policies_of_kind<K: PolicyObject>(
        &mut self,
        objects: &BTreeMap<ResourceName, Arc<K>>,
        (mut before, is_same): (OfKind<K>, bool),
        (bare, section): (&Egress, &mut Egress),
    ) -> OfKind<K> {
        let mut all = OfKind::new();
        for (name, object) in objects {
            let known = before.remove(name);
            let made = match known {
                Some(known) if is_same && Arc::ptr_eq(&known.object, object) => known,
                known => MadePolicy::of(name, object, known, bare),
            };
            if let Some(policy) = made.policy() {
                let list = K::list(section);
                let origin = ItemOrigin::alike(K::place(name, "spec"));
                self.read.origins.note(K::PATH, list.len(), origin);
                list.push(EgressPolicy::clone(policy));
            }
            self.read.problems.extend(made.told(name));
            all.insert(name.clone(), made);
        }
        all
    }
}

#[cfg(test)]
mod tests;
