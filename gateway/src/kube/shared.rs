//! What the tasks of a cluster have in common.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
};
use kube::{Api, Client};
use portcullis_config::{
    model::EgressWorkloads,
    problem::{Origin, Problem},
};
use tokio::{
    sync::{Notify, watch::Sender},
    task::JoinSet,
};

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject, ObjectSet, Options, ResourceName, SecretAccess,
    asking::Asking,
    feeds::{KindFeed, SecretFeed},
    freshness::Freshness,
    guarded::Guarded,
    holding::Holding,
    in_force::InForce,
    known::{Known, Scope},
    translate::Verdicts,
    watch,
    watched::{Listed, Watched},
};

/// What the tasks of a cluster have in common.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) namespaces: Vec<String>,
    pub(super) secret_access: SecretAccess,
    pub(super) options: ArcSwap<Options>,
    known: Mutex<Known>,
    pub(super) freshness: Freshness,
    pub(super) changes: Notify,
    /// Told of what may have to do with statuses, whether or not it is served otherwise.
    pub(super) seen: Notify,
    /// Counts how often all watches were to be opened again.
    pub(super) again: Sender<u64>,
    /// Changes of what names Secrets are taken one after the other: one must not let go of
    /// a Secret that another has just asked for.
    pub(super) turns: tokio::sync::Mutex<()>,
    pub(super) asking: Asking,
    /// How long namespaces hold up the changes of others.
    pub(super) holding: Holding,
    /// Secrets that have a watch of their own, at most, besides those of arguments.
    pub(super) max_named_secrets: usize,
    /// A Secret that is read though no object refers to it.
    pub(super) own_secret: Option<ResourceName>,
    /// What is in force of each policy of the egress proxy.
    pub(super) verdicts: Sender<Arc<Verdicts>>,
    /// What namespaces with a label get, as it is in force.
    pub(super) workloads: InForce<Option<Arc<EgressWorkloads>>>,
    /// The namespace that this process runs in; empty where it is not known.
    pub(super) own_namespace: String,
    /// The address of the API server's Service, where this process is a pod.
    pub(super) api_server: Option<IpAddr>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        client: Client,
        namespaces: Vec<String>,
        secret_access: SecretAccess,
        max_named_secrets: usize,
        options: Options,
        own_secret: Option<ResourceName>,
        (own_namespace, api_server): (String, Option<IpAddr>),
    ) -> Self {
        Self {
            client,
            namespaces,
            secret_access,
            options: ArcSwap::from_pointee(options),
            known: Mutex::default(),
            freshness: Freshness::default(),
            changes: Notify::new(),
            seen: Notify::new(),
            again: Sender::new(0),
            turns: tokio::sync::Mutex::default(),
            asking: Asking::default(),
            holding: Holding::default(),
            max_named_secrets,
            own_secret,
            verdicts: Sender::new(Arc::default()),
            workloads: InForce::default(),
            own_namespace,
            api_server,
        }
    }

    /// The scopes of the kinds that are watched in namespaces.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let namespaces = self.namespaces.iter().cloned();
        match self.namespaces.is_empty() {
            true => vec![Scope::Cluster],
            false => namespaces.map(Scope::Namespace).collect(),
        }
    }

    /// Whether a namespace is watched.
    pub(super) fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|known| known == namespace)
    }

    /// The API of a kind in a scope.
    pub(super) fn api<K>(&self, scope: &Scope) -> Api<Guarded<K>>
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

    pub(super) fn start<K: Watched>(
        self: &Arc<Self>,
        tasks: &mut JoinSet<()>,
        api: Api<Guarded<K>>,
        scope: Scope,
    ) {
        let number = self.freshness.add(K::NAME, true);
        let fields = match &scope {
            Scope::Object(name) => Some(format!("metadata.name={}", name.name)),
            Scope::Cluster | Scope::Namespace(_) => None,
        };
        let feed = KindFeed::new(Arc::clone(self), scope, number);
        tasks.spawn(watch::watch(api, fields, feed, self.again.subscribe()));
    }

    /// Secrets come when it is known which are wanted: the others are not held for a moment.
    pub(super) fn start_secrets(self: &Arc<Self>, tasks: &mut JoinSet<()>, scope: Scope) {
        let number = self.freshness.add(Secret::NAME, true);
        let shared = Arc::clone(self);
        tasks.spawn(async move {
            let naming = [Ingress::NAME, IngressClass::NAME];
            shared.freshness.wait_for(&naming).await;
            let (api, again) = (shared.api(&scope), shared.again.subscribe());
            let feed = SecretFeed::new(shared, scope, number);
            watch::watch(api, None, feed, again).await;
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
    pub(super) fn problems(&self) -> Vec<Problem> {
        let known = self.known();
        let objects = &known.objects;
        let of_broken = known.broken.iter().map(|((kind, name), reason)| {
            let has = match *kind {
                Ingress::NAME => objects.ingresses.contains_key(name),
                IngressClass::NAME => objects.ingress_classes.contains_key(name),
                Service::NAME => objects.services.contains_key(name),
                EndpointSlice::NAME => objects.endpoint_slices.contains_key(name),
                EgressPolicyObject::NAME => objects.egress_policies.contains_key(name),
                ClusterEgressPolicyObject::NAME => {
                    objects.cluster_egress_policies.contains_key(name)
                }
                Secret::NAME => objects.secrets.contains_key(name),
                _ => objects.config_maps.contains_key(name),
            };
            let instead = match has {
                true => "its last version that could be serves on",
                false => "it is left out",
            };
            let origin = Origin::Object {
                kind: (*kind).to_owned(),
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                field: String::new(),
            };
            let reason = format!("cannot be read: {reason}; {instead}");
            Problem::error(origin, "", reason)
        });
        of_broken.collect()
    }
}
