//! Requests of HTTP/1.1 inside a tunnel, one after the other.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, header};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    super::{
        answer::Refusal,
        closing::close,
        head::{Head, read_origin_head},
        upgrade,
    },
    bodies::AnyBody,
    exchange::{Asked, answer},
    message::Message,
    open::Told,
    tunnel::Inside,
};

/// Serves requests until the client closes, the destination does, or the proxy stops.
pub(super) async fn serve<S>(mut stream: S, inside: &Arc<Inside>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut buffer = BytesMut::new();
    let max = usize::try_from(inside.limits.max_head_size).unwrap_or(usize::MAX);
    let timeout = inside.limits.head_timeout;
    loop {
        let head = tokio::select! {
            biased;
            () = inside.closing() => break,
            head = read_origin_head(&mut stream, &mut buffer, max, timeout) => head,
        };
        let (request, length, body, persists) = match head {
            Ok(Head::Ask {
                ask,
                length,
                body,
                persists,
                ..
            }) => (ask, length, body, persists),
            Ok(Head::Bad { reason, status }) => {
                refuse(&mut stream, &Refusal::new(status, reason), inside).await;
                break;
            }
            Ok(Head::Closed) | Err(_) => break,
        };
        let method = request.method;
        let asked = Asked {
            authority: Ok(request.authority),
            overriding: request.overriding,
            target: request.target,
            length,
        };
        let is_hidden = upgrade::hide(&mut buffer);
        let mut message = Message::new(stream, buffer, length, body);
        let asked = Mutex::new(Some(asked));
        let persists = AtomicBool::new(persists);
        let service = service_fn(|mut request: Request<Incoming>| {
            let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
            if is_hidden {
                upgrade::show(request.headers_mut());
            }
            serve_one(Arc::clone(inside), asked, request, &persists)
        });
        let serving = http1::Builder::new()
            // The stream ends behind the request; its client does not.
            .half_close(true)
            // It shuts down itself: what it has not written yet goes out by that.
            .serve_connection(TokioIo::new(&mut message), service);
        let served = serving.await;
        let untaken = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(untaken) = untaken {
            // hyper reads a head otherwise than we do, and has answered by itself.
            begin(inside, &method, &untaken.target).refused(&Refusal::new(400, "bad_head"));
        }
        if served.is_err() {
            return;
        }
        let goes_on = persists.into_inner() && message.is_over();
        (stream, buffer) = message.into_parts();
        if !goes_on {
            break;
        }
    }
    close(&mut stream).await;
}

async fn serve_one(
    inside: Arc<Inside>,
    asked: Option<Asked>,
    request: Request<Incoming>,
    persists: &AtomicBool,
) -> Result<Response<AnyBody>, Infallible> {
    let asked = asked.unwrap_or_else(Asked::second);
    let has_body = !request.body().is_end_stream();
    let mut response = answer(inside, asked, request).await;
    // A body that nobody has read is not waited for.
    let is_refused = response.headers().contains_key("x-portcullis-reason");
    if is_refused && has_body {
        persists.store(false, Ordering::Relaxed);
    }
    if !persists.load(Ordering::Relaxed) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response)
}

/// Answers a head that is none.
async fn refuse(stream: &mut (impl AsyncWrite + Unpin), refusal: &Refusal, inside: &Inside) {
    let mut told = begin(inside, "", "");
    told.refused(refusal);
    let response = refusal.response(&inside.about(&told.record.id), false);
    // The client may be gone already.
    if stream.write_all(&response).await.is_ok() {
        let _ = stream.flush().await;
    }
}

/// Begins what is told of a request that is not asked of anybody.
pub(super) fn begin(inside: &Inside, method: &str, target: &str) -> Told {
    let path = target.split('?').next().unwrap_or_default();
    let record = inside.record(method, path);
    inside.open.begin(record, &inside.services)
}
