//! Policies and their inheritance.

use std::{sync::Arc, time::Duration};

use super::{
    Known, Names, compression::compression, cors::cors, report::Report, waf_tuning::route_waf,
};
use crate::{
    document,
    model::{
        AccessList, Authentication, Compression, Cors, EncodedSlashes, ErrorPages, Https,
        MinBodyRate, Policies, RateLimit, ResponseBandwidth, Retries, RouteWaf, Satisfy, Timeouts,
    },
};

const DEFAULT_MAX_BODY: u64 = 10 << 20;
/// Attempts after the first that can be asked for.
const MAX_RETRIES: u32 = 10;

/// The policies that stand in one place, resolved; `None` where it says nothing.
#[derive(Default)]
pub(super) struct Level {
    access: Option<Control<Vec<Arc<AccessList>>>>,
    authentication: Option<Control<Vec<Arc<Authentication>>>>,
    satisfy: Option<Satisfy>,
    rate_limits: Option<Control<Vec<Arc<RateLimit>>>>,
    https: Option<Https>,
    max_body_size: Option<u64>,
    encoded_slashes: Option<EncodedSlashes>,
    waf: Option<Control<Option<Arc<RouteWaf>>>>,
    pub(super) error_pages: Option<Vec<Arc<ErrorPages>>>,
    cors: Option<Control<Option<Arc<Cors>>>>,
    compression: Option<Option<Arc<Compression>>>,
    response_bandwidth: document::ResponseBandwidth,
    min_body_rate: document::MinBodyRate,
    timeouts: document::Timeouts,
    retries: document::Retries,
}

/// A security control, or that it cannot be built.
pub(super) type Control<T> = Result<T, Broken>;

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
        https: policies.https,
        max_body_size: policies.max_body_size.map(|size| size.0),
        encoded_slashes: policies.encoded_slashes,
        waf: policies.waf.as_ref().map(|wanted| {
            let built = route_waf(&format!("{path}.waf"), wanted, names, report)?;
            Ok(built.map(Arc::new))
        }),
        // No security hangs on these: where one is missing the gateway's own text serves.
        error_pages: policies.error_pages.as_ref().map(|wanted| {
            let list = ("errorPages", "set of error pages");
            let place = format!("{path}.errorPages");
            resolve_all(&place, list, wanted, &names.error_pages, report).unwrap_or_default()
        }),
        cors: policies.cors.as_ref().map(|wanted| {
            let built = cors(&format!("{path}.cors"), wanted, report)?;
            Ok(built.map(Arc::new))
        }),
        compression: policies.compression.as_ref().map(|wanted| {
            compression(&format!("{path}.compression"), wanted, report).map(Arc::new)
        }),
        response_bandwidth: policies.response_bandwidth.clone().unwrap_or_default(),
        min_body_rate: policies
            .min_body_rate
            .as_ref()
            .map(|wanted| min_body_rate(&format!("{path}.minBodyRate"), wanted, report))
            .unwrap_or_default(),
        timeouts: policies
            .timeouts
            .as_ref()
            .map(|wanted| timeouts(&format!("{path}.timeouts"), wanted, report))
            .unwrap_or_default(),
        retries: policies
            .retries
            .as_ref()
            .map(|wanted| retries(&format!("{path}.retries"), wanted, report))
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
    let cors = nearest(levels, |level| level.cors.as_ref());
    let complete = access.is_ok()
        && authentication.is_ok()
        && rate_limits.is_ok()
        && waf.is_ok()
        && cors.is_ok();
    let max_body_size = levels.iter().find_map(|level| level.max_body_size);
    let time = |get: fn(&document::Timeouts) -> Option<document::Duration>, default: Duration| {
        let found = levels.iter().find_map(|level| get(&level.timeouts));
        found.map_or(default, |time| time.0)
    };
    let limit = |get: fn(&document::Timeouts) -> Option<document::Duration>| {
        Some(time(get, Duration::ZERO)).filter(|time| !time.is_zero())
    };
    let (default, retries) = (Timeouts::default(), Retries::default());
    let pace = MinBodyRate::default();
    let policies = Policies {
        access: access.unwrap_or_default(),
        authentication: authentication.unwrap_or_default(),
        satisfy: levels
            .iter()
            .find_map(|level| level.satisfy)
            .unwrap_or_default(),
        rate_limits: rate_limits.unwrap_or_default(),
        https: levels
            .iter()
            .find_map(|level| level.https)
            .unwrap_or_default(),
        max_body_size: match max_body_size {
            Some(0) => None,
            size => Some(size.unwrap_or(DEFAULT_MAX_BODY)),
        },
        encoded_slashes: levels
            .iter()
            .find_map(|level| level.encoded_slashes)
            .unwrap_or_default(),
        waf: waf.unwrap_or_default(),
        error_pages: levels
            .iter()
            .find_map(|level| level.error_pages.clone())
            .unwrap_or_default(),
        retries: Retries {
            attempts: levels
                .iter()
                .find_map(|level| level.retries.attempts)
                .unwrap_or(retries.attempts),
            on: levels
                .iter()
                .find_map(|level| level.retries.on.clone())
                .unwrap_or(retries.on),
            statuses: levels
                .iter()
                .find_map(|level| level.retries.statuses.clone())
                .unwrap_or(retries.statuses),
        },
        cors: cors.unwrap_or_default(),
        compression: levels
            .iter()
            .find_map(|level| level.compression.clone())
            .unwrap_or_default(),
        response_bandwidth: ResponseBandwidth {
            rate: levels
                .iter()
                .find_map(|level| level.response_bandwidth.rate)
                .map_or(0, |rate| rate.0),
            after: levels
                .iter()
                .find_map(|level| level.response_bandwidth.after)
                .map_or(0, |after| after.0),
        },
        min_body_rate: MinBodyRate {
            rate: levels
                .iter()
                .find_map(|level| level.min_body_rate.rate)
                .map_or(pace.rate, |rate| rate.0),
            grace: levels
                .iter()
                .find_map(|level| level.min_body_rate.grace)
                .map_or(pace.grace, |grace| grace.0),
        },
        timeouts: Timeouts {
            request: limit(|times| times.request),
            backend_request: limit(|times| times.backend_request),
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

/// Resolves access lists; `None` where one is missing or has an error.
pub(super) fn access(
    path: &str,
    wanted: &[String],
    known: &Known<AccessList>,
    report: &mut Report<'_>,
) -> Option<Vec<Arc<AccessList>>> {
    resolve_all(path, ("accessLists", "access list"), wanted, known, report).ok()
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

pub(super) fn resolve<T>(
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

/// Judges the retries of one place.
fn retries(path: &str, wanted: &document::Retries, report: &mut Report<'_>) -> document::Retries {
    if wanted
        .attempts
        .is_some_and(|attempts| attempts > MAX_RETRIES)
    {
        report.error(
            format!("{path}.attempts"),
            format!("a request is tried again {MAX_RETRIES} times at most"),
        );
    }
    for (index, status) in wanted.statuses.iter().flatten().enumerate() {
        if status.first < 500 || status.last > 599 {
            report.error(
                format!("{path}.statuses[{index}]"),
                format!(
                    "{status} is not a status that is tried again: the backend would say so again; 500 to 599 are"
                ),
            );
        }
    }
    let unused = wanted.attempts == Some(0)
        && (wanted.on.as_ref().is_some_and(|on| !on.is_empty())
            || wanted
                .statuses
                .as_ref()
                .is_some_and(|list| !list.is_empty()));
    if unused {
        report.warn(
            format!("{path}.attempts"),
            "with 0 attempts nothing is tried again, whatever stands beside it",
        );
    }
    wanted.clone()
}

/// Judges a least rate; without a grace no client could begin.
fn min_body_rate(
    path: &str,
    wanted: &document::MinBodyRate,
    report: &mut Report<'_>,
) -> document::MinBodyRate {
    if wanted.grace.is_some_and(|grace| grace.0.is_zero()) {
        report.error_hint(
            format!("{path}.grace"),
            "a grace must be more than 0",
            "`rate: 0` lifts the limit",
        );
    }
    wanted.clone()
}

/// Judges the timeouts of one place; one of 0 is as if it were not there, but for
/// those that 0 turns off.
fn timeouts(
    path: &str,
    wanted: &document::Timeouts,
    report: &mut Report<'_>,
) -> document::Timeouts {
    if let (Some(request), Some(attempt)) = (wanted.request, wanted.backend_request)
        && !request.0.is_zero()
        && attempt > request
    {
        report.error(
            format!("{path}.backendRequest"),
            format!("an attempt cannot take longer than its request, which has {request}"),
        );
    }
    let mut positive = |field: &str, time: Option<document::Duration>| {
        let zero = time.is_some_and(|time| time.0.is_zero());
        if zero {
            report.error(format!("{path}.{field}"), "a timeout must be more than 0");
        }
        time.filter(|_| !zero)
    };
    document::Timeouts {
        request: wanted.request,
        backend_request: wanted.backend_request,
        connect: positive("connect", wanted.connect),
        read: positive("read", wanted.read),
        write: positive("write", wanted.write),
        client_read: positive("clientRead", wanted.client_read),
        client_write: positive("clientWrite", wanted.client_write),
    }
}
