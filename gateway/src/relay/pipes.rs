//! Pipes of the kernel, through which much data goes from socket to socket without being copied
//! into this process: `splice(2)`.
//!
//! A pipe belongs to a relay while data flows, and is lent out of a pool that is bounded: each takes two
//! file descriptors, and holds up to [`SIZE`] bytes where the sink is slow. A relay that gets none goes
//! through memory. Only a pipe that is empty goes back: what one connection left could reach another.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use tokio::{io::Interest, net::TcpStream, task::coop::consume_budget};

use super::{
    CHUNK, Way,
    sockets::{Moved, is_not_ready},
};

/// Bytes that go through a pipe at once, which is what it holds at most.
const SIZE: usize = 256 << 10;
/// Bytes that a relay carries before others of its thread have their turn.
const TURN: usize = 1 << 20;

/// The pipes of this process.
pub(super) static POOL: Pool = Pool::new();

/// Pipes, so many at most.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Pipe>>,
    /// Those that there are, lent ones included.
    there: AtomicUsize,
    limit: AtomicUsize,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes in it.
    held: usize,
}

/// What came into a pipe.
enum Filled {
    /// So many bytes.
    Bytes(usize),
    /// Nothing.
    Nothing,
    /// Nothing, and nothing ever will: the system does not let this be done.
    Never,
}

/// A pipe for as long as it is needed.
#[derive(Debug)]
pub(super) struct Lent<'p> {
    pool: &'p Pool,
    /// There until it is dropped.
    pipe: Option<Pipe>,
}

impl Pool {
    const fn new() -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            there: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
        }
    }

    /// Changes how many there may be. Those that are lent stay so until they come back.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        let mut idle = self.idle();
        while self.there.load(Ordering::Relaxed) > limit && idle.pop().is_some() {
            self.there.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Lends a pipe, if there may be one more or the system has one.
    pub(super) fn take(&self) -> Option<Lent<'_>> {
        let known = self.idle().pop();
        let pipe = match known {
            Some(pipe) => pipe,
            None => self.make()?,
        };
        Some(Lent {
            pool: self,
            pipe: Some(pipe),
        })
    }

    fn make(&self) -> Option<Pipe> {
        let limit = self.limit.load(Ordering::Relaxed);
        let counted = self
            .there
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |there| {
                (there < limit).then_some(there + 1)
            });
        counted.ok()?;
        match Pipe::new() {
            Ok(pipe) => Some(pipe),
            Err(error) => {
                let there = self.there.fetch_sub(1, Ordering::Relaxed) - 1;
                // Not to ask for each piece of data what the system does not give.
                if self.limit.fetch_min(there, Ordering::Relaxed) > there {
                    tracing::warn!(%error, there, "the system gives no more pipes: other relays copy");
                }
                None
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Pipe>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn new() -> nix::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where a user has too many the system gives one of a page or two (pipe(7),
        // pipe-user-pages-soft), which is worse than memory.
        fcntl(&write, FcntlArg::F_SETPIPE_SZ(SIZE as i32))?;
        Ok(Self {
            read,
            write,
            held: 0,
        })
    }

    /// Moves what a source has, `most` at a time, into the pipe, which is empty.
    ///
    /// It says nothing of the source that nothing comes this way, 0 or `EAGAIN`: urgent bytes and those
    /// of a socket map are not seen. So that one stays ready, and reading it tells.
    fn fill(&mut self, from: &TcpStream, most: usize) -> io::Result<Filled> {
        let filled = from.try_io(Interest::READABLE, || {
            match splice(from, None, &self.write, None, most, flags()) {
                Ok(0) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(Filled::Nothing),
                Ok(moved) => Ok(Filled::Bytes(moved)),
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => Ok(Filled::Never),
                Err(error) => Err(error.into()),
            }
        })?;
        if let Filled::Bytes(moved) = filled {
            self.held = moved;
        }
        Ok(filled)
    }

    /// Moves what is in the pipe into a sink.
    fn empty(&mut self, to: &TcpStream) -> io::Result<usize> {
        let moved = to.try_io(Interest::WRITABLE, || {
            Ok(splice(&self.read, None, to, None, self.held, flags())?)
        })?;
        if moved == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.held -= moved;
        Ok(moved)
    }
}

impl Lent<'_> {
    /// Carries what comes this way until nothing does, or others have their turn. It is for who reads
    /// to say whether that is the end.
    pub(super) async fn carry(
        mut self,
        from: &TcpStream,
        to: &TcpStream,
        way: Way<'_>,
    ) -> io::Result<Moved> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(Moved::Bytes(0));
        };
        let mut carried = 0;
        while carried < TURN {
            let most = if way.is_limited() { CHUNK } else { SIZE };
            // One that is always ready would keep the others of its thread waiting.
            consume_budget().await;
            let filled = match pipe.fill(from, most) {
                Err(error) if is_not_ready(&error) => break,
                filled => filled?,
            };
            let filled = match filled {
                Filled::Bytes(filled) => filled,
                Filled::Nothing => break,
                Filled::Never => {
                    tracing::warn!("the system does not splice sockets: relays copy");
                    self.pool.set_limit(0);
                    break;
                }
            };
            way.admit(filled).await;
            while pipe.held > 0 {
                match pipe.empty(to) {
                    Ok(sent) => way.count(sent),
                    Err(error) if is_not_ready(&error) => to.writable().await?,
                    Err(error) => return Err(error),
                }
            }
            carried += filled;
        }
        Ok(Moved::Bytes(carried))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let (there, limit) = (&self.pool.there, &self.pool.limit);
        let Some(pipe) = self.pipe.take() else {
            return;
        };
        let mut idle = self.pool.idle();
        if pipe.held == 0 && there.load(Ordering::Relaxed) <= limit.load(Ordering::Relaxed) {
            idle.push(pipe);
        } else {
            there.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Neither the pipe nor the sockets are waited for within a call.
fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;
    use crate::relay::{Meter, Traffic};

    /// Two ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, two) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), two.unwrap().0)
    }

    fn pool(limit: usize) -> Pool {
        let pool = Pool::new();
        pool.set_limit(limit);
        pool
    }

    /// How many pipes are idle, and how many there are.
    fn counts(pool: &Pool) -> (usize, usize) {
        (pool.idle().len(), pool.there.load(Ordering::Relaxed))
    }

    #[test]
    fn there_are_no_more_pipes_than_may_be() {
        let none = pool(0);
        assert!(none.take().is_none());
        let pool = pool(2);
        let (one, two) = (pool.take(), pool.take());
        assert!(one.is_some() && two.is_some() && pool.take().is_none());
        drop(one);
        assert_eq!(counts(&pool), (1, 2));
        let again = pool.take();
        assert!(again.is_some() && pool.take().is_none());
        // A lower limit closes those that are idle at once, and others when they come back.
        drop(again);
        pool.set_limit(1);
        assert_eq!(counts(&pool), (0, 1));
        pool.set_limit(0);
        drop(two);
        assert_eq!(counts(&pool), (0, 0));
    }

    #[tokio::test]
    async fn a_pipe_carries_what_comes_and_goes_back_empty() {
        let pool = pool(1);
        let ((mut client, from), (to, mut target)) = (pair().await, pair().await);
        let traffic = Traffic::default();
        let bytes: Vec<u8> = (0..3_000_000u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        let sent = bytes.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
        });
        let taking = tokio::spawn(async move {
            let mut taken = vec![0; 3_000_000];
            target.read_exact(&mut taken).await.unwrap();
            taken
        });
        loop {
            from.readable().await.unwrap();
            let lent = pool.take().expect("it is back");
            let moved = lent.carry(&from, &to, traffic.ways().0).await.unwrap();
            assert!(matches!(moved, Moved::Bytes(_)), "it does not tell an end");
            if traffic.up.load(Ordering::Relaxed) == 3_000_000 {
                break;
            }
        }
        sending.await.unwrap();
        assert!(taking.await.unwrap() == bytes, "other bytes came");
        assert_eq!(traffic.up.load(Ordering::Relaxed), 3_000_000);
        assert_eq!(counts(&pool), (1, 1));
    }

    #[tokio::test]
    async fn a_pipe_with_bytes_in_it_never_serves_another() {
        let pool = pool(1);
        let ((mut client, from), (to, _nobody_reads)) = (pair().await, pair().await);
        let traffic = Traffic::default();
        let sending = tokio::spawn(async move {
            // More than the buffers of the system take.
            let _ = client.write_all(&vec![1; 64 << 20]).await;
        });
        let stuck = async {
            loop {
                from.readable().await.unwrap();
                let lent = pool.take().expect("it is back");
                lent.carry(&from, &to, traffic.ways().0).await.unwrap();
            }
        };
        let cut = timeout(Duration::from_millis(500), stuck).await;
        assert!(cut.is_err());
        sending.abort();
        assert_eq!(counts(&pool), (0, 0));
        assert!(pool.take().is_some(), "there may be a new one");
    }

    #[derive(Debug)]
    struct Most(AtomicUsize);

    impl Meter for Most {
        fn may_send(&self, bytes: u64) -> bool {
            let bytes = usize::try_from(bytes).unwrap();
            let left = self
                .0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(bytes)
                });
            left.is_ok()
        }

        fn is_limited(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn what_a_meter_refuses_does_not_go_and_is_a_small_piece() {
        for more in [0, 60_000, 120_000, 180_000, 240_000] {
            let pool = pool(1);
            let ((mut client, from), (to, mut target)) = (pair().await, pair().await);
            let most = 1_000_000 + more;
            let traffic = Traffic {
                meter: Some(Arc::new(Most(most.into()))),
                ..Traffic::default()
            };
            let sending = tokio::spawn(async move {
                client.write_all(&vec![1; 4 << 20]).await.unwrap();
                client
            });
            let taking = tokio::spawn(async move {
                let mut all = Vec::new();
                target.read_to_end(&mut all).await.unwrap();
                all.len()
            });
            // There is enough for whole pieces.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let carrying = async {
                loop {
                    from.readable().await.unwrap();
                    let lent = pool.take().expect("it is back");
                    lent.carry(&from, &to, traffic.ways().0).await.unwrap();
                }
            };
            assert!(timeout(Duration::from_secs(1), carrying).await.is_err());
            drop(to);
            let taken = taking.await.unwrap();
            assert!(taken <= most, "{taken} of {most}");
            assert!(taken > most - CHUNK, "{taken} of {most}");
            assert_eq!(traffic.up.load(Ordering::Relaxed), taken as u64);
            sending.abort();
        }
    }
}
