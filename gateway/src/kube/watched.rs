//! The kinds that a cluster is watched for, and what of them is kept.

use std::sync::Arc;

use k8s_openapi::{
    Metadata, Resource,
    api::{
        core::v1::{ConfigMap, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::de::DeserializeOwned;

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject, Kind, ObjectSet, ResourceName,
    egress_policy::says_the_same,
    translate::{is_default, service_of},
};

/// What `kubectl apply` leaves: a copy of the object, which for a Secret is its data.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A kind that can be watched.
pub(super) trait Listed:
    kube::Resource<DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its name.
    const NAME: &'static str;
}

/// A kind of which the objects are kept.
pub(super) trait Watched: Listed + Metadata<Ty = ObjectMeta> {
    /// Those that are known.
    fn of(objects: &ObjectSet) -> &Kind<Self>;

    /// Those that are known, to change them.
    fn of_mut(objects: &mut ObjectSet) -> &mut Kind<Self>;

    /// Whether another version of it is served otherwise.
    fn is_served_otherwise(&self, other: &Self) -> bool;

    /// The Service that it is, or is a part of: it matters where an Ingress names that.
    fn service(&self) -> Option<ResourceName> {
        None
    }

    /// Whether what is wanted of Secrets changes with it.
    const NAMES_SECRETS: bool = false;

    /// Notes what must be remembered of one that is gone, or has another version now.
    fn note_gone(_: &mut ObjectSet, _: &ResourceName, _: &Arc<Self>) {}

    /// The objects that must be looked at for Secrets which a change of this kind makes needed.
    fn naming_secrets(_: &ObjectSet, _: &[Self]) -> Option<ObjectSet> {
        None
    }
}

macro_rules! watched {
    (
        $kind:ty, $field:ident, ($one:ident, $other:ident) $differs:expr
        $(, names $naming:expr)? $(, of $service:expr)? $(, gone $gone:expr)?
    ) => {
        impl Listed for $kind {
            const NAME: &'static str = <$kind as Resource>::KIND;
        }

        impl Watched for $kind {
            fn of(objects: &ObjectSet) -> &Kind<Self> {
                &objects.$field
            }

            fn of_mut(objects: &mut ObjectSet) -> &mut Kind<Self> {
                &mut objects.$field
            }

            fn is_served_otherwise(&self, other: &Self) -> bool {
                let ($one, $other) = (self, other);
                metadata(&self.metadata) != metadata(&other.metadata) || $differs
            }

            $(
                fn service(&self) -> Option<ResourceName> {
                    $service(self)
                }
            )?

            $(
                fn note_gone(objects: &mut ObjectSet, name: &ResourceName, class: &Arc<Self>) {
                    $gone(objects, name, class);
                }
            )?

            $(
                const NAMES_SECRETS: bool = true;

                fn naming_secrets(objects: &ObjectSet, changed: &[Self]) -> Option<ObjectSet> {
                    Some($naming(objects, changed))
                }
            )?
        }
    };
}

// What is left out of a comparison is their status, which Ingresses get from ourselves.
watched!(Ingress, ingresses, (one, other) one.spec != other.spec, names |objects: &ObjectSet, changed: &[Self]| {
    ObjectSet {
        ingresses: named(changed),
        ingress_classes: objects.ingress_classes.clone(),
        ..ObjectSet::default()
    }
});
watched!(IngressClass, ingress_classes, (one, other) one.spec != other.spec, names |objects: &ObjectSet, changed: &[Self]| {
    let mut ingress_classes = objects.ingress_classes.clone();
    ingress_classes.extend(named(changed));
    ObjectSet {
        ingresses: objects.ingresses.clone(),
        ingress_classes,
        ..ObjectSet::default()
    }
}, gone |objects: &mut ObjectSet, name: &ResourceName, class: &Arc<Self>| {
    if is_default(class) {
        objects.gone_defaults.insert(name.clone(), Arc::clone(class));
    }
});
watched!(Service, services, (one, other) one.spec != other.spec, of |service: &Self| {
    Some(ResourceName::of(&service.metadata))
});
watched!(EndpointSlice, endpoint_slices, (one, other) {
    one.endpoints != other.endpoints
        || one.ports != other.ports
        || one.address_type != other.address_type
}, of service_of);
watched!(EgressPolicyObject, egress_policies, (one, other) !says_the_same(one, other));
watched!(ClusterEgressPolicyObject, cluster_egress_policies, (one, other) {
    !says_the_same(one, other)
});
watched!(Secret, secrets, (one, other) one.data != other.data);
watched!(ConfigMap, config_maps, (one, other) {
    one.data != other.data || one.binary_data != other.binary_data
});

fn named<K: Watched>(objects: &[K]) -> Kind<K> {
    let named = objects.iter().map(|object| {
        let name = ResourceName::of(object.metadata());
        (name, Arc::new(object.clone()))
    });
    named.collect()
}

/// What of the metadata can mean something for what is served.
fn metadata(metadata: &ObjectMeta) -> impl PartialEq + use<'_> {
    (
        &metadata.uid,
        &metadata.labels,
        // Controllers note times there that nobody serves.
        annotations(metadata),
        &metadata.creation_timestamp,
        metadata.deletion_timestamp.is_some(),
    )
}

/// When the endpoints of a slice changed, which the slice says itself.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

fn annotations(metadata: &ObjectMeta) -> Vec<(&String, &String)> {
    let all = metadata.annotations.iter().flatten();
    all.filter(|(key, _)| *key != TRIGGER_TIME).collect()
}

/// Takes away what nobody reads: with `managedFields` an object is twice its size.
pub(super) fn strip(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.resource_version = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(value: serde_json::Value) -> Ingress {
        let mut ingress: Ingress = serde_json::from_value(value).expect("an Ingress");
        strip(&mut ingress.metadata);
        ingress
    }

    #[test]
    fn a_status_and_what_kubectl_left_are_no_change() {
        let before = ingress(json!({
            "metadata": { "name": "a", "resourceVersion": "1", "annotations": { "a": "b" } },
            "spec": { "ingressClassName": "x" },
        }));
        let status = ingress(json!({
            "metadata": {
                "name": "a", "resourceVersion": "2", "generation": 3, "managedFields": [],
                "annotations": { "a": "b", LAST_APPLIED: "{}" },
            },
            "spec": { "ingressClassName": "x" },
            "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } },
        }));
        assert!(!status.is_served_otherwise(&before));
        let mut other = status.clone();
        other.metadata.annotations = None;
        assert!(other.is_served_otherwise(&before));
        let mut other = status;
        other.spec = None;
        assert!(other.is_served_otherwise(&before));
    }
}
