//! TLS towards the endpoints of a backend, made ready once for each snapshot.
//!
//! Each endpoint takes a copy of the settings, with sessions of its own
//! (`upstream_sessions.rs`).

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    path::Path,
    sync::{Arc, OnceLock},
};

use portcullis_config::model::{BackendProtocol, BackendTls, SubjectAltName};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};

use super::Reads;

/// TLS towards the endpoints of a backend.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// Settings of its connections, without sessions.
    pub config: Arc<ClientConfig>,
    /// Name that is sent as SNI.
    pub server_name: String,
}

/// Why there is none: the key of the backend that is to blame, and the reason.
pub(super) type Broken = (&'static str, String);

/// Reads what the settings name, and feeds `key` with all that tells connections
/// apart which must not be shared.
pub(super) fn compile(
    tls: &BackendTls,
    protocol: BackendProtocol,
    reads: &Reads,
    key: &mut impl Hasher,
) -> Result<UpstreamTls, Broken> {
    tls.server_name.hash(key);
    tls.subject_alt_names.hash(key);
    let roots = match &tls.ca {
        Some(path) => authorities(path, reads, key).map_err(|reason| ("tls.ca", reason))?,
        None => system_authorities().map_err(|reason| ("tls.ca", reason))?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let broken = |error: rustls::Error| ("tls.serverName", error.to_string());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(broken)?;
    let builder = if tls.subject_alt_names.is_empty() {
        builder.with_root_certificates(roots)
    } else {
        let verifier = NamedBy {
            roots,
            names: tls.subject_alt_names.clone(),
            provider,
        };
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, private_key)) => {
            let chain = certificates(certificate, reads).map_err(|why| ("tls.certificate", why))?;
            let pem = reads.read(private_key).map_err(|why| ("tls.key", why))?;
            chain.hash(key);
            pem.hash(key);
            let place = private_key.display();
            let private_key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
                (
                    "tls.key",
                    format!("{place}: no private key in PEM: {error}"),
                )
            })?;
            builder
                .with_client_auth_cert(chain, private_key)
                .map_err(|error| ("tls.key", format!("{place}: {error}")))?
        }
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match protocol {
        BackendProtocol::Http1 => vec![b"http/1.1".to_vec()],
        BackendProtocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(UpstreamTls {
        config: Arc::new(config),
        server_name: tls.server_name.clone(),
    })
}

/// TLS to whoever shows a certificate for the name that is asked for, of an authority of the system
/// or of a file; without protocols and sessions.
pub(super) fn to_anybody(trust: Option<&Path>, reads: &Reads) -> Result<Arc<ClientConfig>, Broken> {
    let failed = |reason| ("trust", reason);
    let roots = match trust {
        None => system_authorities().map_err(failed)?,
        Some(path) => {
            let own = authorities(path, reads, &mut DefaultHasher::new()).map_err(failed)?;
            let mut roots = RootCertStore::clone(&own);
            // A system without any leaves those of the file.
            if let Ok(system) = system_authorities() {
                roots.extend(system.roots.iter().cloned());
            }
            Arc::new(roots)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| failed(error.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Who was verified once is verified again: what is trusted may have changed.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn authorities(
    path: &Path,
    reads: &Reads,
    key: &mut impl Hasher,
) -> Result<Arc<RootCertStore>, String> {
    let list = certificates(path, reads)?;
    list.hash(key);
    let mut roots = RootCertStore::empty();
    for authority in list {
        roots
            .add(authority)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(Arc::new(roots))
}

/// The authorities of the system, read once.
pub(crate) fn system_authorities() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // One that cannot be read leaves the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err(
            "the system has no authorities to trust: name a file with `ca`, or install ca-certificates"
                .into(),
        );
    }
    Ok(Arc::clone(roots))
}

fn certificates(path: &Path, reads: &Reads) -> Result<Vec<CertificateDer<'static>>, String> {
    parse_certificates(path, &reads.read(path)?)
}

/// The certificates of a file, at least one.
pub(crate) fn parse_certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if list.is_empty() {
        return Err(format!("{}: holds no PEM certificate", path.display()));
    }
    Ok(list)
}

/// Takes a certificate that a trusted authority issued for one of these names. The
/// server name is not among them, unless it is named.
#[derive(Debug)]
struct NamedBy {
    roots: Arc<RootCertStore>,
    names: Vec<SubjectAltName>,
    provider: Arc<CryptoProvider>,
}

impl NamedBy {
    fn is_named(&self, certificate: &CertificateDer<'_>) -> Result<bool, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let uris = uris(certificate)?;
        Ok(self.names.iter().any(|name| match name {
            SubjectAltName::Dns(name) => ServerName::try_from(name.as_str())
                .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok()),
            SubjectAltName::Uri(wanted) => uris.contains(wanted),
        }))
    }
}

fn uris(certificate: &CertificateDer<'_>) -> Result<Vec<String>, rustls::Error> {
    let malformed = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| malformed())?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| malformed())?
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect())
}

impl ServerCertVerifier for NamedBy {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        if self.is_named(end_entity)? {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
