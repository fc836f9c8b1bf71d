//! A bound on what is done at once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// So many things may be done at once.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: AtomicU32,
    taken: AtomicU32,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Slots {
    /// Makes so many.
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU32::new(limit),
            taken: AtomicU32::new(0),
        })
    }

    /// Changes their number; those that are taken stay taken.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes one; `None` where none is free.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let limit = self.limit.load(Ordering::Relaxed);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .ok()?;
        Some(Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let slots = Slots::new(2);
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some() && slots.take().is_none());
        drop(first);
        let third = slots.take();
        assert!(third.is_some() && slots.take().is_none());
        slots.set_limit(1);
        drop(second);
        assert!(slots.take().is_none());
        drop(third);
        assert!(slots.take().is_some());
    }
}
