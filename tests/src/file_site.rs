//! An origin of many hosts that serves files, over HTTP and HTTPS.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{Authority, sha256};

/// Package indexes, mirrors and repositories, as far as they are files.
///
/// A host is known by `Host`, without its port. Files have an `ETag` and a time, and `Range` with `If-Range` is
/// served for the rest of a file (RFC 9110 section 14).
pub struct FileSite {
    /// Where it listens for HTTP.
    pub http: SocketAddr,
    /// Where it listens for HTTPS.
    pub https: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<BTreeMap<String, File>>,
    asked: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct File {
    kind: String,
    body: Bytes,
}

impl FileSite {
    /// Starts it with a certificate of an authority for its hosts.
    pub async fn start(authority: &Authority, hosts: &[&str]) -> Self {
        let shared = Arc::new(Shared::default());
        let acceptor = TlsAcceptor::from(authority.server(hosts, &["h2", "http/1.1"]));
        let http = listen(Arc::clone(&shared), None).await;
        let https = listen(Arc::clone(&shared), Some(acceptor)).await;
        Self {
            http,
            https,
            shared,
        }
    }

    /// Serves bytes at `HOST/PATH`.
    pub fn put(&self, place: &str, kind: &str, body: impl Into<Bytes>) {
        let file = File {
            kind: kind.to_owned(),
            body: body.into(),
        };
        lock(&self.shared.files).insert(place.to_owned(), file);
    }

    /// Serves all files of a folder below `HOST/PATH`.
    pub fn put_folder(&self, place: &str, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let name = entry.file_name();
            let place = format!("{place}/{}", name.to_str().expect("a plain name"));
            match entry.path() {
                path if path.is_dir() => self.put_folder(&place, &path),
                path => {
                    let body = fs::read(path).expect("a file");
                    self.put(&place, "application/octet-stream", body);
                }
            }
        }
    }

    /// What was asked for, `METHOD HOST/PATH STATUS` with the query.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(shared: Arc<Shared>, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (shared, tls) = (Arc::clone(&shared), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(stream, shared).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, shared).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let response = answer(&shared, &request);
        async { Ok::<_, Infallible>(response) }
    });
    // The client may go at any time.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let host = request.headers().get(header::HOST);
    let host = host
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().host())
        .unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let place = format!("{host}{}", request.uri().path());
    let file = lock(&shared.files).get(&place).cloned();
    let response = match file {
        None => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
        Some(file) => file.answer(request),
    };
    let query = request.uri().query().map(|query| format!("?{query}"));
    lock(&shared.asked).push(format!(
        "{} {place}{} {}",
        request.method(),
        query.unwrap_or_default(),
        response.status().as_u16()
    ));
    response
}

impl File {
    /// When all files were written: 1767225600 of the epoch.
    const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

    fn answer(self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let tag = format!("\"{}\"", &sha256(&self.body)[..16]);
        let field = |name| {
            let value: &HeaderValue = request.headers().get(name)?;
            value.to_str().ok()
        };
        let is_ours =
            field(header::IF_RANGE).is_none_or(|known| known == tag || known == Self::MODIFIED);
        let range = field(header::RANGE).filter(|_| is_ours);
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let from = range.and_then(|from| from.parse().ok());
        let from = from.filter(|from: &usize| *from < self.body.len());
        let length = self.body.len();
        let mut response = Response::builder()
            .header(header::CONTENT_TYPE, self.kind)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::LAST_MODIFIED, Self::MODIFIED)
            .header(header::ETAG, tag);
        let body = match from {
            None => self.body,
            Some(from) => {
                let range = format!("bytes {from}-{}/{length}", length - 1);
                response = response
                    .status(StatusCode::PARTIAL_CONTENT)
                    .header(header::CONTENT_RANGE, range);
                self.body.slice(from..)
            }
        };
        response.body(Full::new(body)).expect("fields are text")
    }
}
