//! Requests for hosts, and the backend that answers them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portcullis_tests::Authority;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::NODE;

/// Ports of the gateway: for requests in clear, and over TLS.
const HTTP: u16 = 8080;
const HTTPS: u16 = 8443;
/// Time for an answer over TLS.
const ANSWER: Duration = Duration::from_secs(5);

/// Requests through the gateway on the node.
pub(super) struct Traffic {
    /// For TLS, where there are certificates: a connection for each request.
    secure: Option<reqwest::Client>,
}

impl Traffic {
    /// `authority` is that of the certificates of hosts, where they have some.
    pub(super) fn new(authority: Option<&Authority>) -> anyhow::Result<Self> {
        let client = |authority: &Authority| {
            let config = Arc::unwrap_or_clone(authority.client(&["http/1.1"]));
            reqwest::Client::builder()
                .dns_resolver(Arc::new(Everywhere))
                .tls_backend_preconfigured(config)
                .pool_max_idle_per_host(0)
                .timeout(ANSWER)
                .no_proxy()
                .build()
        };
        let secure = authority.map(client).transpose()?;
        Ok(Self { secure })
    }

    /// The status of an answer for a host in clear; none where nobody listens yet.
    pub(super) async fn ask(&self, host: &str) -> Option<u16> {
        let mut stream = TcpStream::connect((NODE, HTTP)).await.ok()?;
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let status = answer.get(9..12)?;
        std::str::from_utf8(status).ok()?.parse().ok()
    }

    /// The same over TLS, with a certificate for the host; 200 where hosts have none.
    pub(super) async fn ask_secure(&self, host: &str) -> Option<u16> {
        let Some(client) = &self.secure else {
            return Some(200);
        };
        let url = format!("https://{host}:{HTTPS}/");
        let answer = client.get(url).send().await.ok()?;
        Some(answer.status().as_u16())
    }
}

/// Every name is the gateway's.
struct Everywhere;

impl Resolve for Everywhere {
    fn resolve(&self, _: Name) -> Resolving {
        let address = NODE.parse().map(|ip| SocketAddr::new(ip, 0));
        Box::pin(async move {
            let all: Addrs = Box::new(std::iter::once(address?));
            Ok(all)
        })
    }
}

/// A backend that answers every request alike.
pub(super) async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(read) = stream.read(&mut buffer).await
                && read > 0
                && stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await
                    .is_ok()
            {}
        });
    }
}
