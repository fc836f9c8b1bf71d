//! Lines to a sink, without waiting.
//!
//! A request hands its line to a bounded channel and goes on; one thread writes.
//! When the thread is behind, a line is dropped and counted: a slow disk or a
//! blocked pipe must not slow the traffic.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use portcullis_config::model::LogSink;

/// Lines that wait for the writer at most.
const QUEUE: usize = 16_384;

/// Longest time a line waits in the write buffer.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

enum Message {
    Line(Vec<u8>),
    Sink(LogSink),
    Reopen,
    Flush(SyncSender<()>),
}

/// A log with a writer thread of its own. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    off: Arc<AtomicBool>,
}

impl LogWriter {
    /// Starts a writer; `name` is its thread's.
    pub fn start(name: &str, sink: LogSink) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let off = Arc::new(AtomicBool::new(sink == LogSink::Off));
        let writer = Self {
            queue,
            dropped: Arc::default(),
            off,
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_lines(&lines, sink))?;
        Ok(writer)
    }

    /// Tells whether lines go nowhere, so that none need be made.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// Writes a line; the line feed is added.
    pub fn write(&self, line: Vec<u8>) {
        if self.is_off() {
            return;
        }
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(Message::Line(line))
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of lines dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Writes to another sink from now on.
    pub fn set_sink(&self, sink: LogSink) {
        self.off.store(sink == LogSink::Off, Ordering::Relaxed);
        self.send(Message::Sink(sink));
    }

    /// Opens the file again, after it was rotated.
    pub fn reopen(&self) {
        self.send(Message::Reopen);
    }

    /// Waits until everything written so far is in the sink, at most for a second.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        self.send(Message::Flush(done));
        // A writer that is stuck for longer is not waited for.
        let _ = wait.recv_timeout(Duration::from_secs(1));
    }

    fn send(&self, message: Message) {
        if self.queue.send(message).is_err() {
            tracing::error!("a log's writer thread is gone");
        }
    }
}

fn write_lines(messages: &Receiver<Message>, mut sink: LogSink) {
    let mut out = open(&sink);
    let mut unflushed = false;
    loop {
        let message = match messages.recv_timeout(FLUSH_AFTER) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                if std::mem::take(&mut unflushed) {
                    report(out.flush(), &sink);
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => {
                report(out.flush(), &sink);
                return;
            }
        };
        match message {
            Message::Line(mut line) => {
                line.push(b'\n');
                report(out.write_all(&line), &sink);
                unflushed = true;
            }
            Message::Sink(next) if next == sink => {}
            Message::Sink(next) => {
                report(out.flush(), &sink);
                sink = next;
                out = open(&sink);
            }
            Message::Reopen => {
                report(out.flush(), &sink);
                out = open(&sink);
            }
            Message::Flush(done) => {
                report(out.flush(), &sink);
                unflushed = false;
                // Whoever asked may have stopped waiting.
                let _ = done.try_send(());
            }
        }
    }
}

fn open(sink: &LogSink) -> Box<dyn Write + Send> {
    match sink {
        LogSink::Off => Box::new(io::sink()),
        LogSink::Stdout => Box::new(BufWriter::new(io::stdout())),
        LogSink::File(path) => match open_file(path) {
            Ok(file) => Box::new(BufWriter::new(file)),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "log file not opened, writing to standard output");
                Box::new(BufWriter::new(io::stdout()))
            }
        },
    }
}

fn open_file(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn report(written: io::Result<()>, sink: &LogSink) {
    if let Err(error) = written {
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
        log.write(b"one".to_vec());
        log.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
        std::fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        log.reopen();
        log.write(b"two".to_vec());
        log.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_sink_can_be_changed_and_switched_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let log = LogWriter::start("test", LogSink::Off).unwrap();
        log.write(b"lost".to_vec());
        log.set_sink(LogSink::File(path.clone()));
        log.write(b"kept".to_vec());
        log.flush();
        log.set_sink(LogSink::Off);
        log.write(b"lost".to_vec());
        log.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
    }

    #[test]
    fn a_writer_that_is_behind_drops_and_counts() {
        let (queue, _stuck) = sync_channel(1);
        let log = LogWriter {
            queue,
            dropped: Arc::default(),
            off: Arc::default(),
        };
        for _ in 0..5 {
            log.write(Vec::new());
        }
        assert_eq!(log.take_dropped(), 4);
        assert_eq!(log.take_dropped(), 0);
    }
}
