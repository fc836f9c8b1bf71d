//! Which Secrets and ConfigMaps are read: those that something refers to, and no other.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use tokio::sync::oneshot;

use super::{
    ResourceName, SecretAccess,
    contact::ANSWER,
    freshness::Number,
    known::Scope,
    shared::Shared,
    translate::{referenced_config_maps, referenced_secrets, referenced_services},
    watch::{Change, Pauses, reason},
    watched::{Watched, strip},
};

/// How long a change waits for the Secrets that it makes needed.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same before anything is served.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);

impl Shared {
    /// Has Secrets read, and waits until they are, or until it is known that they cannot be.
    pub(super) async fn want(self: &Arc<Self>, names: HashSet<ResourceName>) {
        let mut answers = Vec::new();
        for name in names {
            if !self.known().secrets.wanted.insert(name.clone()) {
                continue;
            }
            let scope = self.list_of(&name);
            match scope {
                // The list that is still to come has it.
                Some(_) if !self.freshness.is_known(Secret::NAME) => {}
                Some(_) => answers.push(self.ask_for(name)),
                None => answers.push(self.watch_alone::<Secret>(name)),
            }
        }
        self.await_answers(answers).await;
    }

    /// Has ConfigMaps read, each with a watch of its own, and waits in the same way.
    pub(super) async fn want_config_maps(self: &Arc<Self>, names: HashSet<ResourceName>) {
        let mut answers = Vec::new();
        for name in names {
            // The settings are watched anyway.
            let is_watched = self.options.load().config_maps.contains(&name)
                || self.known().config_map_watches.contains_key(&name);
            if !is_watched {
                answers.push(self.watch_alone::<ConfigMap>(name));
            }
        }
        self.await_answers(answers).await;
    }

    async fn await_answers(&self, answers: Vec<oneshot::Receiver<()>>) {
        let patience = match self.freshness.are_known() {
            true => PATIENCE,
            false => FIRST_PATIENCE,
        };
        // Who does not come in time is told of when it does.
        let _ = tokio::time::timeout(patience, join_all(answers)).await;
    }

    /// Notes what is referred to now, and forgets what nothing refers to any more.
    pub(super) fn note_references(&self) {
        let (objects, options) = (self.objects(), self.options.load());
        let mut secrets = referenced_secrets(&objects, &options);
        secrets.extend(self.own_secret.clone());
        let mut config_maps = referenced_config_maps(&objects, &options);
        config_maps.extend(options.config_maps.iter().cloned());
        let services = referenced_services(&objects, &options);
        drop(objects);
        let known = &mut *self.known();
        known.keep_secrets(&secrets);
        known.keep_config_maps(&config_maps);
        known.services = Some(services);
    }

    /// The list that a Secret is in, where lists are read.
    fn list_of(&self, name: &ResourceName) -> Option<Scope> {
        let is_watched = self.namespaces.contains(&name.namespace);
        match self.secret_access {
            SecretAccess::Named => None,
            SecretAccess::All if self.namespaces.is_empty() => Some(Scope::Cluster),
            SecretAccess::All => is_watched.then(|| Scope::Namespace(name.namespace.clone())),
        }
    }

    /// Asks for a Secret that a watch has passed, until there is an answer.
    pub(super) fn ask_for(self: &Arc<Self>, name: ResourceName) -> oneshot::Receiver<()> {
        let (first, answer) = oneshot::channel();
        self.known().secrets.asked.insert(name.clone());
        let shared = Arc::clone(self);
        tokio::spawn(async move { shared.ask(name, first).await });
        answer
    }

    async fn ask(&self, name: ResourceName, first: oneshot::Sender<()>) {
        let api = self.api::<Secret>(&Scope::Object(name.clone()));
        let mut first = Some(first);
        let mut pauses = Pauses::default();
        loop {
            let answer = {
                let _turn = self.asking.acquire().await;
                tokio::time::timeout(ANSWER, api.get_opt(&name.name)).await
            };
            let failed = match answer {
                Ok(Ok(found)) => {
                    let found = found.map(|mut secret| {
                        strip(secret.meta_mut());
                        match secret.0 {
                            Ok(secret) => Change::Applied(secret),
                            Err(invalid) => Change::Broken(name.clone(), invalid.error),
                        }
                    });
                    let is_news = self.known().answered(&name, found);
                    let is_awaited = first.take().is_some_and(|first| first.send(()).is_ok());
                    if is_news && !is_awaited {
                        self.changed();
                    }
                    return;
                }
                Ok(Err(error)) => reason(&error),
                Err(_) => format!("no answer in {} s", ANSWER.as_secs()),
            };
            let is_news = {
                let secrets = &mut self.known().secrets;
                // A watch has told of it, or nothing refers to it any more.
                if !secrets.asked.contains(&name) {
                    return;
                }
                let before = secrets.unreadable.insert(name.clone(), failed.clone());
                before != Some(failed)
            };
            let is_awaited = first.take().is_some_and(|first| first.send(()).is_ok());
            if is_news && !is_awaited {
                self.changed();
            }
            tokio::time::sleep(pauses.next()).await;
        }
    }

    /// A watch has what the server has; the last of them lets what is known be served.
    pub(super) fn fresh(&self, number: Number) {
        let were_known = self.freshness.are_known();
        self.freshness.fresh(number);
        if !were_known {
            self.changed();
        }
    }
}
