//! The certificates that are served.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use portcullis_config::{
    model::Certificate,
    problem::{Category, Severity},
};
use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};

use super::{
    chain::{self, Chain},
    files::unix_seconds,
    hosts::{Claims, HostOwners},
    ocsp::{self, Unfit},
    read::{hash_of, hex},
};
use crate::files::{Contents, Keys};

/// Largest certificate or key file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// All certificates, found by the name a client asks for.
#[derive(Debug, Default)]
pub struct CertificateStore {
    entries: Vec<Arc<Pair>>,
    hosts: HostOwners,
    by_name: BTreeMap<String, usize>,
}

#[derive(Clone, Debug)]
struct Pair {
    facts: CertificateFacts,
    /// Begin of validity, in seconds since 1970.
    not_before: i64,
    /// The DNS names in it.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
    /// The same with an OCSP response, while that is good.
    stapled: Option<Stapled>,
    content: [u8; 32],
    /// What it was read from, where that need not be read again to see that it is the same.
    source: Option<Source>,
    /// What is to be told as long as the files say what they say.
    warnings: Vec<String>,
}

/// Objects that say the same as long as they are the same in memory.
#[derive(Clone, Debug)]
struct Source {
    wanted: Arc<Certificate>,
    /// The Secrets of the certificate and of its key.
    secrets: [Arc<dyn Keys>; 2],
}

impl Source {
    fn of(certificate: &Arc<Certificate>, contents: &Contents) -> Option<Self> {
        if certificate.ocsp.is_some() {
            return None;
        }
        let secret = |path| contents.secret(path).cloned();
        Some(Self {
            wanted: Arc::clone(certificate),
            secrets: [secret(&certificate.certificate)?, secret(&certificate.key)?],
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        let mut secrets = self.secrets.iter().zip(&other.secrets);
        Arc::ptr_eq(&self.wanted, &other.wanted)
            && secrets.all(|(one, other)| std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other)))
    }
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
    /// What it is, in one word.
    pub category: Category,
}

impl CertificateStore {
    /// Reads certificates from their files.
    ///
    /// One that cannot be read hurts no other. Where `previous` has a good version
    /// of it, that one goes on. Content that did not change is not parsed again.
    pub fn load(
        certificates: &[Arc<Certificate>],
        previous: Option<&Self>,
        contents: &Contents,
    ) -> (Self, Vec<CertificateProblem>) {
        let mut store = Self::default();
        let mut problems = Vec::new();
        let mut claims = Claims::default();
        for certificate in certificates {
            let known = previous.and_then(|store| store.entry(&certificate.name));
            let mut tell = |reason: String, severity| {
                problems.push(CertificateProblem {
                    name: certificate.name.clone(),
                    reason,
                    severity,
                    category: Category::CertificateInvalid,
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
                        // Whoever asks for one of its hosts is not served with what some other
                        // certificate happens to cover.
                        claims.add(certificate, &certificate.hosts, None);
                        continue;
                    }
                },
            };
            let index = store.entries.len();
            let covered = |host: &str| entry.covers(host);
            claims.add(certificate, &entry.facts.hosts, Some((index, &covered)));
            store.by_name.insert(certificate.name.clone(), index);
            store.entries.push(entry);
        }
        let now = unix_seconds();
        let is_valid = |index: usize| store.entries[index].is_valid(now);
        let (hosts, told) = claims.settle(&is_valid);
        store.hosts = hosts;
        problems.extend(told);
        (store, problems)
    }

    /// Finds the certificate for a name: exact, then one-label wildcard
    /// (RFC 9525 section 6.3), then the named default.
    ///
    /// Where the certificate of a host is not valid at this time, another of the same owner
    /// that is valid and said to be for the host stands in for it.
    pub fn find(&self, sni: Option<&str>, default: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let now = unix_seconds();
        let by_sni = sni.and_then(|sni| {
            let sni = sni.strip_suffix('.').unwrap_or(sni);
            let lower;
            let sni = if sni.bytes().any(|byte| byte.is_ascii_uppercase()) {
                lower = sni.to_ascii_lowercase();
                &lower
            } else {
                sni
            };
            self.hosts
                .find(sni, |index| self.entries[index].is_valid(now))
        });
        let index = by_sni.or_else(|| self.by_name.get(default?).copied())?;
        Some(self.entries[index].served(now))
    }

    /// Facts of every certificate, in document order.
    pub fn facts(&self) -> impl Iterator<Item = &CertificateFacts> {
        self.entries.iter().map(|entry| &entry.facts)
    }

    fn entry(&self, name: &str) -> Option<&Arc<Pair>> {
        self.by_name.get(name).map(|&index| &self.entries[index])
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
            source: None,
            ..Self::clone(self)
        })
    }

    /// Whether clients take it at a time.
    fn is_valid(&self, now: i64) -> bool {
        (self.not_before..=self.facts.not_after).contains(&now)
    }

    /// Whether clients take it for a host, which may be a wildcard itself.
    fn covers(&self, host: &str) -> bool {
        let wildcard = || Some(format!("*.{}", host.split_once('.')?.1));
        self.names.iter().any(|name| name == host)
            || wildcard().is_some_and(|wildcard| self.names.contains(&wildcard))
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
    certificate: &Arc<Certificate>,
    known: Option<&Arc<Pair>>,
    contents: &Contents,
    warn: &mut dyn FnMut(String),
) -> Result<Arc<Pair>, String> {
    let source = Source::of(certificate, contents);
    let is_same = |known: &&Arc<Pair>| {
        let sources = known.source.as_ref().zip(source.as_ref());
        sources.is_some_and(|(known, now)| known.is_same(now))
    };
    let entry = match known.filter(is_same) {
        Some(known) => Arc::clone(known),
        None => read_files(certificate, source, known, contents)?,
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

fn read_files(
    certificate: &Certificate,
    source: Option<Source>,
    known: Option<&Arc<Pair>>,
    contents: &Contents,
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
    Ok(match known {
        Some(known) if known.content == content && source.is_none() => Arc::clone(known),
        Some(known) if known.content == content => Arc::new(Pair {
            source,
            ..Pair::clone(known)
        }),
        _ => {
            let mut entry = parse_entry(certificate, &chain_pem, &key_pem, content)?;
            match response {
                Some(Ok(response)) => entry.staple(certificate, response, known),
                Some(Err(reason)) => entry.keep_staple(reason, known),
                None => {}
            }
            entry.source = source;
            Arc::new(entry)
        }
    })
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
    let names = dns_names(&leaf);
    let hosts = match certificate.hosts.is_empty() {
        true => names.clone(),
        false => certificate.hosts.clone(),
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
        not_before: leaf.validity().not_before.timestamp(),
        names,
        key: Arc::new(pair),
        stapled: None,
        content,
        source: None,
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
