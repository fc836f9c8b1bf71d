//! TLS: how it is spoken, and with which hosts.

use std::path::PathBuf;

use super::HostPattern;
pub use crate::document::{AlpnProtocol, CipherSuite, ClientCertificateHeader, TlsVersion};

/// How TLS is spoken with some hosts. The document's defaults are [`Default`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Lowest version accepted.
    pub min_version: TlsVersion,
    /// Highest version accepted.
    pub max_version: TlsVersion,
    /// Cipher suites, the preferred one first.
    pub cipher_suites: Vec<CipherSuite>,
    /// Protocols offered by ALPN, the preferred one first.
    pub alpn: Vec<AlpnProtocol>,
    /// Certificates that clients must or may show; `None` asks for none.
    pub client_certificates: Option<ClientCertificates>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            cipher_suites: CipherSuite::ALL.to_vec(),
            alpn: vec![AlpnProtocol::H2, AlpnProtocol::Http1],
            client_certificates: None,
        }
    }
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whether there is no connection without one.
    pub required: bool,
    /// What they are judged by; `None` means that they are not.
    pub trust: Option<ClientTrust>,
    /// What the backend is told.
    pub headers: Vec<ClientCertificateHeader>,
}

/// What certificates of clients are judged by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientTrust {
    /// PEM file with the authorities.
    pub ca: PathBuf,
    /// PEM file with revocation lists; `None` means that revocation is not looked at.
    pub crl: Option<PathBuf>,
    /// Most intermediate certificates.
    pub max_depth: u32,
}

/// TLS settings of some hosts; what is `None` is as the listener has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPolicy {
    /// Unique name.
    pub name: String,
    /// Names of the listeners it holds on; empty means all.
    pub listeners: Vec<String>,
    /// Its hosts.
    pub hosts: Vec<HostPattern>,
    /// Lowest version accepted.
    pub min_version: Option<TlsVersion>,
    /// Highest version accepted.
    pub max_version: Option<TlsVersion>,
    /// Cipher suites.
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Protocols offered by ALPN.
    pub alpn: Option<Vec<AlpnProtocol>>,
    /// Certificates of clients; `Some(None)` asks for none.
    pub client_certificates: Option<Option<ClientCertificates>>,
}

impl TlsPolicy {
    /// Tells whether it holds on a listener.
    pub fn holds_on(&self, listener: &str) -> bool {
        self.listeners.is_empty() || self.listeners.iter().any(|name| name == listener)
    }

    /// The settings of its hosts on a listener that has these.
    pub fn over(&self, listener: &TlsSettings) -> TlsSettings {
        let TlsSettings {
            min_version,
            max_version,
            cipher_suites,
            alpn,
            client_certificates,
        } = listener;
        TlsSettings {
            min_version: self.min_version.unwrap_or(*min_version),
            max_version: self.max_version.unwrap_or(*max_version),
            cipher_suites: self
                .cipher_suites
                .clone()
                .unwrap_or_else(|| cipher_suites.clone()),
            alpn: self.alpn.clone().unwrap_or_else(|| alpn.clone()),
            client_certificates: self
                .client_certificates
                .clone()
                .unwrap_or_else(|| client_certificates.clone()),
        }
    }
}
