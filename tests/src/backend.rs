//! Backends: one that answers and remembers, and one that only counts bytes.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

use crate::sha256;

/// What a backend saw of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Target as it arrived.
    pub target: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Bytes of body.
    pub body_len: usize,
    /// SHA-256 of the body.
    pub body_sha256: String,
    /// HTTP version, as `HTTP/1.1`.
    pub version: String,
}

impl Seen {
    /// The value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A backend over HTTP/1, HTTP/2 with prior knowledge, and WebSocket.
///
/// Its answer names it, in `Server` too, and the target. Some paths do more: `/status/N` answers
/// with N and never upgrades, `/sleep/MS` waits, `/sse` streams three events 100 ms apart,
/// `/trailers` ends with trailers, as gRPC does. `?type=` is the content type of the answer.
#[derive(Clone)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    name: String,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// Whether connections are closed under their second request.
    brittle: bool,
    cut: AtomicUsize,
    handshakes: Mutex<Vec<Handshake>>,
}

/// What a backend saw of a TLS handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// SHA-256 of the client's certificate; empty where it showed none.
    pub client: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Server name that was asked for.
    pub server_name: String,
}

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

impl Backend {
    /// Starts a backend in clear.
    pub async fn start(name: &str) -> Self {
        Self::serve(name, None, false).await
    }

    /// Starts a backend in clear that answers one request on each connection, and
    /// closes it under the next: once its head has come and, every other time, its body.
    pub async fn start_brittle(name: &str) -> Self {
        Self::serve(name, None, true).await
    }

    /// Starts a backend over TLS.
    pub async fn start_tls(name: &str, tls: Arc<rustls::ServerConfig>) -> Self {
        Self::serve(name, Some(TlsAcceptor::from(tls)), false).await
    }

    /// Starts a backend in clear at an address, where that is free.
    pub async fn start_at(name: &str, address: SocketAddr) -> Option<Self> {
        let listener = TcpListener::bind(address).await.ok()?;
        Some(Self::serve_on((listener, address), name, None, false))
    }

    async fn serve(name: &str, tls: Option<TlsAcceptor>, brittle: bool) -> Self {
        Self::serve_on(bind().await, name, tls, brittle)
    }

    fn serve_on(
        (listener, address): (TcpListener, SocketAddr),
        name: &str,
        tls: Option<TlsAcceptor>,
        brittle: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            brittle,
            ..Shared::default()
        });
        let backend = Self {
            address,
            shared: Arc::clone(&shared),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(stream, tls.clone(), Arc::clone(&shared)));
            }
        });
        backend
    }

    /// Requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// When there was none.
    pub fn last(&self) -> Seen {
        self.lock()
            .last()
            .expect("the backend saw a request")
            .clone()
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.lock().len()
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Number of connections so far that it closed under a request.
    pub fn cut(&self) -> usize {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// TLS handshakes so far.
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.shared
            .handshakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, address)
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let accepted = Arc::clone(&shared);
    let (requests, end) = <(Arc<AtomicUsize>, Arc<Notify>)>::default();
    let ended = Arc::clone(&end);
    let service = service_fn(move |request| {
        let (shared, end) = (Arc::clone(&shared), Arc::clone(&end));
        let first = requests.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first || !shared.brittle {
                return answer(request, shared).await;
            }
            if shared.cut.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                let _ = request.into_body().collect().await;
            }
            end.notify_one();
            std::future::pending().await
        }
    });
    let builder = Builder::new(TokioExecutor::new());
    let served = async {
        let _ = match tls {
            None => {
                builder
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await
            }
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => {
                    accepted
                        .handshakes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(handshake(stream.get_ref().1));
                    builder
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await
                }
                Err(_) => return,
            },
        };
    };
    tokio::select! {
        () = served => {}
        () = ended.notified() => {}
    }
}

fn handshake(tls: &rustls::ServerConnection) -> Handshake {
    Handshake {
        client: tls
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(|leaf| sha256(leaf))
            .unwrap_or_default(),
        resumed: tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        server_name: tls.server_name().unwrap_or_default().to_owned(),
    }
}

async fn answer(
    mut request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<AnyBody>, Infallible> {
    if request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value == "websocket")
        && !request.uri().path().starts_with("/status/")
    {
        return Ok(web_socket(&mut request));
    }
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        // The request was cut; it counts as none.
        return Ok(Response::new(full("cut")));
    };
    let body = body.to_bytes();
    let path = head.uri.path().to_owned();
    let target = head
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let seen = Seen {
        method: head.method.to_string(),
        target: target.clone(),
        headers: head.headers,
        body_len: body.len(),
        body_sha256: sha256(&body),
        version: format!("{:?}", head.version),
    };
    shared
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);
    if let Some(millis) = path
        .strip_prefix("/sleep/")
        .and_then(|millis| millis.parse().ok())
    {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    let mut response = Response::new(match path.as_str() {
        "/sse" => events(),
        "/trailers" => with_trailers(),
        _ => full(&format!("{} {target}", shared.name)),
    });
    let name = HeaderValue::from_str(&shared.name).expect("a name is a header value");
    response.headers_mut().insert(header::SERVER, name);
    if path == "/sse" {
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        );
    }
    if let Some((_, kind)) = target.split_once("?type=") {
        let kind = HeaderValue::from_str(kind).expect("a type is a header value");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    if let Some(status) = path
        .strip_prefix("/status/")
        .and_then(|status| status.parse::<u16>().ok())
    {
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    }
    Ok(response)
}

fn full(text: &str) -> AnyBody {
    Full::from(text.to_owned()).boxed_unsync()
}

fn events() -> AnyBody {
    let events = futures_util::stream::unfold(0, |n| async move {
        if n == 3 {
            return None;
        }
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some((
            Ok(Frame::data(Bytes::from(format!("data: {n}\n\n")))),
            n + 1,
        ))
    });
    BodyExt::boxed_unsync(StreamBody::new(events))
}

fn with_trailers() -> AnyBody {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"message"))),
        Ok(Frame::trailers(trailers)),
    ];
    BodyExt::boxed_unsync(StreamBody::new(futures_util::stream::iter(frames)))
}

fn web_socket(request: &mut Request<Incoming>) -> Response<AnyBody> {
    let key = request
        .headers()
        .get("sec-websocket-key")
        .map(|key| key.as_bytes().to_vec())
        .unwrap_or_default();
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(&key);
    let mut response = Response::new(full(""));
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        "sec-websocket-accept",
        accept.parse().expect("base64 is a header value"),
    );
    response
}

/// A backend that never answers and counts every byte and connection.
pub struct Recorder {
    /// Where it listens.
    pub address: SocketAddr,
    bytes: Arc<AtomicU64>,
    connections: Arc<AtomicUsize>,
}

impl Recorder {
    /// Starts it.
    pub async fn start() -> Self {
        let (listener, address) = bind().await;
        let (bytes, connections) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let (counted, opened) = (Arc::clone(&bytes), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::Relaxed);
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        counted.fetch_add(read as u64, Ordering::Relaxed);
                    }
                });
            }
        });
        Self {
            address,
            bytes,
            connections,
        }
    }

    /// Bytes received.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Connections received.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}
