//! What TLS reads from files, each in its last good version.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis_config::{
    model::{ClientCertificates, ClientTrust, Model},
    problem::Severity,
};

use super::{CertificateStore, ClientVerifier};

/// The contents of every file that TLS with clients needs.
#[derive(Debug, Default)]
pub struct TlsFiles {
    /// The certificates.
    pub certificates: CertificateStore,
    verifiers: BTreeMap<ClientTrust, Arc<ClientVerifier>>,
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
    /// Whether the configuration must be refused for it: a control would be missing.
    pub refuses: bool,
}

impl TlsFiles {
    /// Reads the files that a model names.
    ///
    /// Where one is broken, what `previous` read from it goes on. A certificate
    /// that was never good hurts its own hosts alone; without what clients are
    /// judged by nothing may serve.
    pub fn load(model: &Model, previous: Option<&Self>) -> (Self, Vec<FileProblem>) {
        let mut problems = Vec::new();
        let known = previous.map(|files| &files.certificates);
        let (certificates, broken) = CertificateStore::load(&model.certificates, known);
        for broken in broken {
            let index = model
                .certificates
                .iter()
                .position(|known| known.name == broken.name);
            problems.push(FileProblem {
                path: format!("certificates[{}]", index.unwrap_or_default()),
                reason: format!("certificate {:?}: {}", broken.name, broken.reason),
                severity: broken.severity,
                refuses: false,
            });
        }
        let mut files = Self {
            certificates,
            verifiers: BTreeMap::new(),
        };
        for (path, wanted) in client_certificates(model) {
            if !files.verifiers.contains_key(&wanted.trust) {
                files.load_verifier(&path, &wanted.trust, previous, &mut problems);
            }
        }
        (files, problems)
    }

    fn load_verifier(
        &mut self,
        path: &str,
        trust: &ClientTrust,
        previous: Option<&Self>,
        problems: &mut Vec<FileProblem>,
    ) {
        let known = previous.and_then(|files| files.verifiers.get(trust));
        let mut tell = |field: &str, reason: String, severity, refuses| {
            problems.push(FileProblem {
                path: format!("{path}.{field}"),
                reason,
                severity,
                refuses,
            });
        };
        let verifier = match ClientVerifier::load(trust, known) {
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
    let listeners = model.listeners.iter().enumerate().map(|(index, listener)| {
        let path = format!("listeners[{index}].tls.clientCertificates");
        (path, listener.tls.settings.client_certificates.as_ref())
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

/// The files that [`TlsFiles::load`] reads.
pub(crate) fn named_files(model: &Model) -> Vec<PathBuf> {
    let pairs = model.certificates.iter().flat_map(|pair| {
        let named = [Some(&pair.certificate), Some(&pair.key), pair.ocsp.as_ref()];
        named.into_iter().flatten().cloned()
    });
    let trusts = client_certificates(model).flat_map(|(_, wanted)| {
        let trust = &wanted.trust;
        [Some(trust.ca.clone()), trust.crl.clone()]
    });
    pairs.chain(trusts.flatten()).collect()
}

pub(super) fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}
