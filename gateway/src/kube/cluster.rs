//! A cluster, watched for what is served.
//!
//! ```text
//! watches (one for each kind and namespace) --> Known --> translate --> Document
//!            |                                    ^
//!            +-- an Ingress that names a Secret --+-- waits for the Secret
//! ```
//!
//! What is known serves on whatever becomes of the API server.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwap;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{ConfigMap, Node, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
};
use kube::{Api, Client, Config, core::DeserializeGuard};
use portcullis_config::{
    problem::{Origin, Problem, Severity},
    read::{Read, SourceFile},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};

use super::{
    ObjectSet, Options, ResourceName,
    addresses::Publish,
    events::tell_problems,
    feeds::{KindFeed, SecretFeed},
    freshness::Freshness,
    known::{Known, Scope},
    lease::{Election, release},
    settings,
    status::write_statuses,
    translate::translate,
    watch::{Pauses, reason, watch},
    watched::Watched,
    webhook::{self, Webhook},
};
use crate::{files::Contents, source::Objects, telemetry::Metrics};

/// Secrets that are asked for one by one at once.
const SECRETS_AT_ONCE: usize = 16;
/// How often the API server is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Time for a small answer.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// The label of a Node that says its zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Which Secrets the API server is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretAccess {
    /// All are watched, and of those that nothing refers to nothing is kept.
    #[default]
    All,
    /// Each that is referred to, by its name. The rights can then name them.
    Named,
}

/// How a cluster is reached, and what of it is watched.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Where the API server is and who we are; else what a pod is given.
    pub kubeconfig: Option<PathBuf>,
    /// Namespaces that are watched; none means all.
    pub namespaces: Vec<String>,
    /// How Secrets are read.
    pub secrets: SecretAccess,
    /// The Node that the process runs on, for its zone.
    pub node: Option<String>,
    /// The pod that the process is, or the name of one that is none.
    pub pod: ResourceName,
    /// Whether problems are told as Events of their objects.
    pub events: bool,
    /// The addresses that the status of Ingresses tells; without any no status is written.
    pub publish: Option<Publish>,
    /// The Lease whose holder writes statuses, in the namespace of the pod.
    pub election: String,
    /// Where the API server may ask about Ingresses before it takes them.
    pub webhook: Option<Webhook>,
    /// What is served, and how.
    pub options: Options,
}

/// The objects of a cluster. Its watches end with it.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    problems: watch::Sender<Arc<Vec<Problem>>>,
    /// The Lease, and who we are for it.
    election: Option<(ResourceName, String)>,
    leads: watch::Receiver<bool>,
    tasks: Mutex<JoinSet<()>>,
}

/// What the tasks of a cluster have in common.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) namespaces: Vec<String>,
    pub(super) secret_access: SecretAccess,
    pub(super) options: ArcSwap<Options>,
    known: Mutex<Known>,
    pub(super) freshness: Freshness,
    changes: Notify,
    /// Told of what may have to do with statuses, whether or not it is served otherwise.
    pub(super) seen: Notify,
    /// Counts how often all watches were to be opened again.
    pub(super) again: watch::Sender<u64>,
    /// Changes of what names Secrets are taken one after the other: one must not let go of
    /// a Secret that another has just asked for.
    pub(super) turns: tokio::sync::Mutex<()>,
    pub(super) asking: Arc<Semaphore>,
    /// A Secret that is read though no object refers to it.
    pub(super) own_secret: Option<ResourceName>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Begins to watch a cluster; to be called on a runtime. What is not reached yet is tried
    /// again for ever.
    ///
    /// # Errors
    /// Where nothing says how the cluster is reached, or it cannot be read.
    pub async fn watch(options: ClusterOptions) -> anyhow::Result<Self> {
        let client = client(options.kubeconfig.as_deref()).await?;
        let shared = Arc::new(Shared {
            client,
            namespaces: options.namespaces,
            secret_access: options.secrets,
            options: ArcSwap::from_pointee(options.options),
            known: Mutex::default(),
            freshness: Freshness::default(),
            changes: Notify::new(),
            seen: Notify::new(),
            again: watch::Sender::new(0),
            turns: tokio::sync::Mutex::default(),
            asking: Arc::new(Semaphore::new(SECRETS_AT_ONCE)),
            own_secret: options
                .webhook
                .as_ref()
                .map(|known| known.certificate.clone()),
        });
        let mut tasks = JoinSet::new();
        let classes = Api::all(shared.client.clone());
        shared.start::<IngressClass>(&mut tasks, classes, Scope::Cluster);
        for scope in shared.scopes() {
            shared.start::<Ingress>(&mut tasks, shared.api(&scope), scope.clone());
            shared.start::<Service>(&mut tasks, shared.api(&scope), scope.clone());
            shared.start::<EndpointSlice>(&mut tasks, shared.api(&scope), scope.clone());
            if shared.secret_access == SecretAccess::All {
                shared.start_secrets(&mut tasks, scope);
            }
        }
        let config_map = shared.options.load().config_map.clone();
        if let Some(name) = config_map {
            let scope = Scope::Object(name);
            shared.start::<ConfigMap>(&mut tasks, shared.api(&scope), scope);
        }
        let default = shared.options.load().default_certificate.clone();
        let always = default.into_iter().chain(shared.own_secret.clone());
        shared.want(always.collect()).await;
        if let Some(webhook) = options.webhook {
            let listener = crate::listen::bind(webhook.address)
                .with_context(|| format!("--webhook-address {}", webhook.address))?;
            tracing::info!(address = %listener.local_addr()?, "webhook");
            let certificate = webhook.certificate;
            tasks.spawn(webhook::serve(Arc::clone(&shared), listener, certificate));
        }
        tasks.spawn(heartbeat(Arc::clone(&shared)));
        if let Some(node) = options.node {
            tasks.spawn(find_zone(Arc::clone(&shared), node));
        }
        let me = options.pod.name.clone();
        let problems = watch::Sender::new(Arc::default());
        if options.events {
            let told = tell_problems(Arc::clone(&shared), me.clone(), problems.subscribe());
            tasks.spawn(told);
        }
        let (sender, leads) = watch::channel(false);
        let mut election = None;
        if let Some(publish) = options.publish {
            if let Publish::Service(name) = &publish
                && !shared.watches(&name.namespace)
            {
                let scope = Scope::Object(name.clone());
                shared.start::<Service>(&mut tasks, shared.api(&scope), scope);
            }
            let lease = ResourceName::new(&options.pod.namespace, &options.election);
            let held = Election::new(shared.client.clone(), lease.clone(), me.clone());
            tasks.spawn(held.run(sender));
            let writing = write_statuses(Arc::clone(&shared), publish, options.pod, leads.clone());
            tasks.spawn(writing);
            election = Some((lease, me));
        }
        Ok(Self {
            shared,
            problems,
            election,
            leads,
            tasks: Mutex::new(tasks),
        })
    }

    /// Ends what is written, and lets another replica write at once; what is watched goes on to
    /// be served until the process ends.
    pub async fn end(&self) {
        let Some((lease, me)) = &self.election else {
            return;
        };
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
        let released = release(self.shared.client.clone(), lease, me);
        match tokio::time::timeout(ANSWER, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%lease, reason = reason(&error), "not released"),
            Err(_) => tracing::warn!(%lease, "not released"),
        }
    }

    /// Waits until the settings of the whole gateway are known, where a ConfigMap has them.
    pub async fn settings_known(&self) {
        self.shared.freshness.wait_for(&[ConfigMap::NAME]).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Those of single Secrets are no tasks of ours, and hold what they feed.
        for (_, watch) in self.shared.known().secrets.watches.drain() {
            watch.abort();
        }
    }
}

async fn client(kubeconfig: Option<&std::path::Path>) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(file) => {
            let named = || format!("--kubeconfig {}", file.display());
            let read = kube::config::Kubeconfig::read_from(file).with_context(named)?;
            let options = kube::config::KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(read, &options).await;
            config.with_context(named)?
        }
        None => Config::incluster()
            .context("--kubernetes: not in a pod; outside of one, --kubeconfig says where")?,
    };
    config.connect_timeout = Some(ANSWER);
    // Every caller tries again by itself, and knows what for.
    config.default_retry = false;
    Client::try_from(config).context("the client of the API server")
}

impl Shared {
    /// The scopes of the kinds that are watched in namespaces.
    fn scopes(&self) -> Vec<Scope> {
        let namespaces = self.namespaces.iter().cloned();
        match self.namespaces.is_empty() {
            true => vec![Scope::Cluster],
            false => namespaces.map(Scope::Namespace).collect(),
        }
    }

    /// Whether a namespace is watched.
    fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|known| known == namespace)
    }

    /// The API of a kind in a scope.
    pub(super) fn api<K>(&self, scope: &Scope) -> Api<DeserializeGuard<K>>
    where
        K: Watched + kube::Resource<Scope = NamespaceResourceScope>,
    {
        let client = self.client.clone();
        match scope {
            Scope::Cluster => Api::all(client),
            Scope::Namespace(namespace) => Api::namespaced(client, namespace),
            Scope::Object(name) => Api::namespaced(client, &name.namespace),
        }
    }

    fn start<K: Watched>(
        self: &Arc<Self>,
        tasks: &mut JoinSet<()>,
        api: Api<DeserializeGuard<K>>,
        scope: Scope,
    ) {
        let number = self.freshness.add(K::NAME, true);
        let fields = match &scope {
            Scope::Object(name) => Some(format!("metadata.name={}", name.name)),
            Scope::Cluster | Scope::Namespace(_) => None,
        };
        let feed = KindFeed::new(Arc::clone(self), scope, number);
        tasks.spawn(watch(api, fields, feed, self.again.subscribe()));
    }

    /// Secrets come when it is known which are wanted: the others are not held for a moment.
    fn start_secrets(self: &Arc<Self>, tasks: &mut JoinSet<()>, scope: Scope) {
        let number = self.freshness.add(Secret::NAME, true);
        let shared = Arc::clone(self);
        tasks.spawn(async move {
            let naming = [Ingress::NAME, IngressClass::NAME];
            shared.freshness.wait_for(&naming).await;
            let (api, again) = (shared.api(&scope), shared.again.subscribe());
            let feed = SecretFeed::new(shared, scope, number);
            watch(api, None, feed, again).await;
        });
    }

    /// What is known, for a short time.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects as they are now.
    pub(super) fn objects(&self) -> Arc<ObjectSet> {
        Arc::clone(&self.known().objects)
    }

    /// Has what is known loaded, unless not all is known yet.
    pub(super) fn changed(&self) {
        if self.freshness.are_known() {
            self.changes.notify_one();
        }
    }

    /// What is wrong with objects that were not even understood.
    fn problems(&self) -> Vec<Problem> {
        let known = self.known();
        let objects = &known.objects;
        let of_broken = known.broken.iter().map(|((kind, name), reason)| {
            let has = match *kind {
                Ingress::NAME => objects.ingresses.contains_key(name),
                IngressClass::NAME => objects.ingress_classes.contains_key(name),
                Service::NAME => objects.services.contains_key(name),
                EndpointSlice::NAME => objects.endpoint_slices.contains_key(name),
                Secret::NAME => objects.secrets.contains_key(name),
                _ => objects.config_maps.contains_key(name),
            };
            let instead = match has {
                true => "its last version that could be serves on",
                false => "it is left out",
            };
            Problem {
                origin: Origin::Object {
                    kind: (*kind).to_owned(),
                    namespace: name.namespace.clone(),
                    name: name.name.clone(),
                    field: String::new(),
                },
                path: String::new(),
                reason: format!("cannot be read: {reason}; {instead}"),
                hint: None,
                severity: Severity::Error,
            }
        });
        of_broken.collect()
    }
}

impl Objects for Cluster {
    fn settings(&self) -> Result<Vec<SourceFile>, Box<Problem>> {
        settings::settings(&self.shared.objects(), &self.shared.options.load())
    }

    fn translate(&self, read: &mut Read) -> Contents {
        // What is known of a part of them would be wrong, and so would its problems.
        if !self.are_known() {
            let options = Options {
                default_certificate: None,
                ..Options::clone(&self.shared.options.load())
            };
            return translate(&ObjectSet::default(), &options, read);
        }
        let objects = self.shared.objects();
        let mut contents = translate(&objects, &self.shared.options.load(), read);
        for (name, reason) in &self.shared.known().secrets.unreadable {
            contents.refuse(&name.namespace, &name.name, reason);
        }
        read.problems.extend(self.shared.problems());
        contents
    }

    fn are_known(&self) -> bool {
        self.shared.freshness.are_known()
    }

    fn changes(&self) -> &Notify {
        &self.shared.changes
    }

    fn tell(&self, problems: &[Problem]) {
        self.problems.send_replace(Arc::new(problems.to_vec()));
    }

    fn unready(&self) -> Vec<String> {
        self.shared.freshness.unknown()
    }

    fn remarks(&self) -> Vec<String> {
        self.shared.freshness.remarks()
    }

    fn measure(&self, metrics: &Metrics) {
        metrics.kubernetes_stale(self.shared.freshness.kinds());
        metrics.kubernetes_leads(*self.leads.borrow());
    }
}

/// Asks the API server again and again whether it is there: a watch cannot tell silence from
/// a server that is gone. When it is there again everything is opened again, at once.
async fn heartbeat(shared: Arc<Shared>) {
    let mut failures = 0;
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let failure = match tokio::time::timeout(ANSWER, shared.client.apiserver_version()).await {
            // Who may not ask for it has an answer all the same.
            Ok(Ok(_) | Err(kube::Error::Api(_))) => None,
            Ok(Err(error)) => Some(reason(&error)),
            Err(_) => Some(format!("no answer in {} s", ANSWER.as_secs())),
        };
        match failure {
            Some(reason) => {
                failures += 1;
                // One may be a connection that was kept too long.
                if failures >= 2 {
                    shared
                        .freshness
                        .all_stale(&format!("the API server: {reason}"));
                }
            }
            None => {
                if failures > 0 {
                    shared.again.send_modify(|count| *count += 1);
                }
                failures = 0;
            }
        }
    }
}

/// Finds the zone of a Node.
async fn find_zone(shared: Arc<Shared>, node: String) {
    let nodes: Api<Node> = Api::all(shared.client.clone());
    let mut pauses = Pauses::default();
    loop {
        match tokio::time::timeout(ANSWER, nodes.get_metadata(&node)).await {
            Ok(Ok(found)) => {
                let zone = found.metadata.labels.unwrap_or_default().remove(ZONE);
                if zone.is_some() {
                    let mut options = Options::clone(&shared.options.load());
                    options.zone = zone;
                    shared.options.store(Arc::new(options));
                    shared.changed();
                }
                return;
            }
            Ok(Err(kube::Error::Api(status))) => {
                let reason = status.message;
                tracing::warn!(node, %reason, "the zone is not known: endpoints of all zones are used");
                return;
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(pauses.next()).await,
        }
    }
}
