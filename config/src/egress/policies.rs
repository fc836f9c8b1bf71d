//! All policies, and those that select a client.
//!
//! There may be tens of thousands, and each client is selected by a few. They are found by the
//! namespace, the ServiceAccount and the address of a client; what must be asked one by one are
//! those whose subjects say none of these.

use std::{collections::HashMap, fmt, ops::Deref, sync::Arc};

use super::{Client, EgressPolicy, Subject};
use crate::{
    access::AddressMap,
    document::{EgressMode, EncryptedClientHello},
};

/// The policies of one tier, in their order.
#[derive(Clone, Default)]
pub struct EgressPolicies {
    all: Vec<EgressPolicy>,
    /// Places of the policies about every ServiceAccount of a namespace.
    namespaces: HashMap<String, Vec<usize>>,
    /// Places of the policies about a ServiceAccount, by its namespace and name.
    accounts: HashMap<String, HashMap<String, Vec<usize>>>,
    /// Places of the policies about addresses and nothing else that is indexed.
    addresses: AddressMap<Vec<usize>>,
}

/// The policies that are about a client. Those of the cluster come first: what they deny no
/// other allows.
#[derive(Clone, Debug, Default)]
pub struct Selected<'p> {
    /// Of the cluster.
    pub(super) cluster: Vec<&'p EgressPolicy>,
    /// Of the workload, each with the mode that the cluster leaves it.
    pub(super) workload: Vec<(&'p EgressPolicy, EgressMode)>,
}

impl Deref for EgressPolicies {
    type Target = [EgressPolicy];

    fn deref(&self) -> &[EgressPolicy] {
        &self.all
    }
}

/// The policies: where each is found follows from them.
impl fmt::Debug for EgressPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

impl FromIterator<EgressPolicy> for EgressPolicies {
    fn from_iter<I: IntoIterator<Item = EgressPolicy>>(policies: I) -> Self {
        let mut made = Self::default();
        for (place, policy) in policies.into_iter().enumerate() {
            for subject in policy.subjects.iter() {
                made.index(place, &subject);
            }
            made.all.push(policy);
        }
        made
    }
}

impl EgressPolicies {
    fn index(&mut self, place: usize, subject: &Subject) {
        match (&subject.accounts, &subject.addresses) {
            (Some(accounts), _) => {
                let namespace = accounts.namespace.clone();
                let places = match &accounts.name {
                    None => self.namespaces.entry(namespace).or_default(),
                    Some(name) => {
                        let accounts = self.accounts.entry(namespace).or_default();
                        accounts.entry(name.clone()).or_default()
                    }
                };
                places.push(place);
            }
            (None, Some(addresses)) => {
                for network in addresses.iter() {
                    self.addresses.entry(network).push(place);
                }
            }
            // Nobody is selected by nothing.
            (None, None) => {}
        }
    }

    /// Those that select a client, in their order.
    fn of(&self, client: Client<'_>) -> Vec<&EgressPolicy> {
        let mut places: Vec<usize> = self.candidates(client).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let policies = places.into_iter().filter_map(|place| self.all.get(place));
        policies
            .filter(|policy| policy.subjects.contains(client))
            .collect()
    }

    /// The places of those that may select a client.
    fn candidates<'a>(&'a self, client: Client<'a>) -> impl Iterator<Item = &'a Vec<usize>> {
        let of_identity = client.identity.into_iter().flat_map(|identity| {
            let accounts = self.accounts.get(&identity.namespace);
            let account = accounts.and_then(|known| known.get(&identity.service_account));
            self.namespaces
                .get(&identity.namespace)
                .into_iter()
                .chain(account)
        });
        of_identity.chain(self.addresses.covering(client.address))
    }
}

impl<'p> Selected<'p> {
    /// Finds the policies that are about a client; `None` where none is.
    pub fn find(
        cluster: &'p EgressPolicies,
        workload: &'p EgressPolicies,
        client: Client<'_>,
    ) -> Option<Self> {
        let cluster = cluster.of(client);
        let workload = workload.of(client).into_iter().map(|policy| {
            let delegates = cluster.iter().filter_map(|floor| floor.delegate.as_ref());
            let mode = delegates.fold(policy.mode, |mode, delegate| delegate.mode(mode));
            (policy, mode)
        });
        let workload: Vec<_> = workload.collect();
        let is_any = !cluster.is_empty() || !workload.is_empty();
        is_any.then_some(Self { cluster, workload })
    }

    /// All of them with their modes, those of the cluster first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'p EgressPolicy, EgressMode)> {
        let cluster = self.cluster.iter().map(|policy| (*policy, policy.mode));
        cluster.chain(self.workload.iter().copied())
    }

    /// The mode of what no policy allows, and the policy that says so. It is the strictest of
    /// the policies of the workload; where there is none, of those of the cluster.
    pub(super) fn default_mode(&self) -> Option<(&'p EgressPolicy, EgressMode)> {
        let is_workload = !self.workload.is_empty();
        let skipped = if is_workload { self.cluster.len() } else { 0 };
        // The first of several that are as strict.
        self.all()
            .skip(skipped)
            .min_by_key(|(_, mode)| leniency(*mode))
    }

    /// What they say of how a tunnel begins.
    pub fn beginnings(&self) -> Beginnings {
        let named = |(policy, mode): (&EgressPolicy, EgressMode)| (Arc::clone(&policy.name), mode);
        let hidden = self
            .all()
            .filter(|(policy, _)| policy.encrypted_client_hello == EncryptedClientHello::Refuse)
            .min_by_key(|(_, mode)| leniency(*mode));
        Beginnings {
            faults: self
                .default_mode()
                .map_or(EgressMode::Enforce, |(_, mode)| mode),
            hidden: hidden.map(named),
        }
    }
}

/// What policies say of how a tunnel begins that may carry TLS alone.
#[derive(Clone, Debug)]
pub struct Beginnings {
    /// What becomes of one that is not the ClientHello that it should be.
    pub faults: EgressMode,
    /// The policy that refuses a ClientHello which may name another host than it shows, and its
    /// mode; `None` where none does.
    pub hidden: Option<(Arc<str>, EgressMode)>,
}

/// How much a mode lets pass.
pub(super) fn leniency(mode: EgressMode) -> u8 {
    match mode {
        EgressMode::Enforce => 0,
        EgressMode::Report => 1,
        EgressMode::Open => 2,
    }
}
