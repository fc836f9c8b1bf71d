//! The regression tests of the OWASP CRS over HTTP, through the running gateway.
//!
//! ```text
//! YAML --client--> bytes --socket--> gateway --------> backend
//!                                       \-audit log--> judge --> right or wrong
//! ```
//!
//! Reader, client, backend and judge are those of the engine's own run
//! (`waf-rules/tests/crs`); only what stands between bytes and rules is another.
//! What the gateway answers before any rule runs, so that a test cannot be right,
//! is in `exceptions.yaml`, each with its reason.

#[path = "../../../waf-rules/tests/crs/backend.rs"]
mod backend;
#[path = "../../../waf-rules/tests/crs/client.rs"]
mod client;
#[path = "../../../waf-rules/tests/crs/judge.rs"]
mod judge;
mod server;
mod site;
#[path = "../../../waf-rules/tests/crs/suite.rs"]
mod suite;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use self::{
    judge::{compare, crs, expected_refusal},
    site::Answer,
    suite::Stage,
};

/// Tests of the CRS.
const TESTS: usize = 4966;

/// How many of them a front end may answer itself.
const MOST_EXCEPTIONS: usize = 10;

/// A stage of a test, and what came of it.
struct Sent {
    test: String,
    stage: Stage,
    /// At level 4, detection only.
    detected: Answer,
    /// At level 1, blocking.
    blocked: Answer,
}

/// Every stage, sent once for all tests here; `None` without the CRS.
static SENT: LazyLock<Option<Vec<Sent>>> = LazyLock::new(|| {
    let crs = crs()?;
    let mut stages = Vec::new();
    for (_, file) in suite::read(&crs.join("tests/regression/tests")) {
        for test in file.tests {
            let name = format!("{}-{}", file.rule_id, test.test_id);
            stages.extend(test.stages.into_iter().map(|stage| (name.clone(), stage)));
        }
    }
    let inputs: Vec<_> = stages.iter().map(|(_, stage)| &stage.input).collect();
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    let answers = runtime.block_on(site::send(&crs, &inputs));
    let sent = stages.into_iter().zip(answers);
    let sent = sent.map(|((test, stage), [detected, blocked])| Sent {
        test,
        stage,
        detected,
        blocked,
    });
    Some(sent.collect())
});

fn exceptions() -> BTreeMap<String, String> {
    serde_saphyr::from_str(include_str!("exceptions.yaml")).expect("reasons by test")
}

#[test]
fn every_regression_test_of_the_crs_is_right_over_http() {
    let Some(sent) = &*SENT else { return };
    let exceptions = exceptions();
    assert!(exceptions.len() <= MOST_EXCEPTIONS);
    let tests: BTreeSet<&String> = sent.iter().map(|sent| &sent.test).collect();
    let mut wrong = BTreeMap::new();
    for Sent {
        test,
        stage,
        detected,
        ..
    } in sent
    {
        if let Some(problem) = compare(&detected.outcome, &stage.output) {
            let reason = detected.reason.as_deref().unwrap_or("passed");
            let problem = format!("{problem}; {}, {reason}", detected.outcome.status);
            wrong.entry(test.clone()).or_insert(problem);
        }
    }
    println!("{} of {} right", tests.len() - wrong.len(), tests.len());
    for (test, problem) in &wrong {
        let reason = exceptions.get(test).map_or("NO REASON", String::as_str);
        println!("    {test}: {problem}: {reason}");
    }
    let wrong: Vec<_> = wrong.into_keys().collect();
    let known: Vec<_> = exceptions.into_keys().collect();
    assert_eq!(wrong, known, "what is wrong is what is in exceptions.yaml");
    assert_eq!(tests.len(), TESTS);
}

#[test]
fn at_level_one_attacks_are_refused_and_what_is_clean_passes_over_http() {
    let Some(sent) = &*SENT else { return };
    let (mut refused, mut passed, mut wrong) = (0, 0, Vec::new());
    let exceptions = exceptions();
    for Sent {
        test,
        stage,
        detected,
        blocked,
    } in sent
        .iter()
        .filter(|sent| !exceptions.contains_key(&sent.test))
    {
        let matches = |answer: &Answer| answer.outcome.matches.as_ref().map_or(0, Vec::len);
        let seen = detected.outcome.matches.as_deref().unwrap_or_default();
        let wanted = match expected_refusal(seen, &stage.output) {
            Some(status) => {
                refused += 1;
                status
            }
            // Nothing matches at this level: as without a WAF.
            None if matches(blocked) == 0 => {
                passed += 1;
                detected.outcome.status
            }
            // Some rules match, of which the test says nothing: the record decides.
            None => blocked.stopped.unwrap_or(detected.outcome.status),
        };
        let by_waf = blocked.reason.as_deref() == Some("waf/blocked");
        if blocked.outcome.status != wanted || by_waf != blocked.stopped.is_some() {
            let got = &blocked.outcome.status;
            wrong.push(format!(
                "{test}: {got} instead of {wanted}, {:?}",
                blocked.reason
            ));
        }
    }
    println!("{refused} requests refused and {passed} clean ones passed at level 1");
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
    assert!(refused > 1000 && passed > 1000, "{refused} {passed}");
}
