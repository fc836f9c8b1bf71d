//! Rate limits with bounded memory.
//!
//! One [`Limiter`] keeps a counter for each key it has seen lately, in a cache
//! of fixed capacity: when it is full the key that was used least is forgotten.
//! A counter is a generic cell rate algorithm (GCRA) state of `governor`.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed},
};
use http::HeaderMap;
use portcullis_config::model::{LimitMode, RateLimit, RateLimitKey};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

type Counter = RateLimiter<NotKeyed, InMemoryState, DefaultClock>;

/// Bytes of a header value that are kept as a key; a longer one is kept as its hash.
const MAX_HEADER_KEY: usize = 64;

/// A rate limit with its counters.
#[derive(Debug)]
pub struct Limiter {
    limit: Arc<RateLimit>,
    quota: Quota,
    clock: DefaultClock,
    counters: Arc<Cache<Key, Arc<Counter>>>,
}

/// What a limiter looks at.
#[derive(Clone, Copy, Debug)]
pub struct LimitSubject<'a> {
    /// Client address.
    pub client: IpAddr,
    /// Name of the route.
    pub route: &'a str,
    /// Request headers.
    pub headers: &'a HeaderMap,
}

/// What a limiter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitDecision {
    /// The request is within the limit.
    Allow,
    /// The client is not counted.
    Exempt,
    /// The request is over the limit; the next one may come after this time.
    Deny {
        /// Time until a request would pass, at most the limit's `maxRetryAfter`.
        retry_after: Duration,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Header(Box<[u8]>),
    Route(Box<str>),
}

impl Limiter {
    /// Makes a limiter with no counters.
    pub fn new(limit: Arc<RateLimit>) -> Self {
        let count = NonZeroU32::new(limit.count).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
        let spacing = (limit.per / count.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(spacing)
            .unwrap_or(Quota::per_second(count))
            .allow_burst(burst);
        let counters = Arc::new(Cache::new(limit.max_keys.max(1) as usize));
        Self {
            limit,
            quota,
            clock: DefaultClock::default(),
            counters,
        }
    }

    /// A limiter that goes on with the counters of this one, where it counts in the same way.
    pub(super) fn resumed(&self, limit: &Arc<RateLimit>) -> Option<Self> {
        limit.counts_as(&self.limit).then(|| Self {
            limit: Arc::clone(limit),
            quota: self.quota,
            clock: self.clock.clone(),
            counters: Arc::clone(&self.counters),
        })
    }

    /// The limit it applies.
    pub fn limit(&self) -> &RateLimit {
        &self.limit
    }

    /// Whether what is over the limit is refused or only told.
    pub fn mode(&self) -> LimitMode {
        self.limit.mode
    }

    /// Counts a request.
    pub fn check(&self, subject: LimitSubject<'_>) -> LimitDecision {
        if self.limit.exempt.contains(subject.client) {
            return LimitDecision::Exempt;
        }
        let key = self.key(subject);
        let counter = match self.counters.get(&key) {
            Some(counter) => counter,
            // Two first requests of one key may race; `get_or_insert_with` lets one counter win.
            None => {
                let made = self.counters.get_or_insert_with(&key, || {
                    Ok::<_, std::convert::Infallible>(Arc::new(RateLimiter::direct_with_clock(
                        self.quota,
                        self.clock.clone(),
                    )))
                });
                match made {
                    Ok(counter) => counter,
                    Err(never) => match never {},
                }
            }
        };
        match counter.check() {
            Ok(()) => LimitDecision::Allow,
            Err(not_until) => LimitDecision::Deny {
                retry_after: not_until
                    .wait_time_from(self.clock.now())
                    .min(self.limit.max_retry_after),
            },
        }
    }

    fn key(&self, subject: LimitSubject<'_>) -> Key {
        match &self.limit.key {
            RateLimitKey::Address { v4, v6 } => Key::Address(mask(subject.client, *v4, *v6)),
            RateLimitKey::Header(name) => {
                match subject.headers.get(name).map(|value| value.as_bytes()) {
                    // Not one key for all of them: whoever leaves the header out would
                    // use up what others need.
                    None => Key::Address(mask(subject.client, 32, 64)),
                    Some(value) if value.len() < MAX_HEADER_KEY => Key::Header(value.into()),
                    Some(value) => {
                        // Longer than any short key, so that the two kinds never meet.
                        let mut key = vec![0; MAX_HEADER_KEY - 32];
                        key.extend_from_slice(&Sha256::digest(value));
                        Key::Header(key.into())
                    }
                }
            }
            RateLimitKey::Route => Key::Route(subject.route.into()),
        }
    }
}

/// Keeps the first bits of an address.
fn mask(address: IpAddr, v4: u8, v6: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let bits = u32::from(address)
                & u32::MAX
                    .checked_shl(32 - u32::from(v4.min(32)))
                    .unwrap_or(0);
            IpAddr::V4(bits.into())
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address)
                & u128::MAX
                    .checked_shl(128 - u32::from(v6.min(128)))
                    .unwrap_or(0);
            IpAddr::V6(bits.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::access::AddressSet;

    use super::*;

    fn limiter(key: RateLimitKey, max_keys: u32) -> Limiter {
        let mut exempt = AddressSet::default();
        for network in ["192.0.2.0/24", "2001:db8:9::/48"] {
            exempt.insert(network.parse().expect("a network"));
        }
        Limiter::new(Arc::new(RateLimit {
            name: "test".into(),
            count: 1,
            per: Duration::from_secs(3600),
            burst: 2,
            key,
            max_keys,
            mode: LimitMode::Enforce,
            max_retry_after: Duration::from_secs(60),
            status: 429,
            exempt,
        }))
    }

    fn allowed(limiter: &Limiter, client: &str, headers: &HeaderMap) -> bool {
        let subject = LimitSubject {
            client: client.parse().unwrap(),
            route: "r",
            headers,
        };
        limiter.check(subject) == LimitDecision::Allow
    }

    #[test]
    fn burst_passes_and_the_next_waits_at_most_the_maximum() {
        let limiter = limiter(RateLimitKey::Address { v4: 32, v6: 64 }, 100);
        let none = HeaderMap::new();
        assert!(allowed(&limiter, "10.0.0.1", &none));
        assert!(allowed(&limiter, "10.0.0.1", &none));
        let subject = LimitSubject {
            client: "10.0.0.1".parse().unwrap(),
            route: "r",
            headers: &none,
        };
        assert_eq!(
            limiter.check(subject),
            LimitDecision::Deny {
                retry_after: Duration::from_secs(60)
            }
        );
        assert!(allowed(&limiter, "10.0.0.2", &none));
    }

    #[test]
    fn ipv6_clients_share_their_64_and_mapped_ones_are_ipv4() {
        let limiter = limiter(RateLimitKey::Address { v4: 32, v6: 64 }, 100);
        let none = HeaderMap::new();
        assert!(allowed(&limiter, "2001:db8::1", &none));
        assert!(allowed(&limiter, "2001:db8::2", &none));
        assert!(!allowed(&limiter, "2001:db8::ffff", &none));
        assert!(allowed(&limiter, "10.1.1.1", &none));
        assert!(allowed(&limiter, "::ffff:10.1.1.1", &none));
        assert!(!allowed(&limiter, "10.1.1.1", &none));
    }

    #[test]
    fn header_values_count_apart_and_long_ones_too() {
        let limiter = limiter(
            RateLimitKey::Header(http::HeaderName::from_static("x-api-key")),
            100,
        );
        let with = |value: String| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("x-api-key"),
                value.parse().unwrap(),
            )])
        };
        let (long_a, long_b) = (with("a".repeat(5000)), with("b".repeat(5000)));
        for headers in [&long_a, &long_b, &with("k".into()), &HeaderMap::new()] {
            assert!(allowed(&limiter, "10.0.0.1", headers));
            assert!(allowed(&limiter, "10.0.0.1", headers));
            assert!(!allowed(&limiter, "10.0.0.1", headers));
        }
    }

    #[test]
    fn exempt_clients_are_not_counted_by_whatever_key() {
        for key in [RateLimitKey::Address { v4: 0, v6: 0 }, RateLimitKey::Route] {
            let limiter = limiter(key, 10);
            let none = HeaderMap::new();
            let check = |client: &str| {
                limiter.check(LimitSubject {
                    client: client.parse().unwrap(),
                    route: "r",
                    headers: &none,
                })
            };
            for client in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8:9::1"] {
                assert_eq!([(); 5].map(|()| check(client)), [LimitDecision::Exempt; 5]);
            }
            assert_eq!(limiter.counters.len(), 0);
            assert!(allowed(&limiter, "192.0.3.1", &none));
            assert!(allowed(&limiter, "192.0.3.1", &none));
            assert!(!allowed(&limiter, "192.0.3.1", &none));
        }
    }

    #[test]
    fn what_is_not_about_counting_changes_without_a_new_count() {
        let limiter = limiter(RateLimitKey::Route, 10);
        let none = HeaderMap::new();
        while allowed(&limiter, "10.0.0.1", &none) {}
        let changed = |change: &dyn Fn(&mut RateLimit)| {
            let mut limit = limiter.limit().clone();
            change(&mut limit);
            limiter.resumed(&Arc::new(limit))
        };
        let resumed = changed(&|limit| limit.status = 503).expect("the same count");
        assert!(!allowed(&resumed, "10.0.0.1", &none));
        assert_eq!(resumed.limit().status, 503);
        let resumed =
            changed(&|limit| limit.exempt = AddressSet::default()).expect("the same count");
        assert!(!allowed(&resumed, "192.0.2.7", &none));
        assert!(changed(&|limit| limit.burst = 3).is_none());
        assert!(changed(&|limit| limit.key = RateLimitKey::Address { v4: 32, v6: 64 }).is_none());
    }

    #[test]
    fn remembered_keys_are_bounded() {
        let limiter = limiter(RateLimitKey::Address { v4: 32, v6: 64 }, 50);
        for n in 0..10_000u32 {
            allowed(
                &limiter,
                &std::net::Ipv4Addr::from(n).to_string(),
                &HeaderMap::new(),
            );
        }
        assert!(limiter.counters.len() <= 50);
    }

    #[test]
    fn masks_keep_the_first_bits() {
        assert_eq!(
            mask("10.1.2.3".parse().unwrap(), 24, 56),
            "10.1.2.0".parse::<IpAddr>().unwrap()
        );
        assert_eq!(
            mask("10.1.2.3".parse().unwrap(), 0, 0),
            "0.0.0.0".parse::<IpAddr>().unwrap()
        );
        assert_eq!(
            mask("2001:db8:1:2ff::1".parse().unwrap(), 24, 56),
            "2001:db8:1:200::".parse::<IpAddr>().unwrap()
        );
    }
}
