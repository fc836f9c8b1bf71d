//! Objects of Kubernetes: from a cluster, or from manifests, to the document that files say.
//!
//! ```text
//! cluster --watch--> ObjectSet --translate (pure)--> Document, problems of each object
//! manifests --------/
//! ```
//!
//! Nothing outside of this folder knows a type of Kubernetes.

mod manifests;
mod objects;
mod options;
mod settings;
pub mod translate;

pub use manifests::Manifests;
pub use objects::{Kind, ObjectSet, ResourceName};
pub use options::Options;
