//! Endpoints that have failed a client a short while ago, and that it is not led to again
//! at once: one failure leaves no endpoint out, and a hash leads to the same one for ever.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// How long they are known for, from the last of a client's.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Clients that they are known of; of others nothing is.
const MAX_CLIENTS: usize = 1024;
/// Endpoints of a client.
const MAX_ENDPOINTS: usize = 8;

/// What is known, by the address of a client.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<IpAddr, (Instant, Vec<SocketAddr>)>);

impl Failures {
    /// Notes that an endpoint has failed a client.
    pub(super) fn note(&mut self, client: IpAddr, endpoint: SocketAddr, now: Instant) {
        let client = client.to_canonical();
        if self.0.len() >= MAX_CLIENTS && !self.0.contains_key(&client) {
            return;
        }
        let (last, endpoints) = self.0.entry(client).or_insert_with(|| (now, Vec::new()));
        *last = now;
        if !endpoints.contains(&endpoint) && endpoints.len() < MAX_ENDPOINTS {
            endpoints.push(endpoint);
        }
    }

    /// The endpoints that have failed a client.
    pub(super) fn of(&self, client: IpAddr, now: Instant) -> Vec<SocketAddr> {
        match self.0.get(&client.to_canonical()) {
            Some((last, endpoints)) if is_known(*last, now) => endpoints.clone(),
            _ => Vec::new(),
        }
    }

    /// Forgets what is long ago.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, (last, _)| is_known(*last, now));
    }
}

fn is_known(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) < KNOWN_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_a_client_are_known_for_a_while_and_bounded() {
        let mut failures = Failures::default();
        let endpoint = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let client = |n: u32| IpAddr::from(n.to_be_bytes());
        let now = Instant::now();
        for port in [1, 2, 2] {
            failures.note(client(7), endpoint(port), now);
        }
        assert_eq!(failures.of(client(7), now), [endpoint(1), endpoint(2)]);
        assert!(failures.of(client(8), now).is_empty());
        let later = now + KNOWN_FOR;
        assert!(failures.of(client(7), later).is_empty());
        for n in 0..2000 {
            failures.note(client(n), endpoint(1), now);
        }
        assert_eq!(failures.0.len(), MAX_CLIENTS);
        for port in 0..100 {
            failures.note(client(7), endpoint(port), now);
        }
        assert_eq!(failures.of(client(7), now).len(), MAX_ENDPOINTS);
        failures.sweep(later);
        assert!(failures.0.is_empty());
    }
}
