//! From watches to what is known.

use std::{
    collections::HashSet,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Secret;
use tokio::sync::oneshot;

use super::{
    ResourceName,
    freshness::Number,
    known::Scope,
    shared::Shared,
    translate::referenced_secrets,
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

    /// Has the Secrets read that changes make needed, before the changes count: a host must not
    /// be served with another certificate for the moment that it takes to read its own.
    async fn read_secrets(&self, changes: &[Change<K>]) {
        if !K::NAMES_SECRETS {
            return;
        }
        let applied: Vec<K> = changes.iter().filter_map(applied).cloned().collect();
        let objects = self.shared.objects();
        if let Some(naming) = K::naming_secrets(&objects, &applied) {
            drop(objects);
            let wanted = referenced_secrets(&naming, &self.shared.options.load());
            self.shared.want(wanted).await;
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
        self.read_secrets(&changes).await;
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
                            && !known.secrets.asked.contains(name)
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

/// One Secret, by its name.
#[derive(Debug)]
pub(super) struct OneSecret {
    shared: Arc<Shared>,
    name: ResourceName,
    number: Number,
    /// Told when it is known, or known that it cannot be.
    first: Mutex<Option<oneshot::Sender<()>>>,
}

impl OneSecret {
    pub(super) fn new(
        shared: Arc<Shared>,
        name: ResourceName,
        number: Number,
        first: oneshot::Sender<()>,
    ) -> Self {
        Self {
            shared,
            name,
            number,
            first: Mutex::new(Some(first)),
        }
    }

    /// Whoever waits for the first answer has what is known loaded; after that we have.
    fn told(&self, is_news: bool) {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let is_awaited = first.is_some_and(|first| first.send(()).is_ok());
        if is_news && !is_awaited {
            self.shared.changed();
        }
    }
}

impl Feed<Secret> for OneSecret {
    fn needs(&self, _: &ResourceName) -> bool {
        true
    }

    async fn replace(&self, all: Vec<Change<Secret>>) {
        let scope = Scope::Object(self.name.clone());
        let is_news = {
            let known = &mut *self.shared.known();
            let mended = known.secrets.unreadable.remove(&self.name).is_some();
            mended | known.replace(&scope, all)
        };
        self.told(is_news);
    }

    async fn change(&self, changes: Vec<Change<Secret>>) {
        let is_news = self.shared.known().apply(changes);
        self.told(is_news);
    }

    fn fresh(&self) {
        self.shared.fresh(self.number);
        let mut known = self.shared.known();
        let mended = known.secrets.unreadable.remove(&self.name).is_some();
        drop(known);
        if mended {
            self.shared.changed();
        }
    }

    fn stale(&self, reason: String) {
        self.shared.freshness.stale(self.number, reason.clone());
        let is_news = {
            let secrets = &mut self.shared.known().secrets;
            let before = secrets.unreadable.insert(self.name.clone(), reason.clone());
            before != Some(reason)
        };
        self.told(is_news);
    }
}

impl Drop for OneSecret {
    fn drop(&mut self) {
        self.shared.freshness.remove(self.number);
    }
}
