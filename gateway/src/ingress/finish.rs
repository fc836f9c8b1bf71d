//! The end of a request: WAF phase 5 and audit record, metrics, access log.

use std::{borrow::Cow, time::Duration};

use http::header;
use pingora::http::RequestHeader;
use portcullis_waf::SecretNames;

use super::{Ingress, RequestContext, Session};
use crate::{
    inspect::{self, WafOutcome},
    telemetry::{RequestFacts, WafFacts, waf_record},
};

/// What the client got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// Status; 0 where none was sent.
    pub(super) status: u16,
    /// Bytes of its body.
    pub(super) bytes: u64,
}

impl Answer {
    /// What a session has written.
    pub(super) fn of(session: &Session) -> Self {
        Self {
            status: session
                .response_written()
                .map_or(0, |head| head.status.as_u16()),
            bytes: session.body_bytes_sent() as u64,
        }
    }
}

impl Ingress {
    /// Ends a request: always, and once.
    pub(super) fn finish(&self, request: &RequestHeader, ctx: &mut RequestContext, answer: Answer) {
        // Others wait for it.
        ctx.place = None;
        self.write_audit(ctx, answer);
        if let Some(mirroring) = ctx.mirroring.take() {
            mirroring.give_up();
        }
        let duration = ctx.started.elapsed();
        let metrics = &self.services().metrics;
        metrics.request_finished();
        let listener = &*ctx.facts.listener;
        match &ctx.rule {
            Some(rule) => {
                rule.metrics
                    .observe(listener, &request.method, answer.status, duration);
            }
            None => metrics.unrouted(listener, &request.method, answer.status, duration),
        }
        if let (Some(backend), Some(started)) = (&ctx.backend, ctx.upstream_started) {
            let waited = ctx
                .upstream_answered
                .map(|answered| answered.duration_since(started));
            backend.metrics.finished(waited);
        }
        self.log_access(request, ctx, answer, duration);
    }

    fn log_access(
        &self,
        request: &RequestHeader,
        ctx: &RequestContext,
        answer: Answer,
        duration: Duration,
    ) {
        if !self.services().access_log.is_read() {
            return;
        }
        let raw = String::from_utf8_lossy(request.raw_path());
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*raw, None),
        };
        let path = match &*ctx.view.path {
            "" => path,
            canonical => canonical,
        };
        let secrets = &ctx.snapshot.secrets;
        let (path, query) = (told(path, secrets), query.map(|query| told(query, secrets)));
        let facts = &ctx.facts;
        let peer = facts.peer.ip().to_canonical();
        let client = ctx.view.client.unwrap_or(peer);
        let refusal = ctx.refusal.as_ref();
        self.services().access_log.write(&RequestFacts {
            time: ctx.time,
            request_id: &ctx.request_id,
            listener: &facts.listener,
            client: Some(client),
            peer: Some(peer).filter(|peer| *peer != client),
            protocol: inspect::protocol(request.version),
            tls: facts.tls_facts(),
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
            path: &path,
            query: query.as_deref(),
            status: answer.status,
            bytes_in: ctx.body_bytes,
            bytes_out: answer.bytes,
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
            user: ctx
                .identity
                .as_ref()
                .and_then(|identity| identity.user.as_deref()),
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

    fn write_audit(&self, ctx: &mut RequestContext, answer: Answer) {
        let Some(mut transaction) = ctx.waf.take() else {
            return;
        };
        transaction.elapsed(ctx.started.elapsed());
        let record = transaction.finish();
        if record.would_interrupt.is_some() {
            ctx.waf_outcome = WafOutcome::Detected;
        }
        let Some((rule, waf)) = ctx
            .rule
            .as_ref()
            .and_then(|rule| Some((rule, rule.waf.as_ref()?)))
        else {
            return;
        };
        let services = self.services();
        services
            .metrics
            .waf_verdict(&waf.profile.name, ctx.waf_outcome.name());
        for noted in &record.not_inspected {
            services.metrics.waf_not_inspected(
                &rule.rule.id,
                noted.part.name(),
                noted.reason.name(),
            );
        }
        if record.is_notable() {
            let facts = WafFacts {
                profile: &waf.profile.name,
                rule: &rule.rule.id,
                verdict: ctx.waf_outcome.name(),
                status: answer.status,
                time: ctx.time,
                snapshot: (ctx.snapshot.version, &ctx.snapshot.hash),
                rules: waf.rules.hash(),
            };
            let record = waf_record(&facts, &record);
            services.audit_log.write("waf", &ctx.request_id, record);
        }
    }
}

/// Bytes of a path or a query that are looked at for secrets; a line has fewer.
const MOST_TOLD: usize = 4096;

/// A path or a query as the log has it: without the values of secrets.
fn told<'a>(text: &'a str, secrets: &SecretNames) -> Cow<'a, str> {
    let text = &text[..text.floor_char_boundary(MOST_TOLD)];
    secrets.masked(text).map_or(Cow::Borrowed(text), Cow::Owned)
}
