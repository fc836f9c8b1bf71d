//! Objects that are watched one by one: those that something names. Rights can name them too.

use std::{
    collections::{BTreeMap, HashMap},
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Secret};
use tokio::{sync::oneshot, task::AbortHandle};

use super::{
    ResourceName,
    asking::Turn,
    freshness::Number,
    known::{Known, Scope},
    shared::Shared,
    watch::{Change, Feed, watch},
    watched::Watched,
};

/// A kind of which single objects are watched.
pub(super) trait Single: Watched + kube::Resource<Scope = NamespaceResourceScope> {
    /// Those with a watch of their own.
    fn watches(known: &mut Known) -> &mut HashMap<ResourceName, AbortHandle>;

    /// Those that could not be read: why.
    fn all_unreadable(known: &Known) -> &BTreeMap<ResourceName, String>;

    /// The same, to change them.
    fn all_unreadable_mut(known: &mut Known) -> &mut BTreeMap<ResourceName, String>;

    /// What is found in one before it counts, while nobody waits for that.
    type Read: Send;

    /// Looks at one.
    fn read(&self) -> Self::Read;

    /// Takes a change, with what was found where there is an object; tells whether something is
    /// served otherwise.
    fn take(change: Change<Self>, _: Option<Self::Read>, known: &mut Known) -> bool {
        known.apply(vec![change])
    }
}

impl Single for Secret {
    fn watches(known: &mut Known) -> &mut HashMap<ResourceName, AbortHandle> {
        &mut known.secrets.watches
    }

    fn all_unreadable(known: &Known) -> &BTreeMap<ResourceName, String> {
        &known.secrets.unreadable
    }

    fn all_unreadable_mut(known: &mut Known) -> &mut BTreeMap<ResourceName, String> {
        &mut known.secrets.unreadable
    }

    type Read = ();

    fn read(&self) {}
}

impl Known {
    /// An object could be read; tells whether it could not before.
    fn readable<K: Single>(&mut self, name: &ResourceName) -> bool {
        // Asked first: a change may copy what is known.
        K::all_unreadable(self).contains_key(name)
            && K::all_unreadable_mut(self).remove(name).is_some()
    }

    /// An object could not be read; tells whether that, or why, is new.
    fn unreadable<K: Single>(&mut self, name: &ResourceName, reason: String) -> bool {
        let is_news = K::all_unreadable(self).get(name) != Some(&reason);
        if is_news {
            K::all_unreadable_mut(self).insert(name.clone(), reason);
        }
        is_news
    }

    /// Takes changes of single objects, one after the other: which was the last good version
    /// changes with each.
    fn take<K: Single>(&mut self, changes: Vec<(Change<K>, Option<K::Read>)>) -> bool {
        changes.into_iter().fold(false, |is_news, (change, read)| {
            K::take(change, read, self) | is_news
        })
    }
}

/// Changes, each with what is found in it.
fn looked_at<K: Single>(changes: Vec<Change<K>>) -> Vec<(Change<K>, Option<K::Read>)> {
    let read = |change: &Change<K>| match change {
        Change::Applied(object) => Some(object.read()),
        Change::Deleted(_) | Change::Broken(..) | Change::Passed(_) => None,
    };
    let changes = changes.into_iter().map(|change| {
        let read = read(&change);
        (change, read)
    });
    changes.collect()
}

impl Shared {
    /// Watches a single object.
    pub(super) fn watch_alone<K: Single>(
        self: &Arc<Self>,
        name: ResourceName,
    ) -> oneshot::Receiver<()> {
        let (first, answer) = oneshot::channel();
        let number = self.freshness.add(K::NAME, false);
        let fields = Some(format!("metadata.name={}", name.name));
        let api = self.api::<K>(&Scope::Object(name.clone()));
        let feed = OneObject::<K>::new(Arc::clone(self), name.clone(), number, first);
        let task = tokio::spawn(watch(api, fields, feed, self.again.subscribe()));
        let before = K::watches(&mut self.known()).insert(name, task.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
        answer
    }
}

/// One object, by its name.
#[derive(Debug)]
struct OneObject<K> {
    shared: Arc<Shared>,
    name: ResourceName,
    number: Number,
    /// Told when it is known, or known that it cannot be.
    first: Mutex<Option<oneshot::Sender<()>>>,
    kind: PhantomData<fn(K)>,
}

impl<K: Single> OneObject<K> {
    fn new(
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
            kind: PhantomData,
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

impl<K: Single> Feed<K> for OneObject<K> {
    fn needs(&self, _: &ResourceName) -> bool {
        true
    }

    async fn turn(&self) -> Option<Turn<'_>> {
        Some(self.shared.asking.turn(&self.name.namespace).await)
    }

    async fn replace(&self, all: Vec<Change<K>>) {
        // A list of one object: it is there or gone.
        let all = match all.is_empty() {
            true => vec![Change::Deleted(self.name.clone())],
            false => all,
        };
        let all = looked_at(all);
        let is_news = {
            let known = &mut *self.shared.known();
            known.readable::<K>(&self.name) | known.take(all)
        };
        self.told(is_news);
    }

    async fn change(&self, changes: Vec<Change<K>>) {
        let changes = looked_at(changes);
        let is_news = self.shared.known().take(changes);
        self.told(is_news);
    }

    fn fresh(&self) {
        self.shared.fresh(self.number);
        let mended = self.shared.known().readable::<K>(&self.name);
        if mended {
            self.shared.changed();
        }
    }

    fn stale(&self, reason: String) {
        self.shared.freshness.stale(self.number, reason.clone());
        let is_news = self.shared.known().unreadable::<K>(&self.name, reason);
        self.told(is_news);
    }
}

impl<K> Drop for OneObject<K> {
    fn drop(&mut self) {
        self.shared.freshness.remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn what_could_not_be_read_is_news_once() {
        let name = ResourceName::new("gw", "limits");
        let mut known = Known::default();
        assert!(!known.readable::<ConfigMap>(&name));
        assert!(known.unreadable::<ConfigMap>(&name, "forbidden".into()));
        assert!(!known.unreadable::<ConfigMap>(&name, "forbidden".into()));
        assert!(known.readable::<ConfigMap>(&name));
    }
}
