//! The relay: a small proxy on the loopback of a pod that shows the pod's token to the egress
//! proxy, so that clients need not.
//!
//! ```text
//! client --CONNECT, plain HTTP, SOCKS5--> relay --the same over HTTP, with the token of now--> egress proxy
//! ```
//!
//! `HTTPS_PROXY` is fixed when a pod starts, and its token changes every hour. What a client says
//! of who it is goes no further, and without a token nothing does. The relay decides nothing:
//! answers of the proxy are passed on as they are.

mod client;
mod plain;
mod proxy;
mod socks;
mod token;
mod tunnel;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_config::egress::ProxyUrl;
use tokio::net::{TcpListener, TcpStream};

use crate::listen::bind;
use proxy::Proxy;
use token::TokenFile;

/// Rest after an accept that failed for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What a relay is started with.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Where clients reach it; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The egress proxy.
    pub proxy: ProxyUrl,
    /// PEM file with the authorities that its certificate is judged by; `None` takes those of the
    /// system. Read again when it changes.
    pub proxy_ca: Option<PathBuf>,
    /// File with the token; read for each request, so that a new one is shown at once.
    pub token_file: PathBuf,
    /// Limits.
    pub limits: RelayedLimits,
}

/// Limits of a relay. The defaults of the command are [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayedLimits {
    /// Connections of clients at once; a further one is closed.
    pub max_connections: u32,
    /// Bytes of a request head, and of the head of an answer to CONNECT.
    pub max_head_size: usize,
    /// Time for a whole request head, and idle time between requests.
    pub head_timeout: Duration,
    /// Time to look the proxy up, connect to it and speak TLS with it.
    pub connect_timeout: Duration,
    /// Time for its answer to CONNECT: it looks names up and connects meanwhile.
    pub answer_timeout: Duration,
    /// Time in which nothing passes before a connection is closed. That of the proxy is shorter, and
    /// is told there.
    pub idle_timeout: Duration,
}

impl Default for RelayedLimits {
    fn default() -> Self {
        Self {
            max_connections: 1000,
            max_head_size: 32 << 10,
            head_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
        }
    }
}

/// A relay that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Its address cannot be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// What the certificate of the proxy is to be judged by cannot be used.
    #[error("{0}")]
    ProxyCa(String),
    /// The proxy is the relay.
    #[error("the proxy {0} is where the relay itself listens")]
    Itself(SocketAddr),
}

/// A relay that listens.
pub struct Relay {
    listening: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What its connections share.
struct Shared {
    limits: RelayedLimits,
    proxy: Proxy,
    token: TokenFile,
    open: AtomicU32,
}

impl Relay {
    /// Binds the address, and reads what the proxy is judged by. The token may come later: until
    /// then clients are told that it is missing.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn bind(settings: RelaySettings) -> Result<Self, RelayError> {
        let RelaySettings {
            listen,
            proxy,
            proxy_ca,
            token_file,
            limits,
        } = settings;
        if proxy.is_at(listen) {
            return Err(RelayError::Itself(listen));
        }
        let shared = Shared {
            limits,
            proxy: Proxy::new(proxy, proxy_ca).map_err(RelayError::ProxyCa)?,
            token: TokenFile::new(token_file),
            open: AtomicU32::new(0),
        };
        let listening = bind(listen).map_err(|error| RelayError::Listen(listen, error))?;
        let address = listening.local_addr();
        Ok(Self {
            address: address.map_err(|error| RelayError::Listen(listen, error))?,
            listening,
            shared: Arc::new(shared),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts clients for as long as it is polled; those that are there are served without it.
    pub async fn serve(&self) {
        loop {
            match self.listening.accept().await {
                Ok((client, _)) => self.spawn(client),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn spawn(&self, client: TcpStream) {
        let open = Open::enter(&self.shared);
        if self.shared.open.load(Ordering::Relaxed) > self.shared.limits.max_connections {
            return tracing::debug!("a client over the limit is closed");
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let _open = open;
            if let Err(error) = client::serve(client, &shared).await {
                tracing::debug!(%error, "client closed");
            }
        });
    }

    /// Waits until no client is there, or until the time is over; returns how many are left.
    pub async fn wait_idle(&self, limit: Duration) -> u32 {
        let deadline = Instant::now() + limit;
        while self.shared.open.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.shared.open.load(Ordering::Relaxed)
    }
}

/// Counts a client while it is there.
struct Open(Arc<Shared>);

impl Open {
    fn enter(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
