//! From watches of Namespaces and NetworkPolicies to what is known of them.

use std::sync::Arc;

use k8s_openapi::api::{core::v1::Namespace, networking::v1::NetworkPolicy};

use super::{keeper::Keeper, kept::Known};
use crate::kube::{
    ResourceName,
    freshness::Number,
    shared::Shared,
    watch::{Change, Feed},
    watched::Listed,
};

/// A kind that is watched for this.
pub(super) trait Kept: Listed {
    /// These are all.
    fn clear(known: &mut Known);
    /// One is there.
    fn put(self, known: &mut Known);
    /// One is gone.
    fn remove(known: &mut Known, name: &ResourceName);
    /// One is there and cannot be read.
    fn lose(known: &mut Known, name: &ResourceName);
}

impl Listed for Namespace {
    const NAME: &'static str = "Namespace";
}

impl Kept for Namespace {
    fn clear(known: &mut Known) {
        known.namespaces.clear();
    }

    fn put(self, known: &mut Known) {
        known.see(self);
    }

    fn remove(known: &mut Known, name: &ResourceName) {
        known.namespaces.remove(&name.name);
    }

    /// What was known of it stays.
    fn lose(_: &mut Known, _: &ResourceName) {}
}

impl Listed for NetworkPolicy {
    const NAME: &'static str = "NetworkPolicy";
}

impl Kept for NetworkPolicy {
    fn clear(known: &mut Known) {
        known.policies.clear();
    }

    fn put(self, known: &mut Known) {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        known.policies.insert(namespace, self);
    }

    fn remove(known: &mut Known, name: &ResourceName) {
        known.policies.remove(&name.namespace);
    }

    /// It is not as it should be, whatever it is.
    fn lose(known: &mut Known, name: &ResourceName) {
        known
            .policies
            .insert(name.namespace.clone(), Self::default());
    }
}

/// All objects of a kind, or those of our name.
pub(super) struct KeptFeed {
    pub(super) keeper: Arc<Keeper>,
    pub(super) shared: Arc<Shared>,
    pub(super) number: Number,
}

impl KeptFeed {
    fn take<K: Kept>(&self, changes: Vec<Change<K>>, is_all: bool) {
        {
            let known = &mut *self.keeper.known();
            if is_all {
                K::clear(known);
            }
            for change in changes {
                match change {
                    Change::Applied(object) => object.put(known),
                    Change::Deleted(name) => K::remove(known, &name),
                    Change::Broken(name, reason) => {
                        tracing::warn!(kind = K::NAME, %name, reason, "not understood");
                        K::lose(known, &name);
                    }
                    Change::Passed(_) => {}
                }
            }
        }
        self.keeper.news.notify_one();
    }
}

impl<K: Kept> Feed<K> for KeptFeed {
    fn needs(&self, _: &ResourceName) -> bool {
        true
    }

    async fn replace(&self, all: Vec<Change<K>>) {
        self.take(all, true);
    }

    async fn change(&self, changes: Vec<Change<K>>) {
        self.take(changes, false);
    }

    fn fresh(&self) {
        self.shared.fresh(self.number);
    }

    fn stale(&self, reason: String) {
        self.shared.freshness.stale(self.number, reason);
    }
}
