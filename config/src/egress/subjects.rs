//! Who a policy is about.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{CertificateIdentity, SpiffeIds};
use crate::access::AddressSet;

/// A workload, as its token says, or the pod that has its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub service_account: String,
    /// Name of its pod; none where a token is bound to no pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// UID of that pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
}

/// A client, by all that is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Where it speaks from.
    pub address: IpAddr,
    /// Who it is, where it has shown that.
    pub identity: Option<&'a Identity>,
    /// Labels of its pod, where that is known.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Who it is by its certificate, where it has shown one.
    pub certificate: Option<&'a CertificateIdentity>,
}

/// ServiceAccounts that a subject names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccounts {
    /// Their namespace.
    pub namespace: String,
    /// The only one; `None` means every one of the namespace.
    pub name: Option<String>,
    /// Labels that the pod must have.
    pub pod_labels: BTreeMap<String, String>,
}

/// Certificates that a subject names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// Those with one of these SPIFFE IDs.
    Spiffe(SpiffeIds),
    /// Those without a SPIFFE ID whose subject has this common name.
    CommonName(String),
}

/// Clients to whom all of it applies.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Who they are; `None` where that does not matter.
    pub accounts: Option<ServiceAccounts>,
    /// What certificate they have; `None` where that does not matter.
    pub certificates: Option<Certificates>,
    /// Where they are; `None` where that does not matter.
    pub addresses: Option<AddressSet>,
}

/// The clients of a policy: those that are any of its subjects.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// The addresses of all subjects that say nothing else: one look-up for all of them.
    addresses: AddressSet,
    others: Vec<Subject>,
}

impl Subjects {
    /// Adds clients. A subject that says nothing selects nobody.
    pub fn add(&mut self, subject: Subject) {
        match subject {
            Subject {
                accounts: None,
                certificates: None,
                addresses,
            } => self.addresses.merge(addresses.unwrap_or_default()),
            subject => self.others.push(subject),
        }
    }

    /// The subjects, those by address alone as one.
    pub(super) fn iter(&self) -> impl Iterator<Item = Subject> {
        let addresses = (!self.addresses.is_empty()).then(|| Subject {
            accounts: None,
            certificates: None,
            addresses: Some(self.addresses.clone()),
        });
        self.others.iter().cloned().chain(addresses)
    }

    /// Whether labels of pods of a namespace matter for whom they select.
    pub fn name_labels_of(&self, namespace: &str) -> bool {
        let accounts = self.others.iter().flat_map(|subject| &subject.accounts);
        let mut labelled = accounts.filter(|accounts| !accounts.pod_labels.is_empty());
        labelled.any(|accounts| accounts.namespace == namespace)
    }

    /// Whether the ServiceAccount of a client matters for whom they select.
    pub fn name_accounts(&self) -> bool {
        self.others.iter().any(|subject| subject.accounts.is_some())
    }

    /// Whether the certificate of a client matters for whom they select.
    pub fn name_certificates(&self) -> bool {
        self.others
            .iter()
            .any(|subject| subject.certificates.is_some())
    }

    /// Tells whether a client is one of them.
    pub fn contains(&self, client: Client<'_>) -> bool {
        self.addresses.contains(client.address)
            || self.others.iter().any(|subject| subject.selects(client))
    }
}

impl Certificates {
    fn contain(&self, shown: &CertificateIdentity) -> bool {
        match (self, shown) {
            (Self::Spiffe(ids), CertificateIdentity::Spiffe(id)) => ids.contains(id),
            (Self::CommonName(name), CertificateIdentity::CommonName(shown)) => name == shown,
            _ => false,
        }
    }
}

impl Subject {
    fn selects(&self, client: Client<'_>) -> bool {
        let is_there = |addresses: &AddressSet| addresses.contains(client.address);
        let is_it = |accounts: &ServiceAccounts| {
            client.identity.is_some_and(|identity| {
                accounts.namespace == identity.namespace
                    && accounts
                        .name
                        .as_ref()
                        .is_none_or(|name| *name == identity.service_account)
            }) && accounts.pod_labels.iter().all(|(key, value)| {
                client
                    .labels
                    .is_some_and(|labels| labels.get(key) == Some(value))
            })
        };
        let shows = |certificates: &Certificates| {
            let shown = client.certificate;
            shown.is_some_and(|shown| certificates.contain(shown))
        };
        self.addresses.as_ref().is_none_or(is_there)
            && self.accounts.as_ref().is_none_or(is_it)
            && self.certificates.as_ref().is_none_or(shows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(namespace: Option<&str>, name: Option<&str>, network: Option<&str>) -> Subject {
        Subject {
            accounts: namespace.map(|namespace| ServiceAccounts {
                namespace: namespace.into(),
                name: name.map(str::to_owned),
                pod_labels: BTreeMap::new(),
            }),
            certificates: None,
            addresses: network.map(|network| {
                let mut set = AddressSet::default();
                set.insert(network.parse().expect("a network"));
                set
            }),
        }
    }

    #[test]
    fn a_client_is_selected_by_all_that_one_subject_says() {
        let identity = |namespace: &str, name: &str| Identity {
            namespace: namespace.into(),
            service_account: name.into(),
            pod: None,
            pod_uid: None,
        };
        let (builder, other, elsewhere) = (
            identity("ci", "builder"),
            identity("ci", "other"),
            identity("shop", "builder"),
        );
        let clients = [
            ("10.1.0.1", None),
            ("10.2.0.1", None),
            ("10.1.0.1", Some(&builder)),
            ("10.2.0.1", Some(&builder)),
            ("10.1.0.1", Some(&other)),
            ("10.1.0.1", Some(&elsewhere)),
        ];
        for (subjects, expected) in [
            (vec![], [false; 6]),
            (vec![subject(None, None, None)], [false; 6]),
            (
                vec![subject(None, None, Some("10.1.0.0/16"))],
                [true, false, true, false, true, true],
            ),
            (
                vec![subject(Some("ci"), None, None)],
                [false, false, true, true, true, false],
            ),
            (
                vec![subject(Some("ci"), Some("builder"), None)],
                [false, false, true, true, false, false],
            ),
            (
                vec![subject(Some("ci"), Some("builder"), Some("10.1.0.0/16"))],
                [false, false, true, false, false, false],
            ),
            (
                vec![
                    subject(Some("ci"), Some("builder"), Some("10.1.0.0/16")),
                    subject(None, None, Some("10.2.0.0/16")),
                ],
                [false, true, true, true, false, false],
            ),
        ] {
            let mut all = Subjects::default();
            for subject in subjects.clone() {
                all.add(subject);
            }
            let selected = clients.map(|(address, identity)| {
                all.contains(Client {
                    address: address.parse().expect("an address"),
                    identity,
                    labels: None,
                    certificate: None,
                })
            });
            assert_eq!(selected, expected, "{subjects:?}");
        }
    }
    #[test]
    fn a_pod_has_all_the_labels_that_a_subject_names() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let identity = Identity {
            namespace: "ci".into(),
            service_account: "builder".into(),
            pod: None,
            pod_uid: None,
        };
        let mut wanted = subject(Some("ci"), None, None);
        if let Some(accounts) = &mut wanted.accounts {
            accounts.pod_labels = labels(&[("app", "a"), ("tier", "b")]);
        }
        let mut all = Subjects::default();
        all.add(wanted);
        for (has, expected) in [
            (None, false),
            (Some(labels(&[])), false),
            (Some(labels(&[("app", "a")])), false),
            (Some(labels(&[("app", "a"), ("tier", "c")])), false),
            (
                Some(labels(&[("app", "a"), ("tier", "b"), ("x", "y")])),
                true,
            ),
        ] {
            let client = |identity| Client {
                address: IpAddr::from([10, 0, 0, 1]),
                identity,
                labels: has.as_ref(),
                certificate: None,
            };
            assert_eq!(all.contains(client(Some(&identity))), expected, "{has:?}");
            assert!(!all.contains(client(None)), "{has:?}");
        }
    }

    #[test]
    fn certificates_are_told_apart_by_kind_and_name() {
        let spiffe = CertificateIdentity::of(&["spiffe://example.org/ns/ci/a"], &["builder"]);
        let named = CertificateIdentity::of(&[], &["builder"]);
        let (spiffe, named) = (spiffe.unwrap().unwrap(), named.unwrap().unwrap());
        let ids = |text: &str| Certificates::Spiffe(SpiffeIds::parse(text).unwrap());
        let shown = [None, Some(&spiffe), Some(&named)];
        for (certificates, network, expected) in [
            (
                ids("spiffe://example.org/ns/ci/*"),
                None,
                [false, true, false],
            ),
            (
                ids("spiffe://example.org/ns/ci/a"),
                None,
                [false, true, false],
            ),
            (ids("spiffe://example.org/ns/ci/b"), None, [false; 3]),
            // That of the first is not looked at: it has a SPIFFE ID.
            (
                Certificates::CommonName("builder".into()),
                None,
                [false, false, true],
            ),
            (Certificates::CommonName("Builder".into()), None, [false; 3]),
            (
                ids("spiffe://example.org/*"),
                Some("10.2.0.0/16"),
                [false; 3],
            ),
        ] {
            let mut all = Subjects::default();
            all.add(Subject {
                certificates: Some(certificates.clone()),
                ..subject(None, None, network)
            });
            let selected = shown.map(|certificate| {
                all.contains(Client {
                    address: "10.1.0.1".parse().unwrap(),
                    identity: None,
                    labels: None,
                    certificate,
                })
            });
            assert_eq!(selected, expected, "{certificates:?}");
        }
    }
}
