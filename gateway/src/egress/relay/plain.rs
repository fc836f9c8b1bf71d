//! A plain HTTP request of a client of the relay, passed on to the proxy.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use portcullis_config::egress::Authority;
use tokio::{net::TcpStream, task::JoinSet};

use super::{
    Shared,
    client::{about, refuse},
    proxy::Upstream,
};
use crate::{
    egress::{
        answer::Refusal,
        closing::close,
        forward::{AnyBody, Counted, drive, failure},
        prefixed::Prefixed,
        upgrade,
    },
    hop_by_hop::{strip_hop_by_hop, strip_request},
    relay::{RelayLimits, Traffic, over},
};

/// Most bytes that are held of a message while it passes.
const MAX_HELD: usize = 64 << 10;

/// Passes the one request whose head is in `buffer` on, then closes, as the proxy does.
///
/// hyper reads the head again, from the bytes that were judged; its own view of the target is not
/// used.
pub(super) async fn forward(
    mut client: TcpStream,
    mut buffer: BytesMut,
    authority: &Authority,
    target: &str,
    shared: &Shared,
) -> io::Result<()> {
    let ready = async {
        let token = shared.token.read()?;
        let bearer = HeaderValue::try_from(format!("Bearer {token}"));
        let mut bearer = bearer.map_err(|_| Refusal::new(503, "relay_token_unreadable"))?;
        bearer.set_sensitive(true);
        let uri = format!("http://{authority}{target}").parse::<Uri>();
        let uri = uri.map_err(|_| Refusal::new(400, "bad_uri"))?;
        let limit = shared.limits.connect_timeout;
        Ok((shared.proxy.connect(limit).await?, bearer, uri))
    };
    let (upstream, bearer, uri) = match ready.await {
        Ok(ready) => ready,
        // A body may follow the head, so the connection ends with it.
        Err(refusal) => return refuse(&mut client, &refusal, Some(authority), false).await,
    };
    let once = Mutex::new(Some((upstream, bearer, uri)));
    // The connection to the proxy, which ends with this one.
    let driver = Mutex::new(JoinSet::new());
    let traffic = Arc::<Traffic>::default();
    let is_hidden = upgrade::hide(&mut buffer);
    let service = service_fn(|mut request: Request<Incoming>| {
        if is_hidden {
            upgrade::show(request.headers_mut());
        }
        let taken = once.lock().ok().and_then(|mut once| once.take());
        let (driver, traffic) = (&driver, &traffic);
        async move {
            let sent = match taken {
                Some((upstream, bearer, uri)) => {
                    send(request, upstream, (bearer, uri), traffic, driver).await
                }
                None => Err(Refusal::new(400, "second_request")),
            };
            Ok::<_, Infallible>(
                sent.unwrap_or_else(|refusal| failure(&refusal, &about(Some(authority)))),
            )
        }
    });
    let mut stream = Prefixed {
        prefix: buffer,
        stream: client,
    };
    let serving = server::conn::http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HELD.max(shared.limits.max_head_size))
        // It shuts down itself: what it has not written yet goes out by that.
        .serve_connection(TokioIo::new(&mut stream), service);
    let limits = RelayLimits {
        idle: Some(shared.limits.idle_timeout),
        lifetime: None,
    };
    tokio::select! {
        served = serving => served.map_err(io::Error::other)?,
        reason = over(limits, &traffic, || None) => return Err(io::Error::other(reason)),
    }
    close(&mut stream.stream).await;
    Ok(())
}

async fn send(
    request: Request<Incoming>,
    upstream: Upstream,
    (bearer, uri): (HeaderValue, Uri),
    traffic: &Arc<Traffic>,
    driver: &Mutex<JoinSet<()>>,
) -> Result<Response<AnyBody>, Refusal> {
    let failed = |error: hyper::Error| {
        tracing::warn!(%error, "the proxy does not answer as one");
        Refusal::new(502, "relay_bad_answer")
    };
    let (mut sender, connection) = client::conn::http1::Builder::new()
        .max_buf_size(MAX_HELD)
        .handshake(TokioIo::new(upstream))
        .await
        .map_err(failed)?;
    drive(connection, driver);
    let (mut head, body) = request.into_parts();
    // What the client says of who it is, among others.
    strip_request(&mut head.headers);
    head.headers.insert(header::PROXY_AUTHORIZATION, bearer);
    head.uri = uri;
    head.version = http::Version::HTTP_11;
    let body = Counted::up(body, traffic);
    let response = sender.send_request(Request::from_parts(head, body)).await;
    let (mut head, body) = response.map_err(failed)?.into_parts();
    // That the proxy wants to know who asks is the client's to know.
    let challenge = head.headers.remove(header::PROXY_AUTHENTICATE);
    strip_hop_by_hop(&mut head.headers);
    if let Some(challenge) = challenge {
        head.headers.insert(header::PROXY_AUTHENTICATE, challenge);
    }
    Ok(Response::from_parts(
        head,
        Counted::down(body, traffic).boxed(),
    ))
}
