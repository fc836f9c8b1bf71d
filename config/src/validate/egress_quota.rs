//! Quotas of the egress proxy, and where they may stand.

use std::collections::HashMap;

use super::report::Report;
use crate::{
    document,
    egress::{EgressQuota, EgressRules},
};

/// A quota of what stands at `path`; `None` where there is none, or it cannot count.
pub(super) fn quota(
    path: &str,
    wanted: Option<&document::EgressQuota>,
    report: &mut Report<'_>,
) -> Option<EgressQuota> {
    let wanted = wanted?;
    let path = format!("{path}.quota");
    let bytes_out = wanted.bytes_out.map(|size| size.0);
    for (field, is_zero) in [
        ("bytesOut", bytes_out == Some(0)),
        ("connections", wanted.connections == Some(0)),
    ] {
        if is_zero {
            report.error_hint(
                format!("{path}.{field}"),
                format!("{field} must be at least 1"),
                "what nobody may reach is named in `deny`, or not in `allow`",
            );
        }
    }
    if wanted.window.is_some_and(|window| window.0.is_zero()) {
        report.error(format!("{path}.window"), "window must be more than 0");
    }
    if wanted
        .window
        .is_some_and(|window| window.0 > EgressQuota::MAX_WINDOW)
    {
        report.error(
            format!("{path}.window"),
            "window is at most 31d: what was used is remembered for so long",
        );
    }
    if wanted.window.is_some() && bytes_out.is_none() {
        report.error(
            format!("{path}.window"),
            "window is the time of bytesOut, which is not set",
        );
    }
    if bytes_out.is_none() && wanted.connections.is_none() && wanted.rate.is_none() {
        report.error(
            path,
            "a quota has bytesOut, connections or rate, at least one of them",
        );
        return None;
    }
    Some(EgressQuota {
        bytes_out,
        window: wanted
            .window
            .map_or(EgressQuota::DEFAULT_WINDOW, |window| window.0),
        connections: wanted.connections,
        rate: wanted.rate,
    })
}

/// Refuses quotas in a list whose entries let nothing be used.
pub(super) fn none(path: &str, rules: &EgressRules, report: &mut Report<'_>) {
    for rule in rules.iter().filter(|rule| rule.quota.is_some()) {
        report.error_hint(
            path,
            format!("{} has a quota, and nothing is used by it", rule.text),
            "quotas stand in entries of `allow`, or in the policy itself",
        );
    }
}

/// Refuses different quotas of entries of one list that are counted as one.
pub(super) fn one_each(path: &str, rules: &EgressRules, report: &mut Report<'_>) {
    let mut known = HashMap::new();
    for rule in rules.iter() {
        let Some(quota) = rule.quota else { continue };
        if *known.entry(&rule.text).or_insert(quota) != quota {
            report.error_hint(
                path,
                format!("{} has two quotas", rule.text),
                "entries of one destination share their count: give them the same quota",
            );
        }
    }
}
