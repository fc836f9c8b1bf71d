//! `status.loadBalancer` of Ingresses: where clients find what they describe.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch::Receiver;

use super::{
    ObjectSet, Options, ResourceName,
    addresses::{Address, Publish, address, of_nodes, of_service},
    shared::Shared,
    translate::served_ingresses,
    watch::{is_of_server, reason},
};

/// How long changes are waited for that come together.
const SETTLE: Duration = Duration::from_millis(300);
/// How often Nodes are looked at, and what failed is tried again.
const AGAIN: Duration = Duration::from_secs(20);
/// Pause between writes: a change of the addresses touches every Ingress.
const PACE: Duration = Duration::from_millis(10);

/// Writes statuses while this is the replica that leads.
pub(super) async fn write_statuses(
    shared: Arc<Shared>,
    publish: Publish,
    pod: ResourceName,
    mut leads: Receiver<bool>,
) {
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let found = match &publish {
            Publish::Fixed(addresses) => Ok(addresses.clone()),
            Publish::Service(name) => Ok(of_service(&shared.objects(), name)),
            Publish::Nodes => of_nodes(&shared.client, &pod).await,
        };
        match found {
            // Not known yet. What stands there may still be right.
            Ok(addresses) if addresses.is_empty() => {}
            Ok(addresses) if shared.freshness.are_known() => {
                write(&shared, &addresses, &leads).await;
            }
            Ok(_) => {}
            Err(error) => {
                let reason = reason(&error);
                tracing::warn!(%reason, "the addresses of our Nodes are not known");
            }
        }
        let _ = tokio::time::timeout(AGAIN, shared.seen.notified()).await;
        tokio::time::sleep(SETTLE).await;
    }
}

async fn write(shared: &Shared, addresses: &[String], leads: &Receiver<bool>) {
    let objects = shared.objects();
    let mut wanted: Vec<Address> = addresses.iter().map(|text| address(text)).collect();
    sort(&mut wanted);
    wanted.dedup();
    for (name, status) in changes(&objects, &shared.options.load(), &wanted) {
        if !*leads.borrow() {
            return;
        }
        let api: Api<Ingress> = Api::namespaced(shared.client.clone(), &name.namespace);
        let patch = Patch::Merge(json!({ "status": { "loadBalancer": { "ingress": status } } }));
        let patched = api
            .patch_status(&name.name, &PatchParams::default(), &patch)
            .await;
        match patched {
            Ok(_) => tracing::debug!(ingress = %name, "status written"),
            // It went in the meantime.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let (reason, is_of_server) = (reason(&error), is_of_server(&error));
                tracing::warn!(ingress = %name, %reason, "status not written");
                if is_of_server {
                    return;
                }
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The statuses to write, and those to take away (none). `wanted` is in order.
fn changes(
    objects: &ObjectSet,
    options: &Options,
    wanted: &[Address],
) -> Vec<(ResourceName, Option<Vec<Address>>)> {
    let served = served_ingresses(objects, options);
    let mut changes = Vec::new();
    for name in &served {
        let differs = objects
            .ingresses
            .get(name)
            .is_some_and(|ingress| written(ingress) != wanted);
        if differs {
            changes.push((name.clone(), Some(wanted.to_vec())));
        }
    }
    let served: std::collections::HashSet<&ResourceName> = served.iter().collect();
    for (name, ingress) in &objects.ingresses {
        if !served.contains(name) && written(ingress) == wanted && is_nobodys(objects, ingress) {
            changes.push((name.clone(), None));
        }
    }
    changes
}

/// Whether no controller has an Ingress: its class is not there. One of another class may
/// have our addresses from that controller, behind the same load balancer.
fn is_nobodys(objects: &ObjectSet, ingress: &Ingress) -> bool {
    let spec = ingress.spec.as_ref();
    let annotations = ingress.metadata.annotations.as_ref();
    let annotation = || annotations?.get("kubernetes.io/ingress.class");
    let class = spec.and_then(|spec| spec.ingress_class_name.as_ref());
    class.or_else(annotation).is_some_and(|class| {
        let class = ResourceName::new("", class);
        !objects.ingress_classes.contains_key(&class)
    })
}

/// The addresses that stand there, in order.
fn written(ingress: &Ingress) -> Vec<Address> {
    let status = ingress.status.as_ref();
    let written = status.and_then(|status| status.load_balancer.as_ref()?.ingress.clone());
    let mut written = written.unwrap_or_default();
    for address in &mut written {
        address.ports = None;
    }
    sort(&mut written);
    written
}

fn sort(addresses: &mut [Address]) {
    addresses.sort_by(|a, b| (&a.ip, &a.hostname).cmp(&(&b.ip, &b.hostname)));
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::IngressClass;

    use super::*;

    fn objects(ingresses: &[(&str, &str, &[&str])]) -> ObjectSet {
        let mut objects = ObjectSet::default();
        for (name, controller) in [("ours", Options::CONTROLLER), ("theirs", "other.test/x")] {
            let value =
                json!({ "metadata": { "name": name }, "spec": { "controller": controller } });
            let class: IngressClass = serde_json::from_value(value).expect("a class");
            let name = ResourceName::new("", name);
            objects.ingress_classes.insert(name, Arc::new(class));
        }
        for (name, class, addresses) in ingresses {
            let addresses: Vec<Address> = addresses.iter().map(|text| address(text)).collect();
            let value = json!({
                "metadata": { "namespace": "a", "name": name },
                "spec": { "ingressClassName": class },
                "status": { "loadBalancer": { "ingress": addresses } },
            });
            let ingress: Ingress = serde_json::from_value(value).expect("an Ingress");
            let name = ResourceName::new("a", name);
            objects.ingresses.insert(name, Arc::new(ingress));
        }
        objects
    }

    #[test]
    fn only_what_we_serve_is_written_and_only_where_it_differs() {
        let objects = objects(&[
            ("new", "ours", &[]),
            ("done", "ours", &["192.0.2.1", "lb.test"]),
            ("old", "ours", &["192.0.2.9"]),
            ("their-own", "theirs", &["192.0.2.1", "lb.test"]),
            ("their-new", "theirs", &[]),
            ("orphan", "gone", &["lb.test", "192.0.2.1"]),
            ("other-orphan", "gone", &["192.0.2.1"]),
        ]);
        let mut wanted = vec![address("lb.test"), address("192.0.2.1")];
        sort(&mut wanted);
        let changes = changes(&objects, &Options::default(), &wanted);
        let shown: Vec<(&str, usize)> = changes
            .iter()
            .map(|(name, status)| (name.name.as_str(), status.as_ref().map_or(0, Vec::len)))
            .collect();
        assert_eq!(shown, [("new", 2), ("old", 2), ("orphan", 0)]);
    }
}
