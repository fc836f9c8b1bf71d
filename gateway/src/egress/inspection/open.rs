//! The requests of a tunnel that are under way.
//!
//! Each is judged again with the tunnel, by itself: a change of a policy ends those that it does
//! not allow, and leaves the others.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::super::{
    answer::Refusal, audit::Record, quota::Charge, servers::EgressServices, standing::Standing,
};
use super::unsent::Unsent;
use crate::relay::Traffic;

/// Why a request is cut; nothing while it is not.
pub(super) type Cut = watch::Receiver<Option<&'static str>>;

/// Those of one tunnel.
pub(super) struct OpenRequests {
    /// What is taken of quotas for the tunnel, and counts what its requests send.
    charge: Arc<Charge>,
    open: Mutex<HashMap<u64, OpenRequest>>,
    next: AtomicU64,
    /// Why the tunnel has ended, where neither side closed it.
    ended: OnceLock<&'static str>,
    /// Bytes of those that are done.
    done: Traffic,
    /// Bytes of bodies of all.
    pub(super) traffic: Traffic,
    /// The same and heads, each as one: whatever comes or goes is no silence.
    pub(super) activity: Traffic,
    heads: AtomicU64,
    /// What the destination has not taken yet, also of those that are done.
    pub(super) unsent: Unsent,
}

struct OpenRequest {
    standing: Option<Standing>,
    cut: watch::Sender<Option<&'static str>>,
    traffic: Arc<Traffic>,
}

/// A request up to the end of its answer.
pub(super) struct Told {
    /// What is told of it.
    pub(super) record: Record,
    /// Its bytes.
    pub(super) traffic: Arc<Traffic>,
    passing: Arc<Passing>,
}

/// A request that is open for as long as it or its answer is on its way: an answer may end before the
/// body that it answers does. Its record is written when this is dropped, however it ends.
pub(super) struct Passing {
    traffic: Arc<Traffic>,
    number: u64,
    cut: Cut,
    open: Arc<OpenRequests>,
    services: Arc<EgressServices>,
    /// There once the answer has ended.
    record: OnceLock<Record>,
}

impl OpenRequests {
    /// None yet, of a tunnel that so much is taken for; so many at once wait for the destination.
    pub(super) fn new(charge: Arc<Charge>, max_unsent: u32) -> Self {
        Self {
            charge,
            open: Mutex::default(),
            next: AtomicU64::default(),
            ended: OnceLock::new(),
            done: Traffic::default(),
            traffic: Traffic::default(),
            activity: Traffic::default(),
            heads: AtomicU64::default(),
            unsent: Unsent::new(max_unsent),
        }
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>, record: Record, services: &Arc<EgressServices>) -> Told {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, cut) = watch::channel(None);
        let traffic = Arc::new(Traffic {
            meter: Some(self.charge.clone()),
            ..Traffic::default()
        });
        let request = OpenRequest {
            standing: None,
            cut: sender,
            traffic: Arc::clone(&traffic),
        };
        self.lock().insert(number, request);
        Told {
            record,
            passing: Arc::new(Passing {
                traffic: Arc::clone(&traffic),
                number,
                cut,
                open: Arc::clone(self),
                services: Arc::clone(services),
                record: OnceLock::new(),
            }),
            traffic,
        }
    }

    /// Judges those again that were allowed, cuts those that are not any more, and counts bytes.
    pub(super) fn look(&self) {
        let (mut up, mut down) = amounts(&self.done);
        for request in self.lock().values_mut() {
            let (more_up, more_down) = amounts(&request.traffic);
            (up, down) = (up + more_up, down + more_down);
            if let Some(reason) = request.standing.as_mut().and_then(Standing::cut) {
                request.cut.send_if_modified(|cut| {
                    let is_first = cut.is_none();
                    cut.get_or_insert(reason);
                    is_first
                });
            }
        }
        self.traffic.up.store(up, Ordering::Relaxed);
        self.traffic.down.store(down, Ordering::Relaxed);
        let heads = self.heads.load(Ordering::Relaxed);
        self.activity.up.store(up + heads, Ordering::Relaxed);
        self.activity.down.store(down, Ordering::Relaxed);
    }

    /// Whether there are none.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    /// Notes why the tunnel ends, before its requests are dropped: those that are open end by it. None
    /// is woken for that, and so none is answered any more.
    pub(super) fn end(&self, reason: &'static str) {
        // The first one stays.
        let _ = self.ended.set(reason);
    }

    /// Why the tunnel ends where the destination has taken nothing of a request for so long; what is
    /// held of it would stay, also when the request is over.
    pub(super) fn stuck(&self, most: Duration) -> Option<&'static str> {
        (self.unsent.longest() >= most).then_some("upstream_timeout")
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, OpenRequest>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn amounts(traffic: &Traffic) -> (u64, u64) {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    (of(&traffic.up), of(&traffic.down))
}

impl Told {
    /// Has it judged again from now on; tells why it ends already, if it does.
    pub(super) fn stand(&self, mut standing: Standing) -> Option<&'static str> {
        // A configuration may have come since it was allowed.
        if let Some(reason) = standing.cut() {
            return Some(reason);
        }
        let Passing { open, number, .. } = &*self.passing;
        if let Some(request) = open.lock().get_mut(number) {
            request.standing = Some(standing);
        }
        None
    }

    /// What tells that it is cut.
    pub(super) fn cut(&self) -> Cut {
        self.passing.cut.clone()
    }

    /// What keeps it open while its body is on its way.
    pub(super) fn passing(&self) -> Arc<Passing> {
        Arc::clone(&self.passing)
    }

    /// What is taken of quotas for its tunnel.
    pub(super) fn charge(&self) -> &Charge {
        &self.passing.open.charge
    }

    /// Notes that a head has come or gone.
    pub(super) fn moved(&self) {
        self.passing.open.heads.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a refusal.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.record.refused(refusal);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // There is one of it.
        let _ = self.passing.record.set(self.record.clone());
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let request = self.open.lock().remove(&self.number);
        let (up, down) = amounts(&self.traffic);
        self.open.done.up.fetch_add(up, Ordering::Relaxed);
        self.open.done.down.fetch_add(down, Ordering::Relaxed);
        let Some(mut record) = self.record.take() else {
            return;
        };
        if !record.is_in_tunnel() {
            record.overdrawn(&self.open.charge);
        }
        (record.bytes_up, record.bytes_down) = (up, down);
        let cut = request.and_then(|request| *request.cut.borrow());
        if let Some(reason) = cut.or_else(|| self.open.ended.get().copied()) {
            record.ended = Some(reason);
        } else if record.status == 0 {
            // Whoever asked is gone before there was an answer.
            record.ended = Some("client_closed");
        }
        record.write(&self.services);
    }
}
