use portcullis_config::{
    model::Model,
    read::{SourceFile, read},
    validate::validate,
};
use serde_json::{Value, json};

use super::*;
use crate::egress_tools::record::tests::record;

const POLICIES: &str = "egress:
  policies:
  - name: p
    subjects: [{addresses: [10.0.0.0/8]}]
    allowAll: true
    allow:
    - api.example.com
    - {host: db.example.com, ports: [5432], raw: true}
    - {host: db.example.com, ports: [443]}
    - {host: over.example.com, until: '2026-11-01T00:00:00Z'}
    deny: [bad.example.com, {host: api.example.com, methods: [DELETE]}]
  - name: q
    subjects: [{addresses: [192.168.0.0/16]}]
    allow: [api.example.com]
";

fn model() -> Model {
    let read = read(&[SourceFile {
        name: "p.yaml".into(),
        text: POLICIES.into(),
    }]);
    let validated = validate(&read.document, &read.origins);
    validated.model
}

fn reviewed(changes: &[Value]) -> Review {
    let model = model();
    let egress = model.egress.expect("a section");
    let now: Timestamp = "2026-12-01T00:00:00Z".parse().expect("a time");
    let mut usage = Usage::new(egress.policies.iter().collect(), now.0, 30);
    for change in changes {
        usage.add(&record(change.clone()));
    }
    usage.review()
}

/// `policy/list/index`, with `+` where an entry has ended and not been used too; `policy/*` for
/// `allowAll`, `policy` for one that nobody names.
fn told(review: &Review) -> Vec<String> {
    let mut told = Vec::new();
    for policy in &review.policies {
        if policy.unnamed {
            told.push(policy.name.clone());
        }
        if policy.allow_all_unused {
            told.push(format!("{}/*", policy.name));
        }
        for entry in &policy.entries {
            let list = match entry.list {
                List::Allow => "allow",
                List::Deny => "deny",
            };
            let mark = match (entry.ended.is_some(), entry.unused) {
                (true, true) => " ended+",
                (true, false) => " ended",
                (false, _) => "",
            };
            told.push(format!("{}/{list}/{}{mark}", policy.name, entry.index));
        }
    }
    told
}

#[test]
fn an_entry_is_used_by_the_records_that_name_it() {
    let everything = [
        "p",
        "p/*",
        "p/allow/0",
        "p/allow/1",
        "p/allow/2",
        "p/allow/3 ended+",
        "p/deny/0",
        "p/deny/1",
        "q",
        "q/allow/0",
    ];
    assert_eq!(told(&reviewed(&[])), everything);
    for (change, now_used) in [
        (json!({}), vec!["p", "p/allow/0"]),
        (json!({"policy": "q"}), vec!["q", "q/allow/0"]),
        // Of two entries for a host the one with the port.
        (
            json!({"rule": "db.example.com", "port": 443}),
            vec!["p", "p/allow/2"],
        ),
        (
            json!({"rule": "db.example.com", "port": 5432}),
            vec!["p", "p/allow/1"],
        ),
        (
            json!({"rule": null, "reason": "allow_all"}),
            vec!["p", "p/*"],
        ),
        (
            json!({"rule": "bad.example.com", "reason": "denied_host", "verdict": "deny"}),
            vec!["p", "p/deny/0"],
        ),
        // Inside a tunnel, where an entry may decide that decides nowhere else.
        (
            json!({"tunnel": "1", "path": "/", "method": "DELETE", "reason": "denied_host", "verdict": "deny"}),
            vec!["p", "p/deny/1"],
        ),
        (
            json!({"tunnel": "1", "path": "/", "method": "GET", "policy": "q"}),
            vec!["q", "q/allow/0"],
        ),
        // It was allowed by its entry, and then not what it should be; of both lists, since the
        // reason does not tell which it was.
        (
            json!({"reason": "sni_mismatch", "verdict": "deny"}),
            vec!["p", "p/allow/0", "p/deny/1"],
        ),
        // The entry is named, and did not hold.
        (
            json!({"reason": "grant_expired", "verdict": "deny"}),
            vec!["p"],
        ),
        (
            json!({"reason": "port_not_allowed", "verdict": "deny", "port": 443}),
            vec!["p"],
        ),
        (
            json!({"reason": "request_not_allowed", "verdict": "deny"}),
            vec!["p"],
        ),
        // A text that is in the other list.
        (
            json!({"reason": "denied_host", "verdict": "deny", "rule": "over.example.com"}),
            vec!["p"],
        ),
        // The edges of the window, and what is after now.
        (
            json!({"time": "2026-11-01T00:00:00Z"}),
            vec!["p", "p/allow/0"],
        ),
        (json!({"time": "2026-10-31T23:59:59Z"}), vec![]),
        (json!({"time": "2026-12-01T00:00:01Z"}), vec![]),
        (json!({"policy": null}), vec![]),
    ] {
        let expected: Vec<&str> = everything
            .into_iter()
            .filter(|one| !now_used.contains(one))
            .collect();
        assert_eq!(
            told(&reviewed(std::slice::from_ref(&change))),
            expected,
            "{change}"
        );
    }
    let over = json!({"rule": "over.example.com"});
    assert!(told(&reviewed(&[over])).contains(&"p/allow/3 ended".to_owned()));
}

#[test]
fn it_says_how_far_the_log_reaches() {
    let warnings = |times: &[&str]| -> (Vec<String>, Option<String>, Option<String>) {
        let records: Vec<Value> = times.iter().map(|time| json!({"time": time})).collect();
        let review = reviewed(&records);
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        (review.warnings, text(review.log_from), text(review.log_to))
    };
    let (told, from, to) = warnings(&[]);
    assert!(told[0].contains("no egress record"), "{told:?}");
    assert_eq!((from, to), (None, None));
    let (told, from, to) = warnings(&["2026-11-30T12:00:00Z", "2026-10-20T00:00:00Z"]);
    assert_eq!(told, [""; 0]);
    assert_eq!(from.as_deref(), Some("2026-10-20T00:00:00Z"));
    assert_eq!(to.as_deref(), Some("2026-11-30T12:00:00Z"));
    let (told, ..) = warnings(&["2026-11-10T00:00:00Z", "2026-11-30T12:00:00Z"]);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("begins 2026-11-10T00:00:00Z"), "{told:?}");
    let (told, ..) = warnings(&["2026-10-10T00:00:00Z", "2026-11-29T12:00:00Z"]);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("ends 2026-11-29T12:00:00Z"), "{told:?}");
}

#[test]
fn policies_that_are_gone_are_told_and_few_are_kept() {
    let records: Vec<Value> = (100..300)
        .map(|number| json!({"policy": format!("old-{number}")}))
        .collect();
    let review = reviewed(&records);
    assert_eq!(review.unknown_policies.len(), MAX_UNKNOWN);
    assert_eq!(review.unknown_policies[0], "old-100");
}
