//! The egress proxy.

use super::report::Report;
use crate::{document, model};

pub(super) fn egress(_section: &document::Egress, _report: &mut Report<'_>) -> model::Egress {
    model::Egress::default()
}
