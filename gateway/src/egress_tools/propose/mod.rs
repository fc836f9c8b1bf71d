//! The smallest policy of each workload that covers what was seen of it.
//!
//! ```text
//! Record -judge-> Seen -+-> an entry would let it pass -> Destination -> Entry, wildcards where asked
//!                       \-> left out, and why -> a comment
//! ```

mod collector;
mod comments;
mod entries;
mod seen;
mod yaml;

use portcullis_config::access::AddressSet;

pub use collector::{Collector, TooMany};
pub use yaml::write;

/// Distinct destinations of all workloads together that are kept, unless another number is asked
/// for. One takes some 200 bytes, with as many methods as are kept 2 KiB.
pub const DEFAULT_MAX_ENTRIES: usize = 100_000;

/// What is proposed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names below one parent, with the same ports, that are joined to `*.parent`; `None` joins
    /// none.
    pub wildcard_from: Option<usize>,
    /// Whether private addresses are opened.
    pub private: bool,
    /// Whether what an enforced policy has refused is proposed as well.
    pub denied: bool,
    /// Mode of the policies; `None` chooses by what was seen: `report` for a workload that was let
    /// pass without an entry, else `enforce`. So no proposal opens more than was open.
    pub mode: Option<Mode>,
    /// Ranges of the cluster, which count as private.
    pub cluster_ranges: AddressSet,
    /// Distinct destinations that are kept.
    pub max_entries: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wildcard_from: None,
            private: false,
            denied: false,
            mode: None,
            cluster_ranges: AddressSet::default(),
            max_entries: DEFAULT_MAX_ENTRIES,
        }
    }
}

/// Mode of a proposed policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What has no entry passes, and is told.
    Report,
    /// What has no entry is refused.
    Enforce,
}

impl Mode {
    fn text(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Enforce => "enforce",
        }
    }
}

/// What a proposal is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Objects of the kind EgressPolicy, in the namespaces of the workloads.
    Resource,
    /// The section `egress.policies` of a configuration.
    Document,
}
