//! Two connections as one: bytes both ways, within limits.

mod streams;

pub(crate) use streams::relay_streams;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

/// Bytes that are relayed at once; taken only while data flows.
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
    /// Waits until bytes may go, which is at once or never.
    async fn admit(self, bytes: usize) {
        if self.is_up && !self.traffic.may_send(bytes) {
            std::future::pending::<()>().await;
        }
    }

    fn count(self, bytes: usize) {
        let count = match self.is_up {
            true => &self.traffic.up,
            false => &self.traffic.down,
        };
        count.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Relays both ways until both sides closed, a limit is reached, or `cut` says
/// why it must end. Returns why, where neither side closed.
pub(crate) async fn relay(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    limits: RelayLimits,
    traffic: &Traffic,
    cut: impl FnMut() -> Option<&'static str>,
) -> Option<&'static str> {
    let (mut client_read, mut client_write) = client.split();
    let (mut upstream_read, mut upstream_write) = upstream.split();
    let (up, down) = traffic.ways();
    let both = async {
        tokio::join!(
            copy(&mut client_read, &mut upstream_write, up),
            copy(&mut upstream_read, &mut client_write, down),
        )
    };
    tokio::select! {
        _ = both => None,
        reason = over(limits, traffic, cut) => Some(reason),
    }
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

/// Copies one way; the end of the source closes the sink's direction alone.
async fn copy(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, way: Way<'_>) -> io::Result<()> {
    let copied = async {
        loop {
            // No buffer while nothing comes: idle tunnels are many.
            from.readable().await?;
            let mut chunk = BytesMut::with_capacity(CHUNK);
            match from.try_read_buf(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    way.admit(read).await;
                    to.write_all(&chunk).await?;
                    way.count(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let result = copied.await;
    // The other side may be gone already.
    let _ = to.shutdown().await;
    result
}
