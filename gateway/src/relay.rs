//! Two connections as one: bytes both ways, within limits.
//!
//! ```text
//! sockets  -> readable -> [`sockets`]: read, ask the meter, write       small pieces, through memory
//!                     \-> [`pipes`]: splice, ask the meter, splice      much at once, within the kernel (Linux)
//! streams  -> [`streams`]: TLS on a side
//! ```
//!
//! An idle relay has no buffer and no pipe.

#[cfg(target_os = "linux")]
mod pipes;
mod sockets;
mod streams;

pub(crate) use sockets::relay;
pub(crate) use streams::relay_streams;

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Bytes that are relayed at once through memory, and at most where a meter counts them.
const CHUNK: usize = 64 << 10;
/// How often the limits of an open relay are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// Limits of a relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayLimits {
    /// Silence of both sides.
    pub(crate) idle: Option<Duration>,
    /// Time for all of it.
    pub(crate) lifetime: Option<Duration>,
}

/// What is asked before bytes go from the client to the destination.
pub(crate) trait Meter: fmt::Debug + Send + Sync {
    /// Counts bytes, and tells whether they may go.
    fn may_send(&self, bytes: u64) -> bool;

    /// Whether it may refuse bytes as it is now: then they are asked for in small pieces, since a
    /// piece that does not fit counts as a whole.
    fn is_limited(&self) -> bool;
}

/// Bytes that went both ways, counted while they go.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) up: AtomicU64,
    pub(crate) down: AtomicU64,
    /// Where one is, what it refuses does not go, and nothing after it: who set it says by `cut`
    /// that the relay ends.
    pub(crate) meter: Option<Arc<dyn Meter>>,
}

impl Traffic {
    /// Whether bytes may go up.
    pub(crate) fn may_send(&self, bytes: usize) -> bool {
        let meter = self.meter.as_ref();
        meter.is_none_or(|meter| meter.may_send(bytes as u64))
    }

    fn ways(&self) -> (Way<'_>, Way<'_>) {
        let way = |is_up| Way {
            traffic: self,
            is_up,
        };
        (way(true), way(false))
    }
}

/// One direction.
#[derive(Clone, Copy)]
struct Way<'a> {
    traffic: &'a Traffic,
    is_up: bool,
}

impl Way<'_> {
    /// Whether bytes may go. Where they may not none does any more, and the relay waits to be cut.
    fn admits(self, bytes: usize) -> bool {
        !self.is_up || self.traffic.may_send(bytes)
    }

    /// Waits until bytes may go, which is at once or never.
    async fn admit(self, bytes: usize) {
        if !self.admits(bytes) {
            std::future::pending::<()>().await;
        }
    }

    /// Whether a meter may refuse bytes.
    fn is_limited(self) -> bool {
        let meter = self.traffic.meter.as_ref();
        self.is_up && meter.is_some_and(|meter| meter.is_limited())
    }

    fn count(self, bytes: usize) {
        let count = match self.is_up {
            true => &self.traffic.up,
            false => &self.traffic.down,
        };
        count.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Sets how many pipes of the kernel relays may have at once; they are used on Linux.
pub(crate) fn set_max_pipes(limit: u32) {
    #[cfg(target_os = "linux")]
    pipes::POOL.set_limit(usize::try_from(limit).unwrap_or(usize::MAX));
    #[cfg(not(target_os = "linux"))]
    let _ = limit;
}

thread_local! {
    /// What is read into: an idle relay holds no memory for it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// For how long nothing has gone either way.
struct Silence<'t> {
    traffic: &'t Traffic,
    seen: u64,
    since: Instant,
}

impl<'t> Silence<'t> {
    fn new(traffic: &'t Traffic) -> Self {
        Self {
            traffic,
            seen: 0,
            since: Instant::now(),
        }
    }

    fn length(&mut self) -> Duration {
        let traffic = self.traffic;
        let now = traffic.up.load(Ordering::Relaxed) + traffic.down.load(Ordering::Relaxed);
        if now != self.seen {
            (self.seen, self.since) = (now, Instant::now());
        }
        self.since.elapsed()
    }
}

/// Waits until nothing has gone either way for so long.
pub(crate) async fn silent(idle: Duration, traffic: &Traffic) {
    let mut silence = Silence::new(traffic);
    while silence.length() < idle {
        tokio::time::sleep(TICK.min(idle)).await;
    }
}

/// Waits until a limit is reached or `cut` says why it must end, and returns why.
pub(crate) async fn over(
    limits: RelayLimits,
    traffic: &Traffic,
    mut cut: impl FnMut() -> Option<&'static str>,
) -> &'static str {
    let began = Instant::now();
    let mut silence = Silence::new(traffic);
    loop {
        tokio::time::sleep(TICK).await;
        let length = silence.length();
        if limits.idle.is_some_and(|idle| length >= idle) {
            return "idle_timeout";
        }
        if limits.lifetime.is_some_and(|most| began.elapsed() >= most) {
            return "max_lifetime";
        }
        if let Some(reason) = cut() {
            return reason;
        }
    }
}
