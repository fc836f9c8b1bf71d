//! Access lists and rate limits.

use std::time::Duration;

pub use crate::document::{AccessAddress, LimitMode};

/// A compiled access list; [`crate::access::AccessList::judge`] decides.
pub use crate::access::AccessList;

/// A rate limit.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Unique name; counters are kept under it.
    pub name: String,
    /// Requests per [`RateLimit::per`].
    pub count: u32,
    /// The unit of time of [`RateLimit::count`].
    pub per: Duration,
    /// Requests that may come at once; at least 1.
    pub burst: u32,
    /// What is counted separately.
    pub key: RateLimitKey,
    /// Keys remembered at once.
    pub max_keys: u32,
    /// Enforce or report.
    pub mode: LimitMode,
    /// Longest `Retry-After`.
    pub max_retry_after: Duration,
}

/// What a rate limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateLimitKey {
    /// Client address masked to these prefix lengths. By client alone: 32 and 64.
    Address {
        /// Bits of an IPv4 address.
        v4: u8,
        /// Bits of an IPv6 address.
        v6: u8,
    },
    /// Value of a header.
    Header(http::HeaderName),
    /// The rule's route.
    Route,
}
