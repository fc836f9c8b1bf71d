//! WebSocket (RFC 6455): the request goes to the backend from here, and a 101
//! makes one stream of both connections.
//!
//! Not through pingora 0.9.1: to it the request of an upgrade ends with its head,
//! and where the backend has answered before that end was passed on, it takes it
//! for the end of the upgraded stream and cuts a connection that was just made.
//! On a busy machine that is 3 in 1000.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use pingora::{
    Error, ErrorType, OrErr,
    connectors::TransportConnector,
    http::{RequestHeader, ResponseHeader},
    protocols::Stream,
    proxy::{ProxyHttp, Session},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{RequestContext, proxy::Ingress};
use crate::{
    hop_by_hop::{is_hop_by_hop, strip_hop_by_hop},
    inspect::take_stream,
};

/// Bytes that are passed on at once, each way.
const CHUNK: usize = 8 << 10;
/// How often a quiet connection is looked at.
const TICK: Duration = Duration::from_millis(500);

/// Tells whether a request asks for a WebSocket, and for nothing besides. What
/// names more in `Connection`, or has a body, is left to pingora's rules.
pub(super) fn is_web_socket(session: &Session) -> bool {
    let headers = &session.req_header().headers;
    let one_of = |name, known: &[&str]| {
        headers.get_all(name).iter().all(|line| {
            line.to_str().is_ok_and(|line| {
                line.split(',').all(|token| {
                    known
                        .iter()
                        .any(|known| token.trim().eq_ignore_ascii_case(known))
                })
            })
        })
    };
    session.is_upgrade_req()
        && session.as_downstream().as_http1().is_some()
        && one_of(header::UPGRADE, &["websocket"])
        && one_of(header::CONNECTION, &["upgrade", "keep-alive"])
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Asks a backend for a WebSocket and relays what it answers, to the end.
///
/// # Errors
/// What pingora would return for a request that fails in the same way.
pub(super) async fn web_socket(
    ingress: &Ingress,
    connector: &TransportConnector,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> pingora::Result<()> {
    let (stream, quiet) = connect(ingress, connector, session, ctx).await?;
    let mut request = session.req_header().clone();
    // `Connection` names nothing else: see `is_web_socket`.
    let hop_by_hop: Vec<_> = request
        .headers
        .keys()
        .filter(|name| is_hop_by_hop(name))
        .cloned()
        .collect();
    for name in &hop_by_hop {
        request.remove_header(name);
    }
    request.insert_header(header::CONNECTION, "Upgrade")?;
    request.insert_header(header::UPGRADE, "websocket")?;
    ingress
        .upstream_request_filter(session, &mut request, ctx)
        .await?;
    let response = ask(stream, &request, quiet).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        upgraded(ingress, session, ctx, response, quiet).await
    } else {
        refused(ingress, session, ctx, response, quiet).await
    }
}

async fn connect(
    ingress: &Ingress,
    connector: &TransportConnector,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> pingora::Result<(Stream, Duration)> {
    loop {
        let peer = ingress.upstream_peer(session, ctx).await?;
        match connector.new_stream(&*peer).await {
            Ok(stream) => {
                let quiet = peer.options.read_timeout.unwrap_or(Duration::MAX);
                return Ok((stream, quiet));
            }
            Err(error) => {
                let error = ingress.fail_to_connect(session, &peer, ctx, error.into_up());
                if !error.retry() {
                    return Err(error);
                }
            }
        }
    }
}

/// Sends the request and waits for the head of the answer.
async fn ask(
    stream: Stream,
    request: &RequestHeader,
    quiet: Duration,
) -> pingora::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .or_err(ErrorType::WriteError, "beginning a WebSocket")
        .map_err(|error| error.into_up())?;
    // Ends with the connection, which ends with the answer or the stream it becomes.
    tokio::spawn(connection.with_upgrades());
    let uri = http::Uri::try_from(request.raw_path())
        .or_err(ErrorType::InvalidHTTPHeader, "target of a WebSocket")
        .map_err(|error| error.into_down())?;
    let mut asked = http::Request::new(Empty::<Bytes>::new());
    *asked.method_mut() = request.method.clone();
    *asked.uri_mut() = uri;
    *asked.headers_mut() = request.headers.clone();
    match tokio::time::timeout(quiet, sender.send_request(asked)).await {
        Ok(answer) => answer
            .or_err(ErrorType::ReadError, "asking for a WebSocket")
            .map_err(|error| error.into_up()),
        Err(_) => Err(Error::explain(ErrorType::ReadTimedout, "asking for a WebSocket").into_up()),
    }
}

/// Passes on an answer that is no upgrade.
async fn refused(
    ingress: &Ingress,
    session: &mut Session,
    ctx: &mut RequestContext,
    response: Response<Incoming>,
    quiet: Duration,
) -> pingora::Result<()> {
    let (mut parts, mut body) = response.into_parts();
    strip_hop_by_hop(&mut parts.headers);
    let empty = body.is_end_stream();
    if !empty && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        parts.headers.insert(header::TRANSFER_ENCODING, chunked);
    }
    let mut head = ResponseHeader::from(parts);
    ingress.response_filter(session, &mut head, ctx).await?;
    session.write_response_header(Box::new(head), empty).await?;
    if empty {
        return Ok(());
    }
    loop {
        let frame = tokio::time::timeout(quiet, body.frame())
            .await
            .map_err(|_| Error::explain(ErrorType::ReadTimedout, "reading an answer").into_up())?;
        let Some(frame) = frame else {
            return session.write_response_body(None, true).await;
        };
        let frame = frame
            .or_err(ErrorType::ReadError, "reading an answer")
            .map_err(|error| error.into_up())?;
        if let Ok(data) = frame.into_data() {
            session.write_response_body(Some(data), false).await?;
        }
    }
}

/// Answers 101 and relays until both sides have ended, or both are silent.
async fn upgraded(
    ingress: &Ingress,
    session: &mut Session,
    ctx: &mut RequestContext,
    mut response: Response<Incoming>,
    quiet: Duration,
) -> pingora::Result<()> {
    let upgrade = hyper::upgrade::on(&mut response);
    let mut headers: HeaderMap = std::mem::take(response.headers_mut());
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    *response.headers_mut() = headers;
    let mut head = ResponseHeader::from(response.into_parts().0);
    ingress.response_filter(session, &mut head, ctx).await?;
    let backend = upgrade
        .await
        .or_err(ErrorType::ReadError, "becoming a WebSocket")
        .map_err(|error| error.into_up())?;
    session
        .write_response_header(Box::new(head.clone()), false)
        .await?;
    // What came behind the head already was meant for the backend.
    let early = session
        .as_downstream_mut()
        .read_request_body()
        .now_or_never()
        .transpose()?
        .flatten();
    let client = take_stream(session).await?;
    // The session that is left goes into the log.
    session.write_response_header(Box::new(head), false).await?;
    let traffic = relay(client, TokioIo::new(backend), early, quiet).await;
    ctx.body_bytes += traffic.up.into_inner();
    ctx.upgraded_bytes = traffic.down.into_inner();
    Ok(())
}

#[derive(Default)]
struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
}

async fn relay(
    client: impl AsyncRead + AsyncWrite,
    backend: impl AsyncRead + AsyncWrite,
    early: Option<Bytes>,
    quiet: Duration,
) -> Traffic {
    let traffic = Traffic::default();
    let (client_read, client_write) = tokio::io::split(client);
    let (backend_read, backend_write) = tokio::io::split(backend);
    let early = io::Cursor::new(early.unwrap_or_default());
    {
        let both = async {
            tokio::join!(
                copy(early.chain(client_read), backend_write, &traffic.up),
                copy(backend_read, client_write, &traffic.down),
            )
        };
        tokio::pin!(both);
        let (mut seen, mut quiet_since) = (0, Instant::now());
        loop {
            tokio::select! {
                _ = &mut both => break,
                () = tokio::time::sleep(TICK) => {}
            }
            let now = traffic.up.load(Ordering::Relaxed) + traffic.down.load(Ordering::Relaxed);
            if now != seen {
                (seen, quiet_since) = (now, Instant::now());
            }
            if quiet_since.elapsed() >= quiet {
                break;
            }
        }
    }
    traffic
}

/// Copies one way; the end of the source closes the sink's direction alone.
async fn copy(from: impl AsyncRead, to: impl AsyncWrite, count: &AtomicU64) -> io::Result<()> {
    tokio::pin!(from, to);
    let mut chunk = vec![0; CHUNK];
    let copied = async {
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            to.write_all(&chunk[..read]).await?;
            to.flush().await?;
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    };
    let result = copied.await;
    // The other side may be gone already.
    let _ = to.shutdown().await;
    result
}
