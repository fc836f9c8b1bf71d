//! TLS settings of the listeners.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use portcullis_config::model::{ListenerTls, TlsVersion};
use rustls::{
    ServerConfig,
    server::{
        ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
        StoresServerSessions,
    },
    sign::CertifiedKey,
};

use super::CertificateStore;

/// TLS 1.2 sessions remembered for resumption.
const SESSIONS: usize = 10_000;

/// Lowest version and default certificate.
type Setting = (TlsVersion, Option<String>);

/// Server configurations, made once for each distinct setting.
#[derive(Debug)]
pub struct ServerConfigs {
    store: Arc<ArcSwap<CertificateStore>>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
    made: Mutex<BTreeMap<Setting, Arc<ServerConfig>>>,
}

impl ServerConfigs {
    /// Makes settings over a store; ticket keys live as long as they do, so that
    /// clients resume their sessions across reloads.
    ///
    /// # Errors
    /// When the system gives no randomness for ticket keys.
    pub fn new(store: Arc<ArcSwap<CertificateStore>>) -> io::Result<Self> {
        Ok(Self {
            store,
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new().map_err(io::Error::other)?,
            sessions: ServerSessionMemoryCache::new(SESSIONS),
            made: Mutex::default(),
        })
    }

    /// Tells whether there is a certificate for a client that asks for this name.
    pub fn serves(&self, sni: Option<&str>, default: Option<&str>) -> bool {
        self.store.load().find(sni, default).is_some()
    }

    /// The configuration for a listener.
    ///
    /// # Errors
    /// When the provider cannot do what is asked for.
    pub fn config(&self, settings: &ListenerTls) -> io::Result<Arc<ServerConfig>> {
        let key = (settings.min_version, settings.default_certificate.clone());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(settings)?);
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn build(&self, settings: &ListenerTls) -> io::Result<ServerConfig> {
        let versions: &[&rustls::SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver {
                store: Arc::clone(&self.store),
                default: settings.default_certificate.clone(),
            }));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::clone(&self.tickets);
        config.session_storage = Arc::clone(&self.sessions);
        Ok(config)
    }
}

/// Looks the certificate up when a handshake asks for it.
#[derive(Debug)]
struct Resolver {
    store: Arc<ArcSwap<CertificateStore>>,
    default: Option<String>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.store
            .load()
            .find(hello.server_name(), self.default.as_deref())
    }
}
