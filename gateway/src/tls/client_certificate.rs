//! What is told of the certificate that a client has shown.

use std::net::IpAddr;

use portcullis_config::egress::CertificateIdentity;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::{distinguished_name::distinguished_name, read::hex};

/// Alternative names that are told; a certificate may have thousands.
const MAX_NAMES: usize = 32;

/// The certificate of a client.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Whether it was verified; else anybody may have made it.
    pub verified: bool,
    /// What the client has sent, its own certificate first; where it was not verified
    /// that alone.
    pub chain: Vec<CertificateDer<'static>>,
    /// Subject, as RFC 4514 writes names.
    pub subject: String,
    /// Issuer.
    pub issuer: String,
    /// Serial number, in hex.
    pub serial: String,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// Alternative names with their kind, as `DNS:client.example`; the first 32.
    pub names: Vec<String>,
}

impl ClientCertificate {
    /// Reads a chain, and notes whether it was verified.
    ///
    /// # Errors
    /// A certificate that cannot be read; it must not pass then.
    pub fn read(chain: &[CertificateDer<'_>], verified: bool) -> Result<Self, String> {
        let leaf = chain.first().ok_or("no certificate")?;
        // What comes along serves to verify it, and for nothing else.
        let kept = if verified { chain } else { &chain[..1] };
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names
                .value
                .general_names
                .iter()
                .filter_map(name)
                .take(MAX_NAMES)
                .collect(),
            Ok(None) => Vec::new(),
            Err(error) => return Err(error.to_string()),
        };
        Ok(Self {
            verified,
            subject: distinguished_name(parsed.subject()),
            issuer: distinguished_name(parsed.issuer()),
            serial: hex(parsed.raw_serial()),
            fingerprint: hex(&Sha256::digest(leaf)),
            names,
            chain: kept.iter().map(|one| one.clone().into_owned()).collect(),
        })
    }
}

/// Who a client is by its certificate; `None` where that says nothing of it.
///
/// # Errors
/// A certificate that cannot be read, or names its holder in two ways.
pub(crate) fn certificate_identity(
    leaf: &CertificateDer<'_>,
) -> Result<Option<CertificateIdentity>, String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| error.to_string())?;
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uris: Vec<String> = names.filter_map(uri).collect();
    let common_names = parsed.subject().iter_common_name();
    let common_names: Vec<&str> = common_names
        .map(|name| name.as_str().map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    CertificateIdentity::of(&uris, &common_names)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    let clean = |kind: &str, value: &str| {
        let plain = value.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| format!("{kind}:{value}"))
    };
    match name {
        GeneralName::DNSName(value) => clean("DNS", value),
        GeneralName::URI(value) => clean("URI", value),
        GeneralName::RFC822Name(value) => clean("email", value),
        GeneralName::IPAddress(bytes) => {
            let address: IpAddr = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok()?.into(),
                _ => <[u8; 16]>::try_from(*bytes).ok()?.into(),
            };
            Some(format!("IP:{address}"))
        }
        _ => None,
    }
}
