//! A client of the egress proxy that speaks HTTP/2: tunnels, many on one connection (RFC 9113 section
//! 8.5).
//!
//! ```text
//! connection -> stream: CONNECT -> decided on, by itself -> 200 -> tunnel over the stream
//! ```
//!
//! A stream is served by a task of its own: one that the client resets has its record all the same.

mod stream;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http2, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_config::egress;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::either::Either;

use super::{
    answer::Refusal,
    audit::Record,
    client::ClientStream,
    connection::about,
    credentials::Credentials,
    decide::{Proxy, open},
    forward::{AnyBody, failure},
    inspection::{MAX_ERROR_RESETS, MAX_PENDING_RESETS, MAX_SEND_BUFFER},
    peer::Peer,
    servers::{EgressServices, Open, State},
    tunnel::{Opening, Tunnel},
};
use crate::relay::TICK;
use stream::{Held, TunnelStream};

/// Bytes that a client may send ahead in one tunnel. A connection has as many for each of its tunnels:
/// their destinations have nothing to do with each other, and one that reads nothing stops no other.
const STREAM_WINDOW: u32 = 64 << 10;
/// Largest window (RFC 9113 section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// For how long a client is waited for that is told of the end of an idle connection.
const LEAVE: Duration = Duration::from_secs(1);
/// For how long a stream waits for one that ends.
const ROOM: Duration = Duration::from_secs(1);

/// What the streams of a connection share.
struct Connection {
    address: SocketAddr,
    peer: Arc<Peer>,
    services: Arc<EgressServices>,
    state: Arc<State>,
    /// One for each stream that may be open.
    streams: Arc<Semaphore>,
    max_streams: usize,
    /// Streams whose tunnel is over, and whose client takes nothing of what it was sent.
    untaken: AtomicUsize,
    /// Tells that it is to end at once: there are no other streams.
    leave: Notify,
}

/// A stream that is served.
struct Stream {
    connection: Arc<Connection>,
    counted: Counted,
}

/// What a stream counts by, among those of its connection and among all that is open.
type Counted = (OwnedSemaphorePermit, Open);

/// What a stream is answered: in HTTP, or by its end with this code.
type Answer = Result<Response<AnyBody>, h2::Reason>;

/// Serves tunnels until the client closes, has none for too long, or the proxy stops.
pub(super) async fn serve(
    client: ClientStream,
    (address, peer): (SocketAddr, Arc<Peer>),
    services: &Arc<EgressServices>,
    state: &Arc<State>,
) {
    let Some(egress) = state.egress() else { return };
    let limits = &egress.limits;
    let max_streams = usize::try_from(limits.max_streams).unwrap_or(usize::MAX);
    let connection = Arc::new(Connection {
        address,
        peer,
        services: Arc::clone(services),
        state: Arc::clone(state),
        streams: Arc::new(Semaphore::new(max_streams.min(Semaphore::MAX_PERMITS))),
        max_streams,
        untaken: AtomicUsize::default(),
        leave: Notify::default(),
    });
    let service = service_fn(|request: Request<Incoming>| {
        let answer = Arc::clone(&connection).answer(request);
        async move { answer.await.map_err(h2::Error::from) }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head_size).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(
            STREAM_WINDOW
                .saturating_mul(limits.max_streams)
                .min(MAX_WINDOW),
        )
        .serve_connection(TokioIo::new(client), service);
    let mut serving = pin!(serving);
    let told = |served: hyper::Result<()>| {
        if let Err(error) = served {
            tracing::debug!(client = %address, %error, "egress client closed");
        }
    };
    tokio::select! {
        served = serving.as_mut() => return told(served),
        () = connection.leave.notified() => return,
        () = connection.over(limits.head_timeout, limits.idle_timeout) => {}
    }
    // Tunnels that are open may end; none is opened any more.
    serving.as_mut().graceful_shutdown();
    let silent = async {
        loop {
            tokio::time::sleep(LEAVE).await;
            if connection.streams.available_permits() >= max_streams {
                return;
            }
        }
    };
    tokio::select! {
        served = serving => told(served),
        () = silent => {}
        () = connection.leave.notified() => {}
    }
}

impl Connection {
    /// Whether its client takes nothing of any stream that is open, or of so many that they are in the way
    /// of those that it uses.
    fn is_left(&self) -> bool {
        let open = self
            .max_streams
            .saturating_sub(self.streams.available_permits());
        let untaken = self.untaken.load(Ordering::Relaxed);
        self.state.is_drained() || open <= untaken || untaken > self.max_streams / 2
    }

    /// Waits until no further stream is taken: the proxy stops, or there is none for too long; for
    /// the first one it is waited shorter.
    async fn over(&self, first: Duration, idle: Duration) {
        let (mut since, mut limit) = (Instant::now(), first);
        while !self.state.is_draining() && since.elapsed() < limit {
            tokio::time::sleep(TICK.min(limit)).await;
            if self.streams.available_permits() < self.max_streams {
                (since, limit) = (Instant::now(), idle);
            }
        }
    }

    /// Answers a stream, which then goes on by itself.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        // By this a client knows that it may ask again (RFC 9113 section 8.7).
        const REFUSED: h2::Reason = h2::Reason::REFUSED_STREAM;
        // Some come until the client knows that none is taken any more.
        if self.state.is_draining() {
            return Err(REFUSED);
        }
        // A stream that the client has left may take a moment to end here.
        let place = tokio::time::timeout(ROOM, Arc::clone(&self.streams).acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or(REFUSED)?;
        let open = Open::enter(&self.state, &self.services).ok_or(REFUSED)?;
        let stream = Stream {
            connection: self,
            counted: (place, open),
        };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            // In a box, so that what it takes to open a tunnel is gone while one is idle.
            let opened = Box::pin(stream.serve(request, answer)).await;
            if let Some(tunnel) = opened {
                tunnel.run().await;
            }
        });
        answered.await.unwrap_or(Err(REFUSED))
    }
}

impl Stream {
    /// Serves a client up to its tunnel, if it opens one.
    async fn serve(
        self,
        mut request: Request<Incoming>,
        answer: oneshot::Sender<Answer>,
    ) -> Option<Tunnel> {
        let Connection {
            address,
            peer,
            services,
            state,
            ..
        } = &*self.connection;
        let egress = state.egress()?;
        let mut held = Held {
            counted: self.counted,
            connection: Arc::clone(&self.connection),
            charge: None,
        };
        let proxy = Proxy {
            egress: &egress,
            services,
            state,
        };
        let mut record = Record::new(*address, Arc::clone(peer));
        let authority = match destination(&request) {
            Ok(authority) => authority,
            Err(reason) => {
                let method = request.method().as_str();
                record.describe(method, None);
                let refusal = Refusal::new(400, reason);
                // A client asks again then, over HTTP/1.1 (RFC 9113 section 7).
                let by_code = reason == "http1_required";
                let reset = by_code.then_some(h2::Reason::HTTP_1_1_REQUIRED);
                refuse(&refusal, reset, record, answer, proxy);
                return None;
            }
        };
        record.describe("CONNECT", Some(&authority));
        let shown = request.headers().get_all(header::PROXY_AUTHORIZATION);
        let shown: Vec<&[u8]> = shown.iter().map(HeaderValue::as_bytes).collect();
        let credentials = Credentials::read(&shown);
        let asked = egress::Request {
            authority: &authority,
            http: None,
            now: SystemTime::now(),
        };
        let opened = match open(proxy, asked, credentials, &mut record).await {
            Ok(opened) => opened,
            Err(refusal) => {
                refuse(&refusal, None, record, answer, proxy);
                return None;
            }
        };
        held.charge = Some(Arc::clone(&opened.charge));
        let upgrade = hyper::upgrade::on(&mut request);
        // Where nobody waits for it any more there is no stream either.
        let _ = answer.send(Ok(accepted(&record.id)));
        let Some(client) = over(upgrade, held).await else {
            record.status = 200;
            record.ended = Some("client_closed");
            record.write(services);
            return None;
        };
        let opening = Opening::new(client, BytesMut::new(), opened, authority, record);
        opening.begin(b"", proxy).await
    }
}

/// Whom a stream is to reach, or the reason code of what is no tunnel.
fn destination(request: &Request<Incoming>) -> Result<egress::Authority, &'static str> {
    if request.method() != Method::CONNECT {
        return Err("http1_required");
    }
    let authority = request.uri().authority().ok_or("bad_authority")?;
    let authority = egress::Authority::parse(authority.as_str().as_bytes(), None);
    authority.map_err(|error| error.reason())
}

/// Tells a client of a refusal, or ends its stream with a code.
fn refuse(
    refusal: &Refusal,
    reset: Option<h2::Reason>,
    mut record: Record,
    answer: oneshot::Sender<Answer>,
    proxy: Proxy<'_>,
) {
    record.refused(refusal);
    let response = failure(refusal, &about(&record, proxy));
    // The client may have reset it.
    let _ = answer.send(reset.map_or(Ok(response), Err));
    record.write(proxy.services);
}

fn accepted(id: &str) -> Response<AnyBody> {
    let empty = Empty::new().map_err(|never| match never {});
    let mut response = Response::new(empty.boxed());
    if let Ok(id) = HeaderValue::from_str(id) {
        let name = HeaderName::from_static("x-request-id");
        response.headers_mut().insert(name, id);
    }
    response
}

/// The stream behind an answer; `None` where it is gone.
async fn over(upgrade: OnUpgrade, held: Held) -> Option<ClientStream> {
    let upgraded = upgrade.await.ok()?;
    Some(Either::Right(Box::new(TunnelStream::new(upgraded, held))))
}
