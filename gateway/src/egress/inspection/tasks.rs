//! Tasks that end with the tunnel that they are of.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// The tasks of one tunnel; clones share them.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Ends the tasks when it is dropped. They hold clones, so that nothing else would.
pub(super) struct Ending(pub(super) Tasks);

impl Tasks {
    /// Runs one beside the others.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is done is let go of: a connection may have many streams, one after the other.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut tasks = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
