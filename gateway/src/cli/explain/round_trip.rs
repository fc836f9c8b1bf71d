//! Proposals on requests with awkward names and paths: each, pasted in front of the
//! baseline, lets its request pass, and nothing else.

use std::{sync::Arc, time::SystemTime};

use portcullis_waf::{
    EngineMode, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions, Verdict, baseline,
};
use serde_json::Value;

use super::{exclusion::propose, record::WafRecord};
use crate::telemetry::{WafFacts, waf_record};

const ATTACK: &str = "1%20UNION%20SELECT%20password%20FROM%20users";
const DECODED: &str = "1 UNION SELECT password FROM users";

struct Request {
    target: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn get(target: String) -> Request {
    Request {
        target,
        headers: Vec::new(),
        body: String::new(),
    }
}

fn post(target: &str, content_type: &str, body: String) -> Request {
    Request {
        target: target.to_owned(),
        headers: vec![("content-type", content_type.to_owned())],
        body,
    }
}

/// The rules with a text in front.
fn rules(text: &str) -> Arc<RuleSet> {
    let text = RuleText {
        name: "pasted".into(),
        text: text.into(),
    };
    let compiled = RuleSet::compile(&[vec![text.clone()], baseline()].concat(), &NoFiles);
    Arc::new(compiled.unwrap_or_else(|errors| panic!("{}: {errors:?}", text.text)))
}

/// Whether a request is refused, and its record.
fn judged(rules: &Arc<RuleSet>, request: &Request) -> (bool, Value) {
    let options = TransactionOptions::new(EngineMode::On, "t".into(), SystemTime::now());
    let mut transaction = Transaction::begin(Arc::clone(rules), options);
    let method: &[u8] = if request.body.is_empty() {
        b"GET"
    } else {
        b"POST"
    };
    transaction.request_line(method, request.target.as_bytes(), "HTTP/1.1");
    transaction.request_header(b"host", b"shop.example");
    for (name, value) in &request.headers {
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    let mut verdict = transaction.request_headers_end();
    if verdict == Verdict::Continue {
        transaction.request_body(request.body.as_bytes());
        verdict = transaction.request_body_end();
    }
    let facts = WafFacts {
        profile: "p",
        rule: "r",
        verdict: "blocked",
        status: 403,
        time: SystemTime::now(),
        snapshot: (1, ""),
        rules: "",
    };
    let record = waf_record(&facts, &transaction.finish());
    (verdict != Verdict::Continue, record)
}

/// Requests that the baseline refuses, each beside one that it must go on refusing.
fn cases() -> Vec<(Request, Request)> {
    let form = "application/x-www-form-urlencoded";
    let by_name = |name: &str| {
        (
            get(format!("/s?{name}={ATTACK}")),
            get(format!("/s?zz={ATTACK}")),
        )
    };
    let mut cases: Vec<(Request, Request)> = [
        "q",
        "a%20b",
        "a%22b",
        "a%27b",
        "a,b",
        "a%7Cb",
        "a%5Cb",
        "a%0Ab",
        "a%2Fb",
        "a;b",
        "%C3%A9",
        "%FF",
        "%E2%80%8B",
        "a%5B0%5D%5Bx%5D",
        "%7Ba%7D",
        "%25%7Ba%7D",
        "%2Fa%2F",
        "!a",
        "password",
        "a...",
    ]
    .map(by_name)
    .into();
    let long = "n".repeat(400);
    cases.push(by_name(&long));
    for path in [
        "/a%20b",
        "/a%22b",
        "/a'b",
        "/%25%7BARGS.q%7D",
        "/a%5Cb",
        "/%C3%A9",
        "/a,b;c",
    ] {
        cases.push((
            get(format!("{path}?q={ATTACK}")),
            get(format!("/other?q={ATTACK}")),
        ));
    }
    cases.push((
        post("/f", form, format!("user.name={ATTACK}")),
        post("/f", form, format!("user={ATTACK}")),
    ));
    let json = |key: &str| {
        let body = format!("{{\"a\":{{\"{key}\":[1,\"{DECODED}\"]}}}}");
        post("/j", "application/json", body)
    };
    cases.push((json("b c"), json("d")));
    let with = |name: &'static str, value: String| Request {
        headers: vec![(name, value)],
        ..get("/h".into())
    };
    cases.push((
        with("cookie", format!("id={DECODED}")),
        with("cookie", format!("other={DECODED}")),
    ));
    cases.push((
        with("x-note", DECODED.to_owned()),
        with("x-other", DECODED.to_owned()),
    ));
    cases
}

#[test]
fn what_is_proposed_lets_its_request_pass_and_nothing_else() {
    let plain = rules("# nothing\n");
    for (request, other) in cases() {
        let (refused, record) = judged(&plain, &request);
        let sent = format!("{} {:?} {}", request.target, request.headers, request.body);
        assert!(refused, "{sent}");
        assert!(judged(&plain, &other).0, "{}", other.target);
        let waf: WafRecord = serde_json::from_value(record["waf"].clone()).expect("a record");
        let proposal = propose(&waf).unwrap_or_else(|reason| panic!("{sent}: {reason}"));
        let pasted = rules(&proposal.seclang);
        assert!(
            pasted.warnings().is_empty(),
            "{sent}: {:?}",
            pasted.warnings()
        );
        assert!(!judged(&pasted, &request).0, "{sent}: {}", proposal.seclang);
        assert!(judged(&pasted, &other).0, "{sent}: {}", proposal.seclang);
    }
}
