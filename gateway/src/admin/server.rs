//! A small HTTP server for the endpoints.

use std::{
    convert::Infallible, io, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    task::JoinHandle,
};

/// Connections of one server at once.
const MAX_CONNECTIONS: usize = 64;
/// Time for a request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const MAX_LIFE: Duration = Duration::from_secs(60);

/// Answers a path and query.
pub type Endpoint = Arc<dyn Fn(&str, Option<&str>) -> Answer + Send + Sync>;

/// An answer of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
}

impl Answer {
    /// An answer in plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain",
            body: body.into(),
        }
    }

    /// An answer in JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: format!("{body:#}\n"),
        }
    }
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct AdminServer {
    task: JoinHandle<()>,
    bound: Option<SocketAddr>,
}

impl AdminServer {
    /// Serves on a network address.
    ///
    /// With `local`, requests whose Host is not this machine are refused: a web
    /// page must not reach a loopback endpoint through a name of its own
    /// (DNS rebinding).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn tcp(address: SocketAddr, endpoint: Endpoint, local: bool) -> io::Result<Self> {
        let listener: TcpListener = crate::listen::bind(address)?;
        let bound = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            loop {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                    return;
                };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let endpoint = Arc::clone(&endpoint);
                        tokio::spawn(async move {
                            serve(stream, endpoint, local).await;
                            drop(permit);
                        });
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Ok(Self {
            task,
            bound: Some(bound),
        })
    }

    /// Serves on a Unix socket that only this user may open.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn unix(path: &Path, endpoint: Endpoint) -> io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_err() {
            // Nobody listens: what a run before this one left is in the way.
            let _ = std::fs::remove_file(path);
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&endpoint), false));
            }
        });
        Ok(Self { task, bound: None })
    }

    /// Where it is bound; `None` for a Unix socket.
    pub fn bound(&self) -> Option<SocketAddr> {
        self.bound
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S>(stream: S, endpoint: Endpoint, local: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &endpoint, local);
        async move { Ok::<_, Infallible>(response(answer)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away or takes too long is no news.
    let _ = tokio::time::timeout(MAX_LIFE, connection).await;
}

fn answer(request: &Request<Incoming>, endpoint: &Endpoint, local: bool) -> Answer {
    if local && !is_local(request) {
        return Answer::text(403, "the Host header must name this machine\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Answer::text(405, "only GET\n");
    }
    endpoint(request.uri().path(), request.uri().query())
}

fn is_local(request: &Request<Incoming>) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    match portcullis_config::route::canonical_host(host) {
        Ok((host, _)) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost"
                || bare
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        Err(_) => false,
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = http::StatusCode::from_u16(answer.status)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(answer.content_type),
    );
    response
}
