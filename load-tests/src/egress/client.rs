//! A client: opens a tunnel and says something in it. Whatever goes wrong is an error.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use portcullis::tls::install_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    DESTINATIONS, Proxy,
    target::{ANSWER, Ask, send, take},
};

/// Time for one tunnel to open, or to close.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Longest answer to CONNECT that is read.
const MAX_HEAD: usize = 4096;

/// A proxy, and what is said to reach each destination through it.
#[derive(Clone, Debug)]
pub struct Client {
    proxy: SocketAddr,
    /// A CONNECT and a ClientHello for each destination.
    said: Arc<[(String, Vec<u8>)]>,
}

impl Client {
    /// A client of a proxy at an address, before a target.
    ///
    /// # Errors
    ///
    /// When no ClientHello can be made.
    pub fn new(proxy: Proxy, address: SocketAddr, target: SocketAddr) -> anyhow::Result<Self> {
        install_provider();
        let said = (0..DESTINATIONS).map(|number| {
            let destination = format!("{}:{}", proxy.host(number), proxy.port(target));
            let connect = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n");
            // The same to all: a name, whatever the destination is called.
            Ok((connect, client_hello(&Proxy::Portcullis.host(number))?))
        });
        Ok(Self {
            proxy: address,
            said: said.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Opens a tunnel to a destination, sends a ClientHello and takes the answer.
    ///
    /// # Errors
    ///
    /// When that fails, or takes more than 20 s.
    pub async fn open(&self, number: usize) -> anyhow::Result<TcpStream> {
        let (connect, hello) = &self.said[number % DESTINATIONS];
        let opening = async {
            let mut stream = TcpStream::connect(self.proxy)
                .await
                .context("connecting to the proxy")?;
            stream.set_nodelay(true)?;
            stream.write_all(connect.as_bytes()).await?;
            let head = head(&mut stream)
                .await
                .context("reading the answer to CONNECT")?;
            let status = head.split(' ').nth(1).unwrap_or_default();
            ensure!(status == "200", "CONNECT was answered with {head:?}");
            stream.write_all(hello).await?;
            let mut answer = [0; ANSWER];
            stream
                .read_exact(&mut answer)
                .await
                .context("reading the answer of the target")?;
            Ok(stream)
        };
        timeout(TIMEOUT, opening)
            .await
            .context("no tunnel within 20 s")?
    }

    /// Opens a tunnel and closes it; it is over when this returns.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and when the other side does not close.
    pub async fn open_and_close(&self, number: usize) -> anyhow::Result<()> {
        let mut stream = self.open(number).await?;
        stream.shutdown().await.context("closing a tunnel")?;
        let mut rest = [0];
        let ended = timeout(TIMEOUT, stream.read(&mut rest)).await;
        let ended = ended.context("the proxy did not close within 20 s")?;
        ensure!(!matches!(ended, Ok(1)), "there was more to read");
        Ok(())
    }
}

/// Takes so many bytes through a tunnel.
///
/// # Errors
///
/// When other bytes come, or it ends before.
pub(super) async fn download(stream: &mut TcpStream, bytes: u64) -> anyhow::Result<()> {
    stream.write_all(&Ask::Down.bytes(bytes)).await?;
    take(stream, bytes).await.context("taking data")
}

/// Sends so many bytes through a tunnel; they are there when this returns.
///
/// # Errors
///
/// When they are not taken.
pub(super) async fn upload(stream: &mut TcpStream, bytes: u64) -> anyhow::Result<()> {
    stream.write_all(&Ask::Up.bytes(bytes)).await?;
    send(stream, bytes).await.context("sending data")?;
    let mut taken = [0];
    stream
        .read_exact(&mut taken)
        .await
        .context("sending data")?;
    Ok(())
}

/// Reads up to the empty line: the target says nothing before it is spoken to.
async fn head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < MAX_HEAD, "its head is too long");
        ensure!(stream.read_buf(&mut head).await? > 0, "it ended");
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn client_hello(name: &str) -> anyhow::Result<Vec<u8>> {
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned())?;
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::egress::Target;

    /// A proxy that answers CONNECT with a head and connects to a target.
    async fn proxy(answer: &'static str, target: Target) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            head(&mut client).await.unwrap();
            client.write_all(answer.as_bytes()).await.unwrap();
            let mut target = TcpStream::connect(target.address()).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut target).await;
        });
        address
    }

    #[tokio::test]
    async fn data_goes_both_ways_through_a_tunnel() {
        let target = Target::start().unwrap();
        let address = proxy("HTTP/1.1 200 OK\r\n\r\n", target).await;
        let client = Client::new(Proxy::Portcullis, address, target.address()).unwrap();
        let mut stream = client.open(DESTINATIONS + 3).await.unwrap();
        download(&mut stream, 1_000_001).await.unwrap();
        upload(&mut stream, 1_000_001).await.unwrap();
        download(&mut stream, 1).await.unwrap();
    }

    #[tokio::test]
    async fn a_refused_connect_and_a_target_that_ends_are_errors() {
        let target = Target::start().unwrap();
        let address = proxy("HTTP/1.1 403 Forbidden\r\n\r\n", target).await;
        let client = Client::new(Proxy::Portcullis, address, target.address()).unwrap();
        let error = client.open(0).await.unwrap_err();
        assert!(error.to_string().contains("403 Forbidden"), "{error:#}");
        // Nothing is behind it any more.
        client.open(0).await.unwrap_err();
    }
}
