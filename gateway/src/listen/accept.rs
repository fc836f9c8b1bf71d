//! From a listening socket to a stream.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use portcullis_config::model::{Listener, ListenerProtocol};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    ConnectionFacts, ConnectionHandler, Stream, TcpConnection, TcpHandler, TlsConnection,
    address_value,
    handshake::{Hello, canonical_name, refused_for, within},
    per_address::{Counted, PerAddress},
    proxy_header::read_proxy_header,
    tcp::peek_server_name,
    transport::Tcp,
};
use crate::{
    telemetry::{AccessLog, ConnectionRecord, Metrics},
    tls::{Governed, Tls, client_headers},
};

/// Rest after an accept that failed for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What the accept loop of one listener works with.
pub(super) struct AcceptLoop {
    pub(super) settings: Arc<ArcSwap<Listener>>,
    pub(super) handler: Arc<dyn ConnectionHandler>,
    pub(super) tcp: Arc<dyn TcpHandler>,
    pub(super) tls: Arc<Tls>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) open: Arc<AtomicU32>,
    pub(super) all_open: Arc<AtomicU32>,
    pub(super) per_address: Arc<PerAddress>,
    /// Becomes true when the listener is removed or the process drains.
    pub(super) drain: watch::Receiver<bool>,
}

impl AcceptLoop {
    /// Accepts until told to drain; then the socket closes, the connections go on.
    pub(super) async fn run(self: Arc<Self>, socket: TcpListener) {
        let mut drain = self.drain.clone();
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                // An error means that the sender is gone, and so is the listener.
                _ = drain.wait_for(|drain| *drain) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer),
                Err(error) => {
                    tracing::warn!(listener = %self.settings.load().name, %error, "accept failed");
                    self.metrics
                        .connection(&self.settings.load().name, "accept_failed");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let settings = self.settings.load_full();
        let name: Arc<str> = settings.name.as_str().into();
        let guard = Open::enter(Arc::clone(self), Arc::clone(&name));
        if self.open.load(Ordering::Relaxed) > settings.limits.max_connections {
            self.metrics.connection(&name, "over_limit");
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let _guard = guard;
            match this.prepare(stream, peer, &settings, &name).await {
                Ok((prepared, _counted)) => {
                    this.metrics.connection(&name, "served");
                    let drain = this.drain.clone();
                    match prepared {
                        Prepared::Requests(stream, facts) => {
                            this.handler.handle(*stream, facts, drain).await;
                        }
                        Prepared::PassedOn(connection) => {
                            this.tcp.pass_on(*connection, drain).await;
                        }
                    }
                }
                Err((outcome, error)) => {
                    this.metrics.connection(&name, outcome);
                    tracing::debug!(listener = %name, %peer, outcome, %error, "connection closed");
                }
            }
        });
    }

    /// Everything before the first request, within the listener's deadlines.
    async fn prepare(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        settings: &Listener,
        name: &Arc<str>,
    ) -> Result<(Prepared, Option<Counted>), (&'static str, io::Error)> {
        let local = socket.local_addr().map_err(|error| ("failed", error))?;
        tune(&socket).map_err(|error| ("failed", error))?;
        let mut tcp = Tcp {
            ahead: BytesMut::new(),
            socket,
        };
        let mut client = peer;
        if settings.proxy_protocol {
            let reading = read_proxy_header(&mut tcp.socket);
            let (claimed, ahead) = within(settings.limits.proxy_header_timeout, reading)
                .await
                .map_err(|error| ("proxy_header_failed", error))?;
            client = claimed.unwrap_or(peer);
            tcp.ahead = ahead;
        }
        let max = settings.limits.max_connections_per_address;
        let counted = (max > 0).then(|| self.per_address.enter(client.ip(), max));
        if let Some(None) = counted {
            self.per_address.tell(name, client.ip(), max);
            return Err((
                "over_address_limit",
                io::Error::other("the client has as many connections as it may"),
            ));
        }
        let counted = counted.flatten();
        let facts = |tls| {
            Arc::new(ConnectionFacts {
                listener: Arc::clone(name),
                peer,
                client,
                local,
                tls,
                settings: Arc::clone(&self.settings),
                awaiting_head: AtomicBool::new(true),
                new_head: AtomicBool::new(false),
                reset: AtomicBool::new(false),
                bad_head: AtomicU16::new(0),
                body: Mutex::default(),
                client_value: address_value(client.ip().to_canonical()),
            })
        };
        let passed_on = |tcp: Tcp, sni, route| {
            Prepared::PassedOn(Box::new(TcpConnection {
                socket: tcp.socket,
                ahead: tcp.ahead,
                listener: Arc::clone(name),
                client,
                peer,
                local,
                sni,
                route,
            }))
        };
        match settings.protocol {
            ListenerProtocol::Http => {
                let facts = facts(None);
                let stream = Box::new(Stream::plain(tcp, Arc::clone(&facts)));
                return Ok((Prepared::Requests(stream, facts), counted));
            }
            ListenerProtocol::Udp => {
                let error = io::Error::other("a udp listener has no connections");
                return Err(("failed", error));
            }
            ListenerProtocol::Tcp => return Ok((passed_on(tcp, None, None), counted)),
            ListenerProtocol::Https => {}
        }
        let began = Instant::now();
        let mut asked = None;
        let handshake = within(
            settings.limits.handshake_timeout,
            self.handshake(tcp, settings, &mut asked),
        );
        let (tls, connection) = match handshake.await {
            Ok(Shaken::Hands(tls, connection)) => (tls, connection),
            Ok(Shaken::PassedOn(tcp, route)) => {
                return Ok((passed_on(tcp, asked, Some(route)), counted));
            }
            Err(error) => {
                let Some(reason) = refused_for(&error) else {
                    return Err(("handshake_failed", error));
                };
                self.metrics.refusal("tls", reason);
                self.access_log.write_connection(&ConnectionRecord {
                    client,
                    peer,
                    sni: asked.as_deref(),
                    refused_by: Some("tls"),
                    reason: Some(reason),
                    ..ConnectionRecord::new(name, "TLS", SystemTime::now(), began.elapsed())
                });
                return Err(("client_certificate_refused", error));
            }
        };
        let facts = facts(Some(*connection));
        let stream = Box::new(Stream::tls(*tls, Arc::clone(&facts)));
        Ok((Prepared::Requests(stream, facts), counted))
    }

    /// Speaks TLS with a client, unless that is for others to do; `asked` gets the
    /// name it asks for.
    async fn handshake(
        &self,
        mut tcp: Tcp,
        settings: &Listener,
        asked: &mut Option<String>,
    ) -> io::Result<Shaken> {
        if self.tls.table().passes(&settings.name) {
            let max = settings.limits.max_client_hello_size;
            let name = peek_server_name(&mut tcp, max).await?;
            *asked = name.as_deref().map(canonical_name);
            let table = self.tls.table();
            if let Some(Governed::Passed(route)) = table.find(&settings.name, asked.as_deref()) {
                return Ok(Shaken::PassedOn(tcp, Arc::clone(route)));
            }
        }
        let hello = Hello::read(tcp).await?;
        asked.clone_from(&hello.server_name);
        let sni = asked.as_deref();
        let (terms, generation) = {
            let table = self.tls.table();
            let Some(Governed::Terminated(terms)) = table.find(&settings.name, sni) else {
                // A configuration came between: a new connection goes by it.
                return Err(io::Error::other("the host has no TLS here any more"));
            };
            (Arc::clone(terms), table.generation)
        };
        let (tls, client) = hello.answer(&self.tls, &terms).await?;
        let session = tls.get_ref().1;
        let wanted = terms.settings.client_certificates.as_ref();
        let connection = TlsConnection {
            sni: asked.clone(),
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
            h2: session.alpn_protocol() == Some(b"h2"),
            asks_for_certificate: wanted.is_some(),
            client_headers: wanted.map_or_else(Vec::new, |wanted| {
                client_headers(&wanted.headers, client.as_deref())
            }),
            client,
            terms: ArcSwap::new(terms),
            generation: AtomicU64::new(generation),
        };
        Ok(Shaken::Hands(Box::new(tls), Box::new(connection)))
    }
}

/// A connection that is ready.
enum Prepared {
    /// Requests come on it.
    Requests(Box<Stream>, Arc<ConnectionFacts>),
    /// It is passed on.
    PassedOn(Box<TcpConnection>),
}

/// What came of a client that speaks TLS.
enum Shaken {
    /// TLS ends here.
    Hands(
        Box<tokio_rustls::server::TlsStream<Tcp>>,
        Box<TlsConnection>,
    ),
    /// TLS is passed on by the route of this name.
    PassedOn(Tcp, Arc<str>),
}

/// Sends what is small at once, and notices a peer that is gone without a word.
///
/// # Errors
/// Those of a socket that takes no option, since it is gone.
pub(crate) fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// Counts a connection while it is open.
struct Open {
    accept: Arc<AcceptLoop>,
    listener: Arc<str>,
}

impl Open {
    fn enter(accept: Arc<AcceptLoop>, listener: Arc<str>) -> Self {
        accept.open.fetch_add(1, Ordering::Relaxed);
        accept.all_open.fetch_add(1, Ordering::Relaxed);
        accept.metrics.connections_open(&listener, 1);
        Self { accept, listener }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.accept.open.fetch_sub(1, Ordering::Relaxed);
        self.accept.all_open.fetch_sub(1, Ordering::Relaxed);
        self.accept.metrics.connections_open(&self.listener, -1);
    }
}
