//! A session: a client, its endpoint, and a socket between them.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use bytes::BytesMut;
use portcullis_config::model::Balance;
use prometheus::IntGauge;
use socket2::SockRef;
use tokio::{net::UdpSocket, sync::mpsc::UnboundedSender};

use super::socket::Socket;
use crate::{
    places::Newcomer,
    snapshot::{
        CompiledBackend, CompiledUdpRoute, EndpointState, InFlight, Place, Preference, rendezvous,
    },
    tcp::{Denied, take_place},
    upstream::{Open, blame},
};

/// Endpoints tried for one session.
pub(super) const MAX_TRIES: usize = 3;

/// Datagrams of an endpoint that are passed on before others have their turn.
const BATCH: usize = 32;

/// Where a client is, and our address that it has asked.
pub(super) type Key = (SocketAddr, IpAddr);

/// Told by a session that ends by itself: its key, and its number.
pub(super) type Ended = (Key, u64);

/// Why a session ended that gave way to another.
pub(super) const EVICTED: &str = "evicted";

/// Mark of a session that takes nothing any more, in the place of what it awaits.
const OVER: u32 = u32::MAX;

/// A session.
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) time: SystemTime,
    pub(super) route: Arc<CompiledUdpRoute>,
    /// Version of the snapshot that it was judged by.
    pub(super) judged: u64,
    /// Since when its endpoint is not one of its backend any more.
    pub(super) leaving: Option<Instant>,
    /// Whether its route was not that of the listener when it was looked at last.
    pub(super) is_astray: bool,
    pub(super) exchange: Arc<Exchange>,
    reader: tokio::task::JoinHandle<()>,
}

/// Counts a session of a route.
pub(super) struct OpenRoute(IntGauge);

impl OpenRoute {
    pub(super) fn enter(route: &CompiledUdpRoute) -> Self {
        route.metrics.open.inc();
        Self(route.metrics.open.clone())
    }
}

impl Drop for OpenRoute {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What both directions of a session share.
pub(super) struct Exchange {
    pub(super) began: Instant,
    pub(super) upstream: Upstream,
    pub(super) up: Count,
    pub(super) down: Count,
    /// When the last datagram passed that keeps it open, in milliseconds from the begin.
    last: AtomicU64,
    /// Datagrams of the endpoint that the client waits for, or [`OVER`].
    awaited: AtomicU32,
    /// Whether the endpoint has failed.
    failed: AtomicBool,
    /// Whether the client has sent something after an answer.
    assured: AtomicBool,
    /// Whether it has given way to another session.
    evicted: AtomicBool,
    /// What is given back when it ends.
    held: Mutex<Option<Box<dyn Send>>>,
    id: Ended,
    ended: UnboundedSender<Ended>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Newcomer for Exchange {
    fn is_newcomer(&self) -> bool {
        !self.assured.load(Ordering::Relaxed) && self.awaited.load(Ordering::Relaxed) != OVER
    }

    fn give_way(&self) -> bool {
        if !self.is_newcomer() || self.awaited.swap(OVER, Ordering::Relaxed) == OVER {
            return false;
        }
        self.evicted.store(true, Ordering::Relaxed);
        self.give_back();
        self.tell_end();
        true
    }
}

/// What went one way.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) bytes: AtomicU64,
    pub(super) datagrams: AtomicU64,
}

impl Count {
    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.datagrams.fetch_add(1, Ordering::Relaxed);
    }
}

/// A socket to an endpoint.
pub(super) struct Upstream {
    socket: UdpSocket,
    pub(super) backend: Arc<CompiledBackend>,
    pub(super) endpoint: Arc<EndpointState>,
    _at_work: InFlight,
    _place: Place,
    _open: Open,
}

/// What became of a datagram of a client.
pub(super) enum Passed {
    /// It was sent, or dropped for want of room.
    Yes,
    /// The session has ended by itself.
    Over,
}

/// Chooses an endpoint of a backend of the route, one that was not `tried` where there
/// is such, and makes a socket to it.
///
/// # Errors
/// Why there is none.
pub(super) fn connect(
    route: &CompiledUdpRoute,
    client: IpAddr,
    mut tried: Vec<SocketAddr>,
) -> Result<Upstream, Denied> {
    let (backend, place) = take_place(&route.targets)?;
    let by = |denied: Denied| denied.by(&backend.backend.name);
    let by_address = matches!(backend.backend.balance, Balance::Hash(_));
    let preference = Preference {
        key: by_address.then(|| rendezvous::hash(client.to_canonical().to_string().as_bytes())),
        ..Preference::default()
    };
    let most = tried.len() + MAX_TRIES;
    loop {
        let chosen = backend.choose(&tried, preference);
        let endpoint = chosen.ok_or_else(|| by(Denied::no_endpoint()))?.endpoint;
        let at_work = endpoint.begin();
        match open(endpoint.address) {
            Ok(socket) => {
                return Ok(Upstream {
                    socket,
                    backend: Arc::clone(backend),
                    endpoint,
                    _at_work: at_work,
                    _place: place,
                    _open: Open::new(backend.metrics.connections()),
                });
            }
            Err(error) => {
                tracing::debug!(%error, endpoint = %endpoint.address, "endpoint not reached");
                backend.metrics.connect_failed();
                tried.push(endpoint.address);
                // A socket that we have none for is no failure of the endpoint.
                if is_of_endpoint(&error) {
                    blame(backend, endpoint);
                    if tried.len() < most && backend.has_other(&tried) {
                        continue;
                    }
                }
                return Err(by(Denied::new("upstream", "connect-failed")));
            }
        }
    }
}

fn open(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match endpoint {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    // From here on the system takes datagrams of this endpoint alone.
    socket.connect(endpoint)?;
    UdpSocket::from_std(socket)
}

/// Whether an error says that an endpoint cannot be reached.
fn is_of_endpoint(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

impl Session {
    /// Begins one; what its endpoint sends goes to the client by `listening`.
    pub(super) fn begin(
        (key, number): Ended,
        route: &Arc<CompiledUdpRoute>,
        judged: u64,
        upstream: Upstream,
        held: Box<dyn Send>,
        listening: &Arc<Socket>,
        ended: &UnboundedSender<Ended>,
    ) -> Self {
        let exchange = Arc::new(Exchange {
            began: Instant::now(),
            upstream,
            up: Count::default(),
            down: Count::default(),
            last: AtomicU64::new(0),
            awaited: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            assured: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            held: Mutex::new(Some(held)),
            id: (key, number),
            ended: ended.clone(),
        });
        let reader = {
            let (exchange, route) = (Arc::downgrade(&exchange), Arc::clone(route));
            let listening = Arc::clone(listening);
            tokio::spawn(async move { Exchange::answer(exchange, &route, &listening).await })
        };
        Self {
            number,
            time: SystemTime::now(),
            route: Arc::clone(route),
            judged,
            leaving: None,
            is_astray: false,
            exchange,
            reader,
        }
    }
}

impl Session {
    /// Who may have to give way.
    pub(super) fn newcomer(&self) -> Weak<dyn Newcomer> {
        let exchange: Arc<dyn Newcomer> = self.exchange.clone();
        Arc::downgrade(&exchange)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
        // Now, and not when the reader has been dropped.
        self.exchange.give_back();
    }
}

impl Exchange {
    /// Passes a datagram of the client on.
    pub(super) fn pass(&self, bytes: &[u8], route: &CompiledUdpRoute) -> Passed {
        // A datagram that is counted here is answered before the session can end.
        let responses = route.route.responses;
        let counted = self
            .awaited
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |awaited| {
                (awaited != OVER).then(|| awaited.saturating_add(responses).min(OVER - 1))
            });
        if counted.is_err() {
            return Passed::Over;
        }
        // Past tokio, which does not know yet whether a new socket has room.
        match SockRef::from(&self.upstream.socket).send(bytes) {
            Ok(_) => {
                self.up.add(bytes.len());
                // A sender can be forged: what it sends keeps a session only where it
                // can have heard an answer.
                if self.down.datagrams.load(Ordering::Relaxed) > 0 {
                    self.assured.store(true, Ordering::Relaxed);
                    self.touch();
                }
                Passed::Yes
            }
            Err(error) if is_of_endpoint(&error) => {
                self.fail(&error);
                Passed::Over
            }
            Err(error) => {
                tracing::debug!(%error, endpoint = %self.upstream.endpoint.address, "datagram not sent");
                route.metrics.dropped("send-failed");
                self.await_less(responses);
                Passed::Yes
            }
        }
    }

    /// Passes what the endpoint sends to the client, until the session is over.
    ///
    /// While nothing comes the session is not held, so that its socket is closed as soon
    /// as it ends.
    async fn answer(exchange: Weak<Self>, route: &CompiledUdpRoute, listening: &Socket) {
        loop {
            let ready = poll_fn(|context| match exchange.upgrade() {
                Some(exchange) => {
                    let ready = exchange.upstream.socket.poll_recv_ready(context);
                    ready.map(|ready| Some((exchange, ready)))
                }
                None => Poll::Ready(None),
            });
            let Some((exchange, ready)) = ready.await else {
                return;
            };
            if let Err(error) = ready {
                exchange.fail(&error);
                return exchange.tell_end();
            }
            if exchange.pass_back(route, listening) {
                return exchange.tell_end();
            }
        }
    }

    /// Passes what has come from the endpoint; tells whether the session is over.
    ///
    /// What there is no room for is dropped: who waits keeps a buffer, and sessions are
    /// many.
    fn pass_back(&self, route: &CompiledUdpRoute, listening: &Socket) -> bool {
        let max = usize::try_from(route.route.max_datagram_size).unwrap_or(usize::MAX);
        let (client, from) = self.id.0;
        let mut buffer = BytesMut::with_capacity(max + 1);
        for _ in 0..BATCH {
            buffer.clear();
            match self.upstream.socket.try_recv_buf(&mut buffer) {
                Ok(size) if size > max => route.metrics.dropped("too-large"),
                Ok(_) => {
                    // Before it is sent: the client may be quicker with its next datagram
                    // than this thread with its note.
                    self.answered(buffer.len());
                    match listening.send(&buffer, from, client) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            route.metrics.dropped("no-room");
                        }
                        Err(error) => {
                            tracing::debug!(%error, "datagram not sent to a client");
                            route.metrics.dropped("send-failed");
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.fail(&error);
                    return true;
                }
            }
            if route.route.responses > 0 && self.is_served() {
                return true;
            }
        }
        false
    }

    /// Takes back that so many datagrams of the endpoint are waited for.
    fn await_less(&self, responses: u32) {
        // A session that is over stays so.
        let _ = self
            .awaited
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |awaited| {
                (awaited != OVER).then(|| awaited.saturating_sub(responses))
            });
    }

    fn answered(&self, bytes: usize) {
        if self.down.datagrams.load(Ordering::Relaxed) == 0 {
            self.upstream.endpoint.took(self.began.elapsed());
        }
        self.upstream.endpoint.answered();
        self.down.add(bytes);
        self.touch();
    }

    /// Counts a datagram of the endpoint; tells whether it was the last awaited one.
    fn is_served(&self) -> bool {
        let count = |awaited| {
            Some(match awaited {
                0 | 1 | OVER => OVER,
                awaited => awaited - 1,
            })
        };
        let before = self
            .awaited
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        matches!(before, Ok(0 | 1 | OVER))
    }

    fn fail(&self, error: &io::Error) {
        if self.awaited.swap(OVER, Ordering::Relaxed) == OVER {
            return;
        }
        self.failed.store(true, Ordering::Relaxed);
        let (backend, endpoint) = (&self.upstream.backend, &self.upstream.endpoint);
        tracing::debug!(%error, endpoint = %endpoint.address, "endpoint not reached");
        backend.metrics.connect_failed();
        if is_of_endpoint(error) {
            blame(backend, Arc::clone(endpoint));
        }
    }

    /// Why the session ended by itself.
    pub(super) fn why(&self) -> &'static str {
        match self.failed.load(Ordering::Relaxed) {
            true => "endpoint-failed",
            false if self.evicted.load(Ordering::Relaxed) => EVICTED,
            false => "answered",
        }
    }

    /// Whether its endpoint has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// How long nothing has passed that keeps it open.
    pub(super) fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last)
    }

    /// Gives back what is counted of it.
    fn give_back(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(held.take());
    }

    fn tell_end(&self) {
        // The listener is gone where nobody hears it, and the session with it.
        let _ = self.ended.send(self.id);
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}
