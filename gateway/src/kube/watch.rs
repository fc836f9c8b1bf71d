//! One watch: all objects of a kind in a namespace or a cluster, and then each change of them.
//!
//! ```text
//! list, page by page --> replace --> watch from there --> change, change, ...
//!   ^                                  |       ^    |
//!   |        the version is too old    |       |    | ended, failed, silent: a pause, and on
//!   +----------------------------------+       +----+ from the last version
//! ```
//!
//! This is `kube_runtime::watcher` but for three things that it does not tell: that a watch is
//! open again after it failed (no event says so, and "stale since" would go on), a watch that
//! has gone silent, and which object cannot be read.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep, timeout},
};

use super::{
    ResourceName,
    asking::Turn,
    guarded::Guarded,
    watched::{Listed, strip},
};

/// Objects of one page of a list; each may have a MiB.
const PAGE: u32 = 100;
/// Time for a page of a list, or until a watch is open.
const ANSWER: Duration = Duration::from_secs(30);
/// A watch is silent no longer than this: bookmarks come about once a minute. One of a server
/// that is gone without a word says nothing either.
const SILENCE: Duration = Duration::from_secs(100);
/// How long a server lets a watch be open, in seconds.
const LIFE: std::ops::Range<u32> = 240..290;
/// Changes that are taken together, at most.
const BATCH: usize = 512;
/// The longest rest between two batches.
const LONGEST_REST: Duration = Duration::from_millis(200);
/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// A watch that was open for so long did not fail at once.
const STEADY: Duration = Duration::from_secs(5);

/// What became of an object.
#[derive(Debug)]
pub(super) enum Change<K> {
    /// It is there, and as it is.
    Applied(K),
    /// It is gone.
    Deleted(ResourceName),
    /// It is there, and cannot be read.
    Broken(ResourceName, String),
    /// It is there, and nobody needs it.
    Passed(ResourceName),
}

/// Takes what a watch finds.
pub(super) trait Feed<K>: Send + Sync + 'static {
    /// Waits until it may ask: of very many watches only some list or open at once.
    fn turn(&self) -> impl Future<Output = Option<Turn<'_>>> + Send {
        std::future::ready(None)
    }
    /// Whether an object is needed. The others are not kept, not even for the time of a list.
    fn needs(&self, name: &ResourceName) -> bool;
    /// These are all.
    fn replace(&self, all: Vec<Change<K>>) -> impl Future<Output = ()> + Send;
    /// These have changed, in this order.
    fn change(&self, changes: Vec<Change<K>>) -> impl Future<Output = ()> + Send;
    /// What is known is what the server has.
    fn fresh(&self);
    /// What is known may be old.
    fn stale(&self, reason: String);
}

/// Why a watch ended.
enum Ended {
    /// It is to be opened again.
    Over,
    /// What it began from is too old.
    Expired,
}

/// Watches for ever. `again` has everything opened again, and ends pauses.
pub(super) async fn watch<K: Listed>(
    api: Api<Guarded<K>>,
    fields: Option<String>,
    feed: impl Feed<K>,
    mut again: Receiver<u64>,
) {
    let mut pauses = Pauses::default();
    let mut version: Option<String> = None;
    loop {
        let turn = feed.turn().await;
        let began = tokio::time::Instant::now();
        let outcome = match &mut version {
            Some(known) => follow(&api, fields.as_deref(), &feed, turn, known, &mut again).await,
            None => {
                let listed = list(&api, fields.as_deref(), &feed).await;
                drop(turn);
                match listed {
                    Ok((all, at)) => {
                        feed.replace(all).await;
                        feed.fresh();
                        version = Some(at);
                        continue;
                    }
                    Err(error) => Err(error),
                }
            }
        };
        if version.is_some() && began.elapsed() > STEADY {
            pauses = Pauses::default();
        }
        match outcome {
            Ok(Ended::Over) => {}
            Ok(Ended::Expired) => version = None,
            Err(Failure { reason, list_again }) => {
                tracing::debug!(kind = K::NAME, %reason, "watch failed");
                if list_again {
                    version = None;
                }
                feed.stale(reason);
            }
        }
        if began.elapsed() < STEADY {
            tokio::select! {
                () = tokio::time::sleep(pauses.next()) => {}
                _ = again.changed() => {}
            }
        }
    }
}

struct Failure {
    reason: String,
    list_again: bool,
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self {
            // 410: also a page of a list that took too long. What is no event would be sent again;
            // the client library takes it for a status in which nothing stands.
            list_again: matches!(&error, kube::Error::Api(status) if [0, 410].contains(&status.code))
                || matches!(error, kube::Error::SerdeError(_)),
            reason: reason(&error),
        }
    }
}

impl Failure {
    fn late(what: &str) -> Self {
        Self {
            reason: format!("{what} took longer than {} s", ANSWER.as_secs()),
            list_again: false,
        }
    }
}

async fn list<K: Listed>(
    api: &Api<Guarded<K>>,
    fields: Option<&str>,
    feed: &impl Feed<K>,
) -> Result<(Vec<Change<K>>, String), Failure> {
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector = fields.map(str::to_owned);
    let mut all = Vec::new();
    loop {
        let page = timeout(ANSWER, api.list(&params)).await;
        let page = page.map_err(|_| Failure::late("a list"))??;
        all.extend(page.items.into_iter().map(|object| changed(object, feed)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => {
                let version = page.metadata.resource_version.filter(|at| !at.is_empty());
                let version = version.ok_or_else(|| Failure {
                    reason: "a list without a version".to_owned(),
                    list_again: true,
                })?;
                return Ok((all, version));
            }
        }
    }
}

fn changed<K: Listed>(object: Guarded<K>, feed: &impl Feed<K>) -> Change<K> {
    let name = ResourceName::of(object.meta());
    match object.0 {
        _ if !feed.needs(&name) => Change::Passed(name),
        Ok(mut object) => {
            strip(object.meta_mut());
            Change::Applied(object)
        }
        Err(invalid) => Change::Broken(name, invalid.error),
    }
}

/// Opens a watch and passes on what comes, until it ends.
async fn follow<K: Listed>(
    api: &Api<Guarded<K>>,
    fields: Option<&str>,
    feed: &impl Feed<K>,
    turn: Option<Turn<'_>>,
    version: &mut String,
    again: &mut Receiver<u64>,
) -> Result<Ended, Failure> {
    let mut params = WatchParams::default().timeout(fastrand::u32(LIFE));
    params.field_selector = fields.map(str::to_owned);
    let stream = timeout(ANSWER, api.watch(&params, version)).await;
    drop(turn);
    let stream = match stream.map_err(|_| Failure::late("to open a watch"))? {
        Err(kube::Error::Api(status)) if status.code == 410 => return Ok(Ended::Expired),
        stream => stream?,
    };
    feed.fresh();
    let mut stream = pin!(stream.ready_chunks(BATCH));
    let mut events = Vec::new();
    loop {
        if events.is_empty() {
            let chunk = tokio::select! {
                chunk = timeout(SILENCE, stream.next()) => chunk,
                _ = again.changed() => return Ok(Ended::Over),
            };
            // Silent or at its end.
            let Ok(Some(chunk)) = chunk else {
                return Ok(Ended::Over);
            };
            events = chunk;
        }
        let mut changes = Vec::new();
        let mut end = None;
        for event in std::mem::take(&mut events) {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    set_version(version, object.meta().resource_version.as_ref());
                    changes.push(changed(object, feed));
                }
                Ok(WatchEvent::Deleted(object)) => {
                    set_version(version, object.meta().resource_version.as_ref());
                    changes.push(Change::Deleted(ResourceName::of(object.meta())));
                }
                Ok(WatchEvent::Bookmark(mark)) => {
                    set_version(version, Some(&mark.metadata.resource_version));
                }
                Ok(WatchEvent::Error(status)) if status.code == 410 => {
                    end = Some(Ok(Ended::Expired));
                }
                Ok(WatchEvent::Error(status)) => {
                    end = Some(Err(Failure::from(kube::Error::Api(status))));
                }
                Err(error) => end = Some(Err(Failure::from(error))),
            }
            if end.is_some() {
                break;
            }
        }
        if !changes.is_empty() {
            events = meanwhile(take(feed, changes), stream.as_mut()).await;
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Has changes taken, and rests as long as that took: one that comes alone counts at once, and of
/// many, more are taken together, since what a change costs is mostly the same for one and for all.
async fn take<K: Listed>(feed: &impl Feed<K>, changes: Vec<Change<K>>) {
    let began = Instant::now();
    feed.change(changes).await;
    sleep(began.elapsed().min(LONGEST_REST)).await;
}

/// Does something, and returns what a stream brings until that is done. A connection hands on events
/// one by one, however many it has: whoever waited for something with each would fall behind for good.
async fn meanwhile<T>(
    work: impl Future<Output = ()>,
    mut stream: Pin<&mut impl Stream<Item = Vec<T>>>,
) -> Vec<T> {
    let mut work = pin!(work);
    let mut came = Vec::new();
    let mut is_open = true;
    loop {
        tokio::select! {
            () = &mut work => return came,
            chunk = stream.next(), if is_open && came.len() < BATCH => match chunk {
                Some(chunk) => came.extend(chunk),
                None => is_open = false,
            },
        }
    }
}

fn set_version(version: &mut String, seen: Option<&String>) {
    if let Some(seen) = seen.filter(|seen| !seen.is_empty()) {
        seen.clone_into(version);
    }
}

/// Pauses between attempts: longer each time, and of random length, so that many watches of many
/// processes do not come back together.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let longest = FIRST_PAUSE * 2u32.pow(self.failures.min(8));
        self.failures += 1;
        let longest = longest.min(LAST_PAUSE);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Whether an error is one of the API server as a whole, and not of what was asked.
pub(super) fn is_of_server(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 0 | 401 | 429 | 500..),
        _ => true,
    }
}

/// What an error of the API says, without how it is made.
pub(super) fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) if status.code == 0 => "what came is no event".to_owned(),
        kube::Error::Api(status) => format!("{} {}", status.code, status.reason),
        error => {
            let (mut text, mut source) = match error {
                kube::Error::Service(source) => (source.to_string(), source.source()),
                error => (error.to_string(), std::error::Error::source(error)),
            };
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                // Some say what their cause says.
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests;
