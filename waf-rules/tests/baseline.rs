//! The baseline rules against attacks in every place, and against ordinary traffic.

mod support;

use std::sync::Arc;

use portcullis_waf::{AuditRecord, EngineMode, NoFiles, RuleSet, baseline};
use support::{Request, encoded, run};

fn rules() -> Arc<RuleSet> {
    let rules = RuleSet::compile(&baseline(), &NoFiles);
    Arc::new(rules.unwrap_or_else(|errors| {
        panic!(
            "{}",
            errors.iter().map(|e| format!("{e}\n")).collect::<String>()
        )
    }))
}

/// Every place where a client can put a text.
fn places(text: &str) -> Vec<(&'static str, Request)> {
    let json = serde_json::to_string(text).expect("a string is JSON");
    let escaped: String = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    let multipart = format!(
        "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{text}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\n\r\n\u{1}\u{2}\r\n--b--\r\n"
    );
    let numbers: String = text
        .chars()
        .map(|c| format!("&#{};", u32::from(c)))
        .collect();
    let header = text.replace(['\r', '\n'], " ");
    vec![
        ("query", Request::get(&format!("/p?id={}", encoded(text)))),
        (
            "query, encoded twice",
            Request::get(&format!("/p?id={}", encoded(&encoded(text)))),
        ),
        (
            "name in the query",
            Request::get(&format!("/p?{}=1", encoded(text))),
        ),
        (
            "User-Agent",
            Request::get("/").header("User-Agent", &header),
        ),
        ("Referer", Request::get("/").header("Referer", &header)),
        (
            "X-Api-Version",
            Request::get("/").header("X-Api-Version", &header),
        ),
        (
            "cookie",
            Request::get("/").header("Cookie", &format!("a=1; c={}", encoded(text))),
        ),
        (
            "XML text",
            Request::post("text/xml", &format!("<a><b>{numbers}</b></a>")),
        ),
        (
            "XML attribute",
            Request::post(
                "application/soap+xml",
                &format!("<a><b c='{numbers}'/></a>"),
            ),
        ),
        (
            "form",
            Request::post(
                "application/x-www-form-urlencoded",
                &format!("a=1&b={}", encoded(text)),
            ),
        ),
        (
            "JSON",
            Request::post("application/json", &format!("{{\"a\":[{{\"b\":{json}}}]}}")),
        ),
        (
            "escaped JSON",
            Request::post("application/json", &format!("{{\"a\":\"{escaped}\"}}")),
        ),
        (
            "JSON of a dialect",
            Request::post("application/vnd.api+json", &format!("{{\"a\":{json}}}")),
        ),
        (
            "scalar JSON",
            Request::post("application/json; charset=utf-8", &json),
        ),
        (
            "JSON key",
            Request::post("application/json", &format!("{{{json}:1}}")),
        ),
        (
            "multipart",
            Request::post("multipart/form-data; boundary=b", &multipart),
        ),
        ("plain text", Request::post("text/plain", text)),
        ("unknown type", Request::post("application/x-unknown", text)),
    ]
}

fn fired(record: &AuditRecord) -> Vec<(Option<u64>, &str, &str)> {
    record
        .matches
        .iter()
        .map(|m| (m.rule, m.variable.as_str(), m.data.as_str()))
        .collect()
}

#[test]
fn attacks_are_blocked_in_every_place() {
    let rules = rules();
    let attacks: Vec<String> = serde_json::from_str(include_str!("data/attacks.json")).unwrap();
    let mut missed = Vec::new();
    for attack in &attacks {
        for (place, request) in places(attack) {
            let (status, record) = run(&rules, EngineMode::On, &request);
            if status.is_none() {
                missed.push(format!("{attack:?} in {place}: {:?}", fired(&record)));
            }
        }
    }
    assert!(
        missed.is_empty(),
        "{} passed:\n{}",
        missed.len(),
        missed.join("\n")
    );
}

#[test]
fn ordinary_text_passes_in_every_place() {
    let rules = rules();
    let texts: Vec<String> =
        serde_json::from_str(include_str!("data/ordinary_texts.json")).unwrap();
    let mut blocked = Vec::new();
    for text in &texts {
        for (place, request) in places(text) {
            // Twice encoded text is not ordinary.
            let (status, record) = run(&rules, EngineMode::On, &request);
            if status.is_some() && !place.contains("twice") {
                blocked.push(format!("{text:?} in {place}: {:?}", fired(&record)));
            }
        }
    }
    assert!(
        blocked.is_empty(),
        "{} blocked:\n{}",
        blocked.len(),
        blocked.join("\n")
    );
}

#[test]
fn ordinary_requests_pass_and_others_do_not() {
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        request: Request,
        status: Option<u16>,
    }
    let rules = rules();
    let cases: Vec<Case> = serde_json::from_str(include_str!("data/requests.json")).unwrap();
    for case in cases {
        let (status, record) = run(&rules, EngineMode::On, &case.request);
        assert_eq!(status, case.status, "{}: {:?}", case.name, fired(&record));
        let (status, record) = run(&rules, EngineMode::DetectionOnly, &case.request);
        assert_eq!(status, None, "{}: detection only", case.name);
        assert_eq!(
            record.would_interrupt.map(|i| i.status),
            case.status,
            "{}: would interrupt",
            case.name
        );
    }
}
