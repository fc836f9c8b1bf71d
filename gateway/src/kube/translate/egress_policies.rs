//! EgressPolicies and ClusterEgressPolicies to policies of the egress proxy.
//!
//! One with errors hurts itself alone, and opens nothing: its last good version stays in force, or,
//! where none is known, its clients reach nothing. Were it left out, what it denies could be
//! reached by what others allow. Settings with which a floor has errors that had none are refused.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use portcullis_config::{
    document::{Egress, EgressPolicy},
    problem::{Origin, Problem},
    read::ItemOrigin,
};

use super::Translation;
use crate::kube::{
    ClusterEgressPolicyObject, EgressPolicyObject, ResourceName,
    egress_policy::{Closed, PolicyObject, Verdict, closed, closed_to, judge, says_the_same},
};

/// What became of policies, for the next translation and for their status.
#[derive(Debug, Default)]
pub(super) struct MadePolicies {
    /// The section that they were judged beside, without policies; `None` where there is no egress
    /// proxy, and what is known of them is kept until there is one again.
    section: Option<Arc<Egress>>,
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
    /// The last version of this object that had no errors with the settings of its time. It is
    /// known on where other settings were tried, which may be refused.
    good: Option<Arc<K>>,
    /// Whether that is what is in force, with the settings of now.
    is_good: bool,
    /// What is in force; `None` where no client can be one of its own.
    policy: Option<Arc<EgressPolicy>>,
    /// Whether that is one that closes more than its clients, as the settings tell no labels.
    for_any_labels: bool,
}

/// What is in force of each object, with the version that was looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::kube) struct Verdicts {
    /// The section that they were judged beside; `None` where there is no egress proxy.
    pub(in crate::kube) section: Option<Arc<Egress>>,
    pub(in crate::kube) policies: BTreeMap<ResourceName, (Option<i64>, Verdict)>,
    pub(in crate::kube) cluster_policies: BTreeMap<ResourceName, (Option<i64>, Verdict)>,
}

impl MadePolicies {
    /// What is in force of each object.
    pub(super) fn verdicts(&self) -> Verdicts {
        if self.section.is_none() {
            return Verdicts::default();
        }
        Verdicts {
            section: self.section.clone(),
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
    fn of(name: &ResourceName, object: &Arc<K>, before: Option<&Self>, section: &Egress) -> Self {
        let of_good = |good: Arc<K>, policy, problems| Self {
            object: Arc::clone(object),
            problems,
            good: Some(good),
            is_good: true,
            policy: Some(Arc::new(policy)),
            for_any_labels: false,
        };
        let problems = match judge(name, &**object, section) {
            Ok(policy) => return of_good(Arc::clone(object), policy, Vec::new()),
            Err(problems) => problems,
        };
        // One of the name that was made anew has nothing to do with the one before.
        let is_same = |good: &&Arc<K>| good.metadata().uid == object.metadata().uid;
        let good = before
            .and_then(|before| before.good.as_ref())
            .filter(is_same);
        if let Some(good) = good
            && let Ok(policy) = judge(name, &**good, section)
        {
            return of_good(Arc::clone(good), policy, problems);
        }
        let Closed {
            policy,
            for_any_labels,
        } = closed(name, &**object, section);
        Self {
            object: Arc::clone(object),
            problems,
            good: good.cloned(),
            is_good: false,
            policy: policy.map(Arc::new),
            for_any_labels,
        }
    }

    fn verdict(&self) -> Verdict {
        let told: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        let errors = told.join("\n");
        match &self.good {
            _ if self.problems.is_empty() => Verdict::Accepted,
            Some(good) if self.is_good => Verdict::LastGood {
                generation: good.metadata().generation,
                errors,
            },
            _ => Verdict::Closed {
                errors,
                for_any_labels: self.for_any_labels,
            },
        }
    }

    /// What is to be told of it.
    fn told(&self, name: &ResourceName) -> Vec<Problem> {
        let instead = match self.is_good {
            _ if self.problems.is_empty() => return Vec::new(),
            true => "it has errors: its last good version is in force".to_owned(),
            false => {
                let to = closed_to(self.for_any_labels);
                format!("it has errors, and no good version is known: {to}")
            }
        };
        let whole = Problem::warning(K::place(name, ""), "", instead);
        self.problems.iter().cloned().chain([whole]).collect()
    }

    /// What settings lack that a floor needs which was in force without errors: the same in the
    /// settings would have them refused.
    fn lost(&self, name: &ResourceName, before: Option<&Self>, origin: &Origin) -> Option<Problem> {
        // Each event of a watch is another value, that of a status and of a list made anew too.
        let is_the_same = |one: &K, other: &K| {
            one.metadata().uid == other.metadata().uid && says_the_same(one, other)
        };
        let was_good = before.is_some_and(|before| {
            before.problems.is_empty() && is_the_same(&before.object, &self.object)
        });
        let problem = self.problems.first().filter(|_| was_good && K::IS_FLOOR)?;
        let reason = format!(
            "{} {name} has errors with these settings: {problem}",
            K::KIND
        );
        let hint = "leave what it needs, or change it first";
        Some(Problem::error(origin.clone(), "egress", reason).with_hint(Some(hint)))
    }
}

impl Translation<'_> {
    /// Adds the policies of objects, where there is an egress proxy.
    pub(super) fn egress_policies(&mut self) {
        let before = std::mem::take(&mut self.before.egress);
        let Some(mut section) = self.read.document.egress.take() else {
            self.made.egress = MadePolicies {
                section: None,
                ..before
            };
            return;
        };
        let bare = Egress {
            policies: Vec::new(),
            cluster_policies: Vec::new(),
            ..section.clone()
        };
        let (bare, is_same) = match before.section {
            Some(known) if *known == bare => (known, true),
            _ => (Arc::new(bare), false),
        };
        let objects = self.objects;
        let cluster_policies = self.policies_of_kind(
            &objects.cluster_egress_policies,
            (before.cluster_policies, is_same),
            (&bare, &mut section),
        );
        let policies = self.policies_of_kind(
            &objects.egress_policies,
            (before.policies, is_same),
            (&bare, &mut section),
        );
        self.made.egress = MadePolicies {
            section: Some(bare),
            policies,
            cluster_policies,
        };
        self.read.document.egress = Some(section);
    }

    fn policies_of_kind<K: PolicyObject>(
        &mut self,
        objects: &BTreeMap<ResourceName, Arc<K>>,
        (mut before, is_same): (OfKind<K>, bool),
        (bare, section): (&Egress, &mut Egress),
    ) -> OfKind<K> {
        let mut all = OfKind::new();
        let settings = self.read.origins.locate("egress");
        for (name, object) in objects {
            let made = match before.remove(name) {
                Some(known) if is_same && Arc::ptr_eq(&known.object, object) => known,
                known => {
                    let made = MadePolicy::of(name, object, known.as_ref(), bare);
                    let lost = made.lost(name, known.as_ref(), &settings);
                    self.read.problems.extend(lost);
                    made
                }
            };
            if let Some(policy) = &made.policy {
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
