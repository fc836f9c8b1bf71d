//! The WAF on what leaves: head and body of a request, before the destination sees a byte.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderName, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Incoming},
    http::request::Parts,
};
use portcullis_config::model::{BodyOverLimit, BuffersSpent, MinBodyRate};
use portcullis_waf::{Connection, Part, Reason, Transaction, Verdict};

use super::{
    super::{
        answer::Refusal,
        forward::{Counted, host_of},
    },
    bodies::{AnyBody, Guarded},
    judge::Judged,
    open::Told,
    tunnel::Inside,
};
use crate::{
    inspect::{self, BodyPace, WafOutcome},
    snapshot::CompiledWaf,
    telemetry::{WafFacts, waf_record},
};

/// A profile, and what it makes of the request.
struct Look {
    waf: Arc<CompiledWaf>,
    transaction: Box<Transaction>,
    outcome: WafOutcome,
}

/// What was read of a body.
struct Held {
    ahead: VecDeque<Bytes>,
    bytes: u64,
    /// Whether that is all of it.
    whole: bool,
    /// Whether there was no memory for more.
    spent: bool,
}

/// Inspects a request by the profiles of all entries that allow it, and gives its body on.
///
/// # Errors
/// 403 by a rule, unless the policy only reports; 408, 413 and 503 for a body that cannot be held.
pub(super) async fn inspect(
    inside: &Inside,
    judged: &Judged,
    (head, target): (&Parts, &str),
    body: Incoming,
    told: &mut Told,
) -> Result<AnyBody, Refusal> {
    let body = Counted::up(body, &told.traffic);
    let mut looks = Vec::new();
    for name in judged
        .inspections
        .iter()
        .filter_map(|wanted| wanted.waf.as_ref())
    {
        let waf = judged.egress.wafs.get(name);
        // It was there when the configuration was loaded.
        let waf = waf.ok_or_else(|| Refusal::new(503, "not_ready"))?;
        looks.push(Look::begin(waf, inside, (head, target), told)?);
    }
    if looks.is_empty() {
        return Ok(Guarded::request(VecDeque::new(), body, told.cut()));
    }
    let inspected = look_at_all(&mut looks, inside, judged, head, body, told).await;
    for look in looks {
        look.finish(inside, told);
    }
    inspected
}

async fn look_at_all(
    looks: &mut [Look],
    inside: &Inside,
    judged: &Judged,
    head: &Parts,
    mut body: Counted,
    told: &mut Told,
) -> Result<AnyBody, Refusal> {
    for look in looks.iter_mut() {
        let verdict = look.transaction.request_headers_end();
        look.act(verdict, judged, told)?;
    }
    let wants = |look: &&mut Look| look.transaction.wants_request_body();
    let limit = looks
        .iter_mut()
        .filter(wants)
        .map(|look| look.waf.profile.body_limit);
    let mut held = Held {
        ahead: VecDeque::new(),
        bytes: 0,
        whole: body.is_end_stream(),
        spent: false,
    };
    if let Some(limit) = limit.max().filter(|_| !body.is_end_stream()) {
        let refuses = |look: &Look| look.waf.profile.over_limit == BodyOverLimit::Refuse;
        let length = head.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) && looks.iter().all(refuses) {
            return Err(Refusal::new(413, "waf_body_too_large"));
        }
        held = hold(&mut body, limit, inside.limits.idle_timeout, told, inside).await?;
    }
    for look in looks.iter_mut() {
        look.body(&held)?;
        let verdict = look.transaction.request_body_end();
        look.act(verdict, judged, told)?;
        look.transaction.forget_found();
        look.transaction.release_request_body();
        let spent = look.waf.profile.buffers_spent;
        let counted = inspect::count_kept(
            &mut look.transaction,
            &mut told.held,
            &inside.services.budget,
            spent,
        );
        counted.map_err(|_| Refusal::new(503, "buffers_spent"))?;
    }
    Ok(Guarded::request(held.ahead, body, told.cut()))
}

impl Look {
    fn begin(
        waf: &Arc<CompiledWaf>,
        inside: &Inside,
        (head, target): (&Parts, &str),
        told: &Told,
    ) -> Result<Self, Refusal> {
        let options = inspect::options(waf, &told.record.id, SystemTime::now());
        let mut transaction = Box::new(Transaction::begin(Arc::clone(&waf.rules), options));
        let client = told.record.client;
        if let Some(server) = told.record.dialled {
            transaction.connection(Connection {
                client: client.ip(),
                client_port: client.port(),
                server: server.ip(),
                server_port: server.port(),
            });
        }
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
            waf: Arc::clone(waf),
            transaction,
            outcome: WafOutcome::Pass,
        })
    }

    /// Gives it what was read of a body.
    fn body(&mut self, held: &Held) -> Result<(), Refusal> {
        let profile = &self.waf.profile;
        if !self.transaction.wants_request_body() || held.whole && held.bytes == 0 {
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
        if !held.whole || held.bytes > profile.body_limit {
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
        for bytes in &held.ahead {
            self.transaction.request_body(bytes);
        }
        Ok(())
    }

    /// Acts on a verdict.
    fn act(&mut self, verdict: Verdict, judged: &Judged, told: &mut Told) -> Result<(), Refusal> {
        let Some(refusal) = inspect::refusal_of(verdict) else {
            return Ok(());
        };
        self.outcome = WafOutcome::Blocked;
        if let Some(inside) = &mut told.record.inside {
            inside.waf_rule = refusal.rule.as_ref().map(ToString::to_string);
        }
        let objected = judged.object("waf_blocked", &mut told.record);
        if objected.is_ok() {
            self.outcome = WafOutcome::Detected;
        }
        objected
    }

    fn finish(mut self, inside: &Inside, told: &mut Told) {
        self.transaction.elapsed(told.record.began.elapsed());
        let record = self.transaction.finish();
        if record.would_interrupt.is_some() && self.outcome == WafOutcome::Pass {
            self.outcome = WafOutcome::Detected;
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
    }
}

/// Reads a body up to a limit, within the memory for all of them; a byte now and then does not
/// keep that.
async fn hold(
    body: &mut Counted,
    limit: u64,
    idle: Duration,
    told: &mut Told,
    inside: &Inside,
) -> Result<Held, Refusal> {
    let mut held = Held {
        ahead: VecDeque::new(),
        bytes: 0,
        whole: false,
        spent: false,
    };
    let mut pace = BodyPace::new(MinBodyRate::default());
    let memory = told
        .held
        .get_or_insert_with(|| inside.services.budget.hold());
    while held.bytes <= limit {
        let began = std::time::Instant::now();
        let patience = pace.as_ref().map_or(idle, |pace| pace.left().min(idle));
        let frame = match tokio::time::timeout(patience, body.frame()).await {
            Err(_) => return Err(Refusal::new(408, "body_timeout")),
            Ok(None) => {
                held.whole = true;
                break;
            }
            Ok(Some(Err(_))) => return Err(Refusal::new(400, "bad_framing")),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers of a body that is held go with it.
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        if let Some(pace) = &mut pace {
            pace.waited(began.elapsed());
            pace.came(bytes.len());
        }
        held.bytes += bytes.len() as u64;
        let fits = memory.grow(bytes.len() as u64);
        held.ahead.push_back(bytes);
        if !fits {
            held.spent = true;
            break;
        }
    }
    Ok(held)
}
