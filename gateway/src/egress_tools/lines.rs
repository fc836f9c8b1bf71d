//! Lines of an audit log, one at a time.

use std::io::{self, BufRead};

use super::record::{NoRecord, Record};

/// Longest line that is read; a longer one is passed over and counted. The proxy's own records
/// are some hundred bytes, those of the WAF some ten thousand.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What a log had in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Egress records.
    pub records: u64,
    /// Lines that are something else; empty ones are not counted.
    pub others: u64,
    /// Egress records that cannot be used.
    pub unusable: u64,
    /// Where the first of these was, and why.
    pub first_unusable: Option<String>,
    /// Lines of more than [`MAX_LINE_BYTES`].
    pub too_long: u64,
}

/// Reads a log to its end and gives each egress record to `take`. `name` says in messages which
/// log it is. Memory for one line is used at a time.
///
/// # Errors
/// What reading fails with, and what `take` does.
pub fn read_lines<E: From<io::Error>>(
    name: &str,
    mut log: impl BufRead,
    counts: &mut LineCounts,
    mut take: impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    while next_line(&mut log, &mut line)? {
        number += 1;
        if line.len() > MAX_LINE_BYTES {
            counts.too_long += 1;
            continue;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match Record::parse(text) {
            Ok(record) => {
                counts.records += 1;
                take(record)?;
            }
            Err(NoRecord::Other) => counts.others += 1,
            Err(NoRecord::Unusable(why)) => {
                counts.unusable += 1;
                counts
                    .first_unusable
                    .get_or_insert_with(|| format!("{name}:{number}: {why}"));
            }
        }
    }
    Ok(())
}

/// Reads a line, of which no more than one byte over the limit is kept; false at the end.
fn next_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut begun = false;
    loop {
        let bytes = match log.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(begun);
        }
        begun = true;
        let end = memchr::memchr(b'\n', bytes);
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        let room = (MAX_LINE_BYTES + 1).saturating_sub(line.len());
        line.extend(part.iter().take(room));
        let used = end.map_or(bytes.len(), |end| end + 1);
        log.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use serde_json::json;

    use super::{super::record::tests::line, *};

    #[test]
    fn every_line_is_a_record_or_counted() {
        let long = format!(
            "{{\"kind\":\"egress\",\"x\":\"{}\"}}",
            "x".repeat(MAX_LINE_BYTES)
        );
        let log = [
            "{\"kind\":\"waf\"}".to_owned(),
            line(json!({"host": "one.example"})),
            String::new(),
            long,
            "no JSON".to_owned(),
            line(json!({"host": "ONE.example"})),
            line(json!({"port": 0})),
            // The last line of a log that is being written has no end.
            line(json!({"host": "two.example"})),
        ]
        .join("\n");
        let mut counts = LineCounts::default();
        let mut hosts = Vec::new();
        // A small buffer, so that lines come in parts.
        let log = BufReader::with_capacity(7, log.as_bytes());
        let read = read_lines("audit.jsonl", log, &mut counts, |record| {
            hosts.extend(record.destination.map(|(host, _)| host.to_string()));
            Ok::<_, io::Error>(())
        });
        read.expect("it is read");
        assert_eq!(hosts, ["one.example", "two.example"]);
        let why = counts.first_unusable.take().expect("one is told");
        assert!(why.starts_with("audit.jsonl:6: `host`"), "{why}");
        assert_eq!(
            counts,
            LineCounts {
                records: 2,
                others: 2,
                unusable: 2,
                first_unusable: None,
                too_long: 1
            }
        );
    }

    #[test]
    fn a_line_of_the_longest_kind_is_read() {
        for (over, too_long) in [(0, 0), (1, 1)] {
            let mut text = line(json!({}));
            text.push_str(&" ".repeat(MAX_LINE_BYTES - text.len() + over));
            text.push('\n');
            let mut counts = LineCounts::default();
            let take = |_| Ok::<_, io::Error>(());
            read_lines("log", text.as_bytes(), &mut counts, take).expect("it is read");
            assert_eq!((counts.records, counts.too_long), (1 - too_long, too_long));
        }
    }
}
