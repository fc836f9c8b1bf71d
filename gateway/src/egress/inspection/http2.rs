//! Requests of HTTP/2 inside a tunnel, many at once.

use std::{pin::pin, sync::Arc};

use http::{Request, header};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_config::egress::Authority;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{forward::length_of, overrides::overriding},
    exchange::{Asked, Untaken, answer},
    tasks::Tasks,
    tunnel::Inside,
};

/// Bytes of a stream that wait to be sent.
pub(in crate::egress) const MAX_SEND_BUFFER: usize = 64 << 10;
/// Bytes of a stream that either side may send before they are read.
pub(super) const STREAM_WINDOW: u32 = 256 << 10;
/// The same of a connection: a few streams that are not read do not stop the others, and one that is goes at some megabytes a
/// second where a round trip takes a tenth of one.
pub(super) const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;
/// Streams that a client has reset before they were looked at (CVE-2023-44487).
pub(in crate::egress) const MAX_PENDING_RESETS: usize = 20;
/// Streams that were reset here for errors of the client (CVE-2025-8671).
pub(in crate::egress) const MAX_ERROR_RESETS: usize = 128;

/// Serves requests until the client closes, the destination does, or the proxy stops.
pub(super) async fn serve<S>(stream: S, inside: &Arc<Inside>, tasks: &Tasks)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (inside, asked) = (Arc::clone(inside), asked(&request));
        async move {
            let response = answer(inside, asked, request).await;
            match response.extensions().get::<Untaken>() {
                // By this clients know that they may send it again (RFC 9113 section 8.7).
                Some(Untaken) => Err(h2::Error::from(h2::Reason::REFUSED_STREAM)),
                None => Ok(response),
            }
        }
    });
    let max_list = inside.limits.max_head_size;
    let serving = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(inside.max_streams)
        .max_header_list_size(u32::try_from(max_list).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    tokio::select! {
        served = serving.as_mut() => return told(served),
        () = inside.closing() => {}
    }
    // What is under way may end.
    serving.as_mut().graceful_shutdown();
    told(serving.await);
}

fn told(served: hyper::Result<()>) {
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP/2 inside a tunnel broke off");
    }
}

/// What a head asks for: all that names a host must name the same (RFC 9113 section 8.3.1).
fn asked(request: &Request<Incoming>) -> Asked {
    let pseudo = request.uri().authority();
    let pseudo = pseudo.map(|authority| authority.as_str().as_bytes());
    let hosts = request.headers().get_all(header::HOST).iter();
    let mut names = pseudo
        .into_iter()
        .chain(hosts.map(http::HeaderValue::as_bytes));
    let parse = |name| Authority::parse(name, Some(443)).map_err(|error| error.reason());
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let overriding = overriding(fields);
    let authority = match names.next() {
        None => Err("bad_host"),
        Some(name) => parse(name).and_then(|first| {
            for other in names {
                if parse(other)? != first {
                    return Err("duplicate_host");
                }
            }
            Ok(first)
        }),
    };
    let target = request.uri().path_and_query();
    let target = target.map_or_else(String::new, ToString::to_string);
    let pseudo = pseudo.map_or(0, <[u8]>::len);
    let length = request.method().as_str().len() + target.len() + pseudo;
    Asked {
        authority: overriding
            .as_ref()
            .map_or_else(|reason| Err(*reason), |_| authority),
        overriding: overriding.ok().flatten(),
        // As it is without compression, which depends on what was sent before.
        length: length + length_of(request.headers()),
        target,
    }
}
