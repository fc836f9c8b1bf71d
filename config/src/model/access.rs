//! Access lists and rate limits.

use std::time::Duration;

pub use crate::document::{AccessAddress, LimitMode};

/// A compiled access list; [`crate::access::AccessList::judge`] decides.
pub use crate::access::AccessList;
use crate::access::AddressSet;

/// A rate limit.
#[derive(Clone, Debug)]
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
    /// Status of a refusal.
    pub status: u16,
    /// Clients that are not counted.
    pub exempt: AddressSet,
}

impl RateLimit {
    /// Whether it counts as another does, so that it may go on with the other's counters.
    pub fn counts_as(&self, other: &Self) -> bool {
        let what = |limit: &Self| (limit.count, limit.per, limit.burst, limit.max_keys);
        what(self) == what(other) && self.key == other.key
    }
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
