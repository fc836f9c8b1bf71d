//! Idle HTTP/1 connections to endpoints.
//!
//! The connection that was used last is taken first: it is the least likely to
//! be closed by the endpoint, and what a quiet time no longer needs runs out.
//! Whether an endpoint has closed one is seen when it is taken, and by a sweep
//! that also closes what has been idle for too long.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt;

use super::OpenStream;

/// Parts that are locked apart from each other.
const SHARDS: usize = 16;

/// Time between sweeps.
const SWEEP: Duration = Duration::from_secs(1);

/// Who may use a connection: what was negotiated on it, and the endpoint.
pub(super) type Key = (u64, SocketAddr);

/// Idle connections by who may use them.
#[derive(Debug)]
pub(super) struct Pool {
    shards: [Mutex<HashMap<Key, Vec<Idle>>>; SHARDS],
    hasher: RandomState,
    /// Connections that one key may have here.
    max_idle: usize,
}

#[derive(Debug)]
struct Idle {
    stream: OpenStream,
    until: Instant,
}

impl Pool {
    /// Makes a pool that is swept as long as it lives; to be called on a runtime.
    pub(super) fn new(max_idle: usize) -> Arc<Self> {
        let pool = Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            max_idle,
        });
        tokio::spawn(sweep(Arc::downgrade(&pool)));
        pool
    }

    /// Takes a connection that still lives.
    pub(super) fn take(&self, key: Key) -> Option<OpenStream> {
        let now = Instant::now();
        loop {
            let mut idle = self.shard(&key).get_mut(&key)?.pop()?;
            if idle.until > now && is_open(&mut idle.stream.stream) {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps a connection for so long; the one that was idle longest makes room.
    pub(super) fn put(&self, key: Key, stream: OpenStream, keep: Duration) {
        let Some(until) = Instant::now().checked_add(keep) else {
            return;
        };
        let mut shard = self.shard(&key);
        let kept = shard.entry(key).or_default();
        let crowded_out = (kept.len() >= self.max_idle).then(|| kept.remove(0));
        kept.push(Idle { stream, until });
        drop(shard);
        // Closing is a system call: not under the lock.
        drop(crowded_out);
    }

    /// Closes one idle connection of a backend, the one of its endpoint that was idle
    /// longest; tells whether there was one.
    pub(super) fn close_one(&self, backend: u64) -> bool {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = shard
                .iter_mut()
                .find(|((of, _), kept)| *of == backend && !kept.is_empty())
                .map(|(_, kept)| kept.remove(0));
            drop(shard);
            if idle.is_some() {
                return true;
            }
        }
        false
    }

    /// Closes the connections of other keys.
    pub(super) fn keep(&self, which: impl Fn(&Key) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let closed: Vec<_> = shard.extract_if(|key, _| !which(key)).collect();
            drop(shard);
            // Closing is a system call: not under the lock.
            drop(closed);
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Vec<Idle>>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let now = Instant::now();
        for shard in &self.shards {
            let mut closed = Vec::new();
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, kept| {
                closed.extend(kept.extract_if(.., |idle| {
                    idle.until <= now || !is_open(&mut idle.stream.stream)
                }));
                !kept.is_empty()
            });
        }
    }
}

async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}

/// Tells whether the endpoint has neither closed a connection nor sent what
/// nobody asked for.
fn is_open(stream: &mut Stream) -> bool {
    let mut byte = [0];
    // Unconstrained: a task that has used up its turn would read nothing, and take
    // that for silence.
    tokio::task::unconstrained(stream.read(&mut byte))
        .now_or_never()
        .is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(60);

    fn key(port: u16) -> Key {
        (1, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// A connection and its far end.
    async fn connection() -> (OpenStream, tokio::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let near = pingora::protocols::l4::stream::Stream::from(near.expect("connected"));
        let gauge = prometheus::IntGauge::new("open", "open").expect("a name");
        let open = OpenStream {
            stream: Box::new(near),
            open: super::super::open::Open::new(&gauge),
        };
        (open, far.expect("accepted").0)
    }

    #[tokio::test]
    async fn connections_come_back_to_their_own_key() {
        let pool = Pool::new(8);
        let (stream, _far) = connection().await;
        let id = stream.stream.id();
        pool.put(key(1), stream, KEEP);
        assert!(pool.take(key(2)).is_none());
        assert!(pool.take((2, key(1).1)).is_none());
        assert_eq!(pool.take(key(1)).map(|stream| stream.stream.id()), Some(id));
        assert!(pool.take(key(1)).is_none());
    }

    #[tokio::test]
    async fn what_ended_or_spoke_or_grew_old_is_not_taken() {
        use tokio::io::AsyncWriteExt;
        let pool = Pool::new(8);
        let (closed, far) = connection().await;
        drop(far);
        let (spoke, mut far) = connection().await;
        far.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            .await
            .expect("sent");
        let (old, _far) = connection().await;
        // The driver of the runtime learns of what happened.
        tokio::time::sleep(Duration::from_millis(50)).await;
        pool.put(key(1), closed, KEEP);
        pool.put(key(1), spoke, KEEP);
        pool.put(key(1), old, Duration::ZERO);
        assert!(pool.take(key(1)).is_none());
    }

    #[tokio::test]
    async fn a_full_pool_gives_up_the_oldest_and_a_sweep_what_has_ended() {
        let pool = Pool::new(2);
        let mut fars = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let (stream, far) = connection().await;
            ids.push(stream.stream.id());
            fars.push(far);
            pool.put(key(1), stream, KEEP);
        }
        let kept = |pool: &Pool| pool.shard(&key(1)).get(&key(1)).map_or(0, Vec::len);
        assert_eq!(kept(&pool), 2);
        fars.clear();
        tokio::time::sleep(Duration::from_millis(50)).await;
        pool.sweep();
        assert_eq!(kept(&pool), 0);
    }
}
