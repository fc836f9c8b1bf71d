//! How the API server is asked about tokens of the clients of the egress proxy.

use std::time::Duration;

use super::report::Report;
use crate::{document, model::TokenReview};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// A client waits for so long at most, and holds a connection meanwhile.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

const DEFAULT_CONCURRENT: u32 = 16;
const MAX_CONCURRENT: u32 = 1000;

const DEFAULT_TIME: Duration = Duration::from_secs(10);
/// What is deleted is good for so long: that is what the API server is asked for.
const MAX_TIME: Duration = Duration::from_secs(300);
const DEFAULT_REFUSED_TIME: Duration = Duration::from_secs(2);

const DEFAULT_ENTRIES: u32 = 10_000;
/// Some 500 bytes each.
const MAX_ENTRIES: u32 = 1_000_000;

pub(super) fn token_review(
    path: &str,
    wanted: &document::TokenReview,
    report: &mut Report<'_>,
) -> TokenReview {
    let timeout = wanted.timeout.map_or(DEFAULT_TIMEOUT, |time| time.0);
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        report.error(
            format!("{path}.timeout"),
            "timeout must be more than 0 and at most 1m: a client waits for so long",
        );
    }
    let max_concurrent = wanted.max_concurrent.unwrap_or(DEFAULT_CONCURRENT);
    if !(1..=MAX_CONCURRENT).contains(&max_concurrent) {
        report.error(
            format!("{path}.maxConcurrent"),
            "maxConcurrent must be from 1 to 1000",
        );
    }
    let cache = wanted.cache.clone().unwrap_or_default();
    let cache_time = cache.time.map_or(DEFAULT_TIME, |time| time.0);
    if cache_time > MAX_TIME {
        report.error(
            format!("{path}.cache.time"),
            "time is at most 5m: the token of something that is deleted is good for so long",
        );
    }
    let refused_cache_time = cache
        .refused_time
        .map_or_else(|| DEFAULT_REFUSED_TIME.min(cache_time), |time| time.0);
    if refused_cache_time > cache_time {
        report.error(
            format!("{path}.cache.refusedTime"),
            "refusedTime is at most `time`: a token may be good a moment later",
        );
    }
    let cache_entries = cache.max_entries.unwrap_or(DEFAULT_ENTRIES);
    if !(1..=MAX_ENTRIES).contains(&cache_entries) {
        report.error(
            format!("{path}.cache.maxEntries"),
            "maxEntries must be from 1 to 1000000",
        );
    }
    TokenReview {
        timeout,
        max_concurrent,
        cache_time,
        refused_cache_time,
        cache_entries,
    }
}
