//! Everything that is decided before a backend is asked.

use std::sync::Arc;

use portcullis_config::{
    access::{AccessVerdict, Admission, admit},
    model::{
        Action, BackendProtocol, BodyOverLimit, BuffersSpent, EncodedSlashes, Https, LimitMode,
    },
    route::RouteRequest,
};
use portcullis_waf::{Part, Reason, Verdict};

use super::{
    Ingress, Refusal, RequestContext, Session, Stage, client,
    context::HeldBody,
    cors,
    deadline::by,
    misdirected,
    request_id::{REQUEST_ID, accept_request_id},
    rewrite::{query_of, rewritten_target},
    serve::Stop,
    view,
};
use crate::{
    inspect::{self, BodyLimits, BodyPace, BodyRead, WafOutcome},
    snapshot::{CompiledRule, CompiledWaf, LimitDecision, LimitSubject, RuleLimiter},
};

impl Ingress {
    /// Takes a request up to the point where a backend is to be asked, or its
    /// rule answers by itself.
    ///
    /// # Errors
    /// The answer, where the request ends here.
    pub(super) async fn decide(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<Arc<CompiledRule>, Stop> {
        ctx.view = view::normalise(session, &ctx.snapshot, &ctx.facts)?;
        if ctx.view.trusted
            && let Some(id) = session
                .req_header()
                .headers
                .get(REQUEST_ID)
                .and_then(accept_request_id)
        {
            ctx.request_id = id;
        }
        misdirected::check(&self.services().tls, &ctx.facts, &ctx.view)?;

        ctx.preflight_for = cors::preflight_for(session);
        let request = session.req_header();
        let wanted = RouteRequest {
            listener: &ctx.facts.listener,
            host: &ctx.view.host,
            path: &ctx.view.path,
            method: &request.method,
            headers: &request.headers,
            query: query_of(request.raw_path()),
        };
        let routes = &ctx.snapshot.routes;
        // A preflight goes by the rule of the request that it is about.
        let asked = ctx.preflight_for.as_ref();
        let found = asked
            .and_then(|method| routes.find(RouteRequest { method, ..wanted }))
            .filter(|found| found.rule.policies.cors.is_some())
            .or_else(|| routes.find(wanted))
            .ok_or_else(|| match ctx.view.escaped_separator {
                Some(reason) => Refusal::new(400, Stage::Normalise, reason),
                None => Refusal::new(404, Stage::Route, "no-route"),
            })?;
        let rule = Arc::clone(
            ctx.snapshot
                .rule(&found.rule.id)
                .ok_or_else(|| Refusal::new(503, Stage::Route, "no-rule"))?,
        );
        ctx.reached = found.reached;
        ctx.rule = Some(Arc::clone(&rule));
        if let Some(reason) = ctx.view.escaped_separator
            && rule.rule.policies.encoded_slashes == EncodedSlashes::Refuse
        {
            return Err(Refusal::new(400, Stage::Normalise, reason).into());
        }

        let admission = access(&rule, ctx)?;
        self.limit(&rule, session, ctx)?;
        ctx.preflight = ctx.preflight_for.is_some() && rule.rule.policies.cors.is_some();
        if ctx.preflight {
            return Ok(rule);
        }
        if !ctx.view.secure {
            // Before anybody is asked for a password in clear.
            match rule.rule.policies.https {
                Https::Optional => {}
                Https::Redirect => {
                    ctx.to_https = true;
                    return Ok(rule);
                }
                Https::Required => {
                    return Err(Refusal::new(403, Stage::Access, "https-required").into());
                }
            }
        }
        if !matches!(rule.rule.action, Action::Redirect(_)) {
            misdirected::check_clear(&self.services().tls, &ctx.facts, &ctx.view, &rule.rule)?;
        }
        if admission == Admission::ByIdentity {
            // Boxed, as below.
            Box::pin(self.identify(&rule, session, ctx)).await?;
        }
        if !matches!(rule.rule.action, Action::Forward(_)) {
            return Ok(rule);
        }
        if let Some(rewrite) = &rule.rule.rewrite_path {
            ctx.rewritten = match session.req_header().raw_path() {
                // It has no path that could be rewritten.
                b"*" => None,
                _ => Some(rewritten_target(rewrite, &rule.rule, session, ctx)?),
            };
        }
        let policies = &rule.rule.policies;
        // Reading is timed where it is done, over HTTP/1 and HTTP/2 alike.
        session.set_read_timeout(None);
        session.set_write_timeout(Some(policies.timeouts.client_write));
        if let (Some(max), Some(length)) =
            (policies.max_body_size, inspect::content_length(session))
            && length > max
        {
            return Err(Refusal::new(413, Stage::Body, "body-too-large").into());
        }
        ctx.deadline = policies.timeouts.request.map(|limit| ctx.started + limit);
        if let Some(waf) = &rule.waf {
            let deadline = ctx.deadline;
            // Boxed: most requests of a plain proxy never need its room.
            let inspect = Box::pin(self.inspect(waf, &rule, session, ctx));
            by(deadline, inspect)
                .await
                // Only its body is waited for here.
                .map_err(|_| Refusal::new(408, Stage::Body, "client-too-slow"))??;
        }
        Ok(rule)
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
                (LimitDecision::Exempt, _) => {
                    self.services().metrics.rate_limit(name, "exempt");
                }
                (LimitDecision::Deny { .. }, LimitMode::Report) => {
                    self.services().metrics.rate_limit(name, "would_deny");
                }
                (LimitDecision::Deny { retry_after }, LimitMode::Enforce) => {
                    self.services().metrics.rate_limit(name, "deny");
                    let status = limiter.limit().status;
                    let mut refusal = Refusal::new(status, Stage::Limit, "rate-limit").by(name);
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
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<(), Stop> {
        let Some(client) = ctx.view.client else {
            return Err(Refusal::new(403, Stage::Waf, "no-client-address").into());
        };
        let mut transaction = Box::new(inspect::begin(
            waf,
            session,
            &ctx.facts,
            client,
            ctx.view.forward_target.as_deref(),
            &ctx.request_id,
            ctx.time,
        ));
        transaction.server_name(ctx.view.host.as_bytes());
        ctx.waf_outcome = WafOutcome::Pass;
        let verdict = transaction.request_headers_end();
        let wants_body = transaction.wants_request_body();
        ctx.waf = Some(transaction);
        stop_on(verdict)?;

        let is_opaque = body_is_opaque(rule, session);
        let held = if wants_body && !is_opaque {
            self.hold_body(waf, rule, session, ctx).await?
        } else {
            HeldBody::None
        };
        let Some(transaction) = &mut ctx.waf else {
            return Ok(());
        };
        match &held {
            HeldBody::Whole(body, _) => transaction.request_body(body),
            HeldBody::Prefix(bytes, _)
                if waf.profile.over_limit == BodyOverLimit::InspectPrefix =>
            {
                // All that came, so that the engine sees that it is more than fits.
                transaction.request_body(bytes);
            }
            HeldBody::Prefix(..) => transaction.not_inspected(Part::RequestBody, Reason::OverLimit),
            HeldBody::Unseen(..) => transaction.not_inspected(Part::RequestBody, Reason::NoMemory),
            HeldBody::None if wants_body && is_opaque => {
                transaction.not_inspected(Part::RequestBody, Reason::Stream);
            }
            HeldBody::None if wants_body && !session.is_body_empty() => {
                transaction.not_inspected(Part::RequestBody, Reason::OverLimit);
            }
            HeldBody::None => {}
        }
        let has_body = !matches!(held, HeldBody::None);
        ctx.held = held;
        stop_on(transaction.request_body_end())?;
        transaction.forget_found();
        if has_body {
            transaction.release_request_body();
            let (memory, budget) = (&mut ctx.waf_memory, &self.services().budget);
            inspect::count_kept(transaction, memory, budget, waf.profile.buffers_spent)?;
        }
        Ok(())
    }

    async fn hold_body(
        &self,
        waf: &CompiledWaf,
        rule: &CompiledRule,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<HeldBody, Stop> {
        if session.is_body_empty() {
            return Ok(HeldBody::None);
        }
        let over = |length: u64| length > waf.profile.body_limit;
        match (inspect::content_length(session), waf.profile.over_limit) {
            (Some(length), BodyOverLimit::Refuse) if over(length) => {
                return Err(over_limit(waf).into());
            }
            (Some(length), BodyOverLimit::Skip) if over(length) => return Ok(HeldBody::None),
            _ => {}
        }
        client::answer_expectation(session).await?;
        let limits = BodyLimits {
            hold: waf.profile.body_limit,
            max: rule.rule.policies.max_body_size,
            timeout: rule.rule.policies.timeouts.client_read,
            pace: BodyPace::new(rule.rule.policies.min_body_rate),
        };
        let mut hold = self.services().budget.hold();
        match inspect::read_body(session, limits, &mut hold).await? {
            BodyRead::Whole(body) => {
                ctx.body_bytes = body.len() as u64;
                Ok(HeldBody::Whole(body, hold))
            }
            BodyRead::Prefix(_) if waf.profile.over_limit == BodyOverLimit::Refuse => {
                Err(over_limit(waf).into())
            }
            BodyRead::Spent(_) if waf.profile.buffers_spent == BuffersSpent::Refuse => {
                Err(Refusal::new(503, Stage::Body, "buffers-spent").into())
            }
            BodyRead::Spent(body) => {
                ctx.body_bytes = body.len() as u64;
                Ok(HeldBody::Unseen(body, hold))
            }
            BodyRead::Prefix(body) => {
                ctx.body_bytes = body.len() as u64;
                Ok(HeldBody::Prefix(body, hold))
            }
        }
    }
}

fn over_limit(waf: &CompiledWaf) -> Refusal {
    Refusal::new(413, Stage::Waf, "body-over-inspection-limit").by(&waf.profile.name)
}

fn access(rule: &CompiledRule, ctx: &RequestContext) -> Result<Admission, Refusal> {
    let (Some(client), Some(peer)) = (ctx.view.client, ctx.view.peer) else {
        return Err(Refusal::new(403, Stage::Access, "no-client-address"));
    };
    let policies = &rule.rule.policies;
    let authenticates = !policies.authentication.is_empty();
    admit(
        &policies.access,
        policies.satisfy,
        authenticates,
        client,
        peer,
    )
    .map_err(|refused| {
        let reason = match refused.verdict {
            AccessVerdict::Denied => "denied",
            AccessVerdict::NotAllowed | AccessVerdict::Allow => "not-allowed",
        };
        Refusal::new(403, Stage::Access, reason).by(refused.list)
    })
}

/// Ends a request with the answer that the WAF wants, where it wants one.
pub(super) fn stop_on(verdict: Verdict) -> Result<(), Refusal> {
    inspect::refusal_of(verdict).map_or(Ok(()), Err)
}

/// gRPC streams have no end to wait for. Only a route whose backends all
/// speak HTTP/2 is taken at the client's word, or the content type would be
/// a way around the WAF.
pub(super) fn body_is_opaque(rule: &CompiledRule, session: &Session) -> bool {
    inspect::request_body_is_opaque(session, speaks(rule, BackendProtocol::Http2))
}

/// Whether a rule forwards, to backends of this protocol alone.
pub(super) fn speaks(rule: &CompiledRule, protocol: BackendProtocol) -> bool {
    match &rule.rule.action {
        Action::Forward(backends) => {
            let canary = rule.rule.canary.as_ref().map(|canary| &canary.backend);
            let mut all = backends.iter().map(|(backend, _)| backend).chain(canary);
            !backends.is_empty() && all.all(|backend| backend.protocol == protocol)
        }
        Action::Redirect(_) | Action::Respond(_) => false,
    }
}
