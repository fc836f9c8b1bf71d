//! Which backend of its rule a request goes to.
//!
//! ```text
//! header, cookie of the canary --> always: the canary    never: not the canary
//!       | nothing
//! cookie of `sticky` --> the backend of before
//!       | none, or one that is not there any more
//! the weights
//! ```

use std::sync::Arc;

use http::HeaderMap;
use pingora::http::RequestHeader;
use portcullis_config::route::CanaryChoice;

use super::{RequestContext, affinity};
use crate::snapshot::{CompiledBackend, CompiledRule};

/// Chooses the backend of a request; `None` where none gets a share.
pub(super) fn choose(
    request: &RequestHeader,
    ctx: &mut RequestContext,
    rule: &CompiledRule,
) -> Option<Arc<CompiledBackend>> {
    let choice = asked_for(&request.headers, rule);
    if choice == CanaryChoice::Always {
        return rule.canary.clone();
    }
    let stays = stays_with(request, rule).filter(|backend| {
        let is_canary = rule
            .canary
            .as_ref()
            .is_some_and(|canary| Arc::ptr_eq(canary, backend));
        choice != CanaryChoice::Never || !is_canary
    });
    if let Some(backend) = stays {
        return Some(Arc::clone(backend));
    }
    let backend = match choice {
        CanaryChoice::Share => drawn(rule),
        CanaryChoice::Always | CanaryChoice::Never => None,
    };
    let backend = backend.or_else(|| rule.targets.as_ref()?.next())?;
    // Who asks for one by a word is not to stay with it without the word.
    if choice == CanaryChoice::Share
        && let (Some(sticky), Some(cookie)) = (&rule.sticky, &rule.rule.sticky)
        && let Some(name) = sticky.name_of(backend)
    {
        ctx.sticky_cookie = affinity::set_cookie(ctx, cookie, name);
    }
    Some(Arc::clone(backend))
}

fn asked_for(headers: &HeaderMap, rule: &CompiledRule) -> CanaryChoice {
    match (&rule.canary, &rule.rule.canary) {
        (Some(_), Some(canary)) => canary.choice(headers),
        _ => CanaryChoice::Share,
    }
}

/// The backend of before, where it has an endpoint still.
fn stays_with<'r>(
    request: &RequestHeader,
    rule: &'r CompiledRule,
) -> Option<&'r Arc<CompiledBackend>> {
    let (sticky, cookie) = (rule.sticky.as_ref()?, rule.rule.sticky.as_ref()?);
    let backend = sticky.find(&affinity::names(request, cookie))?;
    backend.has_other(&[]).then_some(backend)
}

/// The canary, where its weight says so. Drawn, and not in turn: what a page asks
/// for together would always part in the same way.
fn drawn(rule: &CompiledRule) -> Option<&Arc<CompiledBackend>> {
    let (backend, canary) = (rule.canary.as_ref()?, rule.rule.canary.as_ref()?);
    (fastrand::u32(..canary.total) < canary.weight).then_some(backend)
}
