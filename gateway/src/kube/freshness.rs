//! How old what is known of a cluster may be.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

/// What each watch knows of its own age.
#[derive(Debug)]
pub(super) struct Freshness {
    watches: Mutex<Watches>,
    /// Counts the watches that have become known.
    known: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Watches {
    next: u64,
    all: BTreeMap<u64, State>,
}

/// A watch, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(u64);

#[derive(Debug)]
struct State {
    kind: &'static str,
    /// Whether nothing is served without it.
    is_required: bool,
    is_known: bool,
    stale: Option<Stale>,
}

#[derive(Clone, Debug)]
struct Stale {
    since: SystemTime,
    /// When the log told of it last.
    told: Option<Instant>,
    reason: String,
}

/// Time after which the log tells again of what is still stale.
const AGAIN: Duration = Duration::from_secs(60);

impl Default for Freshness {
    fn default() -> Self {
        Self {
            watches: Mutex::default(),
            known: watch::Sender::new(0),
        }
    }
}

impl Freshness {
    /// Adds a watch of a kind.
    pub(super) fn add(&self, kind: &'static str, is_required: bool) -> Number {
        let mut watches = self.lock();
        let number = watches.next;
        watches.next += 1;
        let state = State {
            kind,
            is_required,
            is_known: false,
            stale: None,
        };
        watches.all.insert(number, state);
        Number(number)
    }

    /// Takes a watch away.
    pub(super) fn remove(&self, number: Number) {
        self.lock().all.remove(&number.0);
    }

    /// A watch has what the server has.
    pub(super) fn fresh(&self, number: Number) {
        let mut watches = self.lock();
        let Some(state) = watches.all.get_mut(&number.0) else {
            return;
        };
        if let Some(stale) = state.stale.take() {
            let seconds = stale.since.elapsed().unwrap_or_default().as_secs();
            tracing::info!(kind = state.kind, seconds, "the cluster is watched again");
        }
        if !std::mem::replace(&mut state.is_known, true) {
            drop(watches);
            self.known.send_modify(|count| *count += 1);
        }
    }

    /// What a watch knows may be old.
    pub(super) fn stale(&self, number: Number, reason: String) {
        let mut watches = self.lock();
        if let Some(state) = watches.all.get_mut(&number.0) {
            state.stale(reason);
        }
    }

    /// What every watch knows may be old.
    pub(super) fn all_stale(&self, reason: &str) {
        for state in self.lock().all.values_mut() {
            state.stale(reason.to_owned());
        }
    }

    /// Whether every watch that is required has had all objects once.
    pub(super) fn are_known(&self) -> bool {
        let watches = self.lock();
        !watches.all.is_empty()
            && watches
                .all
                .values()
                .all(|state| state.is_known || !state.is_required)
    }

    /// Whether every watch of a kind has had all objects once.
    pub(super) fn is_known(&self, kind: &str) -> bool {
        let watches = self.lock();
        let mut of_kind = watches.all.values().filter(|state| state.kind == kind);
        of_kind.all(|state| state.is_known || !state.is_required)
    }

    /// Waits until all watches of some kinds have had all objects once.
    pub(super) async fn wait_for(&self, kinds: &[&str]) {
        let mut known = self.known.subscribe();
        loop {
            known.borrow_and_update();
            let are_known = {
                let watches = self.lock();
                let of_kinds = |state: &&State| kinds.contains(&state.kind);
                let mut of_kinds = watches.all.values().filter(of_kinds);
                of_kinds.all(|state| state.is_known)
            };
            if are_known || known.changed().await.is_err() {
                return;
            }
        }
    }

    /// Each kind that is watched, and since when what is known of it may be old.
    pub(super) fn kinds(&self) -> BTreeMap<&'static str, Option<SystemTime>> {
        let mut kinds = BTreeMap::new();
        for state in self.lock().all.values() {
            let since = state.stale.as_ref().map(|stale| stale.since);
            let oldest: &mut Option<SystemTime> = kinds.entry(state.kind).or_default();
            *oldest = match (*oldest, since) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        kinds
    }

    /// What is not known yet, and why, for people.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.tell(|state| {
            (state.is_required && !state.is_known).then(|| match &state.stale {
                Some(stale) => format!("{} is not known yet: {}", state.kind, stale.reason),
                None => format!("{} is not known yet", state.kind),
            })
        })
    }

    /// What may be old, since when and why, for people.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.tell(|state| {
            let stale = state.stale.as_ref().filter(|_| state.is_known)?;
            Some(format!(
                "{} is stale since {}: {}",
                state.kind,
                timestamp(stale.since),
                stale.reason
            ))
        })
    }

    /// One line for each kind: with many namespaces all would say the same.
    fn tell(&self, line: impl Fn(&State) -> Option<String>) -> Vec<String> {
        let mut lines: BTreeMap<&str, String> = BTreeMap::new();
        for state in self.lock().all.values() {
            if let Some(line) = line(state) {
                lines.entry(state.kind).or_insert(line);
            }
        }
        lines.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stale(&mut self, reason: String) {
        // What is asked for alone and was never had is told where it is missing.
        if !self.is_required && !self.is_known {
            return;
        }
        let stale = self.stale.get_or_insert_with(|| Stale {
            since: SystemTime::now(),
            told: None,
            reason: String::new(),
        });
        // Again after a while, for the reason changes: an outage may end as a lack of rights.
        if stale.told.is_none_or(|told| told.elapsed() >= AGAIN) {
            tracing::warn!(kind = self.kind, %reason, "the cluster is not watched; what is known serves on");
            stale.told = Some(Instant::now());
        }
        stale.reason = reason;
    }
}

fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    chrono::DateTime::from_timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), 0)
        .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_known_once_and_stale_from_its_first_failure() {
        let freshness = Freshness::default();
        assert!(!freshness.are_known(), "nothing is watched yet");
        let services = freshness.add("Service", true);
        let secret = freshness.add("Secret", false);
        assert!(!freshness.are_known());
        freshness.stale(services, "refused".into());
        assert_eq!(freshness.unknown(), ["Service is not known yet: refused"]);
        assert!(freshness.remarks().is_empty());
        freshness.stale(secret, "forbidden".into());
        assert_eq!(freshness.kinds()["Secret"], None, "it was never had");
        freshness.fresh(services);
        assert!(freshness.are_known(), "one that is not required is missing");
        freshness.stale(services, "refused".into());
        let since = freshness.kinds()["Service"];
        assert!(since.is_some());
        freshness.all_stale("gone");
        assert_eq!(freshness.kinds()["Service"], since, "it began before");
        let remarks = freshness.remarks();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(
            remarks[0].starts_with("Service is stale since 20"),
            "{remarks:?}"
        );
        assert!(remarks[0].ends_with(": gone"), "{remarks:?}");
        assert!(freshness.are_known(), "it serves on");
        freshness.fresh(services);
        freshness.remove(secret);
        assert_eq!(freshness.kinds(), BTreeMap::from([("Service", None)]));
    }

    #[test]
    fn a_kind_is_as_old_as_its_oldest_watch() {
        let freshness = Freshness::default();
        let one = freshness.add("Service", true);
        let other = freshness.add("Service", true);
        freshness.fresh(one);
        freshness.fresh(other);
        freshness.stale(other, "gone".into());
        assert!(freshness.kinds()["Service"].is_some());
    }
}
