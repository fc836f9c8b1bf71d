//! Connections by client address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::telemetry::Seldom;

/// Counts the open connections of each client of one listener.
#[derive(Debug, Default)]
pub(crate) struct PerAddress {
    open: Mutex<HashMap<IpAddr, u32>>,
    /// Lets one refusal in a while through to the log.
    refused: Seldom,
}

/// A connection that is counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    of: Arc<PerAddress>,
    client: IpAddr,
}

impl PerAddress {
    /// Counts a connection of a client; `None` where it has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr, max: u32) -> Option<Counted> {
        let client = counted_as(client);
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Counted {
            of: Arc::clone(self),
            client,
        })
    }

    /// Tells in the log, once in a while, of a client that has as many as it may.
    pub(crate) fn tell(&self, listener: &str, client: IpAddr, max: u32) {
        if let Some(untold) = self.refused.note() {
            tracing::warn!(
                listener,
                client = %client.to_canonical(),
                max,
                untold,
                "a client has as many connections as maxConnectionsPerAddress allows"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.of.lock();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// The address that a client counts as: one machine has a whole /64 of IPv6.
fn counted_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((address.to_bits() & (u128::MAX << 64)).to_be_bytes()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_apart_and_a_prefix_together() {
        let counts = Arc::<PerAddress>::default();
        let enter = |client: &str| counts.enter(client.parse().expect("an address"), 2);
        let one = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(one.0.is_some() && one.1.is_some());
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        let two = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(two.0.is_some() && two.1.is_some());
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        drop(one);
        assert!(enter("192.0.2.1").is_some());
        drop(two);
        assert!(counts.lock().is_empty());
    }
}
