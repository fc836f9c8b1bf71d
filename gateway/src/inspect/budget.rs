//! The memory that held bodies may take together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes of request bodies that may be held at once, over all requests.
#[derive(Debug, Default)]
pub struct BodyBudget {
    limit: AtomicU64,
    held: AtomicU64,
}

/// Bytes taken from a [`BodyBudget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl BodyBudget {
    /// Makes a budget.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit),
            held: AtomicU64::new(0),
        })
    }

    /// Changes the limit; what is held stays held.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Starts a hold of no bytes.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        Hold {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Hold {
    /// Takes more bytes; `false` when the budget is spent.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        self.grow_to(bytes, self.budget.limit.load(Ordering::Relaxed))
    }

    /// Takes more bytes where half of the budget is free beyond them: for what
    /// must not cost a request its place.
    #[must_use]
    pub(crate) fn grow_spare(&mut self, bytes: u64) -> bool {
        self.grow_to(bytes, self.budget.limit.load(Ordering::Relaxed) / 2)
    }

    /// Takes more bytes where it has fewer than so many.
    #[must_use]
    pub(crate) fn grow_until(&mut self, bytes: u64) -> bool {
        self.grow(bytes.saturating_sub(self.bytes))
    }

    fn grow_to(&mut self, bytes: u64, limit: u64) -> bool {
        let taken = self
            .budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes).filter(|&after| after <= limit)
            });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_refuses_until_something_is_given_back() {
        let budget = BodyBudget::new(10);
        let (mut a, mut b) = (budget.hold(), budget.hold());
        assert!(a.grow(6));
        assert!(!b.grow(5));
        assert!(b.grow(4));
        drop(a);
        let mut spare = budget.hold();
        assert!(!spare.grow_spare(2));
        assert!(spare.grow_spare(1));
        drop(spare);
        assert!(b.grow_until(10));
        assert!(b.grow_until(10));
        assert!(!b.grow_until(11));
        drop(b);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
