//! Waiting for a place at a backend, and for its endpoints to be known.

use std::time::{Duration, Instant};

use super::{
    Refusal, RequestContext, Session, Stage,
    client::{self, Gone},
    deadline::{by, earlier},
    serve::Stop,
};
use crate::snapshot::{CompiledBackend, NoPlace, Place, Queueing};

/// Waits for a place; a client that goes away gives up its own, as far as that can
/// be seen: not before its request body `is_read`.
///
/// # Errors
/// The answer where there is none in time, or nobody to answer.
pub(super) async fn wait(
    session: &mut Session,
    ctx: &RequestContext,
    backend: &CompiledBackend,
    is_read: bool,
) -> Result<Place, Stop> {
    let limits = &backend.backend.limits;
    let queueing = Queueing {
        length: limits.max_pending as usize,
        time: limits.pending_timeout,
        gauge: backend.metrics.pending(),
    };
    let refusal = |status, reason| {
        let refusal = Refusal::new(status, Stage::Upstream, reason);
        Stop::from(refusal.by(&backend.backend.name))
    };
    let place = by(ctx.deadline, backend.gate().enter(queueing));
    let gone = client_gone(session, is_read);
    let entered = tokio::select! {
        biased;
        entered = place => entered,
        gone = gone => return Err(gone.into()),
    };
    match entered {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(NoPlace::QueueFull)) => Err(refusal(503, "overloaded")),
        Ok(Err(NoPlace::TimedOut)) => Err(refusal(503, "pending-timeout")),
        Err(_) => Err(refusal(504, "request-timeout")),
    }
}

/// Waits for the first answer to the names of a backend's endpoints.
///
/// # Errors
/// The answer where there is none in time.
pub(super) async fn endpoints(
    ctx: &RequestContext,
    backend: &CompiledBackend,
    limit: Duration,
) -> Result<(), Refusal> {
    let until = earlier(ctx.deadline, Some(Instant::now() + limit));
    by(until, backend.answered()).await.map_err(|_| {
        let refusal = Refusal::new(503, Stage::Upstream, "unresolved");
        refusal.by(&backend.backend.name)
    })
}

/// Ends when the client has gone.
async fn client_gone(session: &mut Session, is_read: bool) -> Gone {
    if is_read && let Err(gone) = client::next_part(session, true, None).await {
        return gone;
    }
    // It may stay, or there is no telling.
    std::future::pending().await
}
