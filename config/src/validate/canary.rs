//! The canary of a rule.

use super::{Names, action, report::Report, text};
use crate::{
    document,
    model::{Canary, CanaryHeader, HeaderMatch, ValueMatch},
};

const DEFAULT_TOTAL: u32 = 100;
const MAX_TOTAL: u32 = 1_000_000;

/// The canary of a rule. Where its backend is missing its share gets 503, as
/// with any backend.
pub(super) fn canary(
    path: &str,
    rule: &document::Rule,
    names: &Names,
    report: &mut Report<'_>,
) -> Option<Canary> {
    let wanted = rule.canary.as_ref()?;
    let path = format!("{path}.canary");
    if rule.redirect.is_some() || rule.respond.is_some() {
        report.error(&path, "a rule that answers by itself has no canary");
    } else if rule.backends.is_empty() {
        report.error(
            &path,
            "a canary stands beside `backends`, and there are none",
        );
    }
    let place = format!("{path}.backend");
    let backend = action::backend(&place, &wanted.backend, names, report);
    action::refuse_tcp_backend(&place, &backend, report);
    let header = wanted
        .header
        .as_ref()
        .map(|header| self::header(&format!("{path}.header"), header, report));
    if let Some(cookie) = &wanted.cookie {
        report.ok(&format!("{path}.cookie"), text::cookie_name(cookie));
    }
    let total = wanted.weight_total.unwrap_or(DEFAULT_TOTAL);
    let weight = wanted.weight.unwrap_or(0);
    if !(1..=MAX_TOTAL).contains(&total) {
        let place = format!("{path}.weightTotal");
        report.error(place, format!("{total} is not between 1 and {MAX_TOTAL}"));
    } else if weight > total {
        report.error_hint(
            format!("{path}.weight"),
            format!("{weight} is more than {total}, which is all"),
            "shares are of `weightTotal`, 100 by default",
        );
    }
    if wanted.header.is_none() && wanted.cookie.is_none() && weight == 0 {
        report.warn(
            &path,
            "without a header, a cookie and a weight nothing reaches the canary",
        );
    }
    Some(Canary {
        backend,
        // With an error in its header it says nothing.
        header: header.flatten(),
        cookie: wanted.cookie.clone(),
        weight: weight.min(total),
        total: total.clamp(1, MAX_TOTAL),
    })
}

fn header(
    path: &str,
    wanted: &document::CanaryHeader,
    report: &mut Report<'_>,
) -> Option<CanaryHeader> {
    let name = report.ok(&format!("{path}.name"), text::header_name(&wanted.name))?;
    let value = match (&wanted.exact, &wanted.regex) {
        (None, None) => return Some(CanaryHeader::Word(name)),
        (Some(exact), None) => {
            report.ok(&format!("{path}.exact"), text::header_value(exact))?;
            ValueMatch::Exact(exact.clone())
        }
        (None, Some(pattern)) => {
            ValueMatch::Regex(report.ok(&format!("{path}.regex"), text::whole_regex(pattern))?)
        }
        (Some(_), Some(_)) => {
            report.error(path, "exact and regex: one of them is expected");
            return None;
        }
    };
    Some(CanaryHeader::Value(HeaderMatch { name, value }))
}
