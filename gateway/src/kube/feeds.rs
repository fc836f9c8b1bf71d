//! From watches to what is known.

use std::{collections::HashSet, marker::PhantomData, sync::Arc};

use k8s_openapi::api::core::v1::Secret;

use super::{
    ResourceName,
    freshness::Number,
    known::Scope,
    shared::Shared,
    translate::referenced_config_maps,
    watch::{Change, Feed},
    watched::Watched,
};

/// All objects of a kind in a scope.
#[derive(Debug)]
pub(super) struct KindFeed<K> {
    shared: Arc<Shared>,
    scope: Scope,
    number: Number,
    kind: PhantomData<fn(K)>,
}

impl<K: Watched> KindFeed<K> {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope, number: Number) -> Self {
        Self {
            shared,
            scope,
            number,
            kind: PhantomData,
        }
    }

    /// Has the Secrets and ConfigMaps read that changes make needed, before the changes count: a
    /// host must not be served with another certificate for the moment that it takes to read its
    /// own, nor a class be closed.
    async fn read_named(&self, changes: &[Change<K>]) {
        if !K::NAMES_SECRETS {
            return;
        }
        let applied: Vec<K> = changes.iter().filter_map(applied).cloned().collect();
        let objects = self.shared.objects();
        if let Some(naming) = K::naming_secrets(&objects, &applied) {
            drop(objects);
            let options = self.shared.options.load_full();
            let config_maps = referenced_config_maps(&naming, &options);
            let secrets = self.shared.within_bound(&naming);
            let read = self.shared.want_config_maps(config_maps);
            tokio::join!(read, self.shared.want(secrets));
        }
    }

    async fn take(
        &self,
        changes: Vec<Change<K>>,
        take: impl FnOnce(&mut super::known::Known, Vec<Change<K>>) -> bool + Send,
    ) {
        let _turn = match K::NAMES_SECRETS {
            true => Some(self.shared.turns.lock().await),
            false => None,
        };
        self.read_named(&changes).await;
        let is_news = take(&mut self.shared.known(), changes);
        self.shared.seen.notify_one();
        if is_news && K::NAMES_SECRETS {
            self.shared.note_references();
        }
        if is_news {
            self.shared.changed();
        }
    }
}

fn applied<K>(change: &Change<K>) -> Option<&K> {
    match change {
        Change::Applied(object) => Some(object),
        Change::Deleted(_) | Change::Broken(..) | Change::Passed(_) => None,
    }
}

impl<K: Watched> Feed<K> for KindFeed<K> {
    fn needs(&self, _: &ResourceName) -> bool {
        true
    }

    async fn replace(&self, all: Vec<Change<K>>) {
        let scope = &self.scope;
        self.take(all, |known, all| known.replace(scope, all)).await;
    }

    async fn change(&self, changes: Vec<Change<K>>) {
        self.take(changes, |known, changes| known.apply(changes))
            .await;
    }

    fn fresh(&self) {
        self.shared.fresh(self.number);
    }

    fn stale(&self, reason: String) {
        self.shared.freshness.stale(self.number, reason);
    }
}

/// All Secrets in a scope, of which those are kept that something refers to.
#[derive(Debug)]
pub(super) struct SecretFeed {
    shared: Arc<Shared>,
    scope: Scope,
    number: Number,
}

impl SecretFeed {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope, number: Number) -> Self {
        Self {
            shared,
            scope,
            number,
        }
    }

    /// Takes what came, and asks for what was passed and is wanted since.
    fn take(
        &self,
        changes: Vec<Change<Secret>>,
        take: impl FnOnce(&mut super::known::Known, Vec<Change<Secret>>) -> bool,
    ) {
        let mut missed = HashSet::new();
        let is_news = {
            let known = &mut *self.shared.known();
            for change in &changes {
                match change {
                    Change::Applied(secret) => {
                        let name = ResourceName::of(&secret.metadata);
                        known.secrets.asked.remove(&name);
                        known.secrets.unreadable.remove(&name);
                    }
                    Change::Deleted(name) | Change::Broken(name, _) => {
                        known.secrets.asked.remove(name);
                        known.secrets.unreadable.remove(name);
                    }
                    Change::Passed(name) => {
                        let is_missed = known.secrets.wanted.contains(name)
                            && !known.secrets.asked.contains_key(name)
                            && !known.objects.secrets.contains_key(name);
                        if is_missed {
                            missed.insert(name.clone());
                        }
                    }
                }
            }
            take(known, changes)
        };
        for name in missed {
            drop(self.shared.ask_for(name));
        }
        if is_news {
            self.shared.changed();
        }
    }
}

impl Feed<Secret> for SecretFeed {
    fn needs(&self, name: &ResourceName) -> bool {
        self.shared.known().secrets.wanted.contains(name)
    }

    async fn replace(&self, all: Vec<Change<Secret>>) {
        self.take(all, |known, all| known.replace(&self.scope, all));
    }

    async fn change(&self, changes: Vec<Change<Secret>>) {
        self.take(changes, super::known::Known::apply);
    }

    fn fresh(&self) {
        self.shared.fresh(self.number);
    }

    fn stale(&self, reason: String) {
        self.shared.freshness.stale(self.number, reason);
    }
}
