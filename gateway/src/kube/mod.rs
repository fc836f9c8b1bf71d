//! Objects of Kubernetes: from a cluster, or from manifests, to the document that files say.
//!
//! ```text
//! cluster --watch--> ObjectSet --translate (pure)--> Document, problems of each object
//! manifests --------/
//! ```
//!
//! Nothing outside of this folder knows a type of Kubernetes.

mod cluster;
mod feeds;
mod freshness;
mod known;
mod manifests;
mod objects;
mod options;
mod secrets;
mod settings;
pub mod translate;
mod unreadable;
mod watch;
mod watched;

pub use cluster::{Cluster, ClusterOptions, SecretAccess};
pub use manifests::Manifests;
pub use objects::{Kind, ObjectSet, ResourceName};
pub use options::Options;
