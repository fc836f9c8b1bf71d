//! All policies, and those that select a client.
//!
//! There may be tens of thousands, and each client is selected by a few. They are found by the
//! namespace, the ServiceAccount, the certificate and the address of a client, and only those that
//! are found are asked.

use std::{collections::HashMap, fmt, ops::Deref, sync::Arc};

use super::{
    CertificateIdentity, Certificates, Client, EgressPolicy, Request, SpiffeIds, Subject,
    decide::ceiling,
};
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
    /// Places of the policies about a certificate with a SPIFFE ID, by that.
    spiffe_ids: HashMap<String, Vec<usize>>,
    /// Places of the policies about all SPIFFE IDs below one.
    spiffe_paths: HashMap<String, Vec<usize>>,
    /// Places of the policies about a certificate with a common name, by that.
    common_names: HashMap<String, Vec<usize>>,
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
        match (&subject.accounts, &subject.certificates, &subject.addresses) {
            (Some(accounts), ..) => {
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
            (None, Some(certificates), _) => {
                let (places, key) = match certificates {
                    Certificates::Spiffe(SpiffeIds::One(id)) => (&mut self.spiffe_ids, id.as_str()),
                    Certificates::Spiffe(SpiffeIds::Below(id)) => {
                        (&mut self.spiffe_paths, id.as_str())
                    }
                    Certificates::CommonName(name) => (&mut self.common_names, name.as_str()),
                };
                places.entry(key.to_owned()).or_default().push(place);
            }
            (None, None, Some(addresses)) => {
                for network in addresses.iter() {
                    self.addresses.entry(network).push(place);
                }
            }
            // Nobody is selected by nothing.
            (None, None, None) => {}
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
        let of_certificate = client
            .certificate
            .into_iter()
            .flat_map(|certificate| self.of_certificate(certificate));
        let of_address = self.addresses.covering(client.address);
        of_identity.chain(of_certificate).chain(of_address)
    }

    fn of_certificate<'a>(
        &'a self,
        certificate: &'a CertificateIdentity,
    ) -> impl Iterator<Item = &'a Vec<usize>> {
        let (id, name) = match certificate {
            CertificateIdentity::Spiffe(id) => (Some(id.as_str()), None),
            CertificateIdentity::CommonName(name) => (None, Some(name)),
        };
        let below = id.into_iter().flat_map(|id| {
            let ends = id.match_indices('/').filter_map(|(end, _)| id.get(..end));
            ends.filter_map(|above| self.spiffe_paths.get(above))
        });
        let exact = id.and_then(|id| self.spiffe_ids.get(id));
        let named = name.and_then(|name| self.common_names.get(name));
        exact.into_iter().chain(below).chain(named)
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

    /// The first that lets its clients reach nothing.
    pub(super) fn closed(&self) -> Option<&'p EgressPolicy> {
        self.all()
            .map(|(policy, _)| policy)
            .find(|policy| policy.closed)
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

    /// What they say of how a tunnel begins that is asked for. One that is to be looked into
    /// (`inspected`) and cannot be goes nowhere, in whatever mode: what denies some of its requests
    /// was left to be judged inside, where nobody would see them.
    pub fn beginnings(&self, request: Request<'_>, inspected: bool) -> Beginnings {
        let mode = self.default_mode().map(|(_, mode)| mode);
        let beyond = ceiling(self, request, |rule| rule.raw).map(|floor| floor.mode);
        let named = |(policy, mode): (&EgressPolicy, EgressMode)| (Arc::clone(&policy.name), mode);
        let hidden = self
            .all()
            .filter(|(policy, _)| policy.encrypted_client_hello == EncryptedClientHello::Refuse)
            .min_by_key(|(_, mode)| leniency(*mode));
        Beginnings {
            faults: match inspected {
                true => EgressMode::Enforce,
                false => beyond.or(mode).unwrap_or_default(),
            },
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::IpAddr};

    use super::*;
    use crate::{
        access::AddressSet,
        egress::{EgressRules, Identity, ServiceAccounts, SpiffeId, Subjects},
    };

    fn policy(number: usize, subjects: &[Subject]) -> EgressPolicy {
        let mut selected = Subjects::default();
        subjects
            .iter()
            .for_each(|subject| selected.add(subject.clone()));
        EgressPolicy {
            name: number.to_string().into(),
            subjects: selected,
            mode: EgressMode::Enforce,
            encrypted_client_hello: EncryptedClientHello::Allow,
            allow: EgressRules::default(),
            deny: EgressRules::default(),
            allow_all: false,
            closed: false,
            quota: None,
            delegate: None,
        }
    }

    /// Subjects of every kind, alone and with others.
    fn subjects() -> Vec<Subject> {
        let accounts = |namespace: &str, name: Option<&str>| {
            Some(ServiceAccounts {
                namespace: namespace.into(),
                name: name.map(str::to_owned),
                pod_labels: BTreeMap::new(),
            })
        };
        let spiffe = |text: &str| Some(Certificates::Spiffe(SpiffeIds::parse(text).unwrap()));
        let networks = |text: &str| {
            let mut set = AddressSet::default();
            text.split(' ')
                .for_each(|network| set.insert(network.parse().unwrap()));
            Some(set)
        };
        let mut all = Vec::new();
        for accounts in [
            None,
            accounts("ci", None),
            accounts("ci", Some("builder")),
            accounts("shop", Some("builder")),
        ] {
            for certificates in [
                None,
                spiffe("spiffe://example.org/ns/ci"),
                spiffe("spiffe://example.org/ns/*"),
                spiffe("spiffe://example.org/*"),
                Some(Certificates::CommonName("builder".into())),
                Some(Certificates::CommonName(
                    "spiffe://example.org/ns/ci".into(),
                )),
            ] {
                for addresses in [
                    None,
                    networks("10.1.0.0/16"),
                    networks("10.1.2.3/32 2001:db8::/32"),
                ] {
                    all.push(Subject {
                        accounts: accounts.clone(),
                        certificates: certificates.clone(),
                        addresses,
                    });
                }
            }
        }
        all
    }

    #[test]
    fn policies_are_found_as_if_each_were_asked() {
        let subjects = subjects();
        let mut policies = Vec::new();
        for (number, subject) in subjects.iter().enumerate() {
            let other = subjects[(number * 7 + 3) % subjects.len()].clone();
            policies.push(policy(policies.len(), std::slice::from_ref(subject)));
            policies.push(policy(policies.len(), &[subject.clone(), other]));
        }
        let indexed: EgressPolicies = policies.iter().cloned().collect();
        let identity = |namespace: &str, name: &str| Identity {
            namespace: namespace.into(),
            service_account: name.into(),
            pod: None,
            pod_uid: None,
        };
        let identities = [
            None,
            Some(identity("ci", "builder")),
            Some(identity("ci", "other")),
            Some(identity("shop", "builder")),
            Some(identity("none", "builder")),
        ];
        let spiffe = |text: &str| CertificateIdentity::Spiffe(SpiffeId::parse(text).unwrap());
        let certificates = [
            None,
            Some(spiffe("spiffe://example.org/ns/ci")),
            Some(spiffe("spiffe://example.org/ns/ci/sa")),
            Some(spiffe("spiffe://example.org")),
            Some(CertificateIdentity::CommonName("builder".into())),
            Some(CertificateIdentity::CommonName(
                "spiffe://example.org/ns/ci".into(),
            )),
        ];
        let mut found = 0;
        for address in ["10.1.2.3", "10.1.9.9", "192.0.2.1", "2001:db8::1"] {
            for identity in &identities {
                for certificate in &certificates {
                    let client = Client {
                        address: address.parse::<IpAddr>().unwrap(),
                        identity: identity.as_ref(),
                        labels: None,
                        certificate: certificate.as_ref(),
                    };
                    let names = |found: Vec<&EgressPolicy>| -> Vec<String> {
                        found.iter().map(|policy| policy.name.to_string()).collect()
                    };
                    let asked = policies
                        .iter()
                        .filter(|policy| policy.subjects.contains(client));
                    let asked = names(asked.collect());
                    assert_eq!(names(indexed.of(client)), asked, "{client:?}");
                    found += asked.len();
                }
            }
        }
        assert!(found > 100, "{found}");
    }
}
