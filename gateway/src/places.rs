//! Places of those who may be many and unproven, such as sessions of senders who can be
//! forged: where none is free, the oldest newcomer gives way to a new one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::slots::{Slot, Slots};

/// So many may be there at once.
#[derive(Debug)]
pub(crate) struct Places {
    slots: Arc<Slots>,
    /// Who may have to give way, the oldest first.
    newcomers: Mutex<VecDeque<Weak<dyn Newcomer>>>,
}

/// Who has a place, and may have to give way.
pub(crate) trait Newcomer: std::fmt::Debug + Send + Sync {
    /// Whether it is a newcomer still.
    fn is_newcomer(&self) -> bool;

    /// Gives its place back where it is a newcomer still; tells whether it was.
    fn give_way(&self) -> bool;
}

impl Places {
    /// Makes so many.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            slots: Slots::new(limit),
            newcomers: Mutex::default(),
        }
    }

    /// Changes their number; those that are taken stay taken.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.slots.set_limit(limit);
    }

    /// Takes one, that of the oldest newcomer where none is free; `None` where there is
    /// no newcomer either.
    pub(crate) fn take(&self) -> Option<Slot> {
        loop {
            let slot = self.slots.take();
            if slot.is_some() || !self.free_one() {
                return slot;
            }
        }
    }

    /// Notes who has a place that it may have to give up.
    pub(crate) fn enter(&self, newcomer: Weak<dyn Newcomer>) {
        self.newcomers().push_back(newcomer);
    }

    /// Forgets who is no newcomer any more.
    pub(crate) fn sweep(&self) {
        self.newcomers()
            .retain(|known| known.upgrade().is_some_and(|known| known.is_newcomer()));
    }

    fn free_one(&self) -> bool {
        loop {
            let Some(oldest) = self.newcomers().pop_front() else {
                return false;
            };
            if oldest.upgrade().is_some_and(|oldest| oldest.give_way()) {
                return true;
            }
        }
    }

    fn newcomers(&self) -> MutexGuard<'_, VecDeque<Weak<dyn Newcomer>>> {
        self.newcomers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct One(Mutex<Option<Slot>>);

    impl Newcomer for One {
        fn is_newcomer(&self) -> bool {
            self.0.lock().unwrap().is_some()
        }

        fn give_way(&self) -> bool {
            self.0.lock().unwrap().take().is_some()
        }
    }

    #[test]
    fn the_oldest_newcomer_gives_way_and_nobody_else() {
        let places = Places::new(3);
        let settled = places.take();
        let enter = || {
            let one = Arc::new(One(Mutex::new(places.take())));
            let newcomer: Arc<dyn Newcomer> = one.clone();
            places.enter(Arc::downgrade(&newcomer));
            one
        };
        let (first, second) = (enter(), enter());
        let third = enter();
        assert!(!first.is_newcomer() && second.is_newcomer() && third.is_newcomer());
        // One that has left is passed over, and makes room.
        drop(second);
        let fourth = enter();
        assert!(third.is_newcomer() && fourth.is_newcomer());
        places.sweep();
        assert_eq!(places.newcomers().len(), 2);
        let (a, b) = (places.take(), places.take());
        assert!(a.is_some() && b.is_some() && settled.is_some());
        assert!(places.take().is_none());
    }
}
