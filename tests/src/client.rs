//! HTTP clients.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::Authority;

/// Longest wait for a response.
const PATIENCE: Duration = Duration::from_secs(10);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One open connection, over HTTP/1 or HTTP/2.
pub enum Client {
    /// HTTP/1.1.
    H1(http1::SendRequest<Body>),
    /// HTTP/2.
    H2(http2::SendRequest<Body>),
}

impl Client {
    /// Connects over HTTP/1.1 in clear.
    pub async fn h1(address: SocketAddr) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(connect(address).await))
            .await
            .expect("HTTP/1 begins");
        tokio::spawn(connection);
        Self::H1(sender)
    }

    /// Connects over TLS, with HTTP/2 where `h2` says so.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn tls(
        address: SocketAddr,
        authority: &Authority,
        host: &str,
        h2: bool,
    ) -> anyhow::Result<Self> {
        let config = authority.client(if h2 { &["h2"] } else { &["http/1.1"] });
        Self::tls_with(address, config, host, h2).await
    }

    /// Connects over TLS with a client configuration of one's own.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn tls_with(
        address: SocketAddr,
        config: Arc<rustls::ClientConfig>,
        host: &str,
        h2: bool,
    ) -> anyhow::Result<Self> {
        Self::tls_over(connect(address).await, config, host, h2).await
    }

    /// The same to `host:port`, inside a tunnel of a proxy.
    ///
    /// # Errors
    /// When the tunnel is refused or the handshake fails.
    pub async fn tls_through(
        proxy: SocketAddr,
        target: &str,
        config: Arc<rustls::ClientConfig>,
        h2: bool,
    ) -> anyhow::Result<Self> {
        let stream = tls_stream_through(proxy, target, config).await?;
        Self::over(stream, h2).await
    }

    async fn tls_over(
        stream: TcpStream,
        config: Arc<rustls::ClientConfig>,
        host: &str,
        h2: bool,
    ) -> anyhow::Result<Self> {
        let name = rustls_pki_types::ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Self::over(stream, h2).await
    }

    async fn over(stream: TlsStream<TcpStream>, h2: bool) -> anyhow::Result<Self> {
        Ok(if h2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Self::H2(sender)
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Self::H1(sender)
        })
    }

    /// Sends a request; the response's body is read whole.
    ///
    /// # Errors
    /// When the connection fails or the answer takes too long.
    pub async fn send<B>(&mut self, request: Request<B>) -> anyhow::Result<Response<Bytes>>
    where
        B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let request = request.map(BodyExt::boxed_unsync);
        let exchange = async {
            let response = match self {
                Self::H1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Self::H2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, body) = response.into_parts();
            Ok::<_, anyhow::Error>(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, exchange).await?
    }

    /// Gets a path of a host.
    ///
    /// # Errors
    /// Those of [`Client::send`].
    pub async fn get(&mut self, host: &str, path: &str) -> anyhow::Result<Response<Bytes>> {
        let mut request = Request::get(self.uri(host, path));
        if matches!(self, Self::H1(_)) {
            request = request.header("host", host);
        }
        self.send(request.body(Full::default())?).await
    }

    /// The target of a request: HTTP/1 sends the path, HTTP/2 the host with it.
    pub fn uri(&self, host: &str, path: &str) -> String {
        match self {
            Self::H1(_) => path.to_owned(),
            Self::H2(_) => format!("https://{host}{path}"),
        }
    }

    /// Whether the peer has closed the connection.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::H1(sender) => sender.is_closed(),
            Self::H2(sender) => sender.is_closed(),
        }
    }
}

/// Speaks TLS to `host:port` inside a tunnel of a proxy.
///
/// # Errors
/// When the tunnel is refused or the handshake fails.
pub async fn tls_stream_through(
    proxy: SocketAddr,
    target: &str,
    config: Arc<rustls::ClientConfig>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut tunnel = connect(proxy).await;
    let ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    tunnel.write_all(ask.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tunnel.read_u8().await?);
    }
    anyhow::ensure!(head.starts_with(b"HTTP/1.1 200 "), "the tunnel is refused");
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    let name = rustls_pki_types::ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(config).connect(name, tunnel).await?)
}

/// Connects over HTTP/2 in clear, with prior knowledge.
pub async fn h2c(address: SocketAddr) -> Client {
    let stream = TokioIo::new(connect(address).await);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .expect("HTTP/2 begins");
    tokio::spawn(connection);
    Client::H2(sender)
}

/// An HTTP client that trusts an authority and finds these hosts at an address.
pub fn https_client(authority: &Authority, hosts: &[&str], address: SocketAddr) -> reqwest::Client {
    let config = Arc::unwrap_or_clone(authority.client(&["h2", "http/1.1"]));
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE);
    for host in hosts {
        builder = builder.resolve(host, address);
    }
    builder.build().expect("the settings are good")
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address)
        .await
        .expect("the gateway listens");
    let _ = stream.set_nodelay(true);
    stream
}
