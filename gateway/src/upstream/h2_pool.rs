//! HTTP/2 connections to endpoints, shared by requests.
//!
//! A request goes onto the first connection that has room, so that few are kept
//! busy. Where none has, one is made, by one request at a time: those that come
//! meanwhile find room on it, and a burst does not open a connection each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use pingora::{connectors::http::v2::ConnectionRef, protocols::http::v2::client::Http2Session};

use super::{open::Open, pool::Key};

/// Time between sweeps.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections by who may use them.
#[derive(Default)]
pub(super) struct Http2Pool {
    kept: Mutex<HashMap<Key, Vec<Kept>>>,
    /// Held by who makes a connection.
    making: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

struct Kept {
    connection: ConnectionRef,
    open: Arc<Open>,
    keepalive: Duration,
    idle_since: Option<Instant>,
}

impl Http2Pool {
    /// Makes a pool that is swept as long as it lives; to be called on a runtime.
    pub(super) fn new() -> Arc<Self> {
        let pool = Arc::new(Self::default());
        tokio::spawn(sweep(Arc::downgrade(&pool)));
        pool
    }

    /// A stream on a connection that has room.
    pub(super) async fn take(&self, key: Key) -> Option<(Http2Session, Arc<Open>)> {
        loop {
            let (connection, open) = {
                let mut kept = self.kept();
                let list = kept.get_mut(&key)?;
                list.retain(|kept| is_open(&kept.connection));
                let free = list
                    .iter_mut()
                    .find(|kept| kept.connection.can_accept_streams(1))?;
                free.idle_since = None;
                (free.connection.clone(), Arc::clone(&free.open))
            };
            match connection.spawn_stream().await {
                Ok(Some(session)) => return Some((session, open)),
                // Others were quicker, or it closes.
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "no stream on a kept connection");
                    connection.mark_shutdown();
                }
            }
        }
    }

    /// Waits for the turn to make a connection.
    pub(super) async fn turn(&self, key: Key) -> Turn<'_> {
        let lock = {
            let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(making.entry(key).or_default())
        };
        Turn {
            pool: self,
            key,
            _held: lock.lock_owned().await,
        }
    }

    /// Shares a new connection; it is closed once it was idle for `keepalive`.
    pub(super) fn put(
        &self,
        key: Key,
        connection: ConnectionRef,
        open: Arc<Open>,
        keepalive: Duration,
    ) {
        self.kept().entry(key).or_default().push(Kept {
            connection,
            open,
            keepalive,
            idle_since: None,
        });
    }

    /// Closes idle connections of these keys.
    pub(super) fn close_idle(&self, which: impl Fn(&Key) -> bool) {
        let mut closed = Vec::new();
        self.kept().retain(|key, list| {
            if which(key) {
                closed.extend(list.extract_if(.., |kept| kept.connection.is_idle()));
            }
            !list.is_empty()
        });
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Vec<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        // Of those who gave up waiting for their turn.
        self.making
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, lock| Arc::strong_count(lock) > 1);
        let now = Instant::now();
        let mut closed = Vec::new();
        self.kept().retain(|_, list| {
            closed.extend(list.extract_if(.., |kept| {
                if !kept.connection.is_idle() {
                    kept.idle_since = None;
                    return !is_open(&kept.connection);
                }
                let since = *kept.idle_since.get_or_insert(now);
                !is_open(&kept.connection) || now.duration_since(since) >= kept.keepalive
            }));
            !list.is_empty()
        });
    }
}

/// The turn to make a connection, until it is dropped.
pub(super) struct Turn<'a> {
    pool: &'a Http2Pool,
    key: Key,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut making = self
            .pool
            .making
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // One in the map, one in the guard: nobody waits.
        if making
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) <= 2)
        {
            making.remove(&self.key);
        }
    }
}

fn is_open(connection: &ConnectionRef) -> bool {
    !connection.is_closed() && !connection.is_shutting_down() && !connection.ping_timedout()
}

async fn sweep(pool: Weak<Http2Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}
