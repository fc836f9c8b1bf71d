//! Access lists, rate limits and trusted proxies.

use std::time::Duration;

use super::{report::Report, text};
use crate::{
    access::AddressSet,
    document::{self, Document},
    model::{AccessList, RateLimit, RateLimitKey},
};

const DEFAULT_MAX_KEYS: u32 = 100_000;
const DEFAULT_LIMIT_STATUS: u16 = 429;
const DEFAULT_MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86400);

/// Longest time in which a burst may come back: limiters count nanoseconds in 64 bits,
/// 584 years, and the longest time that can be written is this.
const MAX_REFILL: Duration = Duration::from_secs(3650 * 86400);

pub(super) fn trusted_proxies(document: &Document, report: &mut Report<'_>) -> AddressSet {
    match &document.client_address {
        Some(section) => text::networks(
            "clientAddress.trustedProxies",
            &section.trusted_proxies,
            report,
        ),
        None => AddressSet::default(),
    }
}

pub(super) fn access_list(
    path: &str,
    list: &document::AccessList,
    report: &mut Report<'_>,
) -> AccessList {
    let allow = list
        .allow
        .as_ref()
        .map(|entries| text::networks(&format!("{path}.allow"), entries, report));
    if list.allow.as_ref().is_some_and(Vec::is_empty) {
        report.warn(format!("{path}.allow"), "an empty list lets nobody pass");
    }
    if list.allow.is_none() && list.deny.is_empty() {
        report.warn(
            path,
            "a list without `allow` and `deny` lets everybody pass",
        );
    }
    let deny = text::networks(&format!("{path}.deny"), &list.deny, report);
    let address = list.address.unwrap_or_default();
    AccessList {
        name: list.name.clone(),
        address,
        allow,
        deny,
    }
}

pub(super) fn rate_limit(
    path: &str,
    limit: &document::RateLimit,
    report: &mut Report<'_>,
) -> RateLimit {
    for (field, value) in [("burst", limit.burst), ("maxKeys", limit.max_keys)] {
        if value == Some(0) {
            report.error(
                format!("{path}.{field}"),
                format!("{field} must be at least 1"),
            );
        }
    }
    let burst = limit.burst.unwrap_or(limit.rate.count);
    let refill =
        limit.rate.per.as_nanos() * u128::from(burst) / u128::from(limit.rate.count.max(1));
    if refill > MAX_REFILL.as_nanos() {
        report.error(
            format!("{path}.burst"),
            format!(
                "a burst of {burst} takes {} days to come back at this rate; at most {}d",
                refill / DAY.as_nanos(),
                MAX_REFILL.as_secs() / DAY.as_secs()
            ),
        );
    }
    if limit.max_retry_after.is_some_and(|time| time.0.is_zero()) {
        report.error(
            format!("{path}.maxRetryAfter"),
            "maxRetryAfter must be more than 0",
        );
    }
    let status = limit.status.unwrap_or(DEFAULT_LIMIT_STATUS);
    if !(400..=599).contains(&status) {
        report.error(
            format!("{path}.status"),
            format!("{status} is not from 400 to 599: a refusal is an error"),
        );
    }
    let exempt = text::networks(&format!("{path}.exempt"), &limit.exempt, report);
    let key = match limit
        .key
        .as_ref()
        .unwrap_or(&document::RateLimitKey::Client)
    {
        document::RateLimitKey::Client => RateLimitKey::Address { v4: 32, v6: 64 },
        document::RateLimitKey::Prefix { v4, v6 } => {
            for (field, bits, most) in [("v4", *v4, 32), ("v6", *v6, 128)] {
                if bits > most {
                    report.error(
                        format!("{path}.key.prefix.{field}"),
                        format!("a prefix of {bits} bits is more than {most}"),
                    );
                }
            }
            RateLimitKey::Address { v4: *v4, v6: *v6 }
        }
        document::RateLimitKey::Header(name) => {
            match report.ok(&format!("{path}.key.header"), text::header_name(name)) {
                Some(name) => RateLimitKey::Header(name),
                None => RateLimitKey::Route,
            }
        }
        document::RateLimitKey::Route => RateLimitKey::Route,
    };
    RateLimit {
        name: limit.name.clone(),
        count: limit.rate.count,
        per: limit.rate.per,
        burst,
        key,
        max_keys: limit.max_keys.unwrap_or(DEFAULT_MAX_KEYS),
        mode: limit.mode.unwrap_or_default(),
        max_retry_after: limit
            .max_retry_after
            .map_or(DEFAULT_MAX_RETRY_AFTER, |time| time.0),
        status,
        exempt,
    }
}
