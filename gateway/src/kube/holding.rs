//! How long the objects of a namespace may hold up the changes of others.
//!
//! A change waits for the Secrets that it makes needed, and the changes behind it wait with it.
//! So each namespace has an account: what it waited is taken from it, and it fills up again with
//! time. Whose account is spent is not waited for: its hosts have the default certificate until
//! their own is read, and nobody else notices.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What an account has at most: a change waits no longer.
pub(super) const MOST: Duration = Duration::from_secs(2);
/// The part of the time that comes back to it.
const SHARE: u32 = 10;

/// The accounts of namespaces; those that are full have none.
#[derive(Debug, Default)]
pub(super) struct Holding(Mutex<HashMap<String, Account>>);

#[derive(Clone, Copy, Debug)]
struct Account {
    spent: Duration,
    at: Instant,
}

impl Account {
    fn spent(self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.at);
        self.spent.saturating_sub(since / SHARE)
    }
}

impl Holding {
    /// How long a namespace may hold up others now.
    pub(super) fn left(&self, namespace: &str, now: Instant) -> Duration {
        let account = self.accounts().get(namespace).copied();
        MOST.saturating_sub(account.map_or(Duration::ZERO, |account| account.spent(now)))
    }

    /// Notes how long it did.
    pub(super) fn spend(&self, namespace: &str, time: Duration, now: Instant) {
        let accounts = &mut *self.accounts();
        accounts.retain(|_, account| !account.spent(now).is_zero());
        let account = accounts.get(namespace).copied();
        let spent = time + account.map_or(Duration::ZERO, |account| account.spent(now));
        accounts.insert(namespace.to_owned(), Account { spent, at: now });
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_spent_and_fills_up_again() {
        let (holding, start) = (Holding::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(holding.left("a", start), MOST);
        for _ in 0..4 {
            holding.spend("a", Duration::from_millis(500), start);
        }
        assert_eq!(holding.left("a", start), Duration::ZERO);
        assert_eq!(holding.left("b", start), MOST, "of another");
        assert_eq!(holding.left("a", after(5)), Duration::from_millis(500));
        assert_eq!(holding.left("a", after(60)), MOST);
        // Those that are full are forgotten.
        holding.spend("b", Duration::from_millis(1), after(60));
        assert_eq!(holding.accounts().len(), 1);
    }
}
