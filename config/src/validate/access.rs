//! Access lists, rate limits and trusted proxies.

use std::sync::Arc;

use super::{report::Report, text};
use crate::{
    access::AddressSet,
    document::{self, Document},
    model::{AccessList, RateLimit, RateLimitKey},
};

const DEFAULT_MAX_KEYS: u32 = 100_000;
const DEFAULT_MAX_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(3600);

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
) -> Option<Arc<AccessList>> {
    let named = text::name(path, &list.name, report);
    let allow = list
        .allow
        .as_ref()
        .map(|entries| text::networks(&format!("{path}.allow"), entries, report));
    if list.allow.as_ref().is_some_and(Vec::is_empty) {
        report.warn(format!("{path}.allow"), "an empty list lets nobody pass");
    }
    let deny = text::networks(&format!("{path}.deny"), &list.deny, report);
    let address = list.address.unwrap_or_default();
    named.then(|| {
        Arc::new(AccessList {
            name: list.name.clone(),
            address,
            allow,
            deny,
        })
    })
}

pub(super) fn rate_limit(
    path: &str,
    limit: &document::RateLimit,
    report: &mut Report<'_>,
) -> Option<Arc<RateLimit>> {
    let named = text::name(path, &limit.name, report);
    for (field, value) in [("burst", limit.burst), ("maxKeys", limit.max_keys)] {
        if value == Some(0) {
            report.error(
                format!("{path}.{field}"),
                format!("{field} must be at least 1"),
            );
        }
    }
    let key = match limit
        .key
        .as_ref()
        .unwrap_or(&document::RateLimitKey::Client)
    {
        document::RateLimitKey::Client => RateLimitKey::Address { v4: 32, v6: 64 },
        document::RateLimitKey::Prefix { v4, v6 } => {
            if *v4 > 32 || *v6 > 128 {
                report.error(
                    format!("{path}.key"),
                    "a prefix is at most 32 bits (v4) or 128 (v6)",
                );
            }
            RateLimitKey::Address { v4: *v4, v6: *v6 }
        }
        document::RateLimitKey::Header(name) => {
            RateLimitKey::Header(report.ok(&format!("{path}.key"), text::header_name(name))?)
        }
        document::RateLimitKey::Route => RateLimitKey::Route,
    };
    named.then(|| {
        Arc::new(RateLimit {
            name: limit.name.clone(),
            count: limit.rate.count,
            per: limit.rate.per,
            burst: limit.burst.unwrap_or(limit.rate.count).max(1),
            key,
            max_keys: limit.max_keys.unwrap_or(DEFAULT_MAX_KEYS).max(1),
            mode: limit.mode.unwrap_or_default(),
            max_retry_after: limit
                .max_retry_after
                .map_or(DEFAULT_MAX_RETRY_AFTER, |time| time.0),
        })
    })
}
