//! Which Secrets and ConfigMaps are read: those that something refers to, and no other.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use tokio::{sync::oneshot, time::Instant};

use super::{
    ObjectSet, ResourceName, SecretAccess,
    contact::ANSWER,
    freshness::Number,
    holding,
    known::Scope,
    shared::Shared,
    translate::{NeededSecrets, References, referenced_secrets, references},
    watch::{Change, Pauses, reason},
    watched::{Listed, strip},
};

/// How long is waited before anything is served.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);

/// A Secret that is waited for.
type Awaited = (ResourceName, oneshot::Receiver<()>);

impl Shared {
    /// Has Secrets read, and waits until they are, or until it is known that they cannot be, as
    /// long as their namespaces may hold up others.
    pub(super) async fn want(self: &Arc<Self>, names: HashSet<ResourceName>) {
        let mut of_namespaces: HashMap<String, Vec<_>> = HashMap::new();
        for (name, answer) in self.begin(names) {
            let answers = of_namespaces.entry(name.namespace).or_default();
            answers.push(answer);
        }
        if !self.freshness.are_known() {
            let all = of_namespaces.into_values().flatten();
            // Who does not come in time is told of when it does.
            let _ = tokio::time::timeout(FIRST_PATIENCE, join_all(all)).await;
            return;
        }
        let waiting = of_namespaces.into_iter().map(async |(namespace, answers)| {
            let began = Instant::now();
            let left = self.holding.left(&namespace, began);
            let answered = tokio::time::timeout(left, join_all(answers)).await;
            if answered.is_err() && !left.is_zero() {
                tracing::warn!(%namespace, "Secrets are not known in time");
            }
            let now = Instant::now();
            self.holding.spend(&namespace, now - began, now);
        });
        join_all(waiting).await;
    }

    /// Has ConfigMaps read, each with a watch of its own, and waits until they are. Whoever may
    /// write a class may hold up the others.
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
        let patience = match self.freshness.are_known() {
            true => holding::MOST,
            false => FIRST_PATIENCE,
        };
        // Who does not come in time is told of when it does.
        let _ = tokio::time::timeout(patience, join_all(answers)).await;
    }

    /// Begins to read Secrets that are not read yet.
    fn begin(self: &Arc<Self>, names: HashSet<ResourceName>) -> Vec<Awaited> {
        let mut answers = Vec::new();
        for name in names {
            if !self.known().secrets.wanted.insert(name.clone()) {
                continue;
            }
            let scope = self.list_of(&name);
            match scope {
                // The list that is still to come has it.
                Some(_) if !self.freshness.is_known(Secret::NAME) => {}
                Some(_) => answers.push((name.clone(), self.ask_for(name))),
                None => answers.push((name.clone(), self.watch_alone::<Secret>(name))),
            }
        }
        answers
    }

    /// Those of the Secrets of some objects, which are about to be known, that are read when they
    /// are: not where there are too many.
    pub(super) fn within_bound(&self, naming: &ObjectSet) -> HashSet<ResourceName> {
        let options = self.options.load();
        let mut named = referenced_secrets(naming, &options);
        let count = self.known().secrets.wanted.len() + named.len();
        let most = self.most_secrets();
        // What is counted too much here, as one that is wanted already, is looked at again.
        if count > most {
            let mut all = ObjectSet::clone(&self.objects());
            all.ingresses.extend(naming.ingresses.clone());
            all.ingress_classes = naming.ingress_classes.clone();
            let read = references(&all, &options, most).secrets.read;
            named.retain(|name| read.contains(name));
        }
        named
    }

    /// Notes what is referred to now, forgets what nothing refers to any more, or what others
    /// come before, and begins to read the Secrets that there is room for now.
    pub(super) fn note_references(self: &Arc<Self>) {
        let (objects, options) = (self.objects(), self.options.load());
        let References {
            secrets: NeededSecrets { mut read, mut over },
            services,
            mut config_maps,
        } = references(&objects, &options, self.most_secrets());
        config_maps.extend(options.config_maps.iter().cloned());
        drop(objects);
        if let Some(own) = &self.own_secret {
            over.remove(own);
            read.insert(own.clone());
        }
        {
            let known = &mut *self.known();
            known.keep_secrets(&read);
            known.secrets.over = over;
            known.keep_config_maps(&config_maps);
            known.services = Some(services);
        }
        // Nobody waits: what comes is loaded when it does.
        drop(self.begin(read));
    }

    /// How many Secrets that objects refer to are read.
    fn most_secrets(&self) -> usize {
        match self.secret_access {
            SecretAccess::All => usize::MAX,
            SecretAccess::Named => self.max_named_secrets,
        }
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
        let question = self.known().ask(&name);
        let shared = Arc::clone(self);
        tokio::spawn(async move { shared.ask(name, question, first).await });
        answer
    }

    async fn ask(&self, name: ResourceName, question: u64, first: oneshot::Sender<()>) {
        let api = self.api::<Secret>(&Scope::Object(name.clone()));
        let mut first = Some(first);
        let mut pauses = Pauses::default();
        loop {
            let answer = {
                let _turn = self.asking.turn(&name.namespace).await;
                // It may have taken long, and nothing refers to it any more.
                if !self.known().is_asked(&name, question) {
                    return;
                }
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
                    let is_news = self.known().answered((&name, question), found);
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
                let known = &mut *self.known();
                if !known.is_asked(&name, question) {
                    return;
                }
                let before = known
                    .secrets
                    .unreadable
                    .insert(name.clone(), failed.clone());
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

#[cfg(test)]
mod tests {
    use kube::{Client, Config};
    use tokio::net::TcpListener;

    use super::*;
    use crate::kube::Options;

    /// What is shared with watches of an API server that never answers.
    async fn silent() -> (Arc<Shared>, TcpListener) {
        crate::tls::install_provider();
        // Connections are made, and nobody takes them.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let uri = format!("http://{address}").parse().expect("a URI");
        let client = Client::try_from(Config::new(uri)).expect("a client");
        let (access, options) = (SecretAccess::Named, Options::default());
        let shared = Shared::new(
            client,
            Vec::new(),
            access,
            100,
            options,
            None,
            (String::new(), None),
        );
        let number = shared.freshness.add("Ingress", true);
        shared.freshness.fresh(number);
        (Arc::new(shared), listener)
    }

    #[tokio::test]
    async fn a_namespace_without_answers_holds_up_others_once() {
        let (shared, _listener) = silent().await;
        let want = async |names: &[(&str, &str)]| {
            let names = names
                .iter()
                .map(|(namespace, name)| ResourceName::new(namespace, name));
            let began = Instant::now();
            shared.want(names.collect()).await;
            began.elapsed()
        };
        let most = holding::MOST;
        let took = want(&[("a", "one"), ("a", "two")]).await;
        assert!(took >= most && took < most * 2, "{took:?}: once for both");
        let took = want(&[("a", "three")]).await;
        assert!(took < most / 2, "{took:?}: its account is spent");
        let took = want(&[("a", "four"), ("b", "one")]).await;
        assert!(
            took >= most && took < most * 2,
            "{took:?}: another has its own"
        );
    }
}
