//! The work of checking passwords, within bounds.
//!
//! A bcrypt hash costs tens of milliseconds of a processor, and anybody may ask for
//! one. So they are computed beside the threads that serve requests, few at once,
//! and a limited number wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use tokio::sync::Semaphore;

/// Checks that wait at once; a further one is not made.
const MAX_WAITING: usize = 128;

/// Longest wait for a check to begin.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The checks of all authentications of one gateway.
#[derive(Debug)]
pub(crate) struct PasswordChecks {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for PasswordChecks {
    /// Half of the processors check passwords at most.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::new((processors / 2).max(1))
    }
}

impl PasswordChecks {
    fn new(at_once: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Makes a check; `None` where there are too many.
    pub(super) async fn run(&self, check: impl FnOnce() -> bool + Send + 'static) -> Option<bool> {
        let permit = {
            let _waiting = Waiting::enter(&self.waiting)?;
            let permit = Arc::clone(&self.running).acquire_owned();
            tokio::time::timeout(MAX_WAIT, permit).await.ok()?.ok()?
        };
        let checked = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also where its client has gone.
            let _permit = permit;
            check()
        });
        Some(checked.await.unwrap_or(false))
    }
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let entered = Self(waiting);
        (before < MAX_WAITING).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn few_run_at_once_and_few_wait() {
        let checks = Arc::new(PasswordChecks::new(1));
        let gate = Arc::new(Barrier::new(2));
        let run = |check: Box<dyn FnOnce() -> bool + Send>| {
            let checks = Arc::clone(&checks);
            tokio::spawn(async move { checks.run(check).await })
        };
        let opens = Arc::clone(&gate);
        let first = run(Box::new(move || {
            opens.wait();
            true
        }));
        while checks.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|n| run(Box::new(move || n % 2 == 0)))
            .collect();
        while checks.waiting.load(Ordering::Relaxed) < MAX_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(checks.run(|| true).await, None);
        tokio::task::spawn_blocking(move || gate.wait())
            .await
            .unwrap();
        assert_eq!(first.await.unwrap(), Some(true));
        for (n, waited) in waiting.into_iter().enumerate() {
            assert_eq!(waited.await.unwrap(), Some(n % 2 == 0));
        }
        assert_eq!(checks.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(
            checks.run(|| panic!("a fault is no pass")).await,
            Some(false)
        );
    }
}
