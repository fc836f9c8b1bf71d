//! A policy, and what a cluster leaves to its namespaces.

use std::sync::Arc;

use super::{EgressQuota, EgressRules, Host, Subjects};
use crate::document::{EgressMode, EncryptedClientHello};

/// Who may reach what.
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// Unique name in its tier.
    pub name: Arc<str>,
    /// Clients it selects.
    pub subjects: Subjects,
    /// Enforce, report or open.
    pub mode: EgressMode,
    /// What is done with a ClientHello that may name another host than it shows.
    pub encrypted_client_hello: EncryptedClientHello,
    /// What may be reached.
    pub allow: EgressRules,
    /// What may not, first.
    pub deny: EgressRules,
    /// Whether every public name may be reached that no `deny` names.
    pub allow_all: bool,
    /// Whether its clients reach nothing, whatever its mode and other policies say.
    pub closed: bool,
    /// What each client may use of what it allows, and of everything where it is one of the
    /// cluster; `None` means any amount.
    pub quota: Option<EgressQuota>,
    /// What the policies of workloads may say of the clients that this one selects; `None` means
    /// that nothing is kept from them. Only policies of the cluster have one.
    pub delegate: Option<Delegate>,
}

/// What policies of workloads may say of the clients of a policy of the cluster.
#[derive(Clone, Debug)]
pub struct Delegate {
    /// Destinations that they may allow; `None` means any.
    pub allow: Option<EgressRules>,
    /// Modes that they may have; one that has another is enforced.
    pub modes: Vec<EgressMode>,
}

impl EgressPolicy {
    /// Whether it allows a host without an entry.
    pub(super) fn allows_all_of(&self, host: &Host) -> bool {
        self.allow_all && matches!(host, Host::Name(_))
    }
}

impl Delegate {
    /// The mode that a policy has under this one.
    pub(super) fn mode(&self, wanted: EgressMode) -> EgressMode {
        match self.modes.contains(&wanted) {
            true => wanted,
            false => EgressMode::Enforce,
        }
    }
}
