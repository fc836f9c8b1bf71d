//! Benign traffic passes the baseline: browsers, forms with prose and code, JSON, GraphQL, git,
//! WebDAV, SOAP, telemetry, Kubernetes.

#[path = "support/benign.rs"]
mod benign;
mod support;

use std::{collections::BTreeMap, sync::Arc};

use portcullis_waf::{EngineMode, NoFiles, RuleSet, baseline};
use support::{Request, encoded, run};

#[test]
fn no_benign_request_is_refused() {
    let rules = RuleSet::compile(&baseline(), &NoFiles).expect("the baseline compiles");
    let rules = Arc::new(rules);
    let requests = benign::requests();
    let mut refused = Vec::new();
    let mut hints = BTreeMap::<u64, usize>::new();
    for (name, request) in &requests {
        let (status, record) = run(&rules, EngineMode::On, request);
        let fired: Vec<u64> = record
            .matches
            .iter()
            .filter(|found| found.severity.is_some())
            .filter_map(|found| found.rule)
            .collect();
        for id in &fired {
            *hints.entry(*id).or_default() += 1;
        }
        if let Some(status) = status {
            refused.push(format!("{name}: {status}, {fired:?}"));
        }
    }
    println!("{} of {} refused", refused.len(), requests.len());
    println!("rules that saw something, and how often: {hints:?}");
    assert!(requests.len() > 1000, "the corpus is not read whole");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn an_attack_in_the_same_clothes_is_refused() {
    let rules = RuleSet::compile(&baseline(), &NoFiles).expect("the baseline compiles");
    let rules = Arc::new(rules);
    let requests = benign::requests();
    let mut passed = Vec::new();
    for (name, mut request) in requests {
        let sign = if request.uri.contains('?') { '&' } else { '?' };
        request.uri = format!("{}{sign}id={}", request.uri, encoded("1' or '1'='1"));
        let (status, _) = run(&rules, EngineMode::On, &request);
        if status.is_none() && !request.uri.contains('#') {
            passed.push(name);
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
}
