//! Objects of Kubernetes: from a cluster, or from manifests, to the document that files say.
//!
//! ```text
//! cluster --watch--> ObjectSet --translate (pure)--> Document, problems of each object
//! manifests --------/
//! ```
//!
//! What is written for others is in [`only_way`], and what pods are given in `injection`.
//!
//! Nothing outside of this folder knows a type of Kubernetes.

mod addresses;
mod admission;
mod asking;
mod class_parameters;
mod cluster;
mod contact;
mod egress_policy;
mod event;
mod events;
mod feeds;
mod freshness;
mod guarded;
mod holding;
mod in_force;
mod injection;
mod json_values;
mod known;
mod lease;
mod manifests;
mod objects;
pub mod only_way;
mod options;
mod parameter_watch;
mod pods;
mod policy_status;
mod review;
mod secrets;
mod setting_names;
mod settings;
mod shared;
mod single;
mod sizes;
mod status;
mod token_review;
pub mod translate;
mod watch;
mod watched;
mod webhook;

pub use addresses::Publish;
pub use class_parameters::ClassParameters;
pub use cluster::{Cluster, ClusterOptions, MAX_NAMED_SECRETS, SecretAccess};
pub(crate) use egress_policy::MAX_ENTRIES as MAX_EGRESS_POLICY_ENTRIES;
pub use egress_policy::{ClusterEgressPolicyObject, EgressPolicyObject, definitions};
pub use manifests::Manifests;
pub use objects::{Kind, ObjectSet, ResourceName};
pub use options::Options;
pub use webhook::Webhook;

/// Namespaces that clusters run by.
const OF_CLUSTER: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
