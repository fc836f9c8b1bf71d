//! A request to a backend, and its response to the client.
//!
//! ```text
//! choose an endpoint -> connect -> head, body -->
//!      ^                                         <-- head -> phase 3, changes -> client
//!      |                                         <-- body -----------------------> client
//!      +-- again, where nothing can have happened yet
//! ```
//!
//! Both directions move at once, in one task: a backend that answers before it
//! has the whole request is heard, and a client that goes away ends the request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use portcullis_config::model::{BackendProtocol, Balance};

use super::{
    Ingress, Refusal, RequestContext, Session, Stage, admission, affinity,
    client::{self, Gone},
    compress,
    context::HeldBody,
    deadline::{Over, by, earlier},
    decide::{body_is_opaque, speaks},
    forward::{self, Framed},
    mirror, release,
    response::has_no_body,
    retry::{self, Reached, Repeatable},
    serve::{Ended, Stop},
    throttle::Throttle,
    upgrade,
};
use crate::{
    inspect::BodyPace,
    snapshot::{Chosen, CompiledBackend, CompiledRule, EndpointState, Preference},
    upstream::{Connection, Event, Fault, FaultKind, Patience, Reuse, Target, blame},
};

/// Bytes of a streamed body that are kept until the response begins, so that the
/// request can be sent again.
const MAX_REPLAY: usize = 64 << 10;

/// Bytes of a body that has come already which are passed on at once.
const TOGETHER: u64 = 64 << 10;

/// Parts of it: a client may make them as small as it likes.
const PARTS_TOGETHER: usize = 64;

/// How long an endpoint may take to be reached where there is another: in this time a packet that
/// was lost is sent once more, and one that is gone says nothing.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// How an attempt ended.
enum Conversed {
    /// The response has.
    Ended,
    /// With a 101.
    Upgraded,
}

/// Why an attempt failed.
pub(super) enum Failed {
    /// The endpoint did.
    Endpoint(Fault),
    /// Its answer has a status that is tried again.
    Refused(u16),
    /// The request ends, whatever the endpoint does.
    Stop(Stop),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Endpoint(fault)
    }
}

impl<T: Into<Stop>> From<T> for Failed {
    fn from(stop: T) -> Self {
        Self::Stop(stop.into())
    }
}

/// What is left to send of a request body that is not held.
#[derive(Debug)]
struct Upload {
    /// Whether the client has sent all.
    done: bool,
    /// What was sent; `None` once it cannot be sent again.
    sent: Option<BytesMut>,
    /// Whether the request may be sent again once the backend has seen it.
    keep: bool,
    /// How slow it may come; `None` is no limit.
    pace: Option<BodyPace>,
}

impl Ingress {
    /// Asks a backend of the rule and passes its response on.
    ///
    /// # Errors
    /// The answer where there is no response, or one that was cut.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
    ) -> Result<Ended, Stop> {
        let upgrade = upgrade::is_asked(session) && speaks(rule, BackendProtocol::Http1);
        let timeouts = &rule.rule.policies.timeouts;
        let idempotent = session.req_header().method.is_idempotent();
        let done = upgrade || matches!(ctx.held, HeldBody::Whole(..)) || session.is_body_empty();
        let paced = !done && !body_is_opaque(rule, session);
        let mut upload = Upload {
            done,
            pace: paced
                .then(|| BodyPace::new(rule.rule.policies.min_body_rate))
                .flatten(),
            sent: Some(BytesMut::new()),
            keep: idempotent && rule.rule.policies.retries.attempts > 0,
        };
        let framed = Framed::of(session, ctx, upgrade);
        ctx.throttle = Throttle::new(&rule.rule.policies.response_bandwidth);
        let mut stale = false;
        let began = Instant::now();
        loop {
            let backend = choose_backend(session, ctx, rule)?;
            if ctx.place.is_none() {
                ctx.place = match backend.gate().try_enter() {
                    Some(place) => Some(place),
                    // Boxed: few wait.
                    None => {
                        // What follows an upgrade is the backend's, and not to be read here.
                        let is_read = upload.done && !upgrade;
                        Some(Box::pin(admission::wait(session, ctx, &backend, is_read)).await?)
                    }
                };
            }
            if backend.is_awaited() {
                // Boxed: it is so only until the first answer.
                Box::pin(admission::endpoints(ctx, &backend, timeouts.connect)).await?;
            }
            let endpoint = choose_endpoint(session, ctx, &backend)?;
            let target = Target {
                backend: &backend,
                endpoint: &endpoint,
                connect: timeouts.connect,
                reach: match backend.has_another(&ctx.tried, endpoint.address) {
                    true => timeouts.connect.min(IMPATIENCE),
                    false => timeouts.connect,
                },
            };
            let reuse = if upgrade || stale {
                Reuse::Never
            } else {
                Reuse::Pooled
            };
            let attempt = timeouts.backend_request.map(|limit| Instant::now() + limit);
            let until = earlier(ctx.deadline, attempt);
            let (mut connection, reused) = match by(until, self.connector().open(&target, reuse))
                .await
                .unwrap_or_else(|over| Err(late(over).untouched()))
            {
                Ok(opened) => opened,
                Err(fault) => {
                    note_no_connection(ctx, &backend, &fault);
                    in_time(ctx, &backend)?;
                    let failed = (&fault, Reached::Nothing);
                    let request = upload.repeatable(session);
                    self.take_fresh_endpoints(ctx, &backend);
                    let backend = ctx.backend.clone().unwrap_or(backend);
                    if retry::after_fault(ctx, rule, &backend, failed, (request, began)) {
                        continue;
                    }
                    return Err(refusal_of(&fault, &backend).into());
                }
            };
            let reached = if reused { Reached::Kept } else { Reached::New };
            let conversing =
                self.converse(session, ctx, rule, &mut connection, &framed, &mut upload);
            let conversed = match until {
                None => conversing.await,
                // Boxed: the state of an attempt is large, and there once without a limit.
                Some(_) => by(until, Box::pin(conversing))
                    .await
                    .unwrap_or_else(|over| Err(late(over).into())),
            };
            if let Ok(Conversed::Upgraded) = conversed {
                return Ok(Ended::Upgraded(connection));
            }
            // In any case: a connection that cannot be used again is closed.
            self.connector().release(connection, &target);
            let fault = match conversed {
                Ok(_) => {
                    ctx.at_work = None;
                    return Ok(Ended::Whole);
                }
                Err(Failed::Stop(stop)) => return Err(stop),
                Err(Failed::Refused(status)) => {
                    tracing::debug!(status, request_id = %ctx.request_id, "attempt refused");
                    set_aside(ctx);
                    continue;
                }
                Err(Failed::Endpoint(fault)) => fault,
            };
            tracing::debug!(%fault, request_id = %ctx.request_id, "attempt failed");
            // Neither silence, nor the end of a connection that was kept, nor one while the
            // client was late says that the endpoint is broken.
            let broken = matches!(fault.kind, FaultKind::Closed | FaultKind::Malformed);
            if broken && !reused && upload.done && ctx.upstream_answered.is_none() {
                note_failure(ctx, &backend);
            } else if !reused || fault.kind != FaultKind::Closed {
                let silent =
                    upload.done && matches!(fault.kind, FaultKind::Timeout | FaultKind::Late);
                if let Some(endpoint) = set_aside(ctx).filter(|_| silent) {
                    note_time(ctx, &endpoint);
                }
            }
            in_time(ctx, &backend)?;
            let request = upload.repeatable(session);
            let failed = (&fault, reached);
            if retry::after_fault(ctx, rule, &backend, failed, (request, began)) {
                stale = reused;
                continue;
            }
            return Err(refusal_of(&fault, &backend).into());
        }
    }

    /// Goes on with the endpoints that the backend has now. Those of a snapshot that was pinned
    /// seconds ago may all be gone, in the middle of a rolling update.
    fn take_fresh_endpoints(&self, ctx: &mut RequestContext, backend: &Arc<CompiledBackend>) {
        let now = self.services().snapshot.load();
        if now.version == ctx.snapshot.version {
            return;
        }
        let same = |known: &&Arc<CompiledBackend>| {
            known.backend.name == backend.backend.name && known.pool_key == backend.pool_key
        };
        if let Some(fresh) = now.backends().iter().find(same) {
            ctx.backend = Some(Arc::clone(fresh));
        }
    }

    /// One attempt, on one connection.
    async fn converse(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        connection: &mut Connection,
        framed: &Framed,
        upload: &mut Upload,
    ) -> Result<Conversed, Failed> {
        let timeouts = &rule.rule.policies.timeouts;
        forward::send_head(connection, session, ctx, rule, framed)?;
        if !rule.mirrors.is_empty() {
            self.begin_mirroring(session, ctx, rule, framed, upload.done);
        }
        match &ctx.held {
            HeldBody::Whole(body, _) => connection.send_body(body.clone(), true),
            HeldBody::Prefix(bytes, _) | HeldBody::Unseen(bytes, _) => {
                connection.send_body(bytes.clone(), false);
            }
            // A backend that answers late keeps its client waiting: the gateway
            // asks for the body, once there is a connection.
            HeldBody::None if !upload.done => client::answer_expectation(session).await?,
            HeldBody::None => {}
        }
        if let Some(sent) = upload.sent.as_ref().filter(|sent| !sent.is_empty()) {
            connection.send_body(Bytes::copy_from_slice(sent), false);
        }
        if upload.done {
            connection.send_body(Bytes::new(), true);
        } else if !framed.upgrade {
            upload.pass_ready(session, ctx, rule, connection)?;
        }
        loop {
            // Before the response a silent client is a slow one, and the endpoint is
            // not to blame. After it both may be silent, but not together for long.
            let answered = ctx.upstream_answered.is_some();
            let patience = Patience {
                read: (answered || upload.done).then_some(timeouts.read),
                write: timeouts.write,
            };
            let client_patience = (!answered).then(|| upload.patience(timeouts.client_read));
            let awaits_part = !framed.upgrade && (upload.done || connection.has_room());
            // Time in which the backend takes nothing is not the client's.
            let awaited = (awaits_part && !answered && !upload.done && upload.pace.is_some())
                .then(Instant::now);
            tokio::select! {
                event = connection.next(patience) => match event.inspect(|_| upload.waited(awaited))? {
                    Event::Progress => {}
                    Event::Head { head, end } => {
                        if let Some(at_work) = &ctx.at_work {
                            // Whatever its status: it is an answer.
                            at_work.endpoint().answered();
                        }
                        if head.status == StatusCode::SWITCHING_PROTOCOLS {
                            Box::pin(self.pass_upgrade(session, ctx, rule, head)).await?;
                            return Ok(Conversed::Upgraded);
                        }
                        if head.status.is_informational() {
                            pass_informational(session, head).await?;
                            continue;
                        }
                        // HTTP/2 endpoints may send one all the same; nobody may see it.
                        let end = end || has_no_body(session, &head);
                        let request = upload.repeatable(session);
                        if retry::after_status(ctx, rule, head.status.as_u16(), request) {
                            return Err(Failed::Refused(head.status.as_u16()));
                        }
                        self.pass_head(session, ctx, rule, head, end).await?;
                        // No way back from here: what was held has served its purpose.
                        upload.sent = None;
                        ctx.held = HeldBody::None;
                        if end {
                            break;
                        }
                    }
                    Event::Data { bytes, end } => {
                        self.pass_body(session, ctx, rule, bytes, end).await?;
                        if end {
                            break;
                        }
                    }
                    Event::Trailers(trailers) => {
                        Box::pin(self.pass_trailers(session, ctx, rule, trailers)).await?;
                        break;
                    }
                },
                // Ready when nothing else is: then what is being compressed goes out.
                () = tokio::task::yield_now(), if ctx.compresses() => {
                    Box::pin(compress::flush(session, ctx)).await?;
                }
                part = client::next_part(session, upload.done, client_patience), if awaits_part => {
                    upload.waited(awaited);
                    upload.pass(part?, session, ctx, rule, connection)?;
                    upload.pass_ready(session, ctx, rule, connection)?;
                }
            }
        }
        Ok(Conversed::Ended)
    }

    async fn pass_head(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        head: Box<ResponseHeader>,
        end: bool,
    ) -> Result<(), Failed> {
        ctx.upstream_answered = Some(Instant::now());
        if let Some(at_work) = &ctx.at_work {
            note_time(ctx, at_work.endpoint());
        }
        self.begin_response(session, ctx, rule, head, end).await
    }

    async fn pass_upgrade(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        mut head: Box<ResponseHeader>,
    ) -> Result<(), Failed> {
        let connection = HeaderValue::from_static("Upgrade");
        head.insert_header(header::CONNECTION, connection)
            .map_err(|error| Fault::new(FaultKind::Malformed, error))?;
        self.pass_head(session, ctx, rule, head, false).await
    }
}

impl Upload {
    /// How long the next part may be waited for.
    fn patience(&self, silence: Duration) -> Duration {
        self.pace.map_or(silence, |pace| silence.min(pace.left()))
    }

    /// Notes that the client was waited for, where it was.
    fn waited(&mut self, since: Option<Instant>) {
        if let (Some(pace), Some(since)) = (&mut self.pace, since) {
            pace.waited(since.elapsed());
        }
    }

    /// Whether the request can be sent again.
    fn repeatable(&self, session: &Session) -> Repeatable {
        Repeatable {
            idempotent: session.req_header().method.is_idempotent(),
            body: self.sent.is_some(),
        }
    }

    /// Passes on a part of the body, or its end.
    fn pass(
        &mut self,
        part: Option<Bytes>,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        connection: &mut Connection,
    ) -> Result<(), Failed> {
        self.done = part.is_none() || session.is_body_done();
        let part = part.unwrap_or_default();
        ctx.body_bytes += part.len() as u64;
        if let Some(pace) = &mut self.pace {
            pace.came(part.len());
        }
        let max = rule.rule.policies.max_body_size;
        if max.is_some_and(|max| ctx.body_bytes > max) {
            return Err(Refusal::new(413, Stage::Body, "body-too-large").into());
        }
        self.keep(&part, connection.may_decline());
        if ctx.mirroring.is_some() {
            mirror::collect(ctx, &part, self.done);
        }
        connection.send_body(part, self.done);
        Ok(())
    }

    /// Passes on what has come already, so that it leaves together.
    fn pass_ready(
        &mut self,
        session: &mut Session,
        ctx: &mut RequestContext,
        rule: &CompiledRule,
        connection: &mut Connection,
    ) -> Result<(), Failed> {
        let enough = ctx.body_bytes + TOGETHER;
        for _ in 0..PARTS_TOGETHER {
            if self.done || ctx.body_bytes >= enough {
                break;
            }
            let Some(part) = session.read_request_body().now_or_never() else {
                break;
            };
            self.pass(part.map_err(Gone::from)?, session, ctx, rule, connection)?;
        }
        Ok(())
    }

    /// Keeps a part, as long as the request may be sent again.
    fn keep(&mut self, part: &Bytes, may_be_declined: bool) {
        let Some(sent) = &mut self.sent else {
            return;
        };
        if part.is_empty() {
            return;
        }
        let may_be_sent_again = self.keep || may_be_declined;
        if may_be_sent_again && sent.len() + part.len() <= MAX_REPLAY {
            sent.extend_from_slice(part);
        } else {
            self.sent = None;
        }
    }
}

fn unavailable() -> Refusal {
    Refusal::new(503, Stage::Upstream, "no-endpoint")
}

/// Chooses the backend; a later attempt stays with it.
fn choose_backend(
    session: &Session,
    ctx: &mut RequestContext,
    rule: &CompiledRule,
) -> Result<Arc<CompiledBackend>, Refusal> {
    if let Some(backend) = &ctx.backend {
        return Ok(Arc::clone(backend));
    }
    let chosen = release::choose(session.req_header(), ctx, rule);
    let backend = chosen.ok_or_else(unavailable)?;
    ctx.backend = Some(Arc::clone(&backend));
    Ok(backend)
}

/// Chooses the endpoint of the next attempt.
fn choose_endpoint(
    session: &Session,
    ctx: &mut RequestContext,
    backend: &CompiledBackend,
) -> Result<Arc<EndpointState>, Refusal> {
    let request = session.req_header();
    let affinity = backend.backend.affinity.as_ref();
    let names = affinity.map(|affinity| affinity::names(request, affinity));
    let preference = Preference {
        key: affinity::key(request, ctx, backend),
        names: names.as_deref().unwrap_or_default(),
    };
    let Some(Chosen { endpoint, name }) = backend.choose(&ctx.tried, preference) else {
        return Err(unavailable().by(&backend.backend.name));
    };
    ctx.affinity_cookie = affinity
        .zip(name)
        .and_then(|(affinity, name)| affinity::set_cookie(ctx, affinity, &name));
    ctx.at_work = Some(endpoint.begin());
    ctx.attempts += 1;
    ctx.endpoint = Some(endpoint.address);
    ctx.upstream_started = Some(Instant::now());
    Ok(endpoint)
}

/// Notes how long the endpoint of this attempt took, where its backend goes by that.
/// A body that streams takes as long as its client likes, and is not counted.
fn note_time(ctx: &RequestContext, endpoint: &EndpointState) {
    let whole = ctx.body_bytes == 0 || matches!(ctx.held, HeldBody::Whole(..));
    if let (Some(backend), Some(started)) = (&ctx.backend, ctx.upstream_started)
        && backend.backend.balance == Balance::PeakEwma
        && whole
    {
        endpoint.took(started.elapsed());
    }
}

/// Goes on without the endpoint of this attempt.
fn set_aside(ctx: &mut RequestContext) -> Option<Arc<EndpointState>> {
    let endpoint = Arc::clone(ctx.at_work.take()?.endpoint());
    ctx.tried.push(endpoint.address);
    Some(endpoint)
}

/// Notes that the endpoint of this attempt failed it.
fn note_failure(ctx: &mut RequestContext, backend: &CompiledBackend) {
    if let Some(endpoint) = set_aside(ctx) {
        blame(backend, endpoint);
    }
}

/// Notes that no connection to the endpoint of this attempt was made.
fn note_no_connection(ctx: &mut RequestContext, backend: &CompiledBackend, fault: &Fault) {
    // Our own limit, and a client that has left no time, are not the endpoint's fault.
    let ours = match fault.kind {
        FaultKind::Overloaded => true,
        FaultKind::Late => is_over(ctx),
        _ => false,
    };
    if ours {
        set_aside(ctx);
    } else {
        backend.metrics.connect_failed();
        note_failure(ctx, backend);
    }
    // No attempt is left open for the end of the request to count.
    ctx.upstream_started = None;
}

fn is_over(ctx: &RequestContext) -> bool {
    ctx.deadline.is_some_and(|at| at <= Instant::now())
}

/// An attempt that took too long.
fn late(_: Over) -> Fault {
    Fault::new(FaultKind::Late, "its time is over")
}

/// Refuses a request whose time is over.
fn in_time(ctx: &RequestContext, backend: &CompiledBackend) -> Result<(), Refusal> {
    match ctx.deadline {
        Some(at) if at <= Instant::now() => {
            let refusal = Refusal::new(504, Stage::Upstream, "request-timeout");
            Err(refusal.by(&backend.backend.name))
        }
        _ => Ok(()),
    }
}

/// The answer to a failure of an endpoint.
fn refusal_of(fault: &Fault, backend: &CompiledBackend) -> Refusal {
    let (status, reason) = match fault.kind {
        FaultKind::Overloaded => (503, "overloaded"),
        FaultKind::ConnectTimeout => (504, "connect-timeout"),
        FaultKind::Connect => (502, "connect-failed"),
        FaultKind::Tls => (502, "tls-failed"),
        FaultKind::Timeout => (504, "timeout"),
        FaultKind::Late => (504, "attempt-timeout"),
        FaultKind::Closed | FaultKind::Unwell => (502, "closed"),
        FaultKind::Malformed | FaultKind::TooLarge => (502, "bad-response"),
        FaultKind::Unsendable => return Refusal::new(400, Stage::Normalise, "bad-target"),
    };
    Refusal::new(status, Stage::Upstream, reason).by(&backend.backend.name)
}

/// Passes on what comes before a response, to those who know of such (RFC 9110
/// section 15.2). A 100 has been sent already, where one was asked for.
async fn pass_informational(session: &mut Session, head: Box<ResponseHeader>) -> Result<(), Gone> {
    let known = session.req_header().version == Version::HTTP_11;
    if head.status == StatusCode::CONTINUE || !known {
        return Ok(());
    }
    // pingora gives up keepalive for any head written before the body has come,
    // this one included.
    let keepalive = session.get_keepalive();
    client::write_head(session, head, false).await?;
    session.set_keepalive(keepalive);
    Ok(())
}
