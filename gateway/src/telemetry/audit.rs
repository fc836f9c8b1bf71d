//! The audit log: why something was refused, kept for look-up.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use portcullis_waf::AuditRecord;
use serde::Serialize;
use serde_json::{Value, json};

use super::{LogWriter, timestamp::timestamp};

/// Writes each record as a JSON line and keeps the last ones in memory.
#[derive(Debug)]
pub struct AuditLog {
    writer: LogWriter,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    records: VecDeque<(String, Value)>,
    capacity: usize,
}

impl AuditLog {
    /// Makes a log over a writer that keeps this many records.
    pub fn new(writer: LogWriter, capacity: usize) -> Self {
        Self {
            writer,
            kept: Mutex::new(Kept {
                records: VecDeque::new(),
                capacity,
            }),
        }
    }

    /// Where the lines go.
    pub fn writer(&self) -> &LogWriter {
        &self.writer
    }

    /// Changes how many records are kept.
    pub fn set_capacity(&self, capacity: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.capacity = capacity;
        let surplus = kept.records.len().saturating_sub(capacity);
        kept.records.drain(..surplus);
    }

    /// Writes what the WAF found in a request.
    pub fn write_waf(&self, request_id: &str, profile: &str, record: &AuditRecord) {
        self.write(
            "waf",
            request_id,
            json!({ "profile": profile, "waf": record }),
        );
    }

    /// Writes a record of some kind about a request or connection.
    ///
    /// `facts` is an object; its fields stand beside `time`, `kind` and `requestId`.
    pub fn write(&self, kind: &'static str, request_id: &str, facts: impl Serialize) {
        let mut record = serde_json::Map::new();
        record.insert("time".into(), timestamp(SystemTime::now()).into());
        record.insert("kind".into(), kind.into());
        record.insert("requestId".into(), request_id.into());
        match serde_json::to_value(facts) {
            Ok(Value::Object(facts)) => record.extend(facts),
            Ok(other) => {
                record.insert("facts".into(), other);
            }
            Err(error) => return tracing::error!(%error, kind, "audit record not written"),
        }
        let record = Value::Object(record);
        self.writer.write(record.to_string().as_bytes());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.capacity == 0 {
            return;
        }
        if kept.records.len() >= kept.capacity {
            kept.records.pop_front();
        }
        kept.records.push_back((request_id.to_owned(), record));
    }

    /// Finds the records of a request.
    pub fn find(&self, request_id: &str) -> Vec<Value> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records
            .iter()
            .filter(|(id, _)| id == request_id)
            .map(|(_, record)| record.clone())
            .collect()
    }

    /// The last records, newest first.
    pub fn last(&self, limit: usize) -> Vec<Value> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records
            .iter()
            .rev()
            .take(limit)
            .map(|(_, record)| record.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::model::LogSink;

    use super::*;

    #[test]
    fn the_last_records_are_kept_and_found_by_id() {
        let log = AuditLog::new(LogWriter::start("test", LogSink::Off).unwrap(), 2);
        for id in ["a", "b", "c"] {
            log.write("test", id, json!({ "n": id }));
        }
        assert!(log.find("a").is_empty());
        assert_eq!(log.find("b")[0]["n"], "b");
        assert_eq!(log.last(10).len(), 2);
        assert_eq!(log.last(1)[0]["requestId"], "c");
        log.set_capacity(0);
        log.write("test", "d", json!({}));
        assert!(log.last(10).is_empty());
    }
}
