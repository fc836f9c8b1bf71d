//! The egress proxy, as the relay reaches it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_config::egress::{Authority, Host, ProxyUrl};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use crate::{
    egress::answer::Refusal,
    listen::{tune, within},
    snapshot::{parse_certificates, system_authorities},
};

/// A connection to the proxy. What is written to it is not sent before it is flushed.
pub(super) type Upstream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The proxy, and what its certificate is judged by.
pub(super) struct Proxy {
    url: ProxyUrl,
    trust: Option<Trust>,
}

impl Proxy {
    /// Reads what its certificate is judged by, where it speaks TLS.
    ///
    /// # Errors
    /// Why that cannot be used.
    pub(super) fn new(url: ProxyUrl, ca: Option<PathBuf>) -> Result<Self, String> {
        let trust = match url.is_tls() {
            true => Some(Trust::load(ca)?),
            false => None,
        };
        Ok(Self { url, trust })
    }

    /// Connects. The name is looked up each time: the address of a Service may change.
    ///
    /// # Errors
    /// 502, and the log says why.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Upstream, Refusal> {
        let failed = |reason: &'static str| {
            move |error: io::Error| {
                tracing::warn!(proxy = %self.url, %error, "the proxy is not reached");
                Refusal::new(502, reason)
            }
        };
        let unreachable = failed("relay_proxy_unreachable");
        let socket = within(limit, self.dial(limit)).await.map_err(unreachable)?;
        let Some(trust) = &self.trust else {
            return Ok(Either::Left(socket));
        };
        let shaken = within(limit, self.shake_hands(socket, trust));
        let tls = shaken.await.map_err(failed("relay_proxy_tls_failed"))?;
        Ok(Either::Right(Box::new(tls)))
    }

    async fn dial(&self, limit: Duration) -> io::Result<TcpStream> {
        let Authority { host, port } = self.url.authority();
        let addresses: Vec<SocketAddr> = match host {
            Host::Address(address) => vec![SocketAddr::new(*address, *port)],
            Host::Name(name) => tokio::net::lookup_host((name.as_str(), *port))
                .await?
                .collect(),
        };
        // One that does not answer leaves time for the others.
        let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::other("the proxy has no address");
        for address in addresses {
            match within(share, TcpStream::connect(address)).await {
                Ok(socket) => {
                    tune(&socket)?;
                    return Ok(socket);
                }
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(last)
    }

    async fn shake_hands(
        &self,
        socket: TcpStream,
        trust: &Trust,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.url.authority().host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            Host::Address(address) => ServerName::from(*address),
        };
        let connector = TlsConnector::from(trust.config());
        connector.connect(name, socket).await
    }
}

/// What the certificate of the proxy is judged by.
struct Trust {
    ca: Option<PathBuf>,
    /// Contents of the file, and what was made of them.
    made: Mutex<(Vec<u8>, Arc<ClientConfig>)>,
}

impl Trust {
    fn load(ca: Option<PathBuf>) -> Result<Self, String> {
        let made = match &ca {
            Some(path) => {
                let pem = read(path)?;
                let config = config(authorities(path, &pem)?)?;
                (pem, config)
            }
            None => (Vec::new(), config(system_authorities()?)?),
        };
        Ok(Self {
            ca,
            made: Mutex::new(made),
        })
    }

    /// The settings of a connection of now. Where the file has become unfit, what it said last
    /// goes on.
    fn config(&self) -> Arc<ClientConfig> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.ca {
            let changed = read(path).and_then(|pem| match pem == made.0 {
                true => Ok(None),
                false => Ok(Some((config(authorities(path, &pem)?)?, pem))),
            });
            match changed {
                Ok(None) => {}
                Ok(Some((config, pem))) => {
                    tracing::info!(file = %path.display(), "authorities changed");
                    *made = (pem, config);
                }
                Err(reason) => {
                    tracing::warn!(%reason, "authorities not read; the last good ones stay");
                }
            }
        }
        Arc::clone(&made.1)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn authorities(path: &Path, pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for authority in parse_certificates(path, pem)? {
        roots
            .add(authority)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(Arc::new(roots))
}

fn config(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
