//! Whether rules behind phase 2 read what came in the body of a request.

use super::{Decision, PHASES, Placed, Rule};
use crate::{actions::Effect, variables::Expansion};

/// The first phase in which the body of a request is of no use to most rule sets.
const LATE: usize = 2;

/// Tells whether a rule of phases 3 to 5 reads a value of a request body. Where none does,
/// a transaction need not keep any while its response is on its way.
pub(super) fn reads_request_body(phases: &[Vec<Placed>; PHASES]) -> bool {
    phases[LATE..].iter().flatten().any(|placed| reads(placed))
}

fn reads(rule: &Rule) -> bool {
    let location = match &rule.decision {
        Decision::Redirect { location, .. } => Some(location),
        Decision::Pass | Decision::Deny { .. } | Decision::Drop | Decision::Allow(_) => None,
    };
    let mut texts = [&rule.message, &rule.log_data]
        .into_iter()
        .flatten()
        .chain(&rule.tags)
        .chain(location);
    texts.any(Expansion::reads_request_body)
        || rule.links.iter().any(|link| {
            let mut targets = link.targets.iter();
            let mut effects = link.effects.iter();
            let condition = link.condition.as_ref();
            targets.any(|target| target.pattern.variable.is_kept_of_request_body())
                || condition.is_some_and(|condition| {
                    let text = condition.operator.text();
                    text.is_some_and(Expansion::reads_request_body)
                })
                || effects.any(|effect| match effect {
                    Effect::SetVariable(set) => set.texts().any(Expansion::reads_request_body),
                    Effect::OpenCollection(open) => open.key().reads_request_body(),
                    // It hides values of arguments by their names, which must be known.
                    Effect::Sanitise(_) => true,
                    Effect::Control(_) => false,
                })
        })
}
