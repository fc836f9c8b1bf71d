//! What one transaction of the WAF may hold and compute.

use std::{fmt::Display, ops::RangeInclusive};

use super::report::Report;
use crate::{
    document::{self, ByteSize},
    model::WafLimits,
};

/// A count that nobody reaches bounds nothing.
const COUNTS: RangeInclusive<u32> = 1..=1_000_000;

/// Of longer texts no more is told: secrets are not looked for behind it.
const AUDIT_TEXT: RangeInclusive<u64> = 16..=1024;

const BYTES: RangeInclusive<u64> = 1..=u64::MAX;

pub(super) fn limits(
    path: &str,
    wanted: Option<&document::WafLimits>,
    report: &mut Report<'_>,
) -> WafLimits {
    let mut limits = WafLimits::default();
    let Some(wanted) = wanted else {
        return limits;
    };
    let place = |field: &str| format!("{path}.limits.{field}");
    for (field, wanted, limit) in [
        (
            "maxArguments",
            wanted.max_arguments,
            &mut limits.max_arguments,
        ),
        ("maxHeaders", wanted.max_headers, &mut limits.max_headers),
        ("maxCookies", wanted.max_cookies, &mut limits.max_cookies),
        (
            "maxJsonDepth",
            wanted.max_json_depth,
            &mut limits.max_json_depth,
        ),
        (
            "maxXmlDepth",
            wanted.max_xml_depth,
            &mut limits.max_xml_depth,
        ),
        (
            "maxXmlAttributes",
            wanted.max_xml_attributes,
            &mut limits.max_xml_attributes,
        ),
        ("maxParts", wanted.max_parts, &mut limits.max_parts),
        ("maxFiles", wanted.max_files, &mut limits.max_files),
        ("maxMatches", wanted.max_matches, &mut limits.max_matches),
        (
            "maxTxVariables",
            wanted.max_tx_variables,
            &mut limits.max_tx_variables,
        ),
        (
            "maxAuditMatches",
            wanted.max_audit_matches,
            &mut limits.max_audit_matches,
        ),
    ] {
        let hint = || format!("use {} to {}", COUNTS.start(), COUNTS.end());
        set(&place(field), wanted, COUNTS, hint, limit, report);
    }
    for (field, wanted, range, limit) in [
        (
            "maxJsonNames",
            wanted.max_json_names,
            BYTES,
            &mut limits.max_json_names,
        ),
        ("maxWork", wanted.max_work, BYTES, &mut limits.max_work),
        (
            "maxAuditText",
            wanted.max_audit_text,
            AUDIT_TEXT,
            &mut limits.max_audit_text,
        ),
    ] {
        let hint = || match *range.end() {
            u64::MAX => "use 1B or more".to_owned(),
            most => format!("use {} to {}", ByteSize(*range.start()), ByteSize(most)),
        };
        let wanted = wanted.map(|size| size.0);
        set(&place(field), wanted, range.clone(), hint, limit, report);
    }
    limits
}

fn set<T: Copy + PartialOrd + Display>(
    place: &str,
    wanted: Option<T>,
    range: RangeInclusive<T>,
    hint: impl Fn() -> String,
    limit: &mut T,
    report: &mut Report<'_>,
) {
    match wanted {
        Some(wanted) if range.contains(&wanted) => *limit = wanted,
        Some(wanted) => {
            let reason = format!("{wanted} is no bound here");
            report.error_hint(place, reason, hint());
        }
        None => {}
    }
}
