//! When a configuration is tried again that is refused: an address that another process has is
//! free some day, and so is a file descriptor, and nobody tells when.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// The first pause; it doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// When the next attempt is due, if any.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    due: Option<Instant>,
}

impl Retry {
    /// An attempt has failed, as the one before or otherwise.
    pub(crate) fn failed(&self, as_before: bool) {
        let mut state = self.state();
        if !as_before {
            state.failures = 0;
        }
        state.due = Some(Instant::now() + pause(state.failures));
        state.failures = state.failures.saturating_add(1);
        drop(state);
        self.changed.notify_one();
    }

    /// There is nothing to try again.
    pub(crate) fn clear(&self) {
        *self.state() = State::default();
        self.changed.notify_one();
    }

    /// Waits until an attempt is due, for ever where none is.
    pub(crate) async fn due(&self) {
        loop {
            let due = self.state().due;
            let is_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = is_due => return,
                () = self.changed.notified() => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause after so many failures.
fn pause(failures: u32) -> Duration {
    let doubled = 2u32.saturating_pow(failures);
    FIRST_PAUSE.saturating_mul(doubled).min(LAST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until the next attempt, as it was set just now.
    fn seconds(retry: &Retry) -> Option<u64> {
        let due = retry.state().due?;
        let left = due.saturating_duration_since(Instant::now());
        Some(left.as_secs_f64().round() as u64)
    }

    #[test]
    fn pauses_grow_while_it_fails_as_before_and_have_a_bound() {
        let retry = Retry::default();
        assert_eq!(seconds(&retry), None);
        let mut pauses = Vec::new();
        for attempt in 0..40 {
            retry.failed(attempt > 0);
            pauses.extend(seconds(&retry));
        }
        assert_eq!(pauses[..6], [5, 10, 20, 40, 60, 60]);
        assert_eq!(pauses[39], 60);
        retry.failed(false);
        assert_eq!(seconds(&retry), Some(5), "something else is wrong");
        retry.clear();
        assert_eq!(seconds(&retry), None);
        retry.failed(true);
        assert_eq!(seconds(&retry), Some(5));
    }
}
