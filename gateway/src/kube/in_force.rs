//! What is in force of a configuration, and whether anything is yet.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch::{Receiver, Sender};

/// A part of the configuration that is in force. A configuration may say nothing of it, which is not the
/// same as that there has been none.
#[derive(Debug, Default)]
pub(super) struct InForce<T> {
    value: Sender<T>,
    is_known: AtomicBool,
}

impl<T> InForce<T> {
    /// Puts a part in force, as [`Sender::send_if_modified`] does. It is known from then on, also where it is
    /// as before.
    pub(super) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let is_news = self.value.send_if_modified(modify);
        self.is_known.store(true, Ordering::Release);
        is_news
    }

    /// Tells of changes.
    pub(super) fn subscribe(&self) -> Receiver<T> {
        self.value.subscribe()
    }
}

impl<T: Clone> InForce<T> {
    /// What is in force, once a configuration is.
    pub(super) fn known(&self) -> Option<T> {
        let is_known = self.is_known.load(Ordering::Acquire);
        is_known.then(|| self.value.borrow().clone())
    }
}
