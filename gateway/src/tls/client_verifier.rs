//! Judging certificates of clients: by their authorities, and by what those have revoked.

use std::{path::Path, sync::Arc};

use portcullis_config::model::ClientTrust;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        WebPkiSupportedAlgorithms, aws_lc_rs::default_provider, verify_tls12_signature,
        verify_tls13_signature,
    },
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::read::hash_of;
use crate::files::Contents;

/// Largest file of authorities that is read.
const MAX_CA_BYTES: u64 = 1 << 20;
/// Largest file of revocation lists; public authorities have large ones.
const MAX_CRL_BYTES: u64 = 16 << 20;

/// Judges certificates of clients by what its files said when it was made.
#[derive(Debug)]
pub struct ClientVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    authorities: Vec<CertificateDer<'static>>,
    max_depth: usize,
    content: [u8; 32],
    crl_expiry: Option<i64>,
}

impl ClientVerifier {
    /// Reads the files; `known` goes on where they say what they said before.
    ///
    /// # Errors
    /// The setting whose file cannot be used, and why.
    pub(super) fn load(
        trust: &ClientTrust,
        known: Option<&Arc<Self>>,
        contents: &Contents,
    ) -> Result<Arc<Self>, (&'static str, String)> {
        let ca = contents
            .read(&trust.ca, MAX_CA_BYTES)
            .map_err(|reason| ("ca", reason))?;
        let crl = match &trust.crl {
            Some(path) => Some(
                contents
                    .read(path, MAX_CRL_BYTES)
                    .map_err(|reason| ("crl", reason))?,
            ),
            None => None,
        };
        let depth = trust.max_depth.to_le_bytes();
        let content = hash_of([&ca[..], crl.as_deref().unwrap_or_default(), &depth]);
        if let Some(known) = known.filter(|known| known.content == content) {
            return Ok(Arc::clone(known));
        }
        let authorities = authorities(&trust.ca, &ca).map_err(|reason| ("ca", reason))?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots
                .add(authority.clone())
                .map_err(|error| ("ca", format!("{}: {error}", trust.ca.display())))?;
        }
        let provider = Arc::new(default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .allow_unauthenticated();
        let mut crl_expiry = None;
        if let (Some(path), Some(pem)) = (&trust.crl, &crl) {
            let lists = revocation_lists(path, pem).map_err(|reason| ("crl", reason))?;
            crl_expiry = lists.iter().filter_map(|(_, expiry)| *expiry).min();
            // A list that is too old may miss a revocation, so it vouches for nobody.
            builder = builder
                .with_crls(lists.into_iter().map(|(list, _)| list))
                .enforce_revocation_expiration();
        }
        let field = if crl.is_some() { "crl" } else { "ca" };
        let inner = builder
            .build()
            .map_err(|error| (field, error.to_string()))?;
        Ok(Arc::new(Self {
            inner,
            authorities,
            max_depth: trust.max_depth as usize,
            content,
            crl_expiry,
        }))
    }

    /// When the first of its revocation lists is too old, in seconds since 1970.
    pub fn crl_expiry(&self) -> Option<i64> {
        self.crl_expiry
    }

    /// Hash of what it was made of.
    pub(super) fn content(&self) -> &[u8; 32] {
        &self.content
    }

    /// Judges a chain, the client's own certificate first.
    ///
    /// # Errors
    /// Why it must not pass.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.verify_at(leaf, intermediates, UnixTime::now())
            .map(|_| ())
    }

    fn verify_at(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Authorities that a client sends along are none of them.
        let depth = intermediates
            .iter()
            .filter(|one| {
                !self
                    .authorities
                    .iter()
                    .any(|known| known.as_ref() == one.as_ref())
            })
            .count();
        if depth > self.max_depth {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        self.inner.verify_client_cert(leaf, intermediates, now)
    }
}

/// A verifier in a handshake.
#[derive(Debug)]
pub(super) struct InHandshake {
    pub(super) verifier: Arc<ClientVerifier>,
    pub(super) required: bool,
}

impl ClientCertVerifier for InHandshake {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verifier.verify_at(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let inner = &self.verifier.inner;
        inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let inner = &self.verifier.inner;
        inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.inner.supported_verify_schemes()
    }
}

/// Most bytes of certificates that are taken unverified, with what comes along: backends
/// are told of the first, each session keeps all, and who shows them has made them.
const MAX_UNVERIFIED_BYTES: usize = 8 << 10;

/// Takes any certificate of which a client has the key.
#[derive(Debug)]
pub(super) struct Unverified(WebPkiSupportedAlgorithms);

impl Default for Unverified {
    fn default() -> Self {
        Self(default_provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for Unverified {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None is named, so that a client shows whichever it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let more: usize = intermediates.iter().map(|one| one.len()).sum();
        if leaf.len() + more > MAX_UNVERIFIED_BYTES {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The reason code of a handshake that failed for its client's certificate.
pub fn refusal_reason(error: &Error) -> Option<&'static str> {
    let certificate = match error {
        Error::NoCertificatesPresented => return Some("client-certificate-missing"),
        Error::InvalidCertificate(error) => error,
        _ => return None,
    };
    Some(match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "client-certificate-expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "client-certificate-not-valid-yet"
        }
        CertificateError::Revoked => "client-certificate-revoked",
        CertificateError::UnknownIssuer => "client-certificate-unknown-issuer",
        CertificateError::BadSignature => "client-certificate-bad-signature",
        CertificateError::UnknownRevocationStatus => "client-crl-missing",
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => "client-crl-expired",
        CertificateError::ApplicationVerificationFailure => "client-chain-too-long",
        _ => "client-certificate-invalid",
    })
}

fn authorities(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if list.is_empty() {
        return Err(format!("{} holds no PEM certificate", path.display()));
    }
    Ok(list)
}

/// Revocation lists, each with the time of its next update.
type Lists = Vec<(CertificateRevocationListDer<'static>, Option<i64>)>;

fn revocation_lists(path: &Path, pem: &[u8]) -> Result<Lists, String> {
    let place = path.display();
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(pem) {
        let list = list.map_err(|error| format!("{place}: {error}"))?;
        let expiry = {
            let (_, parsed) = CertificateRevocationList::from_der(&list)
                .map_err(|error| format!("{place}: {error}"))?;
            parsed.next_update().map(|time| time.timestamp())
        };
        lists.push((list, expiry));
    }
    if lists.is_empty() {
        return Err(format!(
            "{place} holds no PEM revocation list (`openssl crl -inform der -in FILE` makes one of DER)"
        ));
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_verifies_is_bounded_with_all_that_comes_along() {
        let verifier = Unverified::default();
        let taken = |leaf: usize, intermediates: &[usize]| {
            let made = |size: &usize| CertificateDer::from(vec![0; *size]);
            let intermediates: Vec<_> = intermediates.iter().map(made).collect();
            let now = UnixTime::now();
            let verified = verifier.verify_client_cert(&made(&leaf), &intermediates, now);
            verified.is_ok()
        };
        assert!(taken(8 << 10, &[]) && taken(4 << 10, &[2 << 10, 2 << 10]));
        assert!(!taken((8 << 10) + 1, &[]) && !taken(1 << 10, &[7 << 10, 1]));
    }
}
