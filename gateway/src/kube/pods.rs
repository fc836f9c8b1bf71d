//! The pods of a cluster, for the egress proxy: who its clients are.
//!
//! They are watched in all namespaces, whichever the gateway serves: its clients may be in any.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Api;
use portcullis_config::egress::Identity;
use serde::Deserialize;

use super::{
    ResourceName,
    freshness::Number,
    shared::Shared,
    watch::{self, Change, Feed},
    watched::Listed,
};
use crate::identity::{Pod, Pods};

/// What of a `v1` Pod says who it is. The rest, most of it, is not even read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PodObject {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    service_account_name: Option<String>,
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<Address>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    #[serde(rename = "hostIPs")]
    host_ips: Vec<Address>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    ip: String,
}

impl kube::Resource for PodObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Self::NAME.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Listed for PodObject {
    const NAME: &'static str = "Pod";
}

impl From<PodObject> for Pod {
    fn from(object: PodObject) -> Self {
        let PodObject {
            metadata,
            spec,
            status,
        } = object;
        let account = spec.service_account_name.filter(|name| !name.is_empty());
        let phase = status.phase.unwrap_or_default();
        Self {
            identity: Identity {
                namespace: metadata.namespace.unwrap_or_default(),
                // What the API server fills in where nobody says it.
                service_account: account.unwrap_or_else(|| "default".to_owned()),
                pod: metadata.name,
                pod_uid: metadata.uid,
            },
            labels: metadata.labels.unwrap_or_else(BTreeMap::new),
            addresses: addresses(status.pod_ip, status.pod_ips),
            on_host_network: spec.host_network.unwrap_or_default(),
            node: addresses(status.host_ip, status.host_ips),
            is_done: matches!(phase.as_str(), "Succeeded" | "Failed"),
        }
    }
}

/// The addresses of a list whose first is also told alone.
fn addresses(first: Option<String>, all: Vec<Address>) -> Vec<IpAddr> {
    let texts = first.into_iter().chain(all.into_iter().map(|one| one.ip));
    let mut addresses: Vec<IpAddr> = texts.filter_map(|text| text.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Watches pods from when somebody wants to know of them.
pub(super) async fn watch_pods(shared: Arc<Shared>, pods: Arc<Pods>) {
    pods.are_wanted().await;
    let number = shared.freshness.add(PodObject::NAME, false);
    let api = Api::all(shared.client.clone());
    let again = shared.again.subscribe();
    let feed = PodFeed {
        shared,
        pods,
        number,
    };
    watch::watch(api, None, feed, again).await;
}

struct PodFeed {
    shared: Arc<Shared>,
    pods: Arc<Pods>,
    number: Number,
}

impl Feed<PodObject> for PodFeed {
    fn needs(&self, _: &ResourceName) -> bool {
        true
    }

    async fn replace(&self, all: Vec<Change<PodObject>>) {
        let applied = all.into_iter().filter_map(|change| match change {
            Change::Applied(pod) => Some(Pod::from(pod)),
            Change::Broken(name, reason) => {
                tracing::warn!(pod = %name, reason, "not understood: it is nobody");
                None
            }
            Change::Deleted(_) | Change::Passed(_) => None,
        });
        self.pods.replace(applied);
    }

    async fn change(&self, changes: Vec<Change<PodObject>>) {
        for change in changes {
            match change {
                Change::Applied(pod) => self.pods.apply(pod.into()),
                Change::Deleted(name) | Change::Passed(name) => {
                    self.pods.remove(&name.namespace, &name.name);
                }
                Change::Broken(name, reason) => {
                    tracing::warn!(pod = %name, reason, "not understood: it is nobody");
                    self.pods.remove(&name.namespace, &name.name);
                }
            }
        }
    }

    fn fresh(&self) {
        self.shared.freshness.fresh(self.number);
        self.pods.fresh();
    }

    fn stale(&self, reason: String) {
        self.shared.freshness.stale(self.number, reason);
        self.pods.stale();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        let object: PodObject = serde_json::from_value(value).expect("a Pod");
        object.into()
    }

    #[test]
    fn of_a_pod_is_read_who_it_is_and_where() {
        let read = pod(json!({
            "metadata": { "name": "a", "namespace": "ci", "uid": "1", "labels": { "app": "x" } },
            "spec": { "serviceAccountName": "builder", "containers": [{ "name": "c" }] },
            "status": {
                "phase": "Running", "podIP": "10.1.2.3", "podIPs": [{ "ip": "10.1.2.3" }, { "ip": "2001:db8::3" }],
                "hostIP": "192.0.2.1", "hostIPs": [{ "ip": "192.0.2.1" }],
            },
        }));
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(read.identity.service_account, "builder");
        assert_eq!(read.identity.pod_uid.as_deref(), Some("1"));
        assert_eq!(read.labels.get("app").map(String::as_str), Some("x"));
        assert_eq!(
            read.addresses,
            [address("10.1.2.3"), address("2001:db8::3")]
        );
        assert_eq!(read.node, [address("192.0.2.1")]);
        assert!(!read.on_host_network && !read.is_done);
        let bare = pod(json!({
            "metadata": { "name": "a", "namespace": "ci", "uid": "1" },
            "spec": { "hostNetwork": true }, "status": { "phase": "Failed" },
        }));
        assert_eq!(bare.identity.service_account, "default");
        assert!(bare.on_host_network && bare.is_done && bare.addresses.is_empty());
        for (phase, is_done) in [("Succeeded", true), ("Running", false), ("Pending", false)] {
            let metadata = json!({ "name": "a", "namespace": "ci", "uid": "1" });
            let read = pod(json!({ "metadata": metadata, "status": { "phase": phase } }));
            assert_eq!(read.is_done, is_done, "{phase}");
        }
    }
}
