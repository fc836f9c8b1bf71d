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
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::Api;
use portcullis_config::{
    model::Model,
    problem::Problem,
    read::{self as config, Read},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject, ObjectSet, Options, ResourceName,
    addresses::Publish,
    contact::{ANSWER, HEARTBEAT, client, find_zone, heartbeat},
    events::tell_problems,
    known::Scope,
    lease::{Election, release},
    only_way::Keeper,
    pods::watch_pods,
    policy_status::write_policy_statuses,
    setting_names::SettingNames,
    settings,
    shared::Shared,
    status::write_statuses,
    token_review::Reviewer,
    translate::{MadeItems, parameters::lost_names, translate, translate_again},
    watch::reason,
    webhook::{self, Webhook},
};
use crate::{
    files::Contents,
    identity::{Pods, ReviewTokens},
    source::{Objects, Settings},
    telemetry::Metrics,
};

/// Which Secrets the API server is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretAccess {
    /// All are watched, and of those that nothing refers to nothing is kept.
    #[default]
    All,
    /// Each that is referred to, by its name. The rights can then name them.
    Named,
}

/// Secrets that have a watch of their own where nothing else is said.
pub const MAX_NAMED_SECRETS: usize = 5000;

/// How a cluster is reached, and what of it is watched.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Where the API server is and who we are; else what a pod is given.
    pub kubeconfig: Option<PathBuf>,
    /// Namespaces that are watched; none means all.
    pub namespaces: Vec<String>,
    /// How Secrets are read.
    pub secrets: SecretAccess,
    /// Secrets that are read by name, at most, besides those of arguments.
    pub max_named_secrets: usize,
    /// The Node that the process runs on, for its zone.
    pub node: Option<String>,
    /// The pod that the process is, or the name of one that is none.
    pub pod: ResourceName,
    /// Whether problems are told as Events of their objects.
    pub events: bool,
    /// Whether EgressPolicies and ClusterEgressPolicies are watched.
    pub egress_policies: bool,
    /// Whether a NetworkPolicy is kept in namespaces with the label of `egress.workloads`.
    pub egress_network_policies: bool,
    /// The address of the API server's Service, which pods are told to go to by themselves.
    pub api_server: Option<IpAddr>,
    /// Whether statuses are written.
    pub update_status: bool,
    /// The addresses that the status of Ingresses tells; without any none is written.
    pub publish: Option<Publish>,
    /// The Lease whose holder writes statuses and NetworkPolicies, in the namespace of the pod.
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
    pods: Arc<Pods>,
    problems: watch::Sender<Arc<Vec<Problem>>>,
    /// What the last translation made.
    made: Mutex<MadeItems>,
    /// The Lease, and who we are for it.
    election: Option<(ResourceName, String)>,
    leads: watch::Receiver<bool>,
    tasks: Mutex<JoinSet<()>>,
    /// What answers the API server, to the end: objects wait for it.
    _answering: JoinSet<()>,
    keeper: Option<Arc<Keeper>>,
}

impl Cluster {
    /// Begins to watch a cluster; to be called on a runtime. What is not reached yet is tried
    /// again for ever.
    ///
    /// # Errors
    /// Where nothing says how the cluster is reached, or it cannot be read.
    pub async fn watch(options: ClusterOptions) -> anyhow::Result<Self> {
        let client = client(options.kubeconfig.as_deref()).await?;
        let own_secret = options
            .webhook
            .as_ref()
            .map(|known| known.certificate.clone());
        let shared = Arc::new(Shared::new(
            client,
            options.namespaces,
            options.secrets,
            options.max_named_secrets,
            options.options,
            own_secret,
            (options.pod.namespace.clone(), options.api_server),
        ));
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
        if options.egress_policies {
            let of_cluster = Api::all(shared.client.clone());
            shared.start::<ClusterEgressPolicyObject>(&mut tasks, of_cluster, Scope::Cluster);
            for scope in shared.scopes() {
                shared.start::<EgressPolicyObject>(&mut tasks, shared.api(&scope), scope.clone());
            }
        }
        let config_maps = shared.options.load().config_maps.clone();
        for name in config_maps {
            let scope = Scope::Object(name);
            shared.start::<ConfigMap>(&mut tasks, shared.api(&scope), scope);
        }
        let default = shared.options.load().default_certificate.clone();
        let always = default.into_iter().chain(shared.own_secret.clone());
        shared.want(always.collect()).await;
        let mut answering = JoinSet::new();
        if let Some(webhook) = options.webhook {
            let listener = crate::listen::bind(webhook.address)
                .with_context(|| format!("--webhook-address {}", webhook.address))?;
            tracing::info!(address = %listener.local_addr()?, "webhook");
            let certificate = webhook.certificate;
            answering.spawn(webhook::serve(Arc::clone(&shared), listener, certificate));
        }
        let pods = Arc::<Pods>::default();
        tasks.spawn(heartbeat(Arc::clone(&shared), Arc::clone(&pods), HEARTBEAT));
        tasks.spawn(watch_pods(Arc::clone(&shared), Arc::clone(&pods)));
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
        let publish = options.publish.filter(|_| options.update_status);
        if publish.is_some()
            || options.egress_policies && options.update_status
            || options.egress_network_policies
        {
            let lease = ResourceName::new(&options.pod.namespace, &options.election);
            let held = Election::new(shared.client.clone(), lease.clone(), me.clone());
            tasks.spawn(held.run(sender));
            election = Some((lease, me));
        }
        if options.egress_policies && options.update_status {
            let writing = write_policy_statuses(Arc::clone(&shared), leads.clone());
            tasks.spawn(writing);
        }
        let keeper = options
            .egress_network_policies
            .then(|| Keeper::start(&shared, leads.clone(), &mut tasks));
        if let Some(publish) = publish {
            if let Publish::Service(name) = &publish
                && !shared.watches(&name.namespace)
            {
                let scope = Scope::Object(name.clone());
                shared.start::<Service>(&mut tasks, shared.api(&scope), scope);
            }
            let writing = write_statuses(Arc::clone(&shared), publish, options.pod, leads.clone());
            tasks.spawn(writing);
        }
        Ok(Self {
            shared,
            pods,
            problems,
            made: Mutex::default(),
            election,
            leads,
            tasks: Mutex::new(tasks),
            _answering: answering,
            keeper,
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
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Those of single objects are no tasks of ours, and hold what they feed.
        let known = &mut *self.shared.known();
        let of_secrets = known.secrets.watches.drain();
        for (_, watch) in of_secrets.chain(known.config_map_watches.drain()) {
            watch.abort();
        }
    }
}

impl Objects for Cluster {
    fn settings(&self) -> Result<Settings, Vec<Problem>> {
        if !self.are_known() {
            return Ok(Settings::default());
        }
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
        let options = self.shared.options.load();
        let names = SettingNames::of(&read.document);
        let (objects, serving) = {
            let mut known = self.shared.known();
            (known.objects_for(&names), known.serving())
        };
        if let Some(serving) = serving.filter(|serving| **serving != names) {
            let lost = lost_names(&objects, &options, (&serving, &names), &read.origins);
            read.problems.extend(lost);
        }
        let mut contents = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            translate_again(&objects, &options, &mut made, read)
        };
        {
            let secrets = &self.shared.known().secrets;
            for name in &secrets.over {
                let most = self.shared.max_named_secrets;
                let reason = format!(
                    "not read: more than {most} Secrets are named (--max-named-secrets), and \
                     this one is not among the first"
                );
                contents.refuse(&name.namespace, &name.name, &reason);
            }
            for (name, reason) in &secrets.unreadable {
                contents.refuse(&name.namespace, &name.name, reason);
            }
        }
        read.problems.extend(self.shared.problems());
        contents
    }

    fn serves(&self, settings: &Settings) {
        let names = SettingNames::of(&config::read(&settings.documents).document);
        let is_news = self.shared.known().serve(names);
        if is_news {
            self.shared.changed();
        }
    }

    fn adopt(&self, model: &Model) {
        let egress = model.egress.as_ref();
        let workloads = egress.and_then(|egress| egress.workloads.clone());
        self.shared.workloads.send_if_modified(|known| {
            let is_news = *known != workloads;
            if is_news {
                *known = workloads;
            }
            is_news
        });
    }

    fn is_in_force(&self) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let verdicts = made.verdicts();
        drop(made);
        self.shared.verdicts.send_if_modified(|known| {
            let is_news = **known != verdicts;
            if is_news {
                *known = Arc::new(verdicts);
            }
            is_news
        });
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

    fn pods(&self) -> Option<Arc<Pods>> {
        Some(Arc::clone(&self.pods))
    }

    fn token_reviewer(&self) -> Option<Arc<dyn ReviewTokens>> {
        Some(Arc::new(Reviewer::new(self.shared.client.clone())))
    }

    fn measure(&self, metrics: &Metrics) {
        metrics.kubernetes_stale(self.shared.freshness.kinds());
        metrics.kubernetes_leads(*self.leads.borrow());
        if let Some(keeper) = &self.keeper {
            metrics.egress_network_policies(keeper.numbers());
        }
    }
}
