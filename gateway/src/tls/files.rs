//! What TLS reads from files, each in its last good version.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis_config::{
    model::{ClientCertificates, ClientTrust, ListenerTls, Model},
    problem::{Category, Severity},
};
use rustls::server::ProducesTickets;

use super::{CertificateStore, ClientVerifier, ticket_keys::TicketKeys};
use crate::files::Contents;

/// The contents of every file that TLS with clients needs.
#[derive(Debug, Default)]
pub struct TlsFiles {
    /// The certificates.
    pub certificates: CertificateStore,
    verifiers: BTreeMap<ClientTrust, Arc<ClientVerifier>>,
    tickets: BTreeMap<Vec<PathBuf>, Tickets>,
}

/// The ticket keys of one list of files.
#[derive(Clone, Debug)]
struct Tickets {
    keys: Arc<TicketKeys>,
    /// The same, as handshakes use it.
    producer: Arc<dyn ProducesTickets>,
}

/// A file that cannot be used, or should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The setting that names it, as a path in the document.
    pub path: String,
    /// What is wrong, naming the file.
    pub reason: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one word.
    pub category: Category,
    /// Whether the configuration must be refused for it: a control would be missing.
    pub refuses: bool,
}

impl TlsFiles {
    /// Reads the files that a model names.
    ///
    /// Where one is broken, what `previous` read from it goes on. A certificate
    /// that was never good hurts its own hosts alone; without what clients are
    /// judged by nothing may serve.
    pub fn load(
        model: &Model,
        previous: Option<&Self>,
        contents: &Contents,
    ) -> (Self, Vec<FileProblem>) {
        let mut problems = Vec::new();
        let known = previous.map(|files| &files.certificates);
        let (certificates, broken) = CertificateStore::load(&model.certificates, known, contents);
        for broken in broken {
            let index = model
                .certificates
                .iter()
                .position(|known| known.name == broken.name);
            problems.push(FileProblem {
                path: format!("certificates[{}]", index.unwrap_or_default()),
                reason: format!("certificate {:?}: {}", broken.name, broken.reason),
                severity: broken.severity,
                category: broken.category,
                refuses: false,
            });
        }
        let mut files = Self {
            certificates,
            verifiers: BTreeMap::new(),
            tickets: BTreeMap::new(),
        };
        for (path, wanted) in client_certificates(model) {
            let Some(trust) = &wanted.trust else { continue };
            if !files.verifiers.contains_key(trust) {
                files.load_verifier(&path, trust, (previous, contents), &mut problems);
            }
        }
        for (path, tls) in listeners(model) {
            let wanted = &tls.ticket_keys;
            if !wanted.is_empty() && !files.tickets.contains_key(wanted) {
                let path = format!("{path}.ticketKeys");
                files.load_tickets(&path, wanted, (previous, contents), &mut problems);
            }
        }
        (files, problems)
    }

    fn load_tickets(
        &mut self,
        path: &str,
        wanted: &[PathBuf],
        (previous, contents): (Option<&Self>, &Contents),
        problems: &mut Vec<FileProblem>,
    ) {
        let known = previous.and_then(|files| files.tickets.get(wanted));
        let tickets = match (TicketKeys::load(wanted, contents), known) {
            (Ok(keys), Some(known)) if known.keys.is_same(&keys) => known.clone(),
            (Ok(keys), _) => {
                let keys = Arc::new(keys);
                Tickets {
                    producer: Arc::clone(&keys) as _,
                    keys,
                }
            }
            (Err((at, reason)), known) => {
                let kept = match known {
                    Some(_) => "; the keys of before are used",
                    None => "",
                };
                problems.push(FileProblem {
                    path: format!("{path}[{at}]"),
                    reason: format!("{reason}{kept}"),
                    severity: Severity::Error,
                    category: Category::Invalid,
                    refuses: known.is_none(),
                });
                let Some(known) = known else { return };
                known.clone()
            }
        };
        self.tickets.insert(wanted.to_vec(), tickets);
    }

    fn load_verifier(
        &mut self,
        path: &str,
        trust: &ClientTrust,
        (previous, contents): (Option<&Self>, &Contents),
        problems: &mut Vec<FileProblem>,
    ) {
        let known = previous.and_then(|files| files.verifiers.get(trust));
        let mut tell = |field: &str, reason: String, severity, refuses| {
            problems.push(FileProblem {
                path: format!("{path}.{field}"),
                reason,
                severity,
                category: Category::CertificateInvalid,
                refuses,
            });
        };
        let verifier = match ClientVerifier::load(trust, known, contents) {
            Ok(verifier) => verifier,
            Err((field, reason)) => match known {
                Some(known) => {
                    let reason = format!("{reason}; clients are judged by its last good version");
                    tell(field, reason, Severity::Error, false);
                    Arc::clone(known)
                }
                None => return tell(field, reason, Severity::Error, true),
            },
        };
        if let (Some(expiry), Some(crl)) = (verifier.crl_expiry(), &trust.crl)
            && expiry < unix_seconds()
        {
            let reason = format!(
                "{} is past its next update: every client it is about is refused",
                crl.display()
            );
            tell("crl", reason, Severity::Warning, false);
        }
        self.verifiers.insert(trust.clone(), verifier);
    }

    /// What judges certificates of clients by these files.
    pub(super) fn verifier(&self, trust: &ClientTrust) -> Option<&Arc<ClientVerifier>> {
        self.verifiers.get(trust)
    }

    /// The tickets of these key files.
    pub(super) fn tickets(&self, files: &[PathBuf]) -> Option<&Arc<dyn ProducesTickets>> {
        self.tickets.get(files).map(|tickets| &tickets.producer)
    }

    /// Whether other ticket keys are used than before.
    pub fn seals_otherwise(&self, before: &Self) -> bool {
        self.tickets.iter().any(|(files, tickets)| {
            let known = before.tickets.get(files);
            known.is_none_or(|known| !Arc::ptr_eq(&known.keys, &tickets.keys))
        })
    }

    /// Whether certificates of clients are judged by other contents than before.
    pub fn judges_otherwise(&self, before: &Self) -> bool {
        self.verifiers.iter().any(|(trust, verifier)| {
            let known = before.verifiers.get(trust);
            known.is_none_or(|known| !Arc::ptr_eq(known, verifier))
        })
    }

    /// When each revocation list is too old, in seconds since 1970.
    pub fn crl_expiries(&self) -> impl Iterator<Item = (&PathBuf, i64)> {
        self.verifiers
            .iter()
            .filter_map(|(trust, verifier)| Some((trust.crl.as_ref()?, verifier.crl_expiry()?)))
    }
}

/// Every place where certificates of clients are asked for, with its path in the document.
pub(super) fn client_certificates(
    model: &Model,
) -> impl Iterator<Item = (String, &ClientCertificates)> {
    let listeners = listeners(model).map(|(path, tls)| {
        let path = format!("{path}.clientCertificates");
        (path, tls.settings.client_certificates.as_ref())
    });
    let policies = model
        .tls_policies
        .iter()
        .enumerate()
        .map(|(index, policy)| {
            let path = format!("tlsPolicies[{index}].clientCertificates");
            let wanted = policy.client_certificates.as_ref();
            (path, wanted.and_then(Option::as_ref))
        });
    listeners
        .chain(policies)
        .filter_map(|(path, wanted)| Some((path, wanted?)))
}

/// TLS of every listener of either direction, with its path in the document.
fn listeners(model: &Model) -> impl Iterator<Item = (String, &ListenerTls)> {
    let ingress = model.listeners.iter().enumerate();
    let ingress =
        ingress.map(|(index, listener)| (format!("listeners[{index}].tls"), &listener.tls));
    let egress = model.egress.iter().flat_map(|egress| &egress.listeners);
    let egress = egress.enumerate().filter_map(|(index, listener)| {
        let path = format!("egress.listeners[{index}].tls");
        Some((path, listener.tls.as_ref()?))
    });
    ingress.chain(egress)
}

/// The files that [`TlsFiles::load`] reads.
pub(crate) fn named_files(model: &Model) -> Vec<PathBuf> {
    let pairs = model.certificates.iter().flat_map(|pair| {
        let named = [Some(&pair.certificate), Some(&pair.key), pair.ocsp.as_ref()];
        named.into_iter().flatten().cloned()
    });
    let trusts = client_certificates(model).filter_map(|(_, wanted)| wanted.trust.as_ref());
    let trusts = trusts.flat_map(|trust| [Some(trust.ca.clone()), trust.crl.clone()]);
    let tickets = listeners(model).flat_map(|(_, tls)| tls.ticket_keys.clone());
    pairs.chain(trusts.flatten()).chain(tickets).collect()
}

pub(super) fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}
