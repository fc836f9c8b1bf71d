//! The audit log: why something was refused, kept for look-up.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::Serialize;
use serde_json::Value;

use super::{LogWriter, timestamp::timestamp};

/// Writes each record as a JSON line and keeps the last ones in memory.
#[derive(Debug)]
pub struct AuditLog {
    writer: LogWriter,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Request ids and lines.
    records: VecDeque<(String, String)>,
    bytes: usize,
    capacity: usize,
    max_bytes: usize,
}

/// A record as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a, F> {
    time: String,
    kind: &'a str,
    request_id: &'a str,
    #[serde(flatten)]
    facts: F,
}

impl Kept {
    /// Lets the oldest go until the rest may stay.
    fn shrink(&mut self) {
        while self.records.len() > self.capacity || self.bytes > self.max_bytes {
            let Some((id, line)) = self.records.pop_front() else {
                return;
            };
            self.bytes -= id.len() + line.len();
        }
    }
}

impl AuditLog {
    /// Makes a log over a writer that keeps this many records, in this many bytes at most.
    pub fn new(writer: LogWriter, capacity: usize, max_bytes: usize) -> Self {
        Self {
            writer,
            kept: Mutex::new(Kept {
                records: VecDeque::new(),
                bytes: 0,
                capacity,
                max_bytes,
            }),
        }
    }

    /// Where the lines go.
    pub fn writer(&self) -> &LogWriter {
        &self.writer
    }

    /// Changes how many records are kept, and in how many bytes.
    pub fn set_capacity(&self, capacity: usize, max_bytes: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.capacity = capacity;
        kept.max_bytes = max_bytes;
        kept.shrink();
    }

    /// Writes a record of some kind about a request or connection.
    ///
    /// `facts` is an object; its fields stand beside `time`, `kind` and `requestId`.
    pub fn write(&self, kind: &'static str, request_id: &str, facts: impl Serialize) {
        let record = Line {
            time: timestamp(SystemTime::now()),
            kind,
            request_id,
            facts,
        };
        let line = match serde_json::to_string(&record) {
            Ok(line) => line,
            Err(error) => return tracing::error!(%error, kind, "audit record not written"),
        };
        self.writer.write(line.as_bytes());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.capacity == 0 {
            return;
        }
        kept.bytes += request_id.len() + line.len();
        kept.records.push_back((request_id.to_owned(), line));
        kept.shrink();
    }

    /// Finds the records of a request.
    pub fn find(&self, request_id: &str) -> Vec<Value> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records
            .iter()
            .filter(|(id, _)| id == request_id)
            .filter_map(|(_, line)| serde_json::from_str(line).ok())
            .collect()
    }

    /// The last records, newest first.
    pub fn last(&self, limit: usize) -> Vec<Value> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records
            .iter()
            .rev()
            .take(limit)
            .filter_map(|(_, line)| serde_json::from_str(line).ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::model::LogSink;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_records_are_kept_and_found_by_id() {
        let log = AuditLog::new(LogWriter::start("test", LogSink::Off).unwrap(), 2, 1 << 20);
        for id in ["a", "b", "c"] {
            log.write("test", id, json!({ "n": id }));
        }
        assert!(log.find("a").is_empty());
        assert_eq!(log.find("b")[0]["n"], "b");
        assert_eq!(log.last(10).len(), 2);
        assert_eq!(log.last(1)[0]["requestId"], "c");
        let long = "x".repeat(1000);
        log.set_capacity(2, 1500);
        log.write("test", "d", json!({ "n": long }));
        log.write("test", "e", json!({ "n": long }));
        assert_eq!(log.last(10).len(), 1, "bytes count as well");
        log.write("test", "f", json!({ "n": long.repeat(2) }));
        assert!(log.last(10).is_empty(), "one that does not fit is not kept");
        log.set_capacity(0, 1500);
        log.write("test", "d", json!({}));
        assert!(log.last(10).is_empty());
    }
}
