//! Changes to headers.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::{report::Report, text};
use crate::{document, model::HeaderChanges};

pub(super) fn changes(
    path: &str,
    wanted: Option<&document::HeaderChanges>,
    report: &mut Report<'_>,
) -> HeaderChanges {
    let Some(wanted) = wanted else {
        return HeaderChanges::default();
    };
    let mut remove = Vec::new();
    for (index, name) in wanted.remove.iter().enumerate() {
        let place = format!("{path}.remove[{index}]");
        remove.extend(report.ok(&place, text::changeable_header(name)));
    }
    HeaderChanges {
        remove,
        set: pairs(&format!("{path}.set"), &wanted.set, report),
        add: pairs(&format!("{path}.add"), &wanted.add, report),
    }
}

fn pairs(
    path: &str,
    wanted: &BTreeMap<String, String>,
    report: &mut Report<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut pairs: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, value) in wanted {
        let place = format!("{path}.{name}");
        let parsed = report.ok(&place, text::changeable_header(name));
        let value = report.ok(&place, text::header_value(value));
        if let Some(known) = &parsed
            && pairs.iter().any(|(other, _)| other == known)
        {
            let reason = format!("the header {known} stands twice; its case does not matter");
            report.error(&place, reason);
        }
        pairs.extend(parsed.zip(value));
    }
    pairs
}
