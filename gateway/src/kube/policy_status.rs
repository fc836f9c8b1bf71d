//! The status of EgressPolicies and ClusterEgressPolicies: what of them is in force.
//!
//! The replica that leads tells what is in force with it. What was refused as a whole, since the
//! settings have errors, changes nothing, and the status stays behind the `generation` until then.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch::Receiver;

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject, Kind, ResourceName,
    egress_policy::{Condition, PROGRAMMED, PolicyObject, Verdict},
    shared::Shared,
    watch::{is_of_server, reason},
};

/// What failed is tried again after this time.
const AGAIN: Duration = Duration::from_secs(20);
/// How long changes are waited for that come together.
const SETTLE: Duration = Duration::from_millis(100);
/// Pause between writes.
const PACE: Duration = Duration::from_millis(5);

/// Verdicts by name, each with the version that was looked at.
type OfKind = BTreeMap<ResourceName, (Option<i64>, Verdict)>;

/// Writes statuses while this is the replica that leads.
pub(super) async fn write_policy_statuses(shared: Arc<Shared>, mut leads: Receiver<bool>) {
    let mut verdicts = shared.verdicts.subscribe();
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let current = Arc::clone(&verdicts.borrow_and_update());
        let objects = shared.objects();
        let is_done = write(
            &shared,
            &objects.cluster_egress_policies,
            &current.cluster_policies,
            of_cluster,
            &leads,
        )
        .await
            && write(
                &shared,
                &objects.egress_policies,
                &current.policies,
                of_namespace,
                &leads,
            )
            .await;
        drop(objects);
        tokio::select! {
            changed = verdicts.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN), if !is_done => {}
        }
        tokio::time::sleep(SETTLE).await;
    }
}

fn of_cluster(client: Client, _: &ResourceName) -> Api<ClusterEgressPolicyObject> {
    Api::all(client)
}

fn of_namespace(client: Client, name: &ResourceName) -> Api<EgressPolicyObject> {
    Api::namespaced(client, &name.namespace)
}

/// Writes what differs, and tells whether nothing is left to write.
async fn write<K: PolicyObject>(
    shared: &Shared,
    objects: &Kind<K>,
    verdicts: &OfKind,
    api: impl Fn(Client, &ResourceName) -> Api<K>,
    leads: &Receiver<bool>,
) -> bool {
    let mut is_done = true;
    for (name, conditions) in changes(objects, verdicts, &Timestamp::now()) {
        if !*leads.borrow() {
            return false;
        }
        let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
        let api = api(shared.client.clone(), &name);
        let patched = api
            .patch_status(&name.name, &PatchParams::default(), &patch)
            .await;
        match patched {
            // An answer that cannot be read is one of an object whose author has made it so.
            Ok(_) | Err(kube::Error::SerdeError(_)) => {
                tracing::debug!(kind = K::NAME, %name, "status written");
            }
            // It went in the meantime.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                is_done = false;
                let (reason, is_of_server) = (reason(&error), is_of_server(&error));
                tracing::warn!(kind = K::NAME, %name, %reason, "status not written");
                if is_of_server {
                    return false;
                }
            }
        }
        tokio::time::sleep(PACE).await;
    }
    is_done
}

/// The conditions to write.
fn changes<K: PolicyObject>(
    objects: &Kind<K>,
    verdicts: &OfKind,
    now: &Timestamp,
) -> Vec<(ResourceName, Vec<Condition>)> {
    let now = format!("{now:.0}");
    // What was told of one that is served no more is no longer so.
    let no_more = (None, Verdict::NotServed);
    let changes = objects.iter().filter_map(|(name, object)| {
        let before = object.conditions();
        let was_told = before.iter().any(|known| known.kind == PROGRAMMED);
        let verdict = verdicts.get(name);
        let (generation, verdict) = verdict.or(was_told.then_some(&no_more))?;
        let conditions = verdict.conditions(&before, *generation, &now);
        (conditions != before).then(|| (name.clone(), conditions))
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let name = ResourceName::new("ci", "builds");
        let object = |status: serde_json::Value| {
            let value =
                json!({ "metadata": { "namespace": "ci", "name": "builds" }, "status": status });
            let object: EgressPolicyObject = serde_json::from_value(value).expect("a policy");
            Kind::from([(name.clone(), Arc::new(object))])
        };
        let verdicts = OfKind::from([
            (name.clone(), (Some(3), Verdict::Accepted)),
            // Its object is gone already.
            (
                ResourceName::new("ci", "gone"),
                (Some(1), Verdict::Accepted),
            ),
        ]);
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let first = changes(&object(json!(null)), &verdicts, &now);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].1[0].last_transition_time, "2027-01-15T08:00:00Z");
        let written = object(json!({ "conditions": first[0].1 }));
        let later = Timestamp::from_second(1_800_000_100).expect("a time");
        assert_eq!(changes(&written, &verdicts, &later), []);
        let broken = object(json!({ "conditions": "none" }));
        assert_eq!(changes(&broken, &verdicts, &now).len(), 1);
        // Served no more, and never served.
        let none = OfKind::new();
        let no_more = changes(&written, &none, &later);
        assert_eq!(no_more[0].1[1].reason, "NotServed");
        let written = object(json!({ "conditions": no_more[0].1 }));
        assert_eq!(changes(&written, &none, &later), []);
        assert_eq!(changes(&object(json!(null)), &none, &later), []);
    }
}
