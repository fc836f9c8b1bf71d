//! Every rule of the baseline that scores matches what it is there for.

#[path = "support/benign.rs"]
mod benign;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portcullis_waf::{EngineMode, NoFiles, RuleSet, baseline};
use support::{Request, encoded, run};

/// A text that is the value of a field, or a request.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Attack {
    Text(String),
    Request(Box<benign::Written>),
}

#[test]
fn each_rule_matches_what_it_is_for() {
    let rules = RuleSet::compile(&baseline(), &NoFiles).expect("the baseline compiles");
    let rules = Arc::new(rules);
    let text = include_str!("data/rule_attacks.yaml");
    let attacks: BTreeMap<u64, Vec<Attack>> =
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let tried: BTreeSet<u64> = attacks.keys().copied().collect();
    let mut missed = Vec::new();
    for (id, attacks) in attacks {
        for (index, attack) in attacks.into_iter().enumerate() {
            let request = match attack {
                Attack::Text(text) => Request::get(&format!("/?q={}", encoded(&text))),
                Attack::Request(written) => written.request(&BTreeMap::new()),
            };
            let (_, record) = run(&rules, EngineMode::DetectionOnly, &request);
            let seen: Vec<u64> = record.matches.iter().filter_map(|m| m.rule).collect();
            if !seen.contains(&id) {
                missed.push(format!("{id}, {index}: {seen:?}"));
            }
        }
    }
    let scoring: BTreeSet<u64> = baseline()
        .iter()
        .flat_map(|text| scoring(&text.text))
        .collect();
    let untried: Vec<&u64> = scoring.difference(&tried).collect();
    println!("{} rules that score", scoring.len());
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(untried.is_empty(), "without an attack: {untried:?}");
}

/// Ids of the rules of a text that add to the score, now or as a hint.
fn scoring(text: &str) -> Vec<u64> {
    let mut ids = Vec::new();
    for rule in text.split("\n\n").filter(|rule| rule.contains("SecRule ")) {
        let id = rule.split("\"id:").nth(1).and_then(|rest| rest.get(..7));
        let scores = rule.contains("anomaly_score=+") || rule.contains("setvar:tx.hint_");
        if let Some(id) = id.filter(|_| scores) {
            ids.push(id.parse().expect("an id has seven digits"));
        }
    }
    ids
}
