//! Keeps a NetworkPolicy in each namespace with a label, while this is the replica that leads. The
//! others count what is missing all the same: who leads may be a gateway that keeps none.
//!
//! ```text
//! watch of Namespaces -------\
//! watch of NetworkPolicies ---+-> what is known -> look (pure) -> server-side apply, delete
//! settings in force ---------/
//! ```
//!
//! What is not known to be wanted any more stays: without settings nothing is written and nothing goes.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use k8s_openapi::api::{core::v1::Namespace, networking::v1::NetworkPolicy};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use tokio::{
    sync::{Notify, watch::Receiver},
    task::JoinSet,
    time::timeout,
};

use super::{
    kept::{KEPT, Known, Look, Step, Wanted, way},
    kept_feed::{Kept, KeptFeed},
    pace::Paces,
};
use crate::{
    kube::{
        contact::ANSWER,
        shared::Shared,
        watch::{self, is_of_server, reason},
        watched::Listed,
    },
    telemetry::{KeptPolicies, Seldom},
};

/// Failures of the server, one after the other, by which it is left alone for a while. Each namespace has a
/// pause of its own, so the next time others come first.
const MAX_FAILURES: u32 = 3;
/// Who writes, for server-side apply.
const MANAGER: &str = "portcullis-egress";

/// What is known of namespaces and their policies, and what was done.
#[derive(Debug, Default)]
pub(in crate::kube) struct Keeper {
    known: Mutex<Known>,
    pub(super) news: Notify,
    kept: AtomicU64,
    missing: AtomicU64,
    written: AtomicU64,
    removed: AtomicU64,
    failed: AtomicU64,
}

impl Keeper {
    /// Begins to watch what it needs, to count, and to write while `leads`.
    pub(in crate::kube) fn start(
        shared: &Arc<Shared>,
        leads: Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let keeper = Arc::<Self>::default();
        let ours = Some(format!("metadata.name={KEPT}"));
        keeper.watch::<Namespace>(shared, None, tasks);
        keeper.watch::<NetworkPolicy>(shared, ours, tasks);
        tasks.spawn(keep(Arc::clone(shared), Arc::clone(&keeper), leads));
        keeper
    }

    /// What was done, and what stands.
    pub(in crate::kube) fn numbers(&self) -> KeptPolicies {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        KeptPolicies {
            kept: of(&self.kept),
            missing: of(&self.missing),
            written: of(&self.written),
            removed: of(&self.removed),
            failed: of(&self.failed),
        }
    }

    fn watch<K: Kept>(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        fields: Option<String>,
        tasks: &mut JoinSet<()>,
    ) {
        let feed = KeptFeed {
            keeper: Arc::clone(self),
            number: shared.freshness.add(K::NAME, true),
            shared: Arc::clone(shared),
        };
        let api = Api::all(shared.client.clone());
        tasks.spawn(watch::watch::<K>(
            api,
            fields,
            feed,
            shared.again.subscribe(),
        ));
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stands(&self, look: &Look) {
        self.kept.store(look.kept as u64, Ordering::Relaxed);
        self.missing.store(look.missing as u64, Ordering::Relaxed);
    }
}

/// Looks at what is known whenever that changes, and does what is to be done.
async fn keep(shared: Arc<Shared>, keeper: Arc<Keeper>, mut leads: Receiver<bool>) {
    let mut workloads = shared.workloads.subscribe();
    let mut round = Round::default();
    loop {
        leads.mark_unchanged();
        shared
            .freshness
            .wait_for(&[Namespace::NAME, NetworkPolicy::NAME])
            .await;
        let settings = workloads.borrow_and_update().clone();
        let again = match settings.as_deref() {
            Some(settings) if settings.network_policies.is_some() => {
                round.go(&shared, &keeper, settings, &leads).await
            }
            _ => {
                keeper.stands(&Look::default());
                None
            }
        };
        let pause = async {
            match again {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = keeper.news.notified() => {}
            changed = workloads.changed() => if changed.is_err() { return },
            changed = leads.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Round {
    paces: Paces,
    failures: Seldom,
    told: [Vec<String>; 3],
}

impl Round {
    /// Tells of namespaces that are not as somebody may think, whenever these are others.
    fn tell(&mut self, look: &Look) {
        let all = [
            (
                &look.never,
                "it gets no NetworkPolicy though it has the label: the cluster or the proxy runs by it",
            ),
            (
                &look.of_others,
                "another gateway keeps its NetworkPolicy, which is left as it is",
            ),
            (
                &look.by_other_key,
                "it has the label by another key than that of the settings, and keeps its NetworkPolicy",
            ),
        ];
        for (told, (namespaces, what)) in self.told.iter_mut().zip(all) {
            if told == namespaces {
                continue;
            }
            for namespace in namespaces {
                tracing::warn!(namespace, "{what}");
            }
            told.clone_from(namespaces);
        }
    }

    /// Counts what stands; where this replica leads, does what may be done now, and tells when there is
    /// more to do.
    async fn go(
        &mut self,
        shared: &Shared,
        keeper: &Keeper,
        settings: &portcullis_config::model::EgressWorkloads,
        leads: &Receiver<bool>,
    ) -> Option<Instant> {
        let policies = settings.network_policies.as_ref()?;
        let wanted = Wanted {
            label: &settings.namespace_label,
            way: way(policies, &shared.own_namespace),
            instance: &shared.own_namespace,
        };
        let look = wanted.look(&keeper.known());
        keeper.stands(&look);
        if !*leads.borrow() {
            return None;
        }
        self.tell(&look);
        let mut again: Option<Instant> = None;
        let mut failed_in_a_row = 0;
        for step in look.steps {
            if !*leads.borrow() {
                return None;
            }
            let now = Instant::now();
            if let Some(until) = self.paces.until(step.namespace(), now) {
                again = Some(again.map_or(until, |known| known.min(until)));
                continue;
            }
            self.paces.note(step.namespace(), now);
            let namespace = step.namespace().to_owned();
            let outcome = timeout(ANSWER, take(shared, keeper, step)).await;
            let (reason, is_of_server) = match outcome {
                Ok(Ok(())) => {
                    failed_in_a_row = 0;
                    continue;
                }
                Ok(Err(error)) => (reason(&error), is_of_server(&error)),
                Err(_) => ("no answer".to_owned(), true),
            };
            keeper.failed.fetch_add(1, Ordering::Relaxed);
            if let Some(untold) = self.failures.note() {
                tracing::error!(namespace, %reason, untold, "the NetworkPolicy of a namespace is not as it should be");
            }
            let until = self.paces.until(&namespace, now).unwrap_or(now);
            again = Some(again.map_or(until, |known| known.min(until)));
            // A server that fails is not asked for each namespace; one that fails for some, as by a webhook
            // of theirs, goes on with the others.
            failed_in_a_row += u32::from(is_of_server);
            if failed_in_a_row >= MAX_FAILURES {
                return again;
            }
        }
        keeper.stands(&wanted.look(&keeper.known()));
        again
    }
}

async fn take(shared: &Shared, keeper: &Keeper, step: Step) -> kube::Result<()> {
    let api: Api<NetworkPolicy> = Api::namespaced(shared.client.clone(), step.namespace());
    match step {
        Step::Write(policy) => {
            let namespace = policy.metadata.namespace.clone().unwrap_or_default();
            // What others have written there goes: it is the one that is wanted or it is not.
            let params = PatchParams::apply(MANAGER).force();
            // What stands now is told by the watch, also what came after this answer.
            api.patch(KEPT, &params, &Patch::Apply(&*policy)).await?;
            tracing::info!(namespace, "NetworkPolicy written");
            keeper.written.fetch_add(1, Ordering::Relaxed);
        }
        Step::Remove { namespace, uid } => {
            let preconditions = Preconditions {
                uid,
                resource_version: None,
            };
            let params = DeleteParams {
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            match api.delete(KEPT, &params).await {
                Ok(_) => {
                    tracing::info!(namespace, "NetworkPolicy removed");
                    keeper.removed.fetch_add(1, Ordering::Relaxed);
                }
                // It is gone already.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
