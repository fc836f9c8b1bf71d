//! How TLS is spoken with some hosts of a listener.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use portcullis_config::model::{AlpnProtocol, CipherSuite, TlsSettings, TlsVersion};
use rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
        StoresServerSessions, WebPkiClientVerifier,
    },
    sign::CertifiedKey,
};
use rustls_pki_types::CertificateDer;

use super::{
    ClientVerifier, TlsFiles,
    bound_tickets::BoundTickets,
    client_verifier::{InHandshake, Unverified},
    read::hash_of,
};

/// What a handshake with some hosts of a listener is made with.
#[derive(Debug)]
pub struct HostTls {
    /// The settings.
    pub settings: TlsSettings,
    /// Certificate for clients without a known SNI, by name.
    pub default_certificate: Option<String>,
    verifier: Option<Arc<ClientVerifier>>,
    tickets: Arc<dyn ProducesTickets>,
    config: Arc<ServerConfig>,
}

/// What the settings of some hosts are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ingredients<'a> {
    pub(super) settings: &'a TlsSettings,
    pub(super) default_certificate: &'a Option<String>,
    pub(super) verifier: Option<&'a Arc<ClientVerifier>>,
    pub(super) tickets: &'a Arc<dyn ProducesTickets>,
}

/// What all hosts have in common.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) files: Arc<ArcSwap<TlsFiles>>,
    pub(super) tickets: Arc<dyn ProducesTickets>,
    pub(super) sessions: Arc<dyn StoresServerSessions>,
}

impl HostTls {
    /// Makes the configuration of a handshake.
    ///
    /// # Errors
    /// When the provider cannot do what is asked for.
    pub(super) fn new(of: Ingredients<'_>, shared: &Shared) -> io::Result<Self> {
        let settings = of.settings.clone();
        let default_certificate = of.default_certificate.clone();
        let verifier = of.verifier.cloned();
        let versions: Vec<_> = [
            (TlsVersion::V1_3, &rustls::version::TLS13),
            (TlsVersion::V1_2, &rustls::version::TLS12),
        ]
        .into_iter()
        .filter(|(version, _)| settings.min_version <= *version && *version <= settings.max_version)
        .map(|(_, version)| version)
        .collect();
        let provider = CryptoProvider {
            cipher_suites: settings
                .cipher_suites
                .iter()
                .map(|suite| supported(*suite))
                .collect(),
            ..aws_lc_rs::default_provider()
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(io::Error::other)?;
        let mut binding = [0; 32];
        let client_verifier = match (&settings.client_certificates, &verifier) {
            (None, _) => WebPkiClientVerifier::no_client_auth(),
            (Some(wanted), Some(verifier)) => {
                let required = [u8::from(wanted.required)];
                binding = hash_of([&required[..], verifier.content()]);
                Arc::new(InHandshake {
                    verifier: Arc::clone(verifier),
                    required: wanted.required,
                })
            }
            (Some(wanted), None) if wanted.trust.is_none() => {
                binding = hash_of([&b"unverified"[..]]);
                Arc::new(Unverified::default())
            }
            (Some(_), None) => {
                return Err(io::Error::other("client certificates without authorities"));
            }
        };
        let mut config = builder
            .with_client_cert_verifier(client_verifier)
            .with_cert_resolver(Arc::new(Resolver {
                files: Arc::clone(&shared.files),
                default: default_certificate.clone(),
            }));
        config.alpn_protocols = settings
            .alpn
            .iter()
            .map(|protocol| match protocol {
                AlpnProtocol::H2 => b"h2".to_vec(),
                AlpnProtocol::Http1 => b"http/1.1".to_vec(),
            })
            .collect();
        config.ticketer = Arc::new(BoundTickets {
            inner: Arc::clone(of.tickets),
            binding,
        });
        config.session_storage = match settings.client_certificates {
            None => Arc::clone(&shared.sessions),
            // Sessions in memory are bound to nothing.
            Some(_) => Arc::new(NoServerSessionStorage {}),
        };
        Ok(Self {
            settings,
            default_certificate,
            verifier,
            tickets: Arc::clone(of.tickets),
            config: Arc::new(config),
        })
    }

    /// Whether it is what these would make.
    pub(super) fn is_made_of(&self, of: &Ingredients<'_>) -> bool {
        let same_verifier = match (&self.verifier, of.verifier) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_verifier
            && Arc::ptr_eq(&self.tickets, of.tickets)
            && self.default_certificate == *of.default_certificate
            && self.settings == *of.settings
    }

    /// The configuration of a handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether clients must show a certificate.
    pub(super) fn requires_certificate(&self) -> bool {
        let wanted = &self.settings.client_certificates;
        wanted.as_ref().is_some_and(|wanted| wanted.required)
    }

    /// Judges a client by what it has shown, as a handshake of now would.
    ///
    /// # Errors
    /// Whether clients are asked for certificates.
    pub fn asks_for_certificates(&self) -> bool {
        self.settings.client_certificates.is_some()
    }

    /// Why it must not pass.
    pub fn admits(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        match (&self.settings.client_certificates, &self.verifier) {
            (None, _) => Ok(()),
            (Some(wanted), _) if chain.is_empty() && !wanted.required => Ok(()),
            (Some(wanted), _) if wanted.trust.is_none() && !wanted.required => Ok(()),
            (Some(_), Some(verifier)) => verifier.verify(chain),
            (Some(_), None) => Err(rustls::Error::NoCertificatesPresented),
        }
    }
}

/// Looks the certificate up when a handshake asks for it.
#[derive(Debug)]
struct Resolver {
    files: Arc<ArcSwap<TlsFiles>>,
    default: Option<String>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.files
            .load()
            .certificates
            .find(hello.server_name(), self.default.as_deref())
    }
}

fn supported(suite: CipherSuite) -> SupportedCipherSuite {
    use aws_lc_rs::cipher_suite as known;
    match suite {
        CipherSuite::Aes256Gcm => known::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Aes128Gcm => known::TLS13_AES_128_GCM_SHA256,
        CipherSuite::ChaCha20Poly1305 => known::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheEcdsaAes256Gcm => known::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaAes128Gcm => known::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaChaCha20Poly1305 => {
            known::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        CipherSuite::EcdheRsaAes256Gcm => known::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaAes128Gcm => known::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaChaCha20Poly1305 => known::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_library_has_a_name_in_the_configuration() {
        let ours: Vec<_> = CipherSuite::ALL.into_iter().map(supported).collect();
        assert_eq!(ours, aws_lc_rs::ALL_CIPHER_SUITES);
    }
}
