//! The memory that the engine takes for a body, beside the body that is held.

use std::sync::Arc;

use portcullis_config::model::BuffersSpent;
use portcullis_waf::Transaction;

use super::{BodyBudget, Hold};
use crate::ingress::{Refusal, Stage};

/// Counts what the engine keeps of bodies: its copy, decoded, and what was taken out of it.
///
/// It is counted when it is there, since nobody can tell before how many arguments a body
/// has: the budget is exceeded by one body for each thread at most.
///
/// # Errors
/// Where the budget is spent and the profile does not let such bodies pass. Where it does,
/// the engine forgets them.
pub(crate) fn count_kept(
    transaction: &mut Transaction,
    hold: &mut Option<Hold>,
    budget: &Arc<BodyBudget>,
    spent: BuffersSpent,
) -> Result<(), Refusal> {
    let hold = hold.get_or_insert_with(|| budget.hold());
    if hold.grow_until(transaction.body_memory() as u64) {
        return Ok(());
    }
    match spent {
        BuffersSpent::Refuse => {
            // Whoever reads the refusal may be slow, and memory is what there is none of.
            transaction.forget_bodies();
            Err(Refusal::new(503, Stage::Body, "buffers-spent"))
        }
        BuffersSpent::Skip => {
            transaction.forget_bodies();
            Ok(())
        }
    }
}
