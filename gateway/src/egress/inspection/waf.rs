//! The WAF on what leaves: head and body of a request, before the destination sees a byte.

use std::{net::Ipv4Addr, sync::Arc, time::SystemTime};

use http::{HeaderName, header};
use hyper::{
    body::{Body, Incoming},
    http::request::Parts,
};
use portcullis_config::{
    egress::Wanted,
    model::{BodyOverLimit, BuffersSpent},
};
use portcullis_waf::{Connection, Part, Reason, Transaction, Verdict};

use super::{
    super::{
        answer::Refusal,
        forward::{Counted, host_of},
    },
    bodies::{AnyBody, Guarded},
    held::Held,
    judge::{Judged, object},
    open::Told,
    tunnel::Inside,
};
use crate::{
    inspect::{self, WafOutcome},
    snapshot::CompiledWaf,
    telemetry::{WafFacts, waf_record},
};

/// A profile, and what it makes of the request.
struct Look<'j> {
    /// Who asks for it.
    wanted: &'j Wanted,
    waf: Arc<CompiledWaf>,
    transaction: Box<Transaction>,
    outcome: WafOutcome,
}

/// Inspects a request by the profiles of all entries that allow it, and gives its body on; tells
/// whether a rule says something against it, in a profile that only detects too.
///
/// # Errors
/// 403 by a rule, unless the policy only reports; 408, 413 and 503 for a body that cannot be held.
pub(super) async fn inspect(
    inside: &Inside,
    judged: &Judged,
    (head, target): (&Parts, &str),
    body: Incoming,
    told: &mut Told,
) -> Result<(AnyBody, bool), Refusal> {
    let body = Counted::up(body, &told.traffic);
    let mut looks = Vec::new();
    for (name, wanted) in judged.profiles() {
        let waf = judged.egress.wafs.get(name);
        // It was there when the configuration was loaded.
        let waf = waf.ok_or_else(|| Refusal::new(503, "not_ready"))?;
        looks.push(Look::begin((waf, wanted), inside, (head, target), told)?);
    }
    if looks.is_empty() {
        return Ok((
            Guarded::request(None, body, told.cut(), told.passing()),
            false,
        ));
    }
    let inspected = look_at_all(&mut looks, inside, head, body, told).await;
    let mut is_objected = false;
    for look in looks {
        is_objected |= look.finish(inside, told);
    }
    Ok((inspected?, is_objected))
}

async fn look_at_all(
    looks: &mut [Look<'_>],
    inside: &Inside,
    head: &Parts,
    mut body: Counted,
    told: &mut Told,
) -> Result<AnyBody, Refusal> {
    for look in looks.iter_mut() {
        let verdict = look.transaction.request_headers_end();
        look.act(verdict, told)?;
    }
    let wants = |look: &&mut Look<'_>| look.transaction.wants_request_body();
    let limit = looks
        .iter_mut()
        .filter(wants)
        .map(|look| look.waf.profile.body_limit);
    let memory = inside.services.budget.hold();
    let mut held = Held::nothing(memory, body.is_end_stream());
    if let Some(limit) = limit.max().filter(|_| !body.is_end_stream()) {
        let refuses = |look: &Look<'_>| look.waf.profile.over_limit == BodyOverLimit::Refuse;
        let length = head.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) && looks.iter().all(refuses) {
            return Err(Refusal::new(413, "waf_body_too_large"));
        }
        let memory = inside.services.budget.hold();
        held = Held::read(&mut body, limit, inside.limits.idle_timeout, memory).await?;
    }
    for look in looks.iter_mut() {
        look.body(&held)?;
        let verdict = look.transaction.request_body_end();
        look.act(verdict, told)?;
    }
    // What the engine keeps of the body is not counted: it is gone before anything is waited for.
    Ok(Guarded::request(
        held.into_bytes(),
        body,
        told.cut(),
        told.passing(),
    ))
}

impl<'j> Look<'j> {
    fn begin(
        (waf, wanted): (&Arc<CompiledWaf>, &'j Wanted),
        inside: &Inside,
        (head, target): (&Parts, &str),
        told: &Told,
    ) -> Result<Self, Refusal> {
        let options = inspect::options(waf, &told.record.id, SystemTime::now());
        let mut transaction = Box::new(Transaction::begin(Arc::clone(&waf.rules), options));
        let client = told.record.client;
        // Behind a proxy that looks names up nobody knows the address of the destination.
        let server = told.record.dialled.map(|dialled| dialled.ip());
        let server = server.or_else(|| told.record.resolved.first().copied());
        transaction.connection(Connection {
            client: client.ip(),
            client_port: client.port(),
            server: server.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            server_port: inside.authority.port,
        });
        let protocol = inspect::protocol(head.version);
        transaction.request_line(head.method.as_str().as_bytes(), target.as_bytes(), protocol);
        transaction.server_name(inside.authority.host.to_string().as_bytes());
        // As the destination gets it, over HTTP/2 too.
        let host = host_of(&inside.authority, 443)?;
        transaction.request_header(b"host", host.as_bytes());
        let cookies = inspect::joined_cookies(&head.headers);
        let is_given = |name: &HeaderName| {
            name != header::HOST && (cookies.is_none() || name != header::COOKIE)
        };
        for (name, value) in head.headers.iter().filter(|(name, _)| is_given(name)) {
            transaction.request_header(name.as_str().as_bytes(), value.as_bytes());
        }
        if let Some(cookies) = cookies {
            transaction.request_header(b"cookie", &cookies);
        }
        Ok(Self {
            wanted,
            waf: Arc::clone(waf),
            transaction,
            outcome: WafOutcome::Pass,
        })
    }

    /// Gives it what was read of a body.
    fn body(&mut self, held: &Held) -> Result<(), Refusal> {
        let profile = &self.waf.profile;
        let bytes = held.bytes();
        if !self.transaction.wants_request_body() || held.whole && bytes.is_empty() {
            return Ok(());
        }
        if held.spent {
            if profile.buffers_spent == BuffersSpent::Refuse {
                return Err(Refusal::new(503, "buffers_spent"));
            }
            self.transaction
                .not_inspected(Part::RequestBody, Reason::NoMemory);
            return Ok(());
        }
        if !held.whole || bytes.len() as u64 > profile.body_limit {
            match profile.over_limit {
                BodyOverLimit::Refuse => return Err(Refusal::new(413, "waf_body_too_large")),
                BodyOverLimit::Skip => {
                    self.transaction
                        .not_inspected(Part::RequestBody, Reason::OverLimit);
                    return Ok(());
                }
                // All that came, so that the engine sees that it is more than fits.
                BodyOverLimit::InspectPrefix => {}
            }
        }
        self.transaction.request_body(bytes);
        Ok(())
    }

    /// Acts on a verdict.
    fn act(&mut self, verdict: Verdict, told: &mut Told) -> Result<(), Refusal> {
        let Some(refusal) = inspect::refusal_of(verdict) else {
            return Ok(());
        };
        self.outcome = WafOutcome::Blocked;
        if let Some(inside) = &mut told.record.inside {
            inside.waf_rule = refusal.rule.as_ref().map(ToString::to_string);
        }
        let objected = object(self.wanted, "waf_blocked", &mut told.record);
        if objected.is_ok() {
            self.outcome = WafOutcome::Detected;
        }
        objected
    }

    /// Writes what was found, and tells whether that is something against the request.
    fn finish(mut self, inside: &Inside, told: &mut Told) -> bool {
        self.transaction.elapsed(told.record.began.elapsed());
        let record = self.transaction.finish();
        if let Some(would) = &record.would_interrupt
            && self.outcome == WafOutcome::Pass
        {
            self.outcome = WafOutcome::Detected;
            if let Some(inside) = &mut told.record.inside {
                inside.waf_rule = would.rule.map(|rule| rule.to_string());
            }
        }
        let metrics = &inside.services.metrics;
        metrics.waf_verdict(&self.waf.profile.name, self.outcome.name());
        let policy = told.record.policy.as_deref().unwrap_or("none");
        for noted in &record.not_inspected {
            metrics.waf_not_inspected(policy, noted.part.name(), noted.reason.name());
        }
        if record.is_notable() {
            let snapshot = inside.services.snapshot.load();
            let facts = WafFacts {
                profile: &self.waf.profile.name,
                rule: policy,
                verdict: self.outcome.name(),
                status: match self.outcome {
                    WafOutcome::Blocked => 403,
                    _ => 0,
                },
                time: SystemTime::now(),
                snapshot: (snapshot.version, &snapshot.hash),
                rules: self.waf.rules.hash(),
            };
            let record = waf_record(&facts, &record);
            inside
                .services
                .audit_log
                .write("waf", &told.record.id, record);
        }
        self.outcome != WafOutcome::Pass
    }
}
