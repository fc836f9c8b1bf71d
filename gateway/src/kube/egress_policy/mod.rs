//! The custom resources `EgressPolicy` and `ClusterEgressPolicy` (`portcullis.dev/v1alpha1`).
//!
//! ```text
//! object --judge--> policy of the document, or problems
//!                      |                       |
//!                      |        the last good version, or a policy that is closed
//!                      v                       v
//!                 translate --> document --> in force --> status
//! ```

mod crd;
mod judge;
mod object;
mod verdict;

pub use crd::definitions;
pub(crate) use judge::MAX_ENTRIES;
pub(super) use judge::{Closed, closed, judge};
pub use object::{ClusterEgressPolicyObject, EgressPolicyObject};
pub(super) use object::{PolicyObject, says_the_same};
pub(super) use verdict::{Condition, PROGRAMMED, Verdict, closed_to};
