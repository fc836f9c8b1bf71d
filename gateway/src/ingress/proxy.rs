//! The phases of a request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora::{
    Error, ErrorSource, ErrorType,
    connectors::TransportConnector,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};
use portcullis_config::{
    access::AccessVerdict,
    model::{Action, BackendProtocol, BodyOverLimit, LimitMode, Timeouts},
    route::RouteRequest,
};
use portcullis_waf::{AuditRecord, Verdict};

use super::{
    Refusal, RequestContext, Stage,
    context::HeldBody,
    forward, headers, peer,
    redirect::{RedirectFrom, location},
    request_id::{REQUEST_ID, accept_request_id, new_request_id},
    upgrade, view,
};
use crate::{
    inspect::{self, BodyBudget, BodyLimits, BodyRead, WafOutcome},
    listen::ConnectionFacts,
    snapshot::{CompiledRule, CompiledWaf, LimitDecision, LimitSubject, RuleLimiter, Snapshot},
    telemetry::{AccessLog, AuditLog, Metrics, RequestFacts},
};

/// Endpoints tried for one request.
const MAX_TRIES: u32 = 3;

/// What the ingress works with.
#[derive(Clone)]
pub struct Services {
    /// The snapshot that new requests pin.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// One line for each request.
    pub access_log: Arc<AccessLog>,
    /// One line for each request that a WAF rule matched.
    pub audit_log: Arc<AuditLog>,
    /// Memory for held bodies.
    pub budget: Arc<BodyBudget>,
}

/// The ingress application.
#[derive(Clone)]
pub struct Ingress {
    services: Services,
    /// Makes the connections of WebSockets.
    connector: Arc<TransportConnector>,
}

impl Ingress {
    /// Makes the application.
    pub fn new(services: Services) -> Self {
        Self {
            services,
            connector: Arc::new(TransportConnector::new(None)),
        }
    }

    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// Runs the steps of `request_filter` up to the point where a backend is to be asked.
    ///
    /// Returns an answer where the request ends here.
    async fn decide(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<(), Refusal> {
        let snapshot = pinned(ctx)?;
        let facts = ctx
            .facts
            .clone()
            .ok_or_else(|| Refusal::new(500, Stage::Normalise, "no-connection-facts"))?;

        ctx.view = view::normalise(session, &snapshot, &facts)?;
        if ctx.view.trusted
            && let Some(id) = session
                .req_header()
                .headers
                .get(REQUEST_ID)
                .and_then(accept_request_id)
        {
            ctx.request_id = id;
        }

        let request = session.req_header();
        let found = snapshot
            .routes
            .find(RouteRequest {
                listener: &facts.listener,
                host: &ctx.view.host,
                path: &ctx.view.path,
                method: &request.method,
                headers: &request.headers,
            })
            .ok_or_else(|| Refusal::new(404, Stage::Route, "no-route"))?;
        let rule = Arc::clone(
            snapshot
                .rule(&found.rule.id)
                .ok_or_else(|| Refusal::new(503, Stage::Route, "no-rule"))?,
        );
        ctx.prefix_len = found.prefix_len;
        ctx.rule = Some(Arc::clone(&rule));

        self.access(&rule, ctx)?;
        self.limit(&rule, session, ctx)?;
        if matches!(rule.rule.action, Action::Redirect(_)) {
            return Ok(());
        }
        session.set_read_timeout(Some(rule.rule.policies.timeouts.client_read));
        session.set_write_timeout(Some(rule.rule.policies.timeouts.client_write));
        let announced = inspect::content_length(session);
        if let (Some(max), Some(length)) = (rule.rule.policies.max_body_size, announced)
            && length > max
        {
            return Err(Refusal::new(413, Stage::Body, "body-too-large"));
        }
        if let Some(waf) = &rule.waf {
            // Boxed: most requests of a plain proxy never need its room.
            Box::pin(self.inspect(waf, &rule, &facts, session, ctx)).await?;
        }
        Ok(())
    }

    fn access(&self, rule: &CompiledRule, ctx: &RequestContext) -> Result<(), Refusal> {
        let (Some(client), Some(peer)) = (ctx.view.client, ctx.view.peer) else {
            return Err(Refusal::new(403, Stage::Access, "no-client-address"));
        };
        for list in &rule.rule.policies.access {
            let reason = match list.judge(client, peer) {
                AccessVerdict::Allow => continue,
                AccessVerdict::Denied => "denied",
                AccessVerdict::NotAllowed => "not-allowed",
            };
            return Err(Refusal::new(403, Stage::Access, reason).by(&list.name));
        }
        Ok(())
    }

    fn limit(
        &self,
        rule: &CompiledRule,
        session: &Session,
        ctx: &RequestContext,
    ) -> Result<(), Refusal> {
        let Some(client) = ctx.view.client else {
            return Ok(());
        };
        let subject = LimitSubject {
            client,
            route: &rule.rule.route,
            headers: &session.req_header().headers,
        };
        for RuleLimiter { limiter, allowed } in &rule.limiters {
            let name = &limiter.limit().name;
            match (limiter.check(subject), limiter.mode()) {
                (LimitDecision::Allow, _) => allowed.inc(),
                (LimitDecision::Deny { .. }, LimitMode::Report) => {
                    self.services.metrics.rate_limit(name, "would_deny");
                }
                (LimitDecision::Deny { retry_after }, LimitMode::Enforce) => {
                    self.services.metrics.rate_limit(name, "deny");
                    let mut refusal = Refusal::new(429, Stage::Limit, "rate-limit").by(name);
                    refusal.retry_after = Some(retry_after);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// WAF phases 1 and 2; the body is held until phase 2 has decided.
    async fn inspect(
        &self,
        waf: &CompiledWaf,
        rule: &CompiledRule,
        facts: &ConnectionFacts,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<(), Refusal> {
        let Some(client) = ctx.view.client else {
            return Err(Refusal::new(403, Stage::Waf, "no-client-address"));
        };
        let mut transaction = Box::new(inspect::begin(
            waf,
            session,
            facts,
            client,
            ctx.view.forward_target.as_deref(),
            &ctx.request_id,
            ctx.time,
        ));
        ctx.waf_outcome = WafOutcome::Pass;
        let verdict = transaction.request_headers_end();
        let wants_body = transaction.wants_request_body();
        ctx.waf = Some(transaction);
        self.stop_on(verdict)?;

        let held = if wants_body && !self.body_is_opaque(rule, session) {
            self.hold_body(waf, rule, session, ctx).await?
        } else {
            HeldBody::None
        };
        let Some(transaction) = &mut ctx.waf else {
            return Ok(());
        };
        match &held {
            HeldBody::Whole(body, _) => transaction.request_body(body),
            HeldBody::Prefix { bytes, .. }
                if waf.profile.over_limit == BodyOverLimit::InspectPrefix =>
            {
                let inspected = bytes
                    .len()
                    .min(usize::try_from(waf.profile.body_limit).unwrap_or(usize::MAX));
                transaction.request_body(&bytes[..inspected]);
            }
            HeldBody::Prefix { .. } | HeldBody::None => {}
        }
        ctx.held = held;
        let verdict = transaction.request_body_end();
        self.stop_on(verdict)
    }

    fn stop_on(&self, verdict: Verdict) -> Result<(), Refusal> {
        inspect::refusal_of(verdict).map_or(Ok(()), Err)
    }

    /// gRPC streams have no end to wait for. Only a route whose backends all
    /// speak HTTP/2 is taken at the client's word, or the content type would be
    /// a way around the WAF.
    fn body_is_opaque(&self, rule: &CompiledRule, session: &Session) -> bool {
        inspect::request_body_is_opaque(session, speaks(rule, BackendProtocol::Http2))
    }

    async fn hold_body(
        &self,
        waf: &CompiledWaf,
        rule: &CompiledRule,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<HeldBody, Refusal> {
        if session.as_downstream_mut().is_body_empty() {
            return Ok(HeldBody::None);
        }
        let over = |length: u64| length > waf.profile.body_limit;
        match (inspect::content_length(session), waf.profile.over_limit) {
            (Some(length), BodyOverLimit::Refuse) if over(length) => {
                return Err(Refusal::new(413, Stage::Waf, "body-over-inspection-limit")
                    .by(&waf.profile.name));
            }
            (Some(length), BodyOverLimit::Skip) if over(length) => return Ok(HeldBody::None),
            _ => {}
        }
        inspect::answer_expectation(session).await;
        let limits = BodyLimits {
            hold: waf.profile.body_limit,
            max: rule.rule.policies.max_body_size,
            timeout: rule.rule.policies.timeouts.client_read,
        };
        let mut hold = self.services.budget.hold();
        match inspect::read_body(session, limits, &mut hold).await? {
            BodyRead::Whole(body) => {
                ctx.body_bytes = body.len() as u64;
                Ok(HeldBody::Whole(body, hold))
            }
            BodyRead::Prefix(_) if waf.profile.over_limit == BodyOverLimit::Refuse => {
                Err(Refusal::new(413, Stage::Waf, "body-over-inspection-limit")
                    .by(&waf.profile.name))
            }
            BodyRead::Prefix(body) => {
                ctx.body_bytes = body.len() as u64;
                // pingora fills its retry buffer by itself once it proxies; only what
                // it holds by now stands in the prefix as well.
                let repeated = session.get_retry_buffer().is_some();
                Ok(HeldBody::Prefix {
                    bytes: body,
                    repeated,
                    hold,
                })
            }
        }
    }

    async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        refusal: Refusal,
    ) -> pingora::Result<()> {
        let dropped = refusal.reason == "dropped";
        let written = if dropped {
            session.set_keepalive(None);
            session.as_downstream_mut().shutdown().await;
            Ok(())
        } else {
            refusal.write(session, &ctx.request_id).await
        };
        self.note(ctx, refusal);
        written
    }

    /// Remembers and counts a refusal.
    fn note(&self, ctx: &mut RequestContext, refusal: Refusal) {
        self.services
            .metrics
            .refusal(refusal.stage.name(), refusal.reason);
        if refusal.stage == Stage::Waf {
            ctx.waf_outcome = WafOutcome::Blocked;
        }
        ctx.refusal = Some(refusal);
    }

    /// Answers what needs no proxying by pingora; tells whether it did.
    async fn answer(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<bool> {
        let web_socket = upgrade::is_web_socket(session)
            && ctx
                .rule
                .as_ref()
                .is_some_and(|rule| speaks(rule, BackendProtocol::Http1));
        if web_socket {
            Box::pin(upgrade::web_socket(self, &self.connector, session, ctx)).await?;
            return Ok(true);
        }
        self.redirect(session, ctx).await
    }

    async fn redirect(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<bool> {
        let Some(rule) = ctx.rule.clone() else {
            return Ok(false);
        };
        let Action::Redirect(redirect) = &rule.rule.action else {
            return Ok(false);
        };
        let raw = String::from_utf8_lossy(session.req_header().raw_path()).into_owned();
        let to = location(
            redirect,
            RedirectFrom {
                secure: ctx.facts.as_ref().is_some_and(|facts| facts.tls.is_some()),
                host: &ctx.view.host,
                port: ctx.view.port,
                target: ctx.view.forward_target.as_deref().unwrap_or(&raw),
            },
        );
        let mut response = ResponseHeader::build(redirect.status, Some(4))?;
        response.insert_header(header::LOCATION, to)?;
        response.insert_header(header::CONTENT_LENGTH, 0)?;
        response.insert_header(REQUEST_ID, &ctx.request_id)?;
        headers::change_response(&mut response, &rule.rule.response_headers)?;
        if !session.as_downstream_mut().is_body_done() {
            session.set_keepalive(None);
        }
        session
            .write_response_header(Box::new(response), true)
            .await?;
        Ok(true)
    }

    fn log_access(&self, session: &Session, ctx: &RequestContext, status: u16, duration: Duration) {
        if !self.services.access_log.is_read() {
            return;
        }
        let request = session.req_header();
        let raw = String::from_utf8_lossy(request.raw_path());
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*raw, None),
        };
        let facts = ctx.facts.as_deref();
        let peer = facts.map(|facts| facts.peer.ip().to_canonical());
        let client = ctx.view.client.or(peer);
        let refusal = ctx.refusal.as_ref();
        self.services.access_log.write(&RequestFacts {
            time: ctx.time,
            request_id: &ctx.request_id,
            listener: facts.map_or("", |facts| &facts.listener),
            client,
            peer: peer.filter(|_| peer != client),
            protocol: inspect::protocol(request.version),
            tls: facts.and_then(ConnectionFacts::tls_facts),
            method: request.method.as_str(),
            host: if ctx.view.host.is_empty() {
                request
                    .headers
                    .get(header::HOST)
                    .and_then(|host| host.to_str().ok())
                    .unwrap_or_default()
            } else {
                &ctx.view.host
            },
            path: if ctx.view.path.is_empty() {
                path
            } else {
                &ctx.view.path
            },
            query,
            status,
            bytes_in: ctx.body_bytes,
            bytes_out: session.body_bytes_sent() as u64 + ctx.upgraded_bytes,
            duration,
            rule: ctx.rule.as_ref().map(|rule| rule.rule.id.as_str()),
            backend: ctx
                .backend
                .as_ref()
                .map(|backend| backend.backend.name.as_str()),
            endpoint: ctx.endpoint,
            attempts: (ctx.attempts > 1).then_some(ctx.attempts),
            upstream: ctx
                .upstream_started
                .zip(ctx.upstream_answered)
                .map(|(from, to)| to.duration_since(from)),
            user_agent: request
                .headers
                .get(header::USER_AGENT)
                .and_then(|agent| agent.to_str().ok()),
            waf: (ctx.waf_outcome != WafOutcome::None).then(|| ctx.waf_outcome.name()),
            refused_by: refusal.map(|refusal| refusal.stage.name()),
            reason: refusal.map(|refusal| refusal.reason),
            decided_by: refusal.and_then(|refusal| refusal.rule.as_deref()),
        });
    }

    fn write_audit(&self, ctx: &mut RequestContext) {
        let Some(mut transaction) = ctx.waf.take() else {
            return;
        };
        transaction.elapsed(ctx.started.elapsed());
        let record = transaction.finish();
        if record.would_interrupt.is_some() {
            ctx.waf_outcome = WafOutcome::Detected;
        }
        let Some(waf) = ctx.rule.as_ref().and_then(|rule| rule.waf.as_ref()) else {
            return;
        };
        self.services
            .metrics
            .waf_verdict(&waf.profile.name, ctx.waf_outcome.name());
        if is_notable(&record) {
            self.services
                .audit_log
                .write_waf(&ctx.request_id, &waf.profile.name, &record);
        }
    }
}

/// Whether a rule forwards, to backends of this protocol alone.
fn speaks(rule: &CompiledRule, protocol: BackendProtocol) -> bool {
    match &rule.rule.action {
        Action::Forward(backends) => {
            !backends.is_empty()
                && backends
                    .iter()
                    .all(|(backend, _)| backend.protocol == protocol)
        }
        Action::Redirect(_) => false,
    }
}

fn is_notable(record: &AuditRecord) -> bool {
    record.relevant && !record.matches.is_empty()
        || record.interruption.is_some()
        || record.would_interrupt.is_some()
}

fn pinned(ctx: &RequestContext) -> Result<Arc<Snapshot>, Refusal> {
    ctx.snapshot
        .clone()
        .ok_or_else(|| Refusal::new(503, Stage::Route, "no-configuration"))
}

#[async_trait]
impl ProxyHttp for Ingress {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new()
    }

    /// None: pingora's own would see each request, to compress nothing.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        ctx.snapshot = Some(self.services.snapshot.load_full());
        ctx.facts = ConnectionFacts::of(session);
        if let Some(facts) = &ctx.facts {
            facts.head_complete();
        }
        ctx.request_id = new_request_id();
        // Until there is a rule that says: an answer of our own waits no longer.
        session.set_write_timeout(Some(Timeouts::default().client_write));
        self.services.metrics.request_started();
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<bool> {
        match self.decide(session, ctx).await {
            Ok(()) => self.answer(session, ctx).await,
            Err(refusal) => {
                self.refuse(session, ctx, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        match &mut ctx.held {
            // The chunk is what pingora was made to hold in its stead: see `inspect::body`.
            HeldBody::Whole(held, _) if end_of_stream => *body = Some(held.clone()),
            HeldBody::Whole(..) => return Ok(()),
            HeldBody::Prefix {
                bytes, repeated, ..
            } if !bytes.is_empty() => {
                let prefix = std::mem::take(bytes);
                *body = Some(match body.take() {
                    Some(chunk) if !*repeated => {
                        ctx.body_bytes += chunk.len() as u64;
                        let mut joined = BytesMut::from(prefix);
                        joined.extend_from_slice(&chunk);
                        joined.freeze()
                    }
                    _ => prefix,
                });
            }
            _ => ctx.body_bytes += body.as_ref().map_or(0, |chunk| chunk.len() as u64),
        }
        // pingora writes an empty last part as a chunk, which ends the body, and ends
        // it again after that: the backend would take the rest for another request.
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        let max = ctx
            .rule
            .as_ref()
            .and_then(|rule| rule.rule.policies.max_body_size);
        if max.is_some_and(|max| ctx.body_bytes > max) && !session.was_upgraded() {
            self.note(ctx, Refusal::new(413, Stage::Body, "body-too-large"));
            return Err(Error::explain(
                ErrorType::HTTPStatus(413),
                "request body over maxBodySize",
            )
            .into_down());
        }
        Ok(())
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<Box<HttpPeer>> {
        let unavailable = |reason: &'static str| Error::explain(ErrorType::HTTPStatus(503), reason);
        let rule = ctx.rule.clone().ok_or_else(|| unavailable("no-rule"))?;
        // A retry stays with the backend that was chosen by weight and takes its next endpoint.
        let backend = match ctx
            .backend
            .clone()
            .or_else(|| rule.targets.as_ref()?.next().cloned())
        {
            Some(backend) => backend,
            None => return Err(unavailable("no-backend")),
        };
        let endpoint = backend.next().ok_or_else(|| unavailable("no-endpoint"));
        ctx.backend = Some(Arc::clone(&backend));
        let endpoint = endpoint?;
        ctx.attempts += 1;
        ctx.endpoint = Some(endpoint.address);
        ctx.upstream_started = Some(Instant::now());
        Ok(peer::peer(&backend, endpoint, &rule.rule.policies.timeouts))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        forward::prepare(session, upstream, ctx)?;
        match &ctx.held {
            // Nobody asked for the body yet, and a backend that answers late keeps
            // its client waiting: the gateway asks, once there is a connection.
            HeldBody::None => inspect::answer_expectation(session).await,
            HeldBody::Whole(body, _) => {
                // The length is known now, whatever the client's framing was.
                upstream.remove_header(&header::TRANSFER_ENCODING);
                upstream.insert_header(header::CONTENT_LENGTH, body.len())?;
            }
            HeldBody::Prefix { .. } => {}
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        let upgraded = response.status == http::StatusCode::SWITCHING_PROTOCOLS;
        if response.status.is_informational() && !upgraded {
            return Ok(());
        }
        if upgraded {
            // A client may listen for as long as the backend speaks.
            session.set_read_timeout(None);
        }
        ctx.upstream_answered.get_or_insert_with(Instant::now);
        // The version is that of a connection (RFC 9110 section 2.5): the client's, not
        // that of a backend which speaks HTTP/1.0.
        if response.version == http::Version::HTTP_10 {
            response.set_version(http::Version::HTTP_11);
        }
        // HTTP/1.0 knows no chunks (RFC 9112 section 7.1): its body ends with the connection.
        if session.req_header().version == http::Version::HTTP_10 {
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        if let Some(transaction) = &mut ctx.waf {
            let verdict = inspect::response_head(transaction, response);
            if let Some(refusal) = inspect::refusal_of(verdict) {
                let status = refusal.status;
                self.note(ctx, refusal);
                return Err(Error::explain(
                    ErrorType::HTTPStatus(status),
                    "response refused by a WAF rule",
                )
                .into_up());
            }
        }
        response.insert_header(REQUEST_ID, &ctx.request_id)?;
        if let Some(rule) = &ctx.rule {
            headers::change_response(response, &rule.rule.response_headers)?;
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let endpoints = ctx
            .backend
            .as_ref()
            .map_or(0, |backend| backend.backend.endpoints.len());
        // Nothing was sent yet, so another endpoint may be asked whatever the method is.
        error.set_retry(ctx.attempts < MAX_TRIES && (ctx.attempts as usize) < endpoints);
        if let Some(backend) = &ctx.backend {
            backend.metrics.connect_failed();
        }
        // Counted: no attempt is left open for the end of the request.
        ctx.upstream_started = None;
        error
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("peer {}", peer._address));
        let safe = session.req_header().method.is_idempotent()
            && !session.retry_buffer_truncated()
            && !matches!(ctx.held, HeldBody::Prefix { .. });
        if safe {
            error.retry.decide_reuse(client_reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        let refusal = match (&ctx.refusal, status_of(error)) {
            (Some(refusal), _) => Some(refusal.clone()),
            (None, None) => None,
            (None, Some((status, stage, reason))) => {
                let mut refusal = Refusal::new(status, stage, reason);
                refusal.rule = ctx
                    .backend
                    .as_ref()
                    .map(|backend| backend.backend.name.clone());
                self.note(ctx, refusal.clone());
                Some(refusal)
            }
        };
        if ctx.request_id.is_empty() {
            ctx.request_id = new_request_id();
        }
        let code = refusal.as_ref().map_or(0, |refusal| refusal.status);
        if let Some(refusal) = refusal
            && session
                .response_written()
                .is_none_or(|head| head.status.is_informational())
            && let Err(error) = refusal.write(session, &ctx.request_id).await
        {
            tracing::debug!(%error, request_id = %ctx.request_id, "refusal not written");
        }
        FailToProxy {
            error_code: code,
            can_reuse_downstream: false,
        }
    }

    fn suppress_error_log(&self, _session: &Session, ctx: &RequestContext, error: &Error) -> bool {
        // One line in the access log tells it; a person looks here only when debugging.
        tracing::debug!(%error, request_id = %ctx.request_id, "request failed");
        true
    }

    async fn logging(
        &self,
        session: &mut Session,
        _error: Option<&Error>,
        ctx: &mut RequestContext,
    ) {
        self.write_audit(ctx);
        if let Some(facts) = &ctx.facts
            && !session.as_downstream().is_http2()
        {
            facts.awaits_head(!session.as_downstream_mut().is_body_done());
        }
        let status = session
            .response_written()
            .map_or(0, |head| head.status.as_u16());
        let duration = ctx.started.elapsed();
        self.services.metrics.request_finished();
        let listener = ctx.facts.as_ref().map_or("", |facts| &*facts.listener);
        match &ctx.rule {
            Some(rule) => {
                rule.metrics
                    .observe(listener, &session.req_header().method, status, duration)
            }
            None => self.services.metrics.unrouted(
                listener,
                &session.req_header().method,
                status,
                duration,
            ),
        }
        if let (Some(backend), Some(started)) = (&ctx.backend, ctx.upstream_started) {
            let waited = ctx
                .upstream_answered
                .map(|answered| answered.duration_since(started));
            backend.metrics.finished(waited);
        }
        self.log_access(session, ctx, status, duration);
    }
}

/// What an error of pingora means to the client; `None` when nobody is left to tell.
fn status_of(error: &Error) -> Option<(u16, Stage, &'static str)> {
    use ErrorType::{
        ConnectNoRoute, ConnectRefused, ConnectTimedout, ConnectionClosed, HTTPStatus, InvalidCert,
        ReadError, ReadTimedout, TLSHandshakeFailure, TLSHandshakeTimedout, WriteError,
        WriteTimedout,
    };
    let upstream = |status, reason| Some((status, Stage::Upstream, reason));
    match (error.etype(), error.esource()) {
        (HTTPStatus(503), _) => upstream(503, "no-endpoint"),
        (HTTPStatus(status), ErrorSource::Downstream) => Some((*status, Stage::Body, "refused")),
        (HTTPStatus(status), _) => upstream(*status, "refused"),
        (ReadError | WriteError | ConnectionClosed, ErrorSource::Downstream) => None,
        (ReadTimedout | WriteTimedout, ErrorSource::Downstream) => {
            Some((408, Stage::Body, "client-too-slow"))
        }
        (_, ErrorSource::Downstream) => Some((400, Stage::Normalise, "malformed")),
        (ConnectTimedout | TLSHandshakeTimedout, _) => upstream(504, "connect-timeout"),
        (ReadTimedout | WriteTimedout, _) => upstream(504, "timeout"),
        (ConnectRefused | ConnectNoRoute, _) => upstream(502, "connect-failed"),
        (TLSHandshakeFailure | InvalidCert, _) => upstream(502, "tls-failed"),
        (_, ErrorSource::Upstream) => upstream(502, "failed"),
        (_, ErrorSource::Internal | ErrorSource::Unset) => Some((500, Stage::Upstream, "internal")),
    }
}
