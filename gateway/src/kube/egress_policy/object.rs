//! The objects as the API server has them.

use k8s_openapi::{
    ClusterResourceScope, Metadata, NamespaceResourceScope, Resource,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use portcullis_config::{document::Egress, problem::Origin};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Condition;
use crate::kube::{ResourceName, objects::place, watched::Watched};

/// Group of the kinds that are ours.
const GROUP: &str = "portcullis.dev";

/// A kind of policy.
pub(in crate::kube) trait PolicyObject: Watched {
    /// List of `egress` that its policies stand in.
    const LIST: &'static str;
    /// The same as a path of the document.
    const PATH: &'static str;
    /// Whether it is what no namespace can loosen.
    const IS_FLOOR: bool;

    /// That list.
    fn list(section: &mut Egress) -> &mut Vec<portcullis_config::document::EgressPolicy>;

    /// What its author says; null where that is nothing.
    fn spec(&self) -> &Value;

    /// Names of fields beside `spec` that no such object has.
    fn beside(&self) -> impl Iterator<Item = &str>;

    /// What was written of it, by us and others; none where that cannot be read.
    fn conditions(&self) -> Vec<Condition>;

    /// Name of the policy of an object, which no file can have.
    fn policy_name(name: &ResourceName) -> String;

    /// The place of a field.
    fn place(name: &ResourceName, field: &str) -> Origin {
        place::<Self>(name, field)
    }
}

/// Whether the authors of two objects say the same.
pub(in crate::kube) fn says_the_same<K: PolicyObject>(one: &K, other: &K) -> bool {
    one.spec() == other.spec() && one.beside().eq(other.beside())
}

macro_rules! policy_object {
    ($(#[$doc:meta])* $object:ident, $kind:literal, $plural:literal, $scope:ty, $list:literal, $field:ident, $is_floor:literal, $name:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        pub struct $object {
            /// Name, and whose it is.
            pub metadata: ObjectMeta,
            /// What its author says. It is read by what reads files, which tells every mistake with
            /// its place.
            #[serde(default)]
            spec: Value,
            /// Whatever stands there must not keep the spec from being read.
            #[serde(default)]
            status: Value,
            #[serde(flatten)]
            beside: Map<String, Value>,
        }

        impl Resource for $object {
            const API_VERSION: &'static str = "portcullis.dev/v1alpha1";
            const GROUP: &'static str = GROUP;
            const KIND: &'static str = $kind;
            const VERSION: &'static str = "v1alpha1";
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = $scope;
        }

        impl Metadata for $object {
            type Ty = ObjectMeta;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }

        impl PolicyObject for $object {
            const LIST: &'static str = $list;
            const PATH: &'static str = concat!("egress.", $list);
            const IS_FLOOR: bool = $is_floor;

            fn list(section: &mut Egress) -> &mut Vec<portcullis_config::document::EgressPolicy> {
                &mut section.$field
            }

            fn spec(&self) -> &Value {
                &self.spec
            }

            fn beside(&self) -> impl Iterator<Item = &str> {
                let names = self.beside.keys().map(String::as_str);
                names.filter(|name| !["apiVersion", "kind"].contains(name))
            }

            fn conditions(&self) -> Vec<Condition> {
                let conditions = self.status.get("conditions");
                conditions
                    .and_then(|conditions| Vec::deserialize(conditions).ok())
                    .unwrap_or_default()
            }

            fn policy_name(name: &ResourceName) -> String {
                ($name)(name)
            }
        }
    };
}

policy_object!(
    /// Who of a namespace may reach what.
    EgressPolicyObject,
    "EgressPolicy",
    "egresspolicies",
    NamespaceResourceScope,
    "policies",
    policies,
    false,
    ResourceName::to_string
);

policy_object!(
    /// What no namespace can loosen.
    ClusterEgressPolicyObject,
    "ClusterEgressPolicy",
    "clusteregresspolicies",
    ClusterResourceScope,
    "clusterPolicies",
    cluster_policies,
    true,
    // A namespace has no capital letters.
    |name: &ResourceName| format!("ClusterEgressPolicy/{name}")
);
