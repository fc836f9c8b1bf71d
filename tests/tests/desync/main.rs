//! Requests that two parsers may read differently, sent through the gateway to real
//! servers: none of them may see a request that the client did not send.
//!
//! The requests are data, in `corpus/desync.yaml`, which says what its entries mean.
//! Whether they miss a check that is taken away is asked in `mutants`.

mod mutants;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{Read, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_tests::{Gateway, Peer, PeerSeen, raw, status_of, wait_for};
use serde_json::Value;

/// What a body has in it that no server may take for a request.
const MARKER: &str = "GET /smuggled?id={id} HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// The target of that, which nothing else in the corpus has.
const SMUGGLED: &str = "/smuggled";

/// Longest wait for the first byte of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time in which another answer would come behind the last.
const QUIET: Duration = Duration::from_millis(250);

/// Rows under way at once at one gateway.
const THREADS: usize = 32;

/// What a row wants.
#[derive(Debug)]
enum Expect {
    /// The gateway refuses it, for one of these reasons; for any where there is none.
    Refused(Vec<String>),
    /// The server answers it.
    Passes,
    /// Either is right.
    Either,
}

/// A row of the corpus.
#[derive(Debug)]
struct Row {
    name: String,
    id: String,
    bytes: Vec<u8>,
    http2: bool,
    expect: Expect,
    /// Length of the body at the server.
    body: Option<usize>,
    /// The target at the server, where it is not the client's own.
    target: Option<String>,
    /// Fields that the server must not see.
    absent: Vec<String>,
    /// Fields that the server must see, and the value of each.
    sees: BTreeMap<String, String>,
    /// Whether the marker is a request here.
    pipelined: bool,
    /// Whether it is sent where the WAF looks at every request, with its body.
    inspected: bool,
}

/// An answer to a row.
#[derive(Debug)]
struct Answer {
    /// 0 where the stream or the connection ended instead.
    status: u16,
    reason: String,
    /// Whether the body is a server's answer to the row; HTTP/1 only.
    names_row: bool,
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// One byte for each character, with the placeholders filled in.
fn bytes(text: &Value, id: &str) -> Vec<u8> {
    let text = text.as_str().expect("a text");
    let mut text = text.replace("{marker}", MARKER).replace("{id}", id);
    let chunk = format!("1;{}\r\nx\r\n", "x".repeat(1000));
    for (what, filling) in [("x", "x"), ("fields", "F: 1\r\n"), ("chunks", &chunk)] {
        while let Some((before, rest)) = text.split_once(&format!("{{{what}*")) {
            let (count, behind) = rest.split_once('}').expect("{WHAT*COUNT}");
            let filling = filling.repeat(count.parse().expect("a number"));
            text = format!("{before}{filling}{behind}");
        }
    }
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).expect("a byte"))
        .collect()
}

fn read_rows(list: &Value, first: usize, inspected: bool) -> Vec<Row> {
    let rows = list.as_array().expect("a list of rows");
    let elsewhere = if inspected { "plain" } else { "inspected" };
    rows.iter()
        .enumerate()
        .filter(|(_, row)| row["where"] != elsewhere)
        .map(|(index, row)| {
            let id = format!("{:04}", first + index);
            let name = row["name"].as_str().expect("a name").to_owned();
            const KEYS: [&str; 11] = [
                "name",
                "request",
                "fields",
                "data",
                "expect",
                "body",
                "target",
                "absent",
                "sees",
                "pipelined",
                "where",
            ];
            for key in row.as_object().expect("a row").keys() {
                assert!(KEYS.contains(&key.as_str()), "{name}: {key}");
            }
            let expect = &row["expect"];
            Row {
                bytes: match &row["request"] {
                    Value::Null => http2(row, &id),
                    request => bytes(request, &id),
                },
                http2: row["request"].is_null(),
                expect: match (&expect["refused"], &expect["passes"], &expect["either"]) {
                    (Value::Null, Value::Bool(true), Value::Null) => Expect::Passes,
                    (Value::Null, Value::Null, Value::Bool(true)) => Expect::Either,
                    (Value::Bool(true), Value::Null, Value::Null) => Expect::Refused(Vec::new()),
                    (reasons, Value::Null, Value::Null) if !reasons.is_null() => {
                        Expect::Refused(strings(reasons))
                    }
                    _ => panic!("{name}: expects {expect}"),
                },
                body: row["body"]
                    .as_u64()
                    .map(|length| usize::try_from(length).expect("short")),
                target: row["target"]
                    .as_str()
                    .map(|target| target.replace("{id}", &id)),
                absent: strings(&row["absent"]),
                sees: row["sees"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
                    .collect(),
                pipelined: row["pipelined"] == true,
                inspected,
                name: if inspected {
                    format!("{name}, inspected")
                } else {
                    name
                },
                id,
            }
        })
        .collect()
}

/// A length of HPACK, without Huffman coding (RFC 7541 section 5.1).
fn put_length(length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        block.push(u8::try_from(length).expect("short"));
        return;
    }
    block.push(127);
    let mut left = length - 127;
    while left >= 128 {
        block.push(u8::try_from(left % 128).expect("7 bits") | 0x80);
        left /= 128;
    }
    block.push(u8::try_from(left).expect("7 bits"));
}

/// A connection over HTTP/2 with one request: its fields as literals that are neither
/// indexed nor packed (RFC 7541 section 6.2.2).
fn http2(row: &Value, id: &str) -> Vec<u8> {
    let fields = row["fields"].as_array().expect("a list of fields");
    let usual = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", "/?id={id}"),
    ];
    let usual = usual
        .iter()
        .filter(|(name, _)| fields.iter().all(|field| field[0] != *name))
        .map(|(name, value)| serde_json::json!([name, value]));
    let mut block = Vec::new();
    for field in usual.chain(fields.iter().filter(|field| !field[1].is_null()).cloned()) {
        let times = field[2].as_u64().unwrap_or(1);
        // One that comes often is indexed, as the newest one, and then named by that.
        block.push(if times > 1 { 0x40 } else { 0 });
        for text in [&field[0], &field[1]] {
            let text = bytes(text, id);
            put_length(text.len(), &mut block);
            block.extend(text);
        }
        block.extend((1..times).map(|_| 0x80 | 62));
    }
    let data = row["data"].as_str().map(|_| bytes(&row["data"], id));
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind, flags, stream, payload: &[u8]| {
        let [_, length @ ..] = u32::try_from(payload.len()).expect("short").to_be_bytes();
        sent.extend(length);
        sent.extend([kind, flags, 0, 0, 0, stream]);
        sent.extend(payload);
    };
    let (end_stream, end_headers) = (1, 4);
    frame(4, 0, 0, &[]);
    let flags = end_headers + if data.is_none() { end_stream } else { 0 };
    frame(1, flags, 1, &block);
    if let Some(data) = data {
        frame(0, end_stream, 1, &data);
    }
    sent
}

/// Sends bytes on a connection of their own, and reads until `whole` says that nothing
/// is missing and nothing more comes, or until the gateway closes.
fn exchange(gateway: SocketAddr, sent: &[u8], whole: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(gateway).expect("the gateway listens");
    // A gateway that has refused it already is no failure here.
    let _ = stream.write_all(sent);
    let started = Instant::now();
    let (mut read, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        let left = if whole(&read) {
            QUIET
        } else {
            PATIENCE.saturating_sub(started.elapsed())
        };
        if left.is_zero() {
            return read;
        }
        stream.set_read_timeout(Some(left)).expect("a time above 0");
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return read,
            Ok(length) => read.extend_from_slice(&part[..length]),
        }
    }
}

/// The answers in what came over HTTP/1, without interim ones, and what is left.
fn read_answers<'a>(mut read: &'a [u8], id: &str) -> (Vec<Answer>, &'a [u8]) {
    let mut answers = Vec::new();
    while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let length = field("content-length").and_then(|length| length.parse().ok());
        let next = end + 4 + length.unwrap_or(0);
        if read.len() < next {
            break;
        }
        let status = status_of(&head);
        if status >= 200 {
            answers.push(Answer {
                status,
                reason: field("x-portcullis-reason")
                    .and_then(|reason| Some(reason.split_once('/')?.1))
                    .unwrap_or_default()
                    .to_owned(),
                names_row: String::from_utf8_lossy(&read[end + 4..next]).contains(id),
            });
        }
        read = &read[next..];
    }
    (answers, read)
}

/// The answer in what came over HTTP/2; `None` while it is not there.
///
/// A status is one byte in the static table of HPACK (RFC 7541 appendix A), where it is
/// one of those that matter.
fn read_http2(mut read: &[u8]) -> Option<Answer> {
    let answer = |status| {
        Some(Answer {
            status,
            reason: String::new(),
            names_row: true,
        })
    };
    while let [a, b, c, kind, _, _, _, _, stream, rest @ ..] = read {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("24 bits");
        let payload = rest.get(..length)?;
        match (kind, stream) {
            (1, 1) => {
                return match payload.first() {
                    Some(0x88..=0x8a) => answer(200),
                    Some(0x8c) => answer(400),
                    Some(0x8d) => answer(404),
                    Some(0x8e) => answer(500),
                    // Written out: none of those with which a server takes a request.
                    _ => answer(499),
                };
            }
            (3, 1) | (7, _) => return answer(0),
            _ => read = &rest[length..],
        }
    }
    None
}

fn send(gateway: SocketAddr, row: &Row) -> (Vec<Answer>, Vec<u8>) {
    if row.http2 {
        let read = exchange(gateway, &row.bytes, |read| read_http2(read).is_some());
        let answer = read_http2(&read).unwrap_or(Answer {
            status: 0,
            reason: "silence".to_owned(),
            names_row: false,
        });
        return (vec![answer], read);
    }
    let wanted = if row.pipelined { 2 } else { 1 };
    let read = exchange(gateway, &row.bytes, |read| {
        read_answers(read, &row.id).0.len() >= wanted
    });
    let (answers, _) = read_answers(&read, &row.id);
    (answers, read)
}

/// What is wrong with the answers to a row, and with what the server saw.
fn problem(row: &Row, answers: &[Answer], left: &[u8], seen: &[&PeerSeen]) -> Option<String> {
    let smuggled = seen.iter().filter(|seen| seen.target.contains(SMUGGLED));
    match (smuggled.count(), row.pipelined) {
        (0, false) | (1, true) => {}
        (count, _) => return Some(format!("{count} smuggled requests")),
    }
    if !left.is_empty() {
        return Some("bytes that are no answer".to_owned());
    }
    let wanted = if row.pipelined { 2 } else { 1 };
    if answers.len() != wanted {
        return Some(format!("{} answers", answers.len()));
    }
    let answer = &answers[0];
    if answer.reason == "silence" {
        return Some("no answer".to_owned());
    }
    let refused = || {
        if (200..400).contains(&answer.status) {
            return Some("not refused".to_owned());
        }
        // The head goes to the server while the body is on its way: it must not end there.
        if seen.iter().any(|seen| seen.whole) {
            return Some("refused, and seen whole".to_owned());
        }
        let reasons = ["broken-body", "client-too-slow", "body-too-large"];
        let on_its_way = row.http2 || reasons.contains(&answer.reason.as_str());
        (!seen.is_empty() && !on_its_way).then(|| "refused, and seen".to_owned())
    };
    let passes = || {
        if answers.iter().any(|answer| answer.status != 200) {
            return Some("not answered with 200".to_owned());
        }
        if !answers.iter().all(|answer| answer.names_row) {
            return Some("the answer to another request".to_owned());
        }
        if seen.len() != wanted || !seen.iter().all(|seen| seen.whole) {
            return Some(format!("not seen as {wanted}"));
        }
        if row.body.is_some_and(|body| seen[0].body_length != body) {
            return Some("the body has another length".to_owned());
        }
        if let Some(target) = &row.target
            && seen[0].target != *target
        {
            return Some("another target".to_owned());
        }
        let fields = seen[0].fields.as_ref()?;
        let value = |name: &String| {
            let values = fields.iter().filter(|(known, _)| known == name);
            let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
            (!values.is_empty()).then(|| values.join(" | "))
        };
        let absent = row
            .absent
            .iter()
            .find(|name| value(name).is_some())
            .map(|name| format!("the server sees {name}"));
        absent.or_else(|| {
            let mut wrong = row
                .sees
                .iter()
                .filter(|(name, wanted)| value(name).as_ref() != Some(wanted));
            wrong
                .next()
                .map(|(name, _)| format!("the server sees {name}: {:?}", value(name)))
        })
    };
    match &row.expect {
        Expect::Refused(reasons) => refused().or_else(|| {
            let told = row.http2 || reasons.contains(&answer.reason);
            (!told).then(|| "another reason".to_owned())
        }),
        Expect::Passes => passes(),
        Expect::Either if answer.status == 200 => passes(),
        // A server may have its own view of a method, and say so; it is asked once.
        Expect::Either if answer.reason.is_empty() && !row.http2 => {
            (seen.len() > 1).then(|| "seen more than once".to_owned())
        }
        // A body over HTTP/2 may turn out too long when the server has its share of it.
        Expect::Either if row.http2 => {
            let body = row.body.unwrap_or(0);
            let more = seen.iter().any(|seen| seen.body_length > body);
            (seen.len() > 1 || more).then(|| "refused, and seen otherwise".to_owned())
        }
        Expect::Either => refused(),
    }
}

/// What is wrong with what the WAF saw of a row that passed: it and the server must have
/// seen the same, and each the same once.
fn misjudged(row: &Row, seen: &[&PeerSeen], witnessed: &[String]) -> Option<String> {
    let told = |seen: &&PeerSeen| {
        let line = format!("{} {} {}", seen.method, seen.target, seen.body_length);
        match &seen.fields {
            None => line,
            Some(fields) => {
                let value = |name| fields.iter().find(|(known, _)| known == name);
                let [host, cookie] = ["host", "cookie"]
                    .map(|name| value(name).map_or("", |(_, value)| value.as_str()));
                // As the rules write it down, which tell no cookie as it is.
                let cookie = cookie.bytes().map(|byte| format!("{byte:02x}"));
                format!("{line} {host} {}", cookie.collect::<String>())
            }
        }
    };
    let mut told: Vec<String> = seen.iter().map(told).collect();
    let with_fields = seen.iter().all(|seen| seen.fields.is_some());
    let id = format!("id={}", row.id);
    let mut judged: Vec<String> = witnessed
        .iter()
        .map(|line| match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            // The server does not tell its fields.
            [method, target, length, _] if !with_fields => format!("{method} {target} {length}"),
            _ => line.clone(),
        })
        .filter(|line| told.contains(line) || line.contains(&id))
        .collect();
    told.sort();
    judged.sort();
    (told != judged).then(|| format!("the WAF saw {judged:?}, and the server {told:?}"))
}

/// What the WAF is told to write down of a request begins so.
const WITNESS: &str = "saw ";

/// The routes of a listener; each rule has these policies.
fn routes(listener: &str, policies: &str) -> String {
    format!(
        r"
- name: {listener}-a
  listeners: [{listener}]
  hosts: [a.example, '[2001:db8::1]']
  policies: {{{policies}}}
  rules:
  - {{matches: [{{path: {{prefix: /closed}}}}, {{path: {{prefix: /%C3%A9}}}}], policies: {{access: [nobody]}}, backends: [{{name: one}}]}}
  - {{backends: [{{name: one}}]}}
- name: {listener}-keep
  listeners: [{listener}]
  hosts: [keep.example]
  policies: {{encodedSlashes: keep{separator}{policies}}}
  rules: [{{backends: [{{name: one}}]}}]
",
        separator = if policies.is_empty() { "" } else { ", " },
    )
}

/// What the WAF saw, as it wrote it down.
fn witnessed(gateway: &Gateway) -> Vec<String> {
    let lines = gateway.audit_lines();
    lines
        .iter()
        .flat_map(|line| line["waf"]["matches"].as_array().into_iter().flatten())
        .filter_map(|found| found["message"].as_str()?.strip_prefix(WITNESS))
        .map(str::to_owned)
        .collect()
}

/// Sends every row to one server; the problems there.
fn run(peer: &Peer, rows: &[Row]) -> Vec<String> {
    let gateway = Gateway::start(&format!(
        r#"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: inspected, protocol: http, address: '127.0.0.1:0'}}
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
defaults: {{timeouts: {{clientRead: 1s}}}}
accessLists: [{{name: nobody, deny: ['0.0.0.0/0', '::/0']}}]
wafProfiles:
- name: witness
  rules:
  - inline: |
      SecRequestBodyAccess On
      SecRule REQUEST_HEADERS:Cookie "@unconditionalMatch" "id:2,phase:2,pass,nolog,t:hexEncode,setvar:tx.seen=%{{MATCHED_VAR}}"
      SecAction "id:1,phase:2,pass,log,auditlog,msg:'{WITNESS}%{{REQUEST_METHOD}} %{{REQUEST_URI}} %{{REQUEST_BODY_LENGTH}} %{{REQUEST_HEADERS.host}} %{{TX.seen}}'"
routes:
{}{}"#,
        peer.address,
        routes("http", ""),
        routes("inspected", "waf: {profile: witness}"),
    ));
    let (address, next) = (gateway.http(), AtomicUsize::new(0));
    let inspected = gateway.at("listeners/inspected");
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let address = if row.inspected { inspected } else { address };
                    let (answers, read) = send(address, row);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((row, answers, read));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(row, ..)| &row.id);

    let names =
        |seen: &PeerSeen, id: &str| seen.id == id || seen.target.contains(&format!("id={id}"));
    // Servers write down a request at its end, nginx behind its answer. One that is
    // missing is told with its row.
    let deadline = Instant::now() + PATIENCE;
    wait_for("the records of what passed", || {
        let seen = peer.seen();
        let late = Instant::now() > deadline;
        late || results
            .iter()
            .filter(|(_, answers, _)| answers.iter().any(|answer| answer.status == 200))
            .all(|(row, ..)| seen.iter().any(|seen| names(seen, &row.id)))
    });
    // What lies on a connection to the server would come before this, or instead of it.
    let last = "GET /?id=last HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    for address in [address, inspected] {
        let answer = raw(address, last.as_bytes());
        assert_eq!(status_of(&answer), 200, "{}: {answer}", peer.name);
    }
    wait_for("the last record", || {
        let last = "GET /?id=last 0 a.example ".to_owned();
        peer.seen()
            .iter()
            .filter(|seen| names(seen, "last"))
            .count()
            == 2
            && witnessed(&gateway).contains(&last)
    });

    let (seen, witnessed) = (peer.seen(), witnessed(&gateway));
    let mut problems = Vec::new();
    for (row, answers, read) in &results {
        let of_row: Vec<&PeerSeen> = seen.iter().filter(|seen| names(seen, &row.id)).collect();
        let left = if row.http2 {
            &[][..]
        } else {
            read_answers(read, &row.id).1
        };
        let problem = problem(row, answers, left, &of_row).or_else(|| {
            let whole = answers.iter().all(|answer| answer.status == 200);
            (row.inspected && whole)
                .then(|| misjudged(row, &of_row, &witnessed))
                .flatten()
        });
        if let Some(problem) = problem {
            println!("{}{}", mutants::FAILED, row.name);
            problems.push(format!(
                "{}, {}: {problem}\n  wanted {:?}\n  sent {:?}\n  answers {answers:?}\n  bytes {:?}\n  seen {of_row:?}",
                peer.name,
                row.name,
                row.expect,
                String::from_utf8_lossy(&row.bytes),
                String::from_utf8_lossy(read),
            ));
        }
    }
    for seen in &seen {
        // A server that cannot read a head has no id to tell, only how it begins.
        let whose = |row: &Row| {
            let begins =
                || !seen.target.is_empty() && row.bytes.starts_with(seen.target.as_bytes());
            names(seen, &row.id) || (matches!(row.expect, Expect::Either) && begins())
        };
        if !names(seen, "last") && !rows.iter().any(whose) {
            problems.push(format!("{}: nobody sent {seen:?}", peer.name));
        }
    }
    if gateway.log().contains("panic") {
        problems.push(format!("{}: {}", peer.name, gateway.log()));
    }
    problems
}

/// The name of the test.
const NAME: &str = "no_server_sees_a_request_that_the_client_did_not_send";

#[test]
fn no_server_sees_a_request_that_the_client_did_not_send() {
    let corpus: Value = serde_saphyr::from_str(include_str!("../../corpus/desync.yaml"))
        .expect("the corpus is YAML");
    let mut rows = Vec::new();
    for (index, inspected) in [false, true].into_iter().enumerate() {
        let first = 1000 + 4000 * index;
        rows.extend(read_rows(&corpus["http1"], first, inspected));
        rows.extend(read_rows(&corpus["http2"], first + 2000, inspected));
    }
    let names: BTreeSet<(bool, &str)> = rows
        .iter()
        .map(|row| (row.http2, row.name.as_str()))
        .collect();
    assert_eq!(names.len(), rows.len(), "a name is there twice");
    let peers = Peer::start_all();
    if peers.is_empty() {
        println!("skipped: none of the servers is installed");
        return;
    }
    let started = Instant::now();
    let problems: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = peers
            .iter()
            .map(|peer| scope.spawn(|| run(peer, &rows)))
            .collect();
        running
            .into_iter()
            .flat_map(|running| running.join().expect("the rows ran"))
            .collect()
    });
    println!(
        "{} rows at each of {} servers in {:?}",
        rows.len(),
        peers.len(),
        started.elapsed()
    );
    let mut text = String::new();
    for problem in &problems {
        let _ = writeln!(text, "{problem}\n");
    }
    assert!(problems.is_empty(), "{} problems:\n{text}", problems.len());
}
