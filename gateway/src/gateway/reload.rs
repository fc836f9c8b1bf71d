//! When a configuration is loaded again, and what becomes of one that is refused.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use portcullis_config::problem::{Origin, Problem};

use super::{Gateway, lock};
use crate::{
    files::{Change, Watcher},
    load::{Refused, Serving, load},
    source::Settings,
};

/// How long changes of objects are waited for that come together, at least.
const SETTLE: Duration = Duration::from_millis(5);

/// Why a configuration is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Somebody asks for it.
    Asked,
    /// Something is different with files.
    Files(Change),
    /// Objects changed.
    Objects,
    /// What was refused is tried again.
    Again,
}

impl Cause {
    /// Whether a refusal is told though the same was told before: to those who did something
    /// about it.
    pub(super) fn tells_again(self) -> bool {
        matches!(self, Self::Asked | Self::Files(Change::Content))
    }
}

/// What came of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It serves, or there is nothing to do any more.
    Done,
    /// What was loaded cannot be put in force, and the settings of before are to go on.
    GoesOnWithout,
    /// The configuration is refused, or the settings in it.
    Refused {
        /// Whether the load before was refused for the same.
        is_known: bool,
    },
}

/// Loads again whenever there is a cause.
pub(super) async fn watch(gateway: Gateway) {
    let named = lock(&gateway.inner.state).named_files.clone();
    let mut watcher = Watcher::start(gateway.inner.source.files().clone(), named);
    let objects = gateway.inner.source.objects().cloned();
    // The first time for what changed while the process started.
    let mut cause = Cause::Files(Change::Content);
    loop {
        let began = Instant::now();
        gateway.load_for(cause).await;
        // One that comes alone is served at once; of many, half of a core is left to others.
        let rested = Instant::now() + began.elapsed();
        watcher.set_others(lock(&gateway.inner.state).named_files.clone());
        let objects_changed = async {
            match &objects {
                Some(objects) => objects.changes().notified().await,
                None => std::future::pending().await,
            }
        };
        cause = tokio::select! {
            () = gateway.inner.retry.due() => Cause::Again,
            change = watcher.changed() => Cause::Files(change),
            () = objects_changed => {
                let rest = rested.saturating_duration_since(Instant::now());
                tokio::time::sleep(rest.max(SETTLE)).await;
                Cause::Objects
            }
        };
    }
}

impl Gateway {
    pub(super) async fn load_for(&self, cause: Cause) {
        let _one_at_a_time = self.inner.loading.lock().await;
        let inner = &self.inner;
        if matches!(cause, Cause::Asked | Cause::Again) {
            inner.source.try_again();
        }
        // A second time with the settings that served last, where those of now cannot be put
        // in force: or objects would stand still.
        let mut outcome = self.load_once(cause).await;
        if outcome == Outcome::GoesOnWithout {
            outcome = self.load_once(cause).await;
        }
        if inner.source.waits() {
            // It was set when to try again as that was found.
            return;
        }
        match outcome {
            Outcome::Refused { is_known } => self.try_later(cause, is_known),
            Outcome::Done | Outcome::GoesOnWithout => inner.retry.clear(),
        }
    }

    /// Loads, and tells what came of it.
    async fn load_once(&self, cause: Cause) -> Outcome {
        let inner = &self.inner;
        if inner.draining.load(Ordering::Relaxed) {
            inner.source.try_again();
            inner.source.settle();
            return Outcome::Done;
        }
        let began = Instant::now();
        let (before, tls_files) = (inner.snapshot.load_full(), inner.tls.files());
        let this = self.clone();
        // Rules may take long to compile; requests must not wait for that.
        let loaded = tokio::task::spawn_blocking(move || {
            let inner = &this.inner;
            let serving = Serving {
                snapshot: &before,
                tls_files: &tls_files,
            };
            load(&inner.source, &inner.live, &inner.metrics, Some(serving))
        })
        .await;
        let outcome = match loaded.unwrap_or_else(|_| Err(stopped())) {
            Ok(loaded) => {
                let settings = loaded.settings.clone();
                match self.accept(loaded, cause) {
                    Ok(outcome) => {
                        let serves = settings.is_some();
                        inner.serves_objects.store(serves, Ordering::Relaxed);
                        inner.source.settle();
                        outcome
                    }
                    Err(refused) => self.hold_back(settings, refused, cause),
                }
            }
            Err(refused) => {
                inner.source.settle();
                let is_known = self.is_known(&refused.problems);
                match is_known && !cause.tells_again() {
                    true => {
                        self.keep_series(&inner.snapshot.load());
                        lock(&inner.state).watch_more(refused.named_files);
                    }
                    false => self.refuse(refused),
                }
                Outcome::Refused { is_known }
            }
        };
        inner.metrics.load_took(began.elapsed());
        outcome
    }

    /// Has what was refused tried again later. What it was refused for may pass without a
    /// change that anybody tells of, as where no file could be opened.
    fn try_later(&self, cause: Cause, is_known: bool) {
        match cause {
            Cause::Again => self.inner.retry.failed(is_known),
            // The pause goes on that began when it was found.
            _ if is_known && !cause.tells_again() => {}
            _ => self.inner.retry.failed(false),
        }
    }

    /// Has what cannot be put in force tried again later. The settings that served last go on
    /// meanwhile, where there are others.
    fn hold_back(&self, settings: Option<Settings>, refused: Refused, cause: Cause) -> Outcome {
        let inner = &self.inner;
        let refusal = inner.source.refuse(settings, refused.problems.clone());
        self.try_later(cause, refusal.is_known);
        let is_told = refusal.is_known && !cause.tells_again();
        // With those that go on it is told of.
        match refusal.may_go_on || is_told {
            true => self.keep_series(&inner.snapshot.load()),
            false => self.refuse(refused),
        }
        match refusal.may_go_on {
            true => Outcome::GoesOnWithout,
            false => Outcome::Refused {
                is_known: refusal.is_known,
            },
        }
    }
}

/// What is told of a load that did not come to its end. Not what the fault says of itself: that
/// is on standard error, and may have more in it than everybody should read.
fn stopped() -> Refused {
    let reason = "loading the configuration broke off: a fault of the gateway itself";
    let hint = "standard error has where it was; what is right is tried again";
    let problem = Problem::error(Origin::Internal, "", reason).with_hint(Some(hint));
    Refused {
        problems: vec![problem],
        named_files: Vec::new(),
    }
}
