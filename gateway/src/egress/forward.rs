//! A plain HTTP request, forwarded to the destination that was judged.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use portcullis_config::{egress::Authority, model::EgressLimits};
use tokio::task::JoinSet;

use super::{
    answer::{About, Refusal},
    client::ClientStream,
    prefixed::Prefixed,
    upgrade,
    upstream_proxy::{UpstreamStream, refused},
};
use crate::{
    hop_by_hop::{strip_hop_by_hop, strip_request},
    relay::{RelayLimits, TICK, Traffic, over, silent},
    snapshot::CompiledUpstreamProxy,
    upstream::is_untouched,
};

pub(super) type AnyBody = BoxBody<Bytes, hyper::Error>;

/// What a forwarded request ended with.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    pub(super) status: u16,
    pub(super) failed: Option<&'static str>,
    /// Why it was cut.
    pub(super) ended: Option<&'static str>,
}

/// Serves the one request whose head is in `buffer`, or cuts both ends when `cut` says why. Returns
/// the client, which is to be closed, where it was not cut.
#[expect(
    clippy::too_many_arguments,
    reason = "the two ends, and the request as it was judged"
)]
pub(super) async fn forward(
    client: ClientStream,
    buffer: BytesMut,
    (upstream, forwarder): (UpstreamStream, Option<&CompiledUpstreamProxy>),
    authority: &Authority,
    target: &str,
    about: &About,
    limits: &EgressLimits,
    traffic: &Arc<Traffic>,
    cut: impl FnMut() -> Option<&'static str>,
) -> (Forwarded, Option<ClientStream>) {
    let upstream = Mutex::new(Some(upstream));
    // The connection to the destination, which ends with this one.
    let driver = Mutex::new(JoinSet::new());
    let outcome = Mutex::new(Forwarded::default());
    let service = |request: Request<Incoming>| {
        let upstream = upstream
            .lock()
            .ok()
            .and_then(|mut upstream| upstream.take());
        let (outcome, driver) = (&outcome, &driver);
        async move {
            let sent = match upstream {
                Some(upstream) => {
                    send(
                        request,
                        (upstream, forwarder),
                        authority,
                        target,
                        limits.idle_timeout,
                        traffic,
                        driver,
                    )
                    .await
                }
                None => Err(Refusal::new(400, "second_request")),
            };
            let response = match sent {
                Ok(response) => response,
                Err(refusal) => {
                    if let Ok(mut outcome) = outcome.lock() {
                        outcome.failed = Some(refusal.reason);
                    }
                    failure(&refusal, about)
                }
            };
            if let Ok(mut outcome) = outcome.lock() {
                outcome.status = response.status().as_u16();
            }
            response
        }
    };
    let serving = serve_one(client, buffer, &about.id, service);
    let limits = RelayLimits {
        // What is silent before it answers is told so by a status, which comes first.
        idle: Some(limits.idle_timeout + 4 * TICK),
        lifetime: Some(limits.max_lifetime),
    };
    let (ended, client) = tokio::select! {
        client = serving => (None, client),
        reason = over(limits, traffic, cut) => (Some(reason), None),
    };
    let mut outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(PoisonError::into_inner));
    outcome.ended = ended;
    (outcome, client)
}

/// Serves the one request whose head is in `buffer`. The answer gets the id. Returns the client, which
/// is to be closed, unless it broke off.
///
/// hyper reads the head again, from the bytes that were judged; its own view of
/// the target is not used.
pub(super) async fn serve_one<B, A>(
    client: ClientStream,
    mut buffer: BytesMut,
    id: &str,
    answer: impl FnMut(Request<Incoming>) -> A,
) -> Option<ClientStream>
where
    A: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let is_hidden = upgrade::hide(&mut buffer);
    let mut stream = Prefixed {
        prefix: buffer,
        stream: client,
    };
    let answer = Mutex::new(answer);
    let service = service_fn(|mut request: Request<Incoming>| {
        if is_hidden {
            upgrade::show(request.headers_mut());
        }
        let answered = answer.lock().unwrap_or_else(PoisonError::into_inner)(request);
        async move { Ok::<_, Infallible>(with_id(answered.await, id)) }
    });
    let serving = server::conn::http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        // It shuts down itself: what it has not written yet goes out by that.
        .serve_connection(TokioIo::new(&mut stream), service);
    match serving.await {
        Ok(()) => Some(stream.stream),
        Err(error) => {
            tracing::debug!(%error, "a client of a plain request broke off");
            None
        }
    }
}

async fn send(
    request: Request<Incoming>,
    (upstream, forwarder): (UpstreamStream, Option<&CompiledUpstreamProxy>),
    authority: &Authority,
    target: &str,
    idle: Duration,
    traffic: &Arc<Traffic>,
    driver: &Mutex<JoinSet<()>>,
) -> Result<Response<AnyBody>, Refusal> {
    let failed = |_| Refusal::new(502, "upstream_failed");
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(upstream))
        .await
        .map_err(failed)?;
    drive(connection, driver);
    let (mut head, body) = request.into_parts();
    strip_request(&mut head.headers);
    let host = host_of(authority, 80)?;
    let uri = match forwarder {
        None => target.parse::<Uri>(),
        // In absolute form (RFC 9112 section 3.2.2).
        Some(proxy) => {
            if let Some(credentials) = &proxy.authorization {
                let name = header::PROXY_AUTHORIZATION;
                head.headers.insert(name, credentials.clone());
            }
            format!("http://{authority}{target}").parse()
        }
    };
    head.uri = uri.map_err(|_| Refusal::new(400, "bad_uri"))?;
    head.headers.insert(header::HOST, host);
    head.version = http::Version::HTTP_11;
    let body = Counted::up(body, traffic);
    let waiting = sender.send_request(Request::from_parts(head, body));
    let response = answered(waiting, idle, traffic).await?;
    let (mut head, body) = response.into_parts();
    // It asks this proxy, and not its client.
    if forwarder.is_some() && head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(refused(head.status.as_u16()));
    }
    strip_hop_by_hop(&mut head.headers);
    Ok(Response::from_parts(
        head,
        Counted::down(body, traffic).boxed(),
    ))
}

/// The `Host` of a destination, as clients write it.
///
/// # Errors
/// 400 for what is no field value; no host that was parsed is.
pub(super) fn host_of(authority: &Authority, default_port: u16) -> Result<HeaderValue, Refusal> {
    let host = match authority.port == default_port {
        true => authority.host.to_string(),
        false => authority.to_string(),
    };
    HeaderValue::from_str(&host).map_err(|_| Refusal::new(400, "bad_host"))
}

/// Waits for the head of an answer.
///
/// # Errors
/// 502 where the destination breaks off, 503 where it has not taken the request, 504 where nothing goes either way for `idle`.
pub(super) async fn answered(
    waiting: impl Future<Output = hyper::Result<Response<Incoming>>>,
    idle: Duration,
    traffic: &Traffic,
) -> Result<Response<Incoming>, Refusal> {
    // An upload may take its time, as long as it goes on.
    tokio::select! {
        response = waiting => response.map_err(|error| {
            tracing::debug!(%error, "a destination broke off");
            match is_untaken(&error) {
                true => Refusal::new(503, "upstream_refused"),
                false => Refusal::new(502, "upstream_failed"),
            }
        }),
        () = silent(idle, traffic) => Err(Refusal::new(504, "upstream_timeout")),
    }
}

/// Whether a request has provably not been taken, so that it may be sent again whatever it does:
/// the connection was over before, or the destination says so.
fn is_untaken(error: &hyper::Error) -> bool {
    let h2 = error.source().and_then(|source| source.downcast_ref());
    error.is_canceled() || error.is_closed() || h2.is_some_and(is_untouched)
}

/// Moves the bytes of a connection as long as those who wait for it are there.
pub(super) fn drive(
    connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
    driver: &Mutex<JoinSet<()>>,
) {
    let mut driver = driver.lock().unwrap_or_else(PoisonError::into_inner);
    driver.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a plain request broke off");
        }
    });
}

pub(super) fn failure(refusal: &Refusal, about: &About) -> Response<AnyBody> {
    let whole = |body: String| {
        Full::from(body)
            .map_err(|never: Infallible| match never {})
            .boxed()
    };
    refusal.hyper_response(about).map(whole)
}

fn with_id<B>(mut response: Response<B>, request_id: &str) -> Response<B> {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// A body whose bytes are counted as they go.
pub(super) struct Counted {
    body: Incoming,
    traffic: Arc<Traffic>,
    up: bool,
    /// Whether a piece of it may not be sent.
    is_cut: bool,
}

impl Counted {
    /// A body from the client.
    pub(super) fn up(body: Incoming, traffic: &Arc<Traffic>) -> Self {
        Self {
            body,
            traffic: Arc::clone(traffic),
            up: true,
            is_cut: false,
        }
    }

    /// A body to the client.
    pub(super) fn down(body: Incoming, traffic: &Arc<Traffic>) -> Self {
        Self {
            up: false,
            ..Self::up(body, traffic)
        }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.is_cut {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let length = length_of_frame(frame)
            && length > 0
        {
            // What waits for it is cut, by whoever set the meter. Until then nothing goes after
            // it, not even the end: what lacks a piece must not look whole.
            if self.up && !self.traffic.may_send(length) {
                self.is_cut = true;
                return Poll::Pending;
            }
            let count: &AtomicU64 = if self.up {
                &self.traffic.up
            } else {
                &self.traffic.down
            };
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of a part of a body; fields behind it carry something as well.
fn length_of_frame(frame: &Frame<Bytes>) -> usize {
    let data = frame.data_ref().map_or(0, Bytes::len);
    data + frame.trailers_ref().map_or(0, length_of)
}

/// Bytes of fields, without what stands between them.
pub(super) fn length_of(fields: &HeaderMap) -> usize {
    let fields = fields.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_behind_a_body_are_bytes_of_it() {
        let data = Frame::data(Bytes::from_static(b"12345"));
        assert_eq!(length_of_frame(&data), 5);
        let fields = [("a", "123"), ("bc", "4567")].map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let trailers = Frame::trailers(fields.into_iter().collect());
        assert_eq!(length_of_frame(&trailers), 10);
    }
}
