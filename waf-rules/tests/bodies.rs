//! Bodies of requests that are too long or coded, and what each policy makes of them.

use std::{io::Write, sync::Arc, time::SystemTime};

use flate2::{Compression, write::GzEncoder};
use portcullis_waf::{
    BodyOverLimit, EngineMode, Limits, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions,
    UndecodableBody, Verdict, baseline,
};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");

const DENY: &str = "SecRule ARGS \"@contains marker7\" \"id:1,phase:2,deny\"";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn compile(rules: &str) -> Arc<RuleSet> {
    let text = RuleText {
        name: "t.conf".into(),
        text: rules.into(),
    };
    Arc::new(RuleSet::compile(&[text], &NoFiles).expect("the rules compile"))
}

/// The status of a request, and the one it would have had.
fn statuses(
    rules: Arc<RuleSet>,
    mode: EngineMode,
    limits: Limits,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Option<u16>, Option<u16>) {
    let mut options = TransactionOptions::new(mode, "t".into(), SystemTime::UNIX_EPOCH);
    options.limits = limits;
    let mut tx = Transaction::begin(rules, options);
    tx.request_line(b"POST", b"/", "HTTP/1.1");
    tx.request_header(b"Host", b"a.example");
    for (name, value) in headers {
        tx.request_header(name.as_bytes(), value.as_bytes());
    }
    let mut verdict = tx.request_headers_end();
    if verdict == Verdict::Continue {
        body.chunks(7).for_each(|chunk| tx.request_body(chunk));
        verdict = tx.request_body_end();
    }
    let status = match verdict {
        Verdict::Continue => None,
        Verdict::Interrupt(interruption) => Some(interruption.status),
    };
    let would = tx.finish().would_interrupt;
    (status, would.map(|interruption| interruption.status))
}

fn status(rules: &str, limits: Limits, headers: &[(&str, &str)], body: &[u8]) -> Option<u16> {
    statuses(compile(rules), EngineMode::On, limits, headers, body).0
}

#[test]
fn waf_22_a_coded_body_is_decoded_for_the_rules() {
    let body = gzip(b"{\"a\":\"marker7\"}");
    let denied = |headers: &[(&str, &str)]| status(DENY, Limits::default(), headers, &body);
    assert_eq!(denied(&[JSON, GZIP]), Some(403));
    assert_eq!(denied(&[JSON, ("content-encoding", "x-gzip")]), Some(403));
    assert_eq!(
        denied(&[JSON, ("Content-Encoding", "identity"), GZIP]),
        Some(403)
    );
    let length = format!(
        "SecRule REQUEST_BODY_LENGTH \"@eq {}\" \"id:1,phase:2,deny\"",
        body.len()
    );
    assert_eq!(
        status(&length, Limits::default(), &[JSON, GZIP], &body),
        Some(403),
        "the length is that of what was sent"
    );
}

#[test]
fn waf_22_what_cannot_be_decoded_is_refused_or_inspected_as_it_came() {
    let inspect = Limits {
        request_undecodable: UndecodableBody::InspectEncoded,
        ..Limits::default()
    };
    for (coding, refused) in [("gzip", 400), ("zstd", 415), ("gzip, gzip, gzip", 415)] {
        let headers = [FORM, ("Content-Encoding", coding)];
        let rules = "SecRule ARGS x \"id:1,phase:2,pass\"";
        assert_eq!(
            status(rules, Limits::default(), &headers, b"a=marker7"),
            Some(refused)
        );
        assert_eq!(status(rules, inspect.clone(), &headers, b"a=marker7"), None);
        assert_eq!(
            status(DENY, inspect.clone(), &headers, b"a=marker7"),
            Some(403)
        );
        let error = "SecRule REQBODY_ERROR \"@eq 1\" \"id:1,phase:2,deny,status:418\"";
        assert_eq!(status(error, inspect.clone(), &headers, b"a=1"), Some(418));
        let detected = statuses(
            compile(rules),
            EngineMode::DetectionOnly,
            Limits::default(),
            &headers,
            b"a=marker7",
        );
        assert_eq!(detected, (None, Some(refused)));
    }
    assert_eq!(
        status(
            DENY,
            Limits::default(),
            &[FORM, ("Content-Encoding", "zstd")],
            b""
        ),
        None
    );
    let off = "SecAction \"id:1,phase:1,pass,ctl:requestBodyAccess=Off\"";
    assert_eq!(status(off, Limits::default(), &[FORM, GZIP], b"a=1"), None);
}

#[test]
fn a_body_over_the_limit_is_refused_cut_or_skipped() {
    let long = format!("a=marker7&b={}&c=marker8", "x".repeat(200));
    let bomb = gzip(format!("a=marker7&b={}&c=marker8", "x".repeat(2 << 20)).as_bytes());
    let first = DENY;
    let last = "SecRule ARGS \"@contains marker8\" \"id:1,phase:2,deny\"";
    let told = "SecRule INBOUND_DATA_ERROR \"@eq 1\" \"id:1,phase:2,deny,status:418\"";
    let whole = "SecRule REQUEST_BODY|ARGS|REQBODY_ERROR \"@rx [^0]\" \"id:1,phase:2,deny\"";
    let short = Limits {
        max_request_body_bytes: 100,
        ..Limits::default()
    };
    let text = Limits {
        max_request_text_bytes: 100,
        ..Limits::default()
    };
    for (limits, headers, body) in [
        (short, vec![FORM], long.as_bytes()),
        (text, vec![FORM], long.as_bytes()),
        (Limits::default(), vec![FORM, GZIP], &bomb),
    ] {
        let with = |policy, rules| {
            let limits = Limits {
                request_over_limit: policy,
                ..limits.clone()
            };
            status(rules, limits, &headers, body)
        };
        for rules in [first, last, told, whole] {
            assert_eq!(with(BodyOverLimit::Reject, rules), Some(413));
        }
        assert_eq!(with(BodyOverLimit::InspectPrefix, first), Some(403));
        assert_eq!(with(BodyOverLimit::InspectPrefix, last), None);
        assert_eq!(with(BodyOverLimit::InspectPrefix, told), Some(418));
        assert_eq!(with(BodyOverLimit::Skip, whole), None);
        assert_eq!(with(BodyOverLimit::Skip, told), Some(418));
    }
}

#[test]
fn a_response_body_over_the_limit_is_refused_cut_or_skipped() {
    let rules = compile(
        "SecResponseBodyAccess On\nSecRule RESPONSE_BODY \"@contains marker7\" \"id:1,phase:4,deny\"",
    );
    for (policy, wanted) in [
        (BodyOverLimit::Reject, Some(502)),
        (BodyOverLimit::InspectPrefix, Some(403)),
        (BodyOverLimit::Skip, None),
    ] {
        let mut options =
            TransactionOptions::new(EngineMode::On, "t".into(), SystemTime::UNIX_EPOCH);
        options.limits = Limits {
            max_response_body_bytes: 10,
            response_over_limit: policy,
            ..Limits::default()
        };
        let mut tx = Transaction::begin(rules.clone(), options);
        tx.response_head(200, "HTTP/1.1");
        tx.response_header(b"Content-Type", b"text/html");
        assert_eq!(tx.response_headers_end(), Verdict::Continue);
        for chunk in ["marker7", "1234567", "1234567"] {
            tx.response_body(chunk.as_bytes());
        }
        assert!(tx.response_body_is_over_limit());
        let status = match tx.response_body_end() {
            Verdict::Continue => None,
            Verdict::Interrupt(interruption) => Some(interruption.status),
        };
        assert_eq!(status, wanted);
    }
}

#[test]
fn the_baseline_refuses_coded_bodies() {
    let rules = Arc::new(RuleSet::compile(&baseline(), &NoFiles).expect("the baseline compiles"));
    let run = |coding: &str, body: &[u8]| {
        let headers = [JSON, ("Content-Encoding", coding)];
        let limits = Limits::default();
        statuses(rules.clone(), EngineMode::On, limits, &headers, body).0
    };
    // A backend that ignores the coding would read what nobody has looked at.
    for coding in ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip"] {
        assert_eq!(run(coding, &gzip(b"{\"a\":1}")), Some(415), "{coding}");
    }
    assert_eq!(run("identity", b"{\"a\":1}"), None);
}
