//! The certificates that are served.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
    sync::Arc,
};

use portcullis_config::{model::Certificate, problem::Severity};
use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};

use super::{
    chain::{self, Chain},
    files::unix_seconds,
    ocsp::{self, Unfit},
    read::{hash_of, hex},
};
use crate::files::Contents;

/// Largest certificate or key file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// By host, which certificate is its own; `None` where that could not be read, and no other
/// is served for the host.
type Owners = BTreeMap<String, Option<usize>>;

/// All certificates, found by the name a client asks for.
#[derive(Debug, Default)]
pub struct CertificateStore {
    entries: Vec<Arc<Pair>>,
    exact: Owners,
    /// The same by the suffix after `*.`.
    wildcard: Owners,
    by_name: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Pair {
    facts: CertificateFacts,
    key: Arc<CertifiedKey>,
    /// The same with an OCSP response, while that is good.
    stapled: Option<Stapled>,
    content: [u8; 32],
    /// What is to be told as long as the files say what they say.
    warnings: Vec<String>,
}

#[derive(Clone, Debug)]
struct Stapled {
    key: Arc<CertifiedKey>,
    until: Option<i64>,
}

/// What metrics and the admin endpoint tell of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its name in the configuration.
    pub name: String,
    /// Hosts it is served for.
    pub hosts: Vec<String>,
    /// End of validity, in seconds since 1970.
    pub not_after: i64,
    /// When its OCSP response is too old, in seconds since 1970.
    pub ocsp_until: Option<i64>,
    /// SHA-256 of the leaf, in hex.
    pub fingerprint: String,
}

/// A certificate that cannot be used, or should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateProblem {
    /// Its name in the configuration.
    pub name: String,
    /// What is wrong, naming the file.
    pub reason: String,
    /// An error leaves the certificate out, or in its last good version.
    pub severity: Severity,
}

impl CertificateStore {
    /// Reads certificates from their files.
    ///
    /// One that cannot be read hurts no other. Where `previous` has a good version
    /// of it, that one goes on. Content that did not change is not parsed again.
    pub fn load(
        certificates: &[Certificate],
        previous: Option<&Self>,
        contents: &Contents,
    ) -> (Self, Vec<CertificateProblem>) {
        let mut store = Self::default();
        let mut problems = Vec::new();
        for certificate in certificates {
            let known = previous.and_then(|store| store.entry(&certificate.name));
            let mut tell = |reason: String, severity| {
                problems.push(CertificateProblem {
                    name: certificate.name.clone(),
                    reason,
                    severity,
                });
            };
            let read = read_entry(certificate, known, contents, &mut |reason| {
                tell(reason, Severity::Warning)
            });
            let entry = match read {
                Ok(entry) => entry,
                Err(reason) => match known {
                    Some(known) => {
                        tell(
                            format!("{reason}; its last good version is served"),
                            Severity::Error,
                        );
                        known.serving(certificate)
                    }
                    None => {
                        tell(reason, Severity::Error);
                        store.claim(certificate);
                        continue;
                    }
                },
            };
            store.add(entry, &mut tell);
        }
        (store, problems)
    }

    /// Finds the certificate for a name: exact, then one-label wildcard
    /// (RFC 9525 section 6.3), then the named default.
    pub fn find(&self, sni: Option<&str>, default: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let by_sni = sni.and_then(|sni| {
            let sni = sni.strip_suffix('.').unwrap_or(sni);
            let lower;
            let sni = if sni.bytes().any(|byte| byte.is_ascii_uppercase()) {
                lower = sni.to_ascii_lowercase();
                &lower
            } else {
                sni
            };
            self.exact
                .get(sni)
                .or_else(|| self.wildcard.get(sni.split_once('.')?.1))
        });
        let by_sni = by_sni.copied().flatten();
        let index = by_sni.or_else(|| self.by_name.get(default?).copied())?;
        Some(self.entries[index].served(unix_seconds()))
    }

    /// Facts of every certificate, in document order.
    pub fn facts(&self) -> impl Iterator<Item = &CertificateFacts> {
        self.entries.iter().map(|entry| &entry.facts)
    }

    fn entry(&self, name: &str) -> Option<&Arc<Pair>> {
        self.by_name.get(name).map(|&index| &self.entries[index])
    }

    /// Whose certificate a host is served with.
    fn owner(&mut self, host: &str) -> Entry<'_, String, Option<usize>> {
        let (map, key) = match host.strip_prefix("*.") {
            Some(suffix) => (&mut self.wildcard, suffix),
            None => (&mut self.exact, host),
        };
        map.entry(key.to_owned())
    }

    /// Keeps the hosts that a broken certificate is said to be for: whoever asks for one of
    /// them is not served with what some other certificate happens to cover.
    fn claim(&mut self, certificate: &Certificate) {
        for host in &certificate.hosts {
            self.owner(host).or_insert(None);
        }
    }

    fn add(&mut self, entry: Arc<Pair>, tell: &mut impl FnMut(String, Severity)) {
        let index = self.entries.len();
        for host in &entry.facts.hosts {
            let owner = *self.owner(host).or_insert(Some(index));
            let reason = match owner {
                Some(owner) if owner == index => continue,
                Some(owner) => {
                    let owner = &self.entries[owner].facts.name;
                    format!("{host} is served by certificate {owner:?}, which stands first")
                }
                None => format!("{host} is that of a certificate which stands first and is broken"),
            };
            tell(reason, Severity::Warning);
        }
        self.by_name.insert(entry.facts.name.clone(), index);
        self.entries.push(entry);
    }
}

impl Pair {
    /// The same for the hosts that the configuration says now.
    fn serving(self: &Arc<Self>, certificate: &Certificate) -> Arc<Self> {
        if certificate.hosts.is_empty() || certificate.hosts == self.facts.hosts {
            return Arc::clone(self);
        }
        let mut facts = self.facts.clone();
        facts.hosts.clone_from(&certificate.hosts);
        Arc::new(Self {
            facts,
            key: Arc::clone(&self.key),
            stapled: self.stapled.clone(),
            content: self.content,
            warnings: self.warnings.clone(),
        })
    }

    /// What a handshake of this time is served.
    fn served(&self, now: i64) -> Arc<CertifiedKey> {
        match &self.stapled {
            Some(stapled) if stapled.until.is_none_or(|until| until > now) => {
                Arc::clone(&stapled.key)
            }
            _ => Arc::clone(&self.key),
        }
    }
}

fn read_entry(
    certificate: &Certificate,
    known: Option<&Arc<Pair>>,
    contents: &Contents,
    warn: &mut dyn FnMut(String),
) -> Result<Arc<Pair>, String> {
    let chain_pem = contents.read(&certificate.certificate, MAX_FILE_BYTES)?;
    let key_pem = contents.read(&certificate.key, MAX_FILE_BYTES)?;
    let response = certificate
        .ocsp
        .as_deref()
        .map(|path| ocsp::read(path, contents));
    let response_bytes = match &response {
        Some(Ok(bytes)) => bytes,
        _ => &[][..],
    };
    let content = content_hash(certificate, &chain_pem, &key_pem, response_bytes);
    let entry = match known {
        Some(known) if known.content == content => Arc::clone(known),
        _ => {
            let mut entry = parse_entry(certificate, &chain_pem, &key_pem, content)?;
            match response {
                Some(Ok(response)) => entry.staple(certificate, response, known),
                Some(Err(reason)) => entry.keep_staple(reason, known),
                None => {}
            }
            Arc::new(entry)
        }
    };
    for warning in &entry.warnings {
        warn(warning.clone());
    }
    let now = unix_seconds();
    if entry.facts.not_after < now {
        warn(format!("{} has expired", certificate.certificate.display()));
    }
    if let (Some(ocsp), Some(until)) = (&certificate.ocsp, entry.facts.ocsp_until)
        && until < now
    {
        let path = ocsp.display();
        warn(format!("{path} is past its next update and is not stapled"));
    }
    Ok(entry)
}

impl Pair {
    /// Takes an OCSP response where it is a good one of this certificate.
    fn staple(&mut self, certificate: &Certificate, response: Vec<u8>, known: Option<&Arc<Self>>) {
        let judged = {
            let mut chain = self
                .key
                .cert
                .iter()
                .filter_map(|der| X509Certificate::from_der(der).ok())
                .map(|(_, parsed)| parsed);
            chain
                .next()
                .ok_or_else(|| Unfit::Silent("is about a certificate that cannot be read".into()))
                .and_then(|leaf| {
                    ocsp::staple(response, &leaf, chain.next().as_ref(), unix_seconds())
                })
        };
        match judged {
            Ok(staple) => {
                let mut key = CertifiedKey::clone(&self.key);
                key.ocsp = Some(staple.response);
                self.facts.ocsp_until = staple.until;
                self.stapled = Some(Stapled {
                    key: Arc::new(key),
                    until: staple.until,
                });
            }
            Err(Unfit::Silent(reason)) => {
                let path = certificate.ocsp.as_deref().unwrap_or_else(|| Path::new(""));
                self.keep_staple(format!("{} {reason}", path.display()), known);
            }
            Err(Unfit::NotGood(reason)) => {
                let path = certificate.ocsp.as_deref().unwrap_or_else(|| Path::new(""));
                let warning = format!("{} {reason}; nothing is stapled", path.display());
                self.warnings.push(warning);
            }
        }
    }

    /// Goes on with the response that was stapled to the same certificate before.
    fn keep_staple(&mut self, reason: String, known: Option<&Arc<Self>>) {
        let known = known.filter(|known| known.key.cert == self.key.cert);
        let stapled = known.and_then(|known| known.stapled.clone());
        self.warnings.push(match &stapled {
            Some(_) => format!("{reason}; the response of before is stapled while it is good"),
            None => format!("{reason}; nothing is stapled"),
        });
        self.facts.ocsp_until = stapled.as_ref().and_then(|stapled| stapled.until);
        self.stapled = stapled;
    }
}

fn parse_entry(
    certificate: &Certificate,
    chain_pem: &[u8],
    key_pem: &[u8],
    content: [u8; 32],
) -> Result<Pair, String> {
    let (chain_path, key_path) = (certificate.certificate.display(), certificate.key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{chain_path}: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{chain_path} holds no PEM certificate"));
    }
    if contains(key_pem, b"ENCRYPTED") {
        return Err(format!(
            "{key_path} is encrypted; give a key without a passphrase"
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|_| format!("{key_path} holds no PEM private key"))?;
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|_| format!("{key_path}: this kind of key is not supported; use RSA (2048 bits or more), ECDSA or Ed25519"))?;
    let Chain {
        pair,
        left_out,
        is_authority,
    } = chain::chain(chain, key)
        .map_err(|reason| format!("{chain_path} with {key_path}: {reason}"))?;
    let mut warnings = Vec::new();
    if left_out > 0 {
        warnings.push(format!(
            "{chain_path} has {left_out} certificates that are not of its chain; they are not sent"
        ));
    }
    if is_authority {
        warnings.push(format!(
            "{chain_path} is the certificate of an authority; many clients refuse it as a server's"
        ));
    }
    let (_, leaf) = X509Certificate::from_der(&pair.cert[0])
        .map_err(|error| format!("{chain_path}: {error}"))?;
    let hosts = if certificate.hosts.is_empty() {
        dns_names(&leaf)
    } else {
        certificate.hosts.clone()
    };
    if hosts.is_empty() {
        return Err(format!(
            "{chain_path} names no DNS host and the configuration gives no hosts"
        ));
    }
    let facts = CertificateFacts {
        name: certificate.name.clone(),
        hosts,
        not_after: leaf.validity().not_after.timestamp(),
        ocsp_until: None,
        fingerprint: hex(&Sha256::digest(&pair.cert[0])),
    };
    Ok(Pair {
        facts,
        key: Arc::new(pair),
        stapled: None,
        content,
        warnings,
    })
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
    dns.collect()
}

fn content_hash(certificate: &Certificate, chain: &[u8], key: &[u8], response: &[u8]) -> [u8; 32] {
    let hosts = certificate.hosts.join(",");
    hash_of([hosts.as_bytes(), chain, key, response])
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
