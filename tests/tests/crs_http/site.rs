//! The gateway in the set-up that the tests are meant for, and a client that reads
//! answers and audit log.

use std::{collections::HashMap, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use portcullis_tests::Gateway;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use super::{
    client,
    judge::{Found, Outcome},
    server,
    suite::Input,
};

/// Requests under way at once.
const PARALLEL: usize = 16;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the engine's own run compiles before the CRS.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../waf-rules/tests/crs");

/// What came of one request over HTTP.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// What the gateway says of an answer of its own.
    pub(crate) reason: Option<String>,
    /// The status with which rules stopped it.
    pub(crate) stopped: Option<u16>,
    id: Option<String>,
}

/// Sends every request twice: to detection at level 4, and to blocking at level 1.
pub(crate) async fn send(crs: &Path, inputs: &[&Input]) -> Vec<[Answer; 2]> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).expect("the folder is writable");
    let limits = Path::new(FOLDER).join("limits.conf");
    fs::copy(limits, plugins.join("limits-config.conf")).expect("the folder is writable");
    let yaml = config(crs, server::start().await);
    let mut gateway = Gateway::start_in(folder, &yaml, &[]);
    let detected = send_all(gateway.at("listeners/detect"), inputs).await;
    let blocked = send_all(gateway.at("listeners/block"), inputs).await;
    let dropped = gateway.metric("portcullis_log_lines_dropped_total{log=\"audit\"}");
    assert_eq!(dropped.unwrap_or_default(), 0.0, "the audit log is whole");
    // Its end writes what waits to be written.
    gateway.signal("TERM");
    gateway.wait();
    let mut records: HashMap<String, Value> = gateway
        .audit_lines()
        .into_iter()
        .filter_map(|line| Some((line["requestId"].as_str()?.to_owned(), line)))
        .collect();
    let mut told = |mut answer: Answer| {
        let record = answer.id.as_ref().and_then(|id| records.remove(id));
        match record {
            Some(record) => answer.read_record(&record["waf"]),
            // What no rule matched has no record.
            None => answer.outcome.matches = Some(Vec::new()),
        }
        answer
    };
    let answers = detected.into_iter().zip(blocked);
    answers
        .map(|(detected, blocked)| [told(detected), told(blocked)])
        .collect()
}

fn config(crs: &Path, backend: SocketAddr) -> String {
    let crs = crs.display();
    format!(
        "
listeners:
  - {{name: detect, protocol: http, address: '127.0.0.1:0'}}
  - {{name: block, protocol: http, address: '127.0.0.1:0'}}
wafProfiles:
  - name: crs
    bodyLimit: 13107200B
    rules:
      - file: {FOLDER}/base.conf
      - crs: {{setup: {crs}/crs-setup.conf.example, rules: {crs}/rules, plugins: plugins}}
backends: [{{name: backend, endpoints: [{{address: {backend}}}]}}]
defaults:
  maxBodySize: 0
  encodedSlashes: keep
  timeouts: {{clientRead: 2s}}
routes:
  - name: detect
    listeners: [detect]
    policies: {{waf: {{profile: crs, mode: detect, paranoiaLevel: 4}}}}
    rules: [{{backends: [{{name: backend}}]}}]
  - name: block
    listeners: [block]
    policies: {{waf: {{profile: crs, mode: block, paranoiaLevel: 1}}}}
    rules: [{{backends: [{{name: backend}}]}}]
"
    )
}

async fn send_all(address: SocketAddr, inputs: &[&Input]) -> Vec<Answer> {
    let places = Arc::new(Semaphore::new(PARALLEL));
    let mut sent = Vec::new();
    for input in inputs {
        let place = Arc::clone(&places).acquire_owned().await;
        let bytes = client::request(input);
        sent.push(tokio::spawn(async move {
            let _place = place;
            let answer = tokio::time::timeout(PATIENCE, exchange(address, &bytes)).await;
            answer.expect("the gateway answers in time")
        }));
    }
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.expect("a client ends"));
    }
    answers
}

/// Sends a request and reads its answer; the connection ends then.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the gateway listens");
    // It may be refused before all of it is sent.
    let _ = stream.write_all(bytes).await;
    let mut read = Vec::new();
    let mut buffer = [0; 16 << 10];
    while !is_whole(&read, bytes.starts_with(b"HEAD ")) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => read.extend(&buffer[..length]),
        }
    }
    let text = String::from_utf8_lossy(&read);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    Answer {
        outcome: Outcome {
            status: portcullis_tests::status_of(head),
            headless: !read.starts_with(b"HTTP/1"),
            ..Outcome::default()
        },
        reason: field(head, "x-portcullis-reason"),
        id: field(head, "x-request-id"),
        stopped: None,
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        known.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

/// Whether the final answer is there with its body.
fn is_whole(bytes: &[u8], headless: bool) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let body = &bytes[(head.len() + 4).min(bytes.len())..];
    let status = portcullis_tests::status_of(head);
    if (100..200).contains(&status) {
        return is_whole(body, headless);
    }
    if headless || status == 204 || status == 304 {
        return true;
    }
    match field(head, "content-length").and_then(|length| length.parse().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    }
}

impl Answer {
    /// Takes from an audit record what the judge wants.
    fn read_record(&mut self, record: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
        let found = |found: &Value| Found {
            rule: found["rule"].as_u64().unwrap_or_default(),
            phase: found["phase"].as_u64().unwrap_or_default(),
            severity: found["severity"].as_u64(),
            tags: texts(&found["tags"]),
            message: text(&found["message"]),
            data: text(&found["data"]),
            file: text(&found["file"]),
            line: found["line"].as_u64().unwrap_or_default(),
        };
        let matches = record["matches"].as_array().into_iter().flatten();
        self.outcome.matches = Some(matches.map(found).collect());
        let status = record["interruption"]["status"].as_u64();
        self.stopped = status.and_then(|status| status.try_into().ok());
    }
}
