//! Policies and their inheritance.

use std::{sync::Arc, time::Duration};

use super::{Known, Names, report::Report};
use crate::{
    document,
    model::{
        AccessList, Authentication, EncodedSlashes, Policies, RateLimit, Satisfy, Timeouts, WafMode,
    },
};

const DEFAULT_MAX_BODY: u64 = 10 << 20;

/// The policies that stand in one place, resolved; `None` where it says nothing.
#[derive(Default)]
pub(super) struct Level {
    access: Option<Control<Vec<Arc<AccessList>>>>,
    authentication: Option<Control<Vec<Arc<Authentication>>>>,
    satisfy: Option<Satisfy>,
    rate_limits: Option<Control<Vec<Arc<RateLimit>>>>,
    max_body_size: Option<u64>,
    encoded_slashes: Option<EncodedSlashes>,
    waf: Option<Control<Option<(String, WafMode)>>>,
    timeouts: document::Timeouts,
}

/// A security control, or that it cannot be built.
type Control<T> = Result<T, Broken>;

/// A control that a rule must have, and that is missing or has an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

impl Level {
    /// Policies that could not be read; a rule that inherits from them lacks its controls.
    pub(super) fn broken() -> Self {
        Self {
            access: Some(Err(Broken)),
            authentication: Some(Err(Broken)),
            rate_limits: Some(Err(Broken)),
            waf: Some(Err(Broken)),
            ..Self::default()
        }
    }
}

/// Resolves the policies that stand in one place.
pub(super) fn level(
    path: &str,
    policies: Option<&document::Policies>,
    names: &Names,
    report: &mut Report<'_>,
) -> Level {
    let Some(policies) = policies else {
        return Level::default();
    };
    Level {
        access: policies.access.as_ref().map(|wanted| {
            let list = ("accessLists", "access list");
            resolve_all(
                &format!("{path}.access"),
                list,
                wanted,
                &names.access_lists,
                report,
            )
        }),
        authentication: policies.authentication.as_ref().map(|wanted| {
            let list = ("authentications", "authentication");
            let place = format!("{path}.authentication");
            resolve_all(&place, list, wanted, &names.authentications, report)
        }),
        satisfy: policies.satisfy,
        rate_limits: policies.rate_limits.as_ref().map(|wanted| {
            let list = ("rateLimits", "rate limit");
            resolve_all(
                &format!("{path}.rateLimits"),
                list,
                wanted,
                &names.rate_limits,
                report,
            )
        }),
        max_body_size: policies.max_body_size.map(|size| size.0),
        encoded_slashes: policies.encoded_slashes,
        waf: policies
            .waf
            .as_ref()
            .map(|wanted| waf(&format!("{path}.waf"), wanted, names, report)),
        timeouts: policies
            .timeouts
            .as_ref()
            .map(|wanted| timeouts(&format!("{path}.timeouts"), wanted, report))
            .unwrap_or_default(),
    }
}

/// The policies of one rule: each field from the first level that has it.
///
/// The second value tells whether every security control could be built.
pub(super) fn inherit(levels: [&Level; 3]) -> (Policies, bool) {
    let access = nearest(levels, |level| level.access.as_ref());
    let authentication = nearest(levels, |level| level.authentication.as_ref());
    let rate_limits = nearest(levels, |level| level.rate_limits.as_ref());
    let waf = nearest(levels, |level| level.waf.as_ref());
    let complete = access.is_ok() && authentication.is_ok() && rate_limits.is_ok() && waf.is_ok();
    let max_body_size = levels.iter().find_map(|level| level.max_body_size);
    let time = |get: fn(&document::Timeouts) -> Option<document::Duration>, default: Duration| {
        let found = levels.iter().find_map(|level| get(&level.timeouts));
        found.map_or(default, |time| time.0)
    };
    let default = Timeouts::default();
    let policies = Policies {
        access: access.unwrap_or_default(),
        authentication: authentication.unwrap_or_default(),
        satisfy: levels
            .iter()
            .find_map(|level| level.satisfy)
            .unwrap_or_default(),
        rate_limits: rate_limits.unwrap_or_default(),
        max_body_size: match max_body_size {
            Some(0) => None,
            size => Some(size.unwrap_or(DEFAULT_MAX_BODY)),
        },
        encoded_slashes: levels
            .iter()
            .find_map(|level| level.encoded_slashes)
            .unwrap_or_default(),
        waf: waf.unwrap_or_default(),
        timeouts: Timeouts {
            connect: time(|times| times.connect, default.connect),
            read: time(|times| times.read, default.read),
            write: time(|times| times.write, default.write),
            client_read: time(|times| times.client_read, default.client_read),
            client_write: time(|times| times.client_write, default.client_write),
        },
    };
    (policies, complete)
}

fn nearest<'a, T: Clone + Default + 'a>(
    levels: [&'a Level; 3],
    get: impl Fn(&'a Level) -> Option<&'a Control<T>>,
) -> Control<T> {
    let found = levels.into_iter().find_map(get);
    found.cloned().unwrap_or_else(|| Ok(T::default()))
}

/// Resolves the names of one list, which comes with its section and its word.
fn resolve_all<T>(
    path: &str,
    list: (&str, &str),
    wanted: &[String],
    known: &Known<T>,
    report: &mut Report<'_>,
) -> Control<Vec<Arc<T>>> {
    let found: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(index, name)| resolve(&format!("{path}[{index}]"), list, name, known, report))
        .collect();
    found.into_iter().collect()
}

fn resolve<T>(
    path: &str,
    (list, what): (&str, &str),
    name: &str,
    known: &Known<T>,
    report: &mut Report<'_>,
) -> Control<Arc<T>> {
    match known.get(name) {
        Some(found) => found.clone().ok_or(Broken),
        None => {
            report.unknown(path, list, what, name, known.keys().map(String::as_str));
            Err(Broken)
        }
    }
}

fn waf(
    path: &str,
    wanted: &document::RouteWaf,
    names: &Names,
    report: &mut Report<'_>,
) -> Control<Option<(String, WafMode)>> {
    let Some(name) = &wanted.profile else {
        if wanted.mode.is_none() {
            return Ok(None);
        }
        report.error_hint(
            path,
            "a WAF mode without a profile",
            "name one with `profile:`",
        );
        return Err(Broken);
    };
    let list = ("wafProfiles", "WAF profile");
    let place = format!("{path}.profile");
    let profile = resolve(&place, list, name, &names.waf_profiles, report)?;
    Ok(Some((
        profile.name.clone(),
        wanted.mode.unwrap_or(profile.mode),
    )))
}

/// Judges the timeouts of one place; one of 0 is as if it were not there.
fn timeouts(
    path: &str,
    wanted: &document::Timeouts,
    report: &mut Report<'_>,
) -> document::Timeouts {
    let mut positive = |field: &str, time: Option<document::Duration>| {
        let zero = time.is_some_and(|time| time.0.is_zero());
        if zero {
            report.error(format!("{path}.{field}"), "a timeout must be more than 0");
        }
        time.filter(|_| !zero)
    };
    document::Timeouts {
        connect: positive("connect", wanted.connect),
        read: positive("read", wanted.read),
        write: positive("write", wanted.write),
        client_read: positive("clientRead", wanted.client_read),
        client_write: positive("clientWrite", wanted.client_write),
    }
}
