//! The OWASP CRS and its regression tests, through the engine alone.
//!
//! ```text
//! YAML --client--> bytes --front--> request --engine--> log lines --suite--> right or wrong
//!                           \-400            \-backend-/
//! ```
//!
//! The rules and tests are found by the environment variable `PORTCULLIS_CRS`;
//! without it the tests here pass and say so.

mod backend;
mod baseline;
mod client;
mod front;
mod judge;
mod setup;
mod suite;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use portcullis_waf::{
    Connection, EngineMode, Match, RuleSet, Transaction, TransactionOptions, Verdict,
};

use self::{
    front::{Heard, Request},
    judge::{Found, Outcome, compare, crs, expected_refusal},
    suite::{File, Stage},
};

/// Tests of the CRS. Every one is right; none is left out, and none expects
/// anything else than its authors wrote.
const TESTS: usize = 4966;

fn rules(crs: &Path, level: u8) -> Arc<RuleSet> {
    setup::compile(crs, &setup::texts(crs, level)).unwrap_or_else(|errors| {
        errors.iter().for_each(|error| println!("{error}"));
        panic!("{} errors", errors.len());
    })
}

#[test]
fn every_regression_test_of_the_crs_is_right() {
    let Some(crs) = crs() else { return };
    let rules = rules(&crs, 4);
    let files = suite::read(&crs.join("tests/regression/tests"));
    let mut wrong = BTreeMap::<&str, Vec<String>>::new();
    let (mut total, mut of_file) = (0, BTreeMap::<&str, usize>::new());
    for (group, problems) in judged(&files, |stage| problem_of(&rules, stage)) {
        total += problems.len();
        *of_file.entry(group).or_default() += problems.len();
        wrong
            .entry(group)
            .or_default()
            .extend(problems.into_iter().flatten());
    }
    let mut right = total;
    for (group, count) in &of_file {
        let wrong = &wrong[group];
        right -= wrong.len();
        println!("{group}: {} of {count}", count - wrong.len());
        wrong.iter().for_each(|problem| println!("    {problem}"));
    }
    println!("{right} of {total} right");
    // What the front end answers says nothing about the engine.
    let stages = files.iter().flat_map(|(_, file)| &file.tests);
    let silent: Vec<String> = stages
        .flat_map(|test| &test.stages)
        .filter(|stage| stage.output.status.is_none())
        .map(|stage| client::request(&stage.input))
        .filter(|bytes| matches!(front::read(bytes), Heard::Refused(_)))
        .map(|bytes| String::from_utf8_lossy(&bytes).chars().take(60).collect())
        .collect();
    println!(
        "refused by the front end without being meant to be: {}: {silent:?}",
        silent.len()
    );
    assert_eq!((right, total), (TESTS, TESTS));
}

#[test]
fn the_crs_loads_without_a_warning() {
    let Some(crs) = crs() else { return };
    let texts = setup::texts(&crs, 1);
    let start = Instant::now();
    let rules = setup::compile(&crs, &texts).expect("the rules load");
    println!("{} rules load in {:?}", rules.len(), start.elapsed());
    assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
}

#[test]
fn at_level_one_attacks_are_refused_and_what_is_clean_passes() {
    let Some(crs) = crs() else { return };
    let (all, strict) = (rules(&crs, 4), rules(&crs, 1));
    let files = suite::read(&crs.join("tests/regression/tests"));
    let (refused, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let judge = |stage: &Stage| {
        let (seen, _) = run(&all, EngineMode::DetectionOnly, stage);
        let (detected, would_answer) = run(&strict, EngineMode::DetectionOnly, stage);
        let (answered, _) = run(&strict, EngineMode::On, stage);
        let matches = detected.matches?;
        let wanted = match expected_refusal(&seen.matches?, &stage.output) {
            Some(status) => {
                refused.fetch_add(1, Ordering::Relaxed);
                status
            }
            None if matches.is_empty() => {
                passed.fetch_add(1, Ordering::Relaxed);
                detected.status
            }
            // Some rules match, of which the test says nothing: both modes agree.
            None => would_answer.unwrap_or(detected.status),
        };
        (answered.status != wanted).then(|| format!("{} instead of {wanted}", answered.status))
    };
    let judged = judged(&files, judge);
    let wrong: Vec<String> = judged
        .into_iter()
        .flat_map(|(_, problems)| problems)
        .flatten()
        .collect();
    println!(
        "{} requests refused and {} clean ones passed at level 1",
        refused.into_inner(),
        passed.into_inner()
    );
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
}

/// Judges every test of every file on all processors; a test that is right has no problem.
fn judged(
    files: &[(String, File)],
    judge: impl Fn(&Stage) -> Option<String> + Sync,
) -> Vec<(&str, Vec<Option<String>>)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let size = files.len().div_ceil(workers).max(1);
    std::thread::scope(|scope| {
        let judge = &judge;
        let threads: Vec<_> = files
            .chunks(size)
            .map(|files| {
                scope.spawn(move || {
                    let judged = files.iter().map(|(group, file)| {
                        let problems = file.tests.iter().map(|test| {
                            let problem = test.stages.iter().find_map(judge)?;
                            Some(format!("{}-{}: {problem}", file.rule_id, test.test_id))
                        });
                        (group.as_str(), problems.collect())
                    });
                    judged.collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("a worker ends"));
        joined.flatten().collect()
    })
}

fn problem_of(rules: &Arc<RuleSet>, stage: &Stage) -> Option<String> {
    let (outcome, _) = run(rules, EngineMode::DetectionOnly, stage);
    compare(&outcome, &stage.output)
}

/// Sends the request of a stage through front end, engine and backend; also tells the
/// status with which blocking would have stopped it.
fn run(rules: &Arc<RuleSet>, mode: EngineMode, stage: &Stage) -> (Outcome, Option<u16>) {
    match front::read(&client::request(&stage.input)) {
        Heard::Refused(status) => {
            let outcome = Outcome {
                status,
                ..Outcome::default()
            };
            (outcome, None)
        }
        Heard::Request(request) => exchange(rules, mode, &request),
    }
}

fn exchange(rules: &Arc<RuleSet>, mode: EngineMode, request: &Request) -> (Outcome, Option<u16>) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut options = TransactionOptions::new(mode, "aBcDeFgHiJ".into(), time);
    options.limits.max_audit_matches = 10_000;
    options.limits.max_audit_value_bytes = 10_000;
    let mut tx = Transaction::begin(rules.clone(), options);
    tx.connection(Connection {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        client_port: 51234,
        server: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80)),
        server_port: 80,
    });
    let status = phases(&mut tx, request);
    let record = tx.finish();
    let outcome = Outcome {
        status,
        headless: request.protocol == "HTTP/0.9",
        matches: Some(record.matches.into_iter().map(found).collect()),
    };
    (outcome, record.would_interrupt.map(|stop| stop.status))
}

fn found(found: Match) -> Found {
    Found {
        rule: found.rule.unwrap_or_default(),
        phase: found.phase.into(),
        severity: found.severity.map(u64::from),
        tags: found.tags.to_vec(),
        message: found.message,
        data: found.data,
        file: found.file,
        line: found.line.into(),
    }
}

/// Runs phases 1 to 4; returns the status of the answer.
fn phases(tx: &mut Transaction, request: &Request) -> u16 {
    tx.request_line(&request.method, &request.target, &request.protocol);
    for (name, value) in &request.headers {
        tx.request_header(name, value);
    }
    if let Verdict::Interrupt(interruption) = tx.request_headers_end() {
        return interruption.status;
    }
    if tx.wants_request_body() {
        tx.request_body(&request.body);
    }
    if let Verdict::Interrupt(interruption) = tx.request_body_end() {
        return interruption.status;
    }
    let response = backend::answer(&request.method, &request.target, &request.body);
    tx.response_head(response.status, "HTTP/1.1");
    for (name, value) in &response.headers {
        tx.response_header(name.as_bytes(), value.as_bytes());
    }
    if let Verdict::Interrupt(interruption) = tx.response_headers_end() {
        return interruption.status;
    }
    if tx.wants_response_body() {
        tx.response_body(&response.body);
    }
    match tx.response_body_end() {
        Verdict::Interrupt(interruption) => interruption.status,
        Verdict::Continue => response.status,
    }
}
