//! What is known of a cluster, as its watches tell it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use tokio::task::AbortHandle;

use super::{
    ObjectSet, ResourceName, parameter_watch::Parameters, watch::Change, watched::Watched,
};

/// The objects of one watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of the whole cluster.
    Cluster,
    /// Those of a namespace.
    Namespace(String),
    /// A single one.
    Object(ResourceName),
}

impl Scope {
    fn has(&self, name: &ResourceName) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespace(namespace) => name.namespace == *namespace,
            Self::Object(object) => name == object,
        }
    }
}

/// What is known, and what is wanted.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Shared with whoever translates them: then a change makes a copy.
    pub(super) objects: Arc<ObjectSet>,
    /// Objects that the server has and that cannot be read, by kind and name: why.
    pub(super) broken: BTreeMap<(&'static str, ResourceName), String>,
    /// The Services that Ingresses name, once these are known: of others nothing is served.
    pub(super) services: Option<HashSet<ResourceName>>,
    /// Which Secrets are read, and how far that is.
    pub(super) secrets: Secrets,
    /// ConfigMaps with a watch of their own.
    pub(super) config_map_watches: HashMap<ResourceName, AbortHandle>,
    /// What of these cannot be served yet.
    pub(super) parameters: Parameters,
}

/// Which Secrets are read.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// Those that something refers to.
    pub(super) wanted: HashSet<ResourceName>,
    /// Those that are asked for one by one, until the answer is there or a watch has told them,
    /// each with the number of its question.
    pub(super) asked: HashMap<ResourceName, u64>,
    /// How many questions there were.
    questions: u64,
    /// Those that something refers to and that are not read, since there are too many.
    pub(super) over: HashSet<ResourceName>,
    /// Those that could not be read: why.
    pub(super) unreadable: BTreeMap<ResourceName, String>,
    /// Those with a watch of their own.
    pub(super) watches: HashMap<ResourceName, AbortHandle>,
}

impl Known {
    /// Takes changes, and tells whether something is served otherwise.
    pub(super) fn apply<K: Watched>(&mut self, changes: Vec<Change<K>>) -> bool {
        let mut is_news = false;
        for change in changes {
            is_news |= match change {
                Change::Applied(object) => {
                    let name = ResourceName::of(object.metadata());
                    let mended = self.broken.remove(&(K::NAME, name.clone())).is_some();
                    let object = Arc::new(object);
                    let objects = Arc::make_mut(&mut self.objects);
                    let before = K::of_mut(objects).insert(name.clone(), Arc::clone(&object));
                    if let Some(before) = &before {
                        K::note_gone(objects, &name, before);
                    }
                    mended | self.is_news(before.as_deref(), Some(&object))
                }
                Change::Deleted(name) => {
                    let objects = Arc::make_mut(&mut self.objects);
                    let before = K::of_mut(objects).remove(&name);
                    if let Some(before) = &before {
                        K::note_gone(objects, &name, before);
                    }
                    let was_broken = self.broken.remove(&(K::NAME, name)).is_some();
                    was_broken | self.is_news(before.as_deref(), None)
                }
                Change::Broken(name, reason) => self.broke::<K>(name, reason),
                Change::Passed(_) => false,
            };
        }
        is_news
    }

    /// Takes all objects of a scope, and tells whether something is served otherwise. One that
    /// cannot be read, or was passed, stays as it was known.
    pub(super) fn replace<K: Watched>(&mut self, scope: &Scope, all: Vec<Change<K>>) -> bool {
        let is_there = |change: &Change<K>| match change {
            Change::Applied(object) => Some(ResourceName::of(object.metadata())),
            Change::Broken(name, _) | Change::Passed(name) => Some(name.clone()),
            Change::Deleted(_) => None,
        };
        let there: HashSet<ResourceName> = all.iter().filter_map(is_there).collect();
        let known = K::of(&self.objects).keys();
        let broken = self.broken.keys().filter(|(kind, _)| *kind == K::NAME);
        let gone: HashSet<&ResourceName> = known
            .chain(broken.map(|(_, name)| name))
            .filter(|name| scope.has(name) && !there.contains(name))
            .collect();
        let gone: Vec<_> = gone.into_iter().cloned().map(Change::Deleted).collect();
        self.apply::<K>(gone) | self.apply(all)
    }

    /// Whether something is served otherwise with another version of an object, or without it.
    fn is_news<K: Watched>(&self, before: Option<&K>, now: Option<&K>) -> bool {
        let differs = match (before, now) {
            (Some(before), Some(now)) => now.is_served_otherwise(before),
            (None, None) => false,
            _ => true,
        };
        let matters = |object: &K| match (object.service(), &self.services) {
            (Some(service), Some(named)) => named.contains(&service),
            _ => true,
        };
        differs && before.into_iter().chain(now).any(matters)
    }

    fn broke<K: Watched>(&mut self, name: ResourceName, reason: String) -> bool {
        tracing::warn!(kind = K::NAME, %name, %reason, "an object cannot be read");
        let before = self.broken.insert((K::NAME, name), reason.clone());
        before.as_ref() != Some(&reason)
    }

    /// Notes that a Secret is asked for, and returns the number of the question: of an older one
    /// the answer counts no more.
    pub(super) fn ask(&mut self, name: &ResourceName) -> u64 {
        let secrets = &mut self.secrets;
        secrets.questions += 1;
        secrets.asked.insert(name.clone(), secrets.questions);
        secrets.questions
    }

    /// Whether the answer to a question is still wanted: not when a watch has told of the Secret
    /// since, nothing refers to it any more, or it was asked for again.
    pub(super) fn is_asked(&self, name: &ResourceName, question: u64) -> bool {
        self.secrets.asked.get(name) == Some(&question)
    }

    /// Takes the answer to a question, where it is still wanted.
    pub(super) fn answered(
        &mut self,
        (name, question): (&ResourceName, u64),
        secret: Option<Change<Secret>>,
    ) -> bool {
        if !self.is_asked(name, question) {
            return false;
        }
        self.secrets.asked.remove(name);
        let mended = self.secrets.unreadable.remove(name).is_some();
        mended | self.apply(secret.into_iter().collect())
    }

    /// Forgets the Secrets that nothing refers to.
    pub(super) fn keep_secrets(&mut self, needed: &HashSet<ResourceName>) {
        let secrets = &mut self.secrets;
        secrets.wanted.retain(|name| needed.contains(name));
        secrets.asked.retain(|name, _| needed.contains(name));
        secrets.unreadable.retain(|name, _| needed.contains(name));
        keep_watches(&mut secrets.watches, needed);
        self.keep::<Secret>(needed);
    }

    /// Forgets the ConfigMaps that nothing refers to.
    pub(super) fn keep_config_maps(&mut self, needed: &HashSet<ResourceName>) {
        keep_watches(&mut self.config_map_watches, needed);
        self.keep::<ConfigMap>(needed);
        self.parameters.keep(|name| needed.contains(name));
        let read = &self.objects.class_parameters;
        if read.keys().any(|name| !needed.contains(name)) {
            let read = &mut Arc::make_mut(&mut self.objects).class_parameters;
            read.retain(|name, _| needed.contains(name));
        }
        let unreadable = &self.objects.unreadable_config_maps;
        if unreadable.keys().any(|name| !needed.contains(name)) {
            let unreadable = &mut Arc::make_mut(&mut self.objects).unreadable_config_maps;
            unreadable.retain(|name, _| needed.contains(name));
        }
    }

    fn keep<K: Watched>(&mut self, needed: &HashSet<ResourceName>) {
        self.broken
            .retain(|(kind, name), _| *kind != K::NAME || needed.contains(name));
        let is_needless = |name: &ResourceName| !needed.contains(name);
        if K::of(&self.objects).keys().any(is_needless) {
            let known = K::of_mut(Arc::make_mut(&mut self.objects));
            known.retain(|name, _| needed.contains(name));
        }
    }
}

fn keep_watches(watches: &mut HashMap<ResourceName, AbortHandle>, needed: &HashSet<ResourceName>) {
    watches.retain(|name, watch| {
        let is_needed = needed.contains(name);
        if !is_needed {
            watch.abort();
        }
        is_needed
    });
}

#[cfg(test)]
mod tests;
