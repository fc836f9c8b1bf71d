//! The life of a request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::header;
use pingora::ErrorType;
use portcullis_config::model::{Action, BuffersSpent, Timeouts};
use tokio::sync::watch;

use super::{
    Refusal, RequestContext, Session, Stage, answer,
    client::{self, Gone},
    context::HeldBody,
    cors,
    finish::Answer,
    lifetime::Lifetime,
    upgrade,
};
use crate::{
    inspect::{self, BodyBudget, WafOutcome},
    listen::{Body, ConnectionFacts},
    slots::Slots,
    snapshot::Snapshot,
    telemetry::{AccessLog, AuditLog, Metrics},
    tls::Tls,
    upstream::{Connection, Connector, HealthChecks, Names},
};

/// What the ingress works with.
pub struct Services {
    /// The snapshot that new requests pin.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// TLS with clients.
    pub tls: Arc<Tls>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// One line for each request.
    pub access_log: Arc<AccessLog>,
    /// One line for each request that a WAF rule matched.
    pub audit_log: Arc<AuditLog>,
    /// Memory for held bodies.
    pub budget: Arc<BodyBudget>,
    /// Responses that may be compressed at once.
    pub(crate) compressions: Arc<Slots>,
    /// Copies of requests that may be on their way at once.
    pub(crate) mirrored: Arc<Slots>,
}

/// The ingress: serves the connections of every ingress listener.
#[derive(Clone)]
pub struct Ingress {
    shared: Arc<Shared>,
}

struct Shared {
    services: Services,
    connector: Arc<Connector>,
    checks: HealthChecks,
    names: Names,
}

/// What becomes of a connection after a request.
pub(super) enum Next {
    /// It closes.
    Close,
    /// Another request may follow.
    Another,
    /// The head could not be read; it is refused with this status.
    BadHead(u16),
    /// The backend has it.
    Upgraded(Box<Upgraded>),
}

/// A request whose connection has become the backend's.
pub(super) struct Upgraded {
    backend: Connection,
    ctx: RequestContext,
}

/// How a request ended.
pub(super) enum Ended {
    /// Another may follow on the connection.
    Whole,
    /// The answer was cut, or nobody is there to be answered: the connection closes.
    Cut,
    /// The connection is the backend's now.
    Upgraded(Connection),
}

/// Why a request ends before its answer has come from a backend.
pub(super) enum Stop {
    /// It is answered with this.
    Refused(Refusal),
    /// There is nobody to answer; the reason is logged, where it is worth a name.
    Gone(Option<Refusal>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Gone> for Stop {
    fn from(gone: Gone) -> Self {
        let slow = || Refusal::new(408, Stage::Body, "client-too-slow");
        match gone {
            Gone::Closed => Self::Gone(None),
            Gone::Slow => slow().into(),
            Gone::Stuck => Self::Gone(Some(slow())),
            Gone::Malformed => Refusal::new(400, Stage::Body, "broken-body").into(),
        }
    }
}

impl Ingress {
    /// Makes the ingress.
    pub fn new(services: Services) -> Self {
        let connector = Arc::new(Connector::new());
        Self {
            shared: Arc::new(Shared {
                checks: HealthChecks::new(Arc::clone(&connector)),
                names: Names::new(Arc::clone(&connector), Arc::clone(&services.metrics)),
                services,
                connector,
            }),
        }
    }

    /// Follows the endpoints of a snapshot that serves: whether they are well, and where
    /// they are. What is idle to others is closed.
    pub fn adopt(&self, snapshot: &Snapshot) {
        self.shared.connector.keep_backends(snapshot.backends());
        self.shared.names.adopt(snapshot);
        self.shared.checks.adopt(snapshot.backends());
    }

    pub(super) fn services(&self) -> &Services {
        &self.shared.services
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// Serves one request, and tells what becomes of its connection.
    ///
    /// What few requests need is boxed: the memory of this future is taken and copied for
    /// each of them.
    pub(super) async fn serve(
        &self,
        session: &mut Session,
        facts: &Arc<ConnectionFacts>,
        lifetime: &Lifetime,
        drain: &watch::Receiver<bool>,
    ) -> Next {
        let linger = || {
            let snapshot = self.services().snapshot.load();
            LINGER.min(snapshot.model.process.drain_timeout / 2)
        };
        if let Err(status) = read_head(session, facts, (drain, linger)).await {
            return status.map_or(Next::Close, Next::BadHead);
        }
        if !session.is_http2() {
            facts.body_follows(announced_body(session));
        }
        facts.head_complete();
        self.services().metrics.request_started();
        let mut ctx = RequestContext::new(self.services().snapshot.load_full(), Arc::clone(facts));
        // Until there is a rule that says: an answer of our own waits no longer.
        session.set_write_timeout(Some(Timeouts::default().client_write));
        if lifetime.ends_with_request(ctx.started) || *drain.borrow() {
            session.set_keepalive(None);
        }

        let ended = match self.answer(session, &mut ctx).await {
            Ok(ended) => ended,
            Err(Stop::Gone(reason)) => {
                if let Some(refusal) = reason {
                    self.note(&mut ctx, refusal);
                }
                Ended::Cut
            }
            Err(Stop::Refused(refusal)) => Box::pin(self.refuse(session, &mut ctx, refusal)).await,
        };
        match ended {
            Ended::Upgraded(backend) => Next::Upgraded(Box::new(Upgraded { backend, ctx })),
            Ended::Cut => {
                self.finish(session.req_header(), &mut ctx, Answer::of(session));
                Box::pin(client::cut(session, facts)).await;
                Next::Close
            }
            Ended::Whole => {
                self.finish(session.req_header(), &mut ctx, Answer::of(session));
                if !session.is_body_done() {
                    // Nobody needs the rest; the client sees its answer, and no reset.
                    session.set_keepalive(None);
                    Box::pin(client::drain(session)).await;
                }
                if !session.is_http2() {
                    facts.awaits_head();
                }
                Next::Another
            }
        }
    }

    /// Serves a connection that is the backend's now, to its end.
    pub(super) async fn upgrade(&self, session: Session, upgraded: Box<Upgraded>) {
        let Upgraded { backend, mut ctx } = *upgraded;
        let request = session.req_header().clone();
        let answer = upgrade::relay(session, backend, &mut ctx).await;
        self.finish(&request, &mut ctx, answer);
    }

    async fn answer(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<Ended, Stop> {
        let rule = self.decide(session, ctx).await?;
        if ctx.preflight
            && let Some(policy) = &rule.rule.policies.cors
        {
            cors::answer_preflight(session, ctx, &rule, policy).await?;
            return Ok(Ended::Whole);
        }
        if ctx.to_https {
            answer::redirect(session, ctx, &rule, &answer::TO_HTTPS).await?;
            return Ok(Ended::Whole);
        }
        match &rule.rule.action {
            Action::Redirect(redirect) => {
                answer::redirect(session, ctx, &rule, redirect).await?;
                Ok(Ended::Whole)
            }
            Action::Respond(respond) => {
                answer::respond(session, ctx, &rule, respond).await?;
                Ok(Ended::Whole)
            }
            Action::Forward(_) => self.exchange(session, ctx, &rule).await,
        }
    }

    /// Answers with a refusal, where an answer has not begun.
    async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        mut refusal: Refusal,
    ) -> Ended {
        if refusal.stage == Stage::Body
            // Another request of this connection would fare no better.
            || refusal.stage == Stage::Tls
            || (refusal.stage == Stage::Normalise && refusal.status == 400)
        {
            // Where a message is broken nobody knows where the next begins.
            session.set_keepalive(None);
        }
        if let Some(identity) = &ctx.identity {
            // A session that was renewed is kept, whatever becomes of its request.
            let cookies = identity.cookies.iter().cloned();
            let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
            refusal.headers.extend(cookies);
        }
        let begun = ctx.begun
            || session
                .response_written()
                .is_some_and(|head| !head.status.is_informational());
        let ended = if begun || refusal.reason == "dropped" {
            Ended::Cut
        } else {
            // Who gives the page, or reads it, may be slow: others need what this request
            // does not need any more.
            (ctx.place, ctx.at_work, ctx.held) = (None, None, HeldBody::None);
            self.give_back(ctx);
            let page = self.page_for(session, ctx, &refusal).await;
            match refusal.write(session, ctx, page).await {
                Ok(()) => Ended::Whole,
                Err(error) => {
                    tracing::debug!(?error, request_id = %ctx.request_id, "refusal not written");
                    Ended::Cut
                }
            }
        };
        self.note(ctx, refusal);
        ended
    }

    /// Gives back what the engine keeps of a request, and counts what stays.
    fn give_back(&self, ctx: &mut RequestContext) {
        if let Some(transaction) = &mut ctx.waf {
            transaction.forget_found();
            transaction.release_request_body();
            let (memory, budget) = (&mut ctx.waf_memory, &self.services().budget);
            // It is refused already: what is left is only for the record.
            let _ = inspect::count_kept(transaction, memory, budget, BuffersSpent::Skip);
        }
    }

    /// Counts a refusal and keeps it for the log.
    fn note(&self, ctx: &mut RequestContext, refusal: Refusal) {
        self.services()
            .metrics
            .refusal(refusal.stage.name(), refusal.reason);
        if refusal.stage == Stage::Waf {
            ctx.waf_outcome = WafOutcome::Blocked;
        }
        ctx.refusal = Some(refusal);
    }
}

/// The body that a head announces.
fn announced_body(session: &Session) -> Body {
    let headers = &session.req_header().headers;
    if headers.contains_key(header::TRANSFER_ENCODING) {
        Body::Chunked
    } else {
        Body::Length(inspect::content_length(session).unwrap_or(0))
    }
}

/// How long a connection is idle before it is closed at the end of its listener: a client that
/// used it a moment ago may be about to send again, and is told with that answer to use another.
const LINGER: Duration = Duration::from_secs(2);

/// Reads a request head; the error is the status of a refusal, or nothing where
/// the connection ends.
async fn read_head(
    session: &mut Session,
    facts: &ConnectionFacts,
    (drain, linger): (&watch::Receiver<bool>, impl Fn() -> Duration),
) -> Result<(), Option<u16>> {
    if let Session::H1(session) = session {
        // A client need not wait for an answer before it asks again (RFC 9112 section 9.3.2).
        session.set_pipelining_enabled(true);
    }
    let idle_since = Instant::now();
    let mut drain = drain.clone();
    let ended = async {
        // An error means that the listener is gone.
        let _ = drain.wait_for(|drain| *drain).await;
        tokio::time::sleep(linger().saturating_sub(idle_since.elapsed())).await;
    };
    let read = tokio::select! {
        // What has come already is answered.
        biased;
        read = session.read_request() => read,
        () = ended => return Err(None),
    };
    match read {
        Ok(true) => Ok(()),
        // The stream may have stopped at the first byte, which pingora takes for an end.
        Ok(false) | Err(_) if facts.bad_head().is_some() => Err(facts.bad_head()),
        Ok(false) => Err(None),
        Err(error) => {
            tracing::debug!(%error, "request head not read");
            let malformed = matches!(error.etype(), ErrorType::InvalidHTTPHeader);
            Err(malformed.then_some(400))
        }
    }
}
