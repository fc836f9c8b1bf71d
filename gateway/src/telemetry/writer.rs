//! Lines to a sink, without waiting.
//!
//! A request appends its line to a bounded buffer and goes on; one thread writes
//! what has gathered, a few times a second. To wake it for each line would cost
//! more than the line. When the thread is behind, a line is dropped and counted:
//! a slow disk or a blocked pipe must not slow the traffic.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use portcullis_config::model::LogSink;

/// Bytes that wait for the writer at most.
const MAX_WAITING: usize = 8 << 20;

/// Bytes that are written without further delay.
const WRITE_AT: usize = 64 << 10;

/// Longest time a line waits.
const WRITE_AFTER: Duration = Duration::from_millis(100);

enum Order {
    Sink(LogSink),
    Reopen,
    Flush(SyncSender<()>),
}

/// A log with a writer thread of its own. Clones write to the same log; the
/// thread ends with the last of them.
#[derive(Clone, Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    dropped: Arc<AtomicU64>,
    off: Arc<AtomicBool>,
    _owner: Arc<Owner>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    called: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Each with the number of bytes that go before it.
    orders: Vec<(usize, Order)>,
    /// Whether the thread waits for a first line, and must be called for it.
    asleep: bool,
    /// Whether the thread must not wait any longer.
    urgent: bool,
    closed: bool,
}

/// Ends the thread when the last writer is dropped.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.call(|waiting| waiting.closed = true);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits, and has the thread look at it now.
    fn call(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        change(&mut waiting);
        waiting.urgent = true;
        drop(waiting);
        self.called.notify_one();
    }

    /// Waits for something to do, and takes it: the lines go into `lines`, which
    /// is empty. Returns the orders, and whether the log is closed.
    fn next(&self, lines: &mut Vec<u8>) -> (Vec<(usize, Order)>, bool) {
        let mut waiting = self.lock();
        waiting.asleep = true;
        waiting = self
            .called
            .wait_while(waiting, |waiting| {
                waiting.lines.is_empty() && !waiting.urgent
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.asleep = false;
        // More will come; one write is for all.
        waiting = self
            .called
            .wait_timeout_while(waiting, WRITE_AFTER, |waiting| !waiting.urgent)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        waiting.urgent = false;
        std::mem::swap(&mut waiting.lines, lines);
        (std::mem::take(&mut waiting.orders), waiting.closed)
    }
}

impl LogWriter {
    /// Starts a writer; `name` is its thread's.
    pub fn start(name: &str, sink: LogSink) -> io::Result<Self> {
        let writer = Self::unwritten(sink == LogSink::Off);
        let shared = Arc::clone(&writer.shared);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_lines(&shared, sink))?;
        Ok(writer)
    }

    fn unwritten(off: bool) -> Self {
        let shared = Arc::<Shared>::default();
        Self {
            _owner: Arc::new(Owner(Arc::clone(&shared))),
            shared,
            dropped: Arc::default(),
            off: Arc::new(AtomicBool::new(off)),
        }
    }

    /// Tells whether lines go nowhere, so that none need be made.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// Writes a line; the line feed is added.
    pub fn write(&self, line: &[u8]) {
        if self.is_off() {
            return;
        }
        let mut waiting = self.shared.lock();
        if waiting.lines.len() + line.len() >= MAX_WAITING {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.lines.extend_from_slice(line);
        waiting.lines.push(b'\n');
        let many = waiting.lines.len() >= WRITE_AT && !waiting.urgent;
        waiting.urgent |= many;
        let call = many || waiting.asleep;
        waiting.asleep = false;
        drop(waiting);
        if call {
            self.shared.called.notify_one();
        }
    }

    /// Returns the number of lines dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Writes to another sink from now on.
    pub fn set_sink(&self, sink: LogSink) {
        self.off.store(sink == LogSink::Off, Ordering::Relaxed);
        self.order(Order::Sink(sink));
    }

    /// Opens the file again, after it was rotated.
    pub fn reopen(&self) {
        self.order(Order::Reopen);
    }

    /// Waits until everything written so far is in the sink, at most for a second.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        self.order(Order::Flush(done));
        // A writer that is stuck for longer is not waited for.
        let _ = wait.recv_timeout(Duration::from_secs(1));
    }

    fn order(&self, order: Order) {
        self.shared
            .call(|waiting| waiting.orders.push((waiting.lines.len(), order)));
    }
}

fn write_lines(shared: &Shared, mut sink: LogSink) {
    let mut out = open(&sink);
    let mut lines = Vec::new();
    loop {
        let (orders, closed) = shared.next(&mut lines);
        let mut written = 0;
        for (before, order) in orders {
            put(&mut out, &lines[written..before], &sink);
            written = before;
            match order {
                Order::Sink(next) if next == sink => {}
                Order::Sink(next) => {
                    sink = next;
                    out = open(&sink);
                }
                Order::Reopen => out = open(&sink),
                // Whoever asked may have stopped waiting.
                Order::Flush(done) => drop(done.try_send(())),
            }
        }
        put(&mut out, &lines[written..], &sink);
        lines.clear();
        lines.shrink_to(WRITE_AT);
        if closed {
            return;
        }
    }
}

fn open(sink: &LogSink) -> Box<dyn Write + Send> {
    match sink {
        LogSink::Off => Box::new(io::sink()),
        LogSink::Stdout => Box::new(io::stdout()),
        LogSink::File(path) => match open_file(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "log file not opened, writing to standard output");
                Box::new(io::stdout())
            }
        },
    }
}

fn open_file(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn put(out: &mut impl Write, lines: &[u8], sink: &LogSink) {
    if !lines.is_empty()
        && let Err(error) = out.write_all(lines).and_then(|()| out.flush())
    {
        tracing::error!(?sink, %error, "log not written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_reach_the_file_and_a_rotated_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let log = LogWriter::start("test", LogSink::File(path.clone())).unwrap();
        log.write(b"one");
        log.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
        std::fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        log.reopen();
        log.write(b"two");
        log.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_sink_can_be_changed_and_switched_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let log = LogWriter::start("test", LogSink::Off).unwrap();
        log.write(b"lost");
        log.set_sink(LogSink::File(path.clone()));
        log.write(b"kept");
        log.flush();
        log.set_sink(LogSink::Off);
        log.write(b"lost");
        log.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
    }

    #[test]
    fn a_writer_that_is_behind_drops_and_counts() {
        let log = LogWriter::unwritten(false);
        let line = vec![b'x'; MAX_WAITING / 4];
        for _ in 0..5 {
            log.write(&line);
        }
        assert_eq!(log.take_dropped(), 2);
        assert_eq!(log.take_dropped(), 0);
    }
}
