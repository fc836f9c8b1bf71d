//! The process put together: what starts, reloads and drains.
//!
//! ```text
//! files or objects changed, SIGHUP --> load --> plan listeners --> swap the snapshot --> commit
//!                      ^                 \            \                              listeners
//!                      |                  \------------+--> refused: told, the last good one serves
//!                      +-- after a pause, what is refused -----------------+
//! ```

mod adopt;
mod apply;
mod egress;
mod reload;
mod servers;
mod start;
mod view;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use portcullis_config::problem::Problem;

use self::{reload::Cause, servers::Servers};
use crate::{
    egress::{EgressServers, TestAnswers},
    ingress::Ingress,
    inspect::BodyBudget,
    listen::Listeners,
    places::Places,
    retry::Retry,
    slots::Slots,
    snapshot::{Live, Snapshot},
    source::{Objects, Source},
    telemetry::{AccessLog, AuditLog, Decisions, Metrics},
    tls::Tls,
};

/// How to start a gateway.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// Configuration files and folders.
    pub config: Vec<PathBuf>,
    /// Objects that it serves besides.
    pub objects: Option<Arc<dyn Objects>>,
    /// Where to write the bound addresses.
    pub bound_file: Option<PathBuf>,
    /// Answers of the egress proxy for tests.
    pub egress_test: TestAnswers,
}

/// A running gateway. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    bound_file: Option<PathBuf>,
    live: Live,
    metrics: Arc<Metrics>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    tls: Arc<Tls>,
    budget: Arc<BodyBudget>,
    compressions: Arc<Slots>,
    mirrored: Arc<Slots>,
    udp_sessions: Arc<Places>,
    access_log: Arc<AccessLog>,
    audit_log: Arc<AuditLog>,
    decisions: Decisions,
    ingress: Arc<Ingress>,
    listeners: Listeners,
    egress: EgressServers,
    servers: Mutex<Servers>,
    state: Mutex<LoadState>,
    /// Loads run one at a time.
    loading: tokio::sync::Mutex<()>,
    /// When what was refused is tried again.
    retry: Retry,
    draining: AtomicBool,
    /// Whether that test has begun.
    egress_tried: AtomicBool,
    /// What came of the self-test of the egress proxy, once there is one; `None` within is good.
    egress_proved: OnceLock<Option<String>>,
    /// Whether a configuration with all objects has been put in force.
    serves_objects: AtomicBool,
}

/// The last load, as the admin endpoint shows it.
#[derive(Default)]
struct LoadState {
    at: Option<SystemTime>,
    /// Why it was refused.
    refused: Option<Problem>,
    problems: Vec<Problem>,
    named_files: Vec<PathBuf>,
}

impl LoadState {
    /// Watches more files.
    fn watch_more(&mut self, files: Vec<PathBuf>) {
        self.named_files.extend(files);
        self.named_files.sort();
        self.named_files.dedup();
    }
}

impl Gateway {
    /// Loads the configuration again, also what could not be put in force; a refused one changes
    /// nothing.
    pub async fn reload(&self) {
        self.load_for(Cause::Asked).await;
    }

    /// Decisions as they are made.
    pub fn decisions(&self) -> &Decisions {
        &self.inner.decisions
    }

    /// Opens log files again, after they were rotated.
    pub fn reopen_logs(&self) {
        self.inner.access_log.writer().reopen();
        self.inner.audit_log.writer().reopen();
    }

    /// Ends: stops accepting, lets what is open finish within the drain timeout,
    /// and returns how many connections were cut.
    pub async fn drain(&self) -> u32 {
        let inner = &self.inner;
        inner.draining.store(true, Ordering::Relaxed);
        let limit = inner.snapshot.load().model.process.drain_timeout;
        inner.listeners.stop();
        inner.egress.stop();
        let (ingress, egress) = tokio::join!(
            inner.listeners.wait_closed(limit),
            inner.egress.wait_closed(limit)
        );
        let left = ingress + egress;
        if left > 0 {
            tracing::warn!(
                connections = left,
                "drain timeout is over, connections are cut"
            );
        }
        inner.access_log.writer().flush();
        inner.audit_log.writer().flush();
        left
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
