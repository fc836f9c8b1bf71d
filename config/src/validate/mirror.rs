//! Mirrors of a rule.

use std::sync::Arc;

use super::{Names, action, report::Report};
use crate::{
    document::{self, MirrorBody},
    model::Mirror,
};

/// Mirrors of one rule.
const MAX_MIRRORS: usize = 16;
const DEFAULT_MAX_BODY: u64 = 64 << 10;

/// The mirrors of a rule. One with an error is left out: the requests
/// themselves are not to suffer from it.
pub(super) fn mirrors(
    path: &str,
    rule: &document::Rule,
    names: &Names,
    report: &mut Report<'_>,
) -> Vec<Mirror> {
    let path = format!("{path}.mirrors");
    if !rule.mirrors.is_empty() && (rule.redirect.is_some() || rule.respond.is_some()) {
        report.error(&path, "a rule that answers by itself mirrors nothing");
    }
    if rule.mirrors.len() > MAX_MIRRORS {
        report.error(&path, format!("a rule has at most {MAX_MIRRORS} mirrors"));
    }
    let mirrors = rule.mirrors.iter().take(MAX_MIRRORS).enumerate();
    mirrors
        .filter_map(|(index, wanted)| mirror(&format!("{path}[{index}]"), wanted, names, report))
        .collect()
}

fn mirror(
    path: &str,
    wanted: &document::Mirror,
    names: &Names,
    report: &mut Report<'_>,
) -> Option<Mirror> {
    let percent = wanted.percent.unwrap_or(100.0);
    let per_million = (percent * 10_000.0).round();
    // Not a number is in no range.
    if !(0.0..=1_000_000.0).contains(&per_million) {
        let place = format!("{path}.percent");
        report.error(place, format!("{percent} is not between 0 and 100"));
        return None;
    }
    if percent > 0.0 && per_million == 0.0 {
        let place = format!("{path}.percent");
        report.error_hint(place, format!("{percent} is too little"), "at least 0.0001");
    }
    let backend = match names.backends.get(&wanted.backend) {
        Some(Some(found)) => Arc::clone(found),
        // It is told where that has its error.
        Some(None) => {
            report.give_up();
            return None;
        }
        None => {
            let known = names.backends.keys().map(String::as_str);
            let place = format!("{path}.backend");
            report.unknown(&place, "backends", "backend", &wanted.backend, known);
            return None;
        }
    };
    action::refuse_tcp_backend(&format!("{path}.backend"), &backend, report);
    let copies_body = wanted.request_body != Some(MirrorBody::Off);
    if !copies_body && wanted.max_body_size.is_some() {
        report.error_hint(
            format!("{path}.maxBodySize"),
            "with `requestBody: off` a request is copied whatever the size of its body",
            "take out one of both",
        );
    }
    Some(Mirror {
        copies_body,
        backend,
        per_million: per_million as u32,
        max_body_size: wanted.max_body_size.map_or(DEFAULT_MAX_BODY, |size| size.0),
    })
}
