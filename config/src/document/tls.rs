//! TLS: versions, cipher suites, client certificates, and for which hosts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS settings of a listener, for every host that no TLS policy names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ListenerTls {
    /// Lowest version accepted, `"1.2"` or `"1.3"`. Default `"1.2"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Highest version accepted. Default `"1.3"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Cipher suites, the preferred one first. Default: all there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Protocols offered by ALPN, the preferred one first. Default `[h2, http/1.1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<AlpnProtocol>>,
    /// Certificates that clients must or may show. Default: none is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// Name of the certificate for clients that send no SNI or an unknown one.
    /// Default: none, and such a handshake is refused with `unrecognized_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_certificate: Option<String>,
    /// Files with the keys of session tickets, 48 or 80 random bytes each. The
    /// first encrypts, all decrypt; read again when they change. Gateways that
    /// share them take up each other's sessions. Default: keys of the process alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ticket_keys: Vec<String>,
}

/// TLS settings of some hosts, chosen by SNI.
///
/// What it leaves out is as the listener has it. A request for a host that
/// other settings hold for than those its connection was made with gets 421.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsPolicy {
    /// Name, unique among the TLS policies.
    pub name: String,
    /// Names of the listeners it holds on. Default: all. On an http listener it
    /// means that a host which needs client certificates is not served in clear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<String>,
    /// Hosts, exact or `*.suffix` (one label or more, as in routes).
    pub hosts: Vec<String>,
    /// Lowest version accepted. Default: that of the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Highest version accepted. Default: that of the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Cipher suites, the preferred one first. Default: those of the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Protocols offered by ALPN. Default: those of the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<AlpnProtocol>>,
    /// Certificates that clients must or may show. Default: as the listener has
    /// it; `{mode: none}` lifts that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
}

/// Certificates of clients (mutual TLS).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificates {
    /// Whether a client must show one. A wrong one is refused where the mode is
    /// `required` or `optional`.
    pub mode: ClientCertificateMode,
    /// PEM file with the authorities that sign them; needed where the mode is
    /// `required` or `optional`, and of no use otherwise. Read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// PEM file with certificate revocation lists, one for each authority that
    /// signs. Default: revocation is not looked at. Read again when it changes;
    /// once a list is past its next update, every client that it is about is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<String>,
    /// Intermediate certificates between a client's and one of `ca`, 0 to 6.
    /// Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u32>,
    /// What the backend is told of the certificate. Default
    /// `[ssl-client-verify, ssl-client-subject-dn, ssl-client-issuer-dn]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<ClientCertificateHeader>>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificateMode {
    /// Without a good one there is no connection.
    Required,
    /// One that is shown must be good; a client may show none.
    Optional,
    /// A client may show one, which nobody verifies but for that the client has its
    /// key: neither its authority nor its dates. That is for the backend, which is told.
    Unverified,
    /// None is asked for.
    None,
}

/// A header that tells a backend of the client's certificate; what a client
/// sends under such a name is always removed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificateHeader {
    /// `SUCCESS`, `NONE` where the client showed none, or `FAILED:unverified` where
    /// the mode is `unverified`.
    SslClientVerify,
    /// Its subject, as RFC 4514 writes names.
    SslClientSubjectDn,
    /// Its issuer.
    SslClientIssuerDn,
    /// Its serial number, in hex.
    SslClientSerial,
    /// SHA-256 of it, in hex.
    SslClientFingerprint,
    /// All of it, as PEM, percent-encoded.
    SslClientCert,
    /// Hash, subject and names, in the form of Envoy.
    XForwardedClientCert,
}

/// A TLS protocol version.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// A protocol inside TLS (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AlpnProtocol {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http1,
}

/// A cipher suite, by its name of the IANA registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say all that there is to say")]
pub enum CipherSuite {
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Aes256Gcm,
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Aes128Gcm,
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    ChaCha20Poly1305,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdheEcdsaAes256Gcm,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdheEcdsaAes128Gcm,
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheEcdsaChaCha20Poly1305,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    EcdheRsaAes256Gcm,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    EcdheRsaAes128Gcm,
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheRsaChaCha20Poly1305,
}

impl CipherSuite {
    /// All there are, the preferred one first.
    pub const ALL: [Self; 9] = [
        Self::Aes256Gcm,
        Self::Aes128Gcm,
        Self::ChaCha20Poly1305,
        Self::EcdheEcdsaAes256Gcm,
        Self::EcdheEcdsaAes128Gcm,
        Self::EcdheEcdsaChaCha20Poly1305,
        Self::EcdheRsaAes256Gcm,
        Self::EcdheRsaAes128Gcm,
        Self::EcdheRsaChaCha20Poly1305,
    ];

    /// The version that it is for.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Aes256Gcm | Self::Aes128Gcm | Self::ChaCha20Poly1305 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        }
    }
}
