//! The demo's built-in backend, and its stand-in for a site on the internet.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::DemoCertificates;

/// Longest request body that the backend echoes.
const MAX_BODY: usize = 64 << 10;

/// Servers on loopback that the demo sends traffic to.
#[derive(Clone, Copy, Debug)]
pub struct Backends {
    /// The site behind the ingress, in clear.
    pub site: SocketAddr,
    /// The destination behind the egress proxy, over TLS.
    pub destination: SocketAddr,
}

impl Backends {
    /// Starts both on free ports; they run until the runtime ends.
    pub async fn start(
        certificates: &DemoCertificates,
        destination_host: &str,
    ) -> anyhow::Result<Self> {
        let (chain, key) = certificates.server(&[destination_host])?;
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)?;
        Ok(Self {
            site: serve("the built-in backend", None).await?,
            destination: serve(
                "a site on the internet",
                Some(TlsAcceptor::from(Arc::new(tls))),
            )
            .await?,
        })
    }
}

async fn serve(name: &'static str, tls: Option<TlsAcceptor>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("binding the demo's backend")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, tls.clone(), name));
        }
    });
    Ok(address)
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, name: &'static str) {
    let service = service_fn(move |request| echo(request, name));
    let builder = Builder::new(TokioExecutor::new());
    // A client that goes away is no news here.
    let _ = match tls {
        None => {
            builder
                .serve_connection(TokioIo::new(stream), service)
                .await
        }
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => {
                builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            }
            Err(_) => return,
        },
    };
}

/// Answers with what arrived, so that one sees what the gateway passed on.
async fn echo(
    request: Request<Incoming>,
    name: &'static str,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = http_body_util::Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map(|body| body.to_bytes());
    let headers: serde_json::Map<_, _> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes())
                    .into_owned()
                    .into(),
            )
        })
        .collect();
    let answer = serde_json::json!({
        "from": name,
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "headers": headers,
        "bodyBytes": body.map(|body| body.len()).ok(),
    });
    let mut response = Response::new(Full::from(format!("{answer:#}\n")));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
