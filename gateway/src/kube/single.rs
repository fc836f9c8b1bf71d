//! Objects that are watched one by one: those that something names. Rights can name them too.

use std::{
    collections::{BTreeMap, HashMap},
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use tokio::{sync::oneshot, task::AbortHandle};

use super::{
    ResourceName,
    asking::Turn,
    freshness::Number,
    known::{Known, Scope},
    shared::Shared,
    translate::parameters,
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

    /// Why it cannot be served, where that can be seen of itself.
    fn fault(&self) -> Option<String> {
        None
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
}

/// Parameters of a class: with a bad edit its Ingresses would get 503 at once.
impl Single for ConfigMap {
    fn watches(known: &mut Known) -> &mut HashMap<ResourceName, AbortHandle> {
        &mut known.config_map_watches
    }

    fn all_unreadable(known: &Known) -> &BTreeMap<ResourceName, String> {
        &known.objects.unreadable_config_maps
    }

    fn all_unreadable_mut(known: &mut Known) -> &mut BTreeMap<ResourceName, String> {
        &mut Arc::make_mut(&mut known.objects).unreadable_config_maps
    }

    fn fault(&self) -> Option<String> {
        let problems = parameters::policies(self).err()?;
        Some(
            problems
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        )
    }
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

    /// A version that cannot be served does not take the place of one that can.
    fn judged<K: Single>(&self, change: Change<K>) -> Change<K> {
        let Change::Applied(object) = change else {
            return change;
        };
        let name = ResourceName::of(object.metadata());
        let known = K::of(&self.objects).get(&name);
        let is_good = |known: &Arc<K>| known.fault().is_none();
        match object.fault() {
            Some(fault) if known.is_some_and(is_good) => Change::Broken(name, fault),
            _ => Change::Applied(object),
        }
    }
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
        let scope = Scope::Object(self.name.clone());
        let is_news = {
            let known = &mut *self.shared.known();
            let mended = known.readable::<K>(&self.name);
            let all = all.into_iter().map(|change| known.judged(change));
            let all = all.collect();
            mended | known.replace(&scope, all)
        };
        self.told(is_news);
    }

    async fn change(&self, changes: Vec<Change<K>>) {
        let is_news = {
            let known = &mut *self.shared.known();
            // One after the other: which was the last good one changes with each.
            changes.into_iter().fold(false, |is_news, change| {
                let change = known.judged(change);
                known.apply(vec![change]) | is_news
            })
        };
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
    use serde_json::json;

    use super::*;

    fn config_map(text: &str) -> Change<ConfigMap> {
        let value = json!({
            "metadata": { "namespace": "gw", "name": "limits" },
            "data": { "policies.yaml": text },
        });
        Change::Applied(serde_json::from_value(value).expect("a ConfigMap"))
    }

    #[test]
    fn a_bad_edit_keeps_the_last_good_version_and_a_bad_first_one_stays_to_be_told() {
        let name = ResourceName::new("gw", "limits");
        let mut known = Known::default();
        let mut take = |text: &str| {
            let change = known.judged(config_map(text));
            known.apply(vec![change]);
            let data = known.objects.config_maps[&name].data.clone();
            let text = data.expect("data")["policies.yaml"].clone();
            (text, known.broken.len())
        };
        let (bad, good, other) = ("policies: []", "policies: {}", "policies: {access: []}");
        assert_eq!(take(bad), (bad.to_owned(), 0));
        assert_eq!(take("worse"), ("worse".to_owned(), 0));
        assert_eq!(take(good), (good.to_owned(), 0));
        assert_eq!(take(bad), (good.to_owned(), 1));
        assert_eq!(take(other), (other.to_owned(), 0));
    }

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
