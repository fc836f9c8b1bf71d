//! The canary of a rule: which requests it gets.

use std::sync::Arc;

use http::HeaderMap;
use portcullis_config::route::CanaryChoice;

use crate::snapshot::{CompiledBackend, CompiledRule};

/// The backend of the canary, where a request is for it.
pub(super) fn chosen<'r>(
    headers: &HeaderMap,
    rule: &'r CompiledRule,
) -> Option<&'r Arc<CompiledBackend>> {
    let backend = rule.canary.as_ref()?;
    let canary = rule.rule.canary.as_ref()?;
    let for_it = match canary.choice(headers) {
        CanaryChoice::Always => true,
        CanaryChoice::Never => false,
        // Drawn, and not in turn: what a page asks for together would always part
        // in the same way.
        CanaryChoice::Share => fastrand::u32(..canary.total) < canary.weight,
    };
    for_it.then_some(backend)
}
