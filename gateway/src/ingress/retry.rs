//! Whether a request is tried again at a backend.

use std::time::Instant;

use portcullis_config::model::RetryOn;

use super::RequestContext;
use crate::{
    snapshot::{CompiledBackend, CompiledRule},
    upstream::{Fault, FaultKind},
};

/// How far an attempt had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// There was no connection.
    Nothing,
    /// A connection of its own.
    New,
    /// A connection that others had used.
    Kept,
}

/// What of a request matters for sending it again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeatable {
    /// Its method is idempotent (RFC 9110 section 9.2.2).
    pub(super) idempotent: bool,
    /// What was sent of its body is there still.
    pub(super) body: bool,
}

/// Whether a request whose attempt failed is tried again.
pub(super) fn after_fault(
    ctx: &RequestContext,
    rule: &CompiledRule,
    backend: &CompiledBackend,
    (fault, reached): (&Fault, Reached),
    (request, began): (Repeatable, Instant),
) -> bool {
    let (cause, any_method, any_endpoint) = match fault.kind {
        _ if fault.untouched => (
            RetryOn::ConnectFailure,
            true,
            // It spoke, and another stream or connection will do.
            reached != Reached::Nothing,
        ),
        FaultKind::Closed => (RetryOn::Closed, false, reached == Reached::Kept),
        FaultKind::Timeout | FaultKind::Late => (RetryOn::Timeout, false, false),
        _ => return false,
    };
    rule.rule.policies.retries.on.contains(&cause)
        && (any_method || request.idempotent)
        && (any_endpoint || backend.has_other(&ctx.tried))
        && is_possible(ctx, request)
        && (has_attempts(ctx, rule) || reached == Reached::Nothing && may_go_on(ctx, rule, began))
        && match reached {
            // Nobody was sent anything: trying elsewhere multiplies nothing.
            Reached::Nothing => {
                backend.metrics.retry(true);
                true
            }
            Reached::New | Reached::Kept => is_affordable(backend),
        }
}

/// Whether a request is tried again because of the status of its answer, whose
/// endpoint does not count as tried yet.
pub(super) fn after_status(
    ctx: &RequestContext,
    rule: &CompiledRule,
    status: u16,
    request: Repeatable,
) -> bool {
    let mut statuses = rule.rule.policies.retries.statuses.iter();
    if !statuses.any(|range| range.contains(status)) || !request.idempotent {
        return false;
    }
    let (Some(backend), Some(at_work)) = (&ctx.backend, &ctx.at_work) else {
        return false;
    };
    let mut tried = ctx.tried.clone();
    tried.push(at_work.endpoint().address);
    // An answer is worth more than what an endpoint that is down would give.
    backend.has_other_up(&tried)
        && is_possible(ctx, request)
        && has_attempts(ctx, rule)
        && is_affordable(backend)
}

/// Endpoints that are tried beyond what is allowed while nobody was sent the request.
const MORE: u32 = 8;

/// What holds for any cause.
fn is_possible(ctx: &RequestContext, request: Repeatable) -> bool {
    ctx.upstream_answered.is_none() && request.body
}

fn has_attempts(ctx: &RequestContext, rule: &CompiledRule) -> bool {
    ctx.attempts <= rule.rule.policies.retries.attempts
}

/// Whether a request that no endpoint was sent may go on looking for one: when several are gone
/// at once, as many attempts as are allowed may all meet those.
fn may_go_on(ctx: &RequestContext, rule: &CompiledRule, began: Instant) -> bool {
    let policies = &rule.rule.policies;
    let most = policies.retries.attempts.saturating_add(MORE);
    policies.retries.attempts > 0
        && ctx.attempts <= most
        && began.elapsed() < policies.timeouts.connect
}

/// Whether the budget has one more; to be asked last, since asking takes from it.
fn is_affordable(backend: &CompiledBackend) -> bool {
    let allowed = backend.may_retry();
    backend.metrics.retry(allowed);
    allowed
}
