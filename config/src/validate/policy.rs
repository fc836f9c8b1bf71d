//! Policies and their inheritance.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Names, report::Report};
use crate::{
    document,
    model::{Policies, Timeouts},
};

const DEFAULT_MAX_BODY: u64 = 10 << 20;

/// The policies of one rule: each field from the nearest of the levels, which
/// come with their paths, nearest first.
///
/// The second value tells whether every security control could be built.
pub(super) fn policies(
    levels: &[(String, &document::Policies)],
    names: &Names,
    report: &mut Report<'_>,
) -> (Policies, bool) {
    let nearest =
        |has: &dyn Fn(&document::Policies) -> bool| levels.iter().find(|(_, level)| has(level));
    let mut complete = true;
    let mut lookup = |found: bool| complete &= found;

    let mut access = Vec::new();
    if let Some((path, level)) = nearest(&|level| level.access.is_some()) {
        for (index, name) in level.access.iter().flatten().enumerate() {
            let place = format!("{path}.access[{index}]");
            let found = resolve(
                &place,
                "accessLists",
                "access list",
                name,
                &names.access_lists,
                report,
            );
            lookup(found.is_some());
            access.extend(found);
        }
    }
    let mut rate_limits = Vec::new();
    if let Some((path, level)) = nearest(&|level| level.rate_limits.is_some()) {
        for (index, name) in level.rate_limits.iter().flatten().enumerate() {
            let place = format!("{path}.rateLimits[{index}]");
            let found = resolve(
                &place,
                "rateLimits",
                "rate limit",
                name,
                &names.rate_limits,
                report,
            );
            lookup(found.is_some());
            rate_limits.extend(found);
        }
    }
    let mut waf = None;
    if let Some((path, level)) = nearest(&|level| level.waf.is_some())
        && let Some(wanted) = &level.waf
    {
        match &wanted.profile {
            Some(name) => {
                let place = format!("{path}.waf.profile");
                let found = resolve(
                    &place,
                    "wafProfiles",
                    "WAF profile",
                    name,
                    &names.waf_profiles,
                    report,
                );
                lookup(found.is_some());
                waf = found
                    .map(|profile| (profile.name.clone(), wanted.mode.unwrap_or(profile.mode)));
            }
            None if wanted.mode.is_some() => {
                report.error_hint(
                    format!("{path}.waf"),
                    "a WAF mode without a profile",
                    "name one with `profile:`",
                );
                complete = false;
            }
            None => {}
        }
    }
    let max_body =
        nearest(&|level| level.max_body_size.is_some()).and_then(|(_, level)| level.max_body_size);
    let policies = Policies {
        access,
        rate_limits,
        max_body_size: match max_body {
            None => Some(DEFAULT_MAX_BODY),
            Some(size) => (size.0 > 0).then_some(size.0),
        },
        waf,
        timeouts: timeouts(levels, report),
    };
    (policies, complete)
}

fn resolve<T>(
    path: &str,
    list: &str,
    what: &str,
    name: &str,
    known: &BTreeMap<String, Arc<T>>,
    report: &mut Report<'_>,
) -> Option<Arc<T>> {
    let found = known.get(name).cloned();
    if found.is_none() {
        report.unknown(path, list, what, name, known.keys().map(String::as_str));
    }
    found
}

fn timeouts(levels: &[(String, &document::Policies)], report: &mut Report<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut field = |name: &str,
                     get: &dyn Fn(&document::Timeouts) -> Option<document::Duration>,
                     default: Duration| {
        for (path, level) in levels {
            if let Some(time) = level.timeouts.as_ref().and_then(get) {
                if time.0.is_zero() {
                    report.error(
                        format!("{path}.timeouts.{name}"),
                        "a timeout must be more than 0",
                    );
                }
                return time.0;
            }
        }
        default
    };
    Timeouts {
        connect: field("connect", &|times| times.connect, default.connect),
        read: field("read", &|times| times.read, default.read),
        write: field("write", &|times| times.write, default.write),
        client_read: field(
            "clientRead",
            &|times| times.client_read,
            default.client_read,
        ),
    }
}
