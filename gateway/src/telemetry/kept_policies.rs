//! What became of NetworkPolicies that are kept in namespaces.

/// How many stand, and what was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptPolicies {
    /// Namespaces whose policy is as it should be.
    pub kept: u64,
    /// Namespaces whose policy is not.
    pub missing: u64,
    /// Policies that were written, for the first time or again.
    pub written: u64,
    /// Policies that were taken away.
    pub removed: u64,
    /// What could not be done.
    pub failed: u64,
}
