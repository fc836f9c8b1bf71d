//! Rules of a line or two, and what the language promises about them.

mod support;

use std::sync::Arc;

use portcullis_waf::{
    BodyOverLimit, Collections, EngineMode, InterruptionAction, Limits, NoFiles, RuleSet,
    RuleSource, RuleText, Transaction, TransactionOptions, Verdict,
};
use serde::Deserialize;
use support::{Request, run};

fn text(text: &str) -> RuleText {
    RuleText {
        name: "t.conf".into(),
        text: text.into(),
    }
}

fn compile(rules: &str) -> Arc<RuleSet> {
    let rules = RuleSet::compile(&[text(rules)], &NoFiles);
    Arc::new(rules.unwrap_or_else(|errors| {
        panic!(
            "{}",
            errors.iter().map(|e| format!("{e}\n")).collect::<String>()
        )
    }))
}

fn errors(rules: &str) -> Vec<String> {
    match RuleSet::compile(&[text(rules)], &NoFiles) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn status(rules: &str, request: &Request) -> Option<u16> {
    run(&compile(rules), EngineMode::On, request).0
}

/// One row of `data/engine.json`: rules, and requests that they deny or let pass.
#[derive(Deserialize)]
struct Case {
    name: String,
    rules: String,
    deny: Vec<Request>,
    pass: Vec<Request>,
}

#[test]
fn every_row_of_the_table_holds() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("data/engine.json")).unwrap();
    for case in cases {
        for request in &case.deny {
            let (status, _) = run(&compile(&case.rules), EngineMode::On, request);
            assert!(status.is_some(), "{}: {request:?} passed", case.name);
        }
        for request in &case.pass {
            let (status, record) = run(&compile(&case.rules), EngineMode::On, request);
            assert_eq!(
                status, None,
                "{}: {request:?} denied by {:?}",
                case.name, record.matches
            );
        }
    }
}

/// One row of `data/refused.json`: a text, and what is said about it.
#[derive(Deserialize)]
struct Refused {
    rules: String,
    errors: Vec<String>,
}

#[test]
fn what_is_wrong_or_not_supported_is_said_with_its_place() {
    let cases: Vec<Refused> = serde_json::from_str(include_str!("data/refused.json")).unwrap();
    for case in cases {
        let found = errors(&case.rules);
        assert_eq!(found.len(), case.errors.len(), "{}: {found:?}", case.rules);
        for (found, wanted) in found.iter().zip(&case.errors) {
            assert!(
                found.starts_with(wanted.as_str()),
                "{}:\n found {found}\nwanted {wanted}",
                case.rules
            );
        }
    }
}

#[test]
fn detection_only_says_what_would_have_happened() {
    let rules = compile(
        "SecRule ARGS \"@contains bad\" \"id:7,phase:1,deny,status:406,msg:'Bad %{MATCHED_VAR_NAME}',severity:'CRITICAL',tag:a\"",
    );
    let (status, record) = run(
        &rules,
        EngineMode::DetectionOnly,
        &Request::get("/?q=bad%0a"),
    );
    assert_eq!(status, None);
    assert_eq!(record.interruption, None);
    let would = record.would_interrupt.unwrap();
    assert_eq!(
        (would.status, would.rule, would.message.as_str()),
        (406, Some(7), "Bad ARGS:q")
    );
    let m = &record.matches[0];
    assert_eq!(
        (m.rule, m.phase, m.severity, m.line, m.file.as_str()),
        (Some(7), 1, Some(2), 1, "t.conf")
    );
    assert_eq!(
        (m.variable.as_str(), m.data.as_str(), &m.tags[..]),
        ("ARGS:q", "bad\\x0a", &["a".to_owned()][..])
    );
    serde_json::to_string(&run(&rules, EngineMode::Off, &Request::get("/?q=bad")).1).unwrap();
}

#[test]
fn the_declared_mode_and_ctl_only_lower_the_mode() {
    let rule = "SecRule ARGS bad id:1,deny\n";
    let declared = compile(&format!("SecRuleEngine detectiononly\n{rule}"));
    assert_eq!(
        run(&declared, EngineMode::On, &Request::get("/?q=bad")).0,
        None
    );
    let raised = compile(&format!(
        "SecAction id:2,phase:1,nolog,pass,ctl:ruleEngine=On\n{rule}"
    ));
    assert_eq!(
        run(&raised, EngineMode::DetectionOnly, &Request::get("/?q=bad")).0,
        None
    );
    assert_eq!(
        run(&raised, EngineMode::Off, &Request::get("/?q=bad")).0,
        None
    );
    assert_eq!(
        run(&raised, EngineMode::On, &Request::get("/?q=bad")).0,
        Some(403)
    );
}

#[test]
fn redirections_and_drops_are_told_apart() {
    let rules = compile(
        "SecRule ARGS r \"id:1,phase:1,redirect:'https://x.example/?u=%{ARGS.a}'\"\nSecRule ARGS d id:2,phase:1,drop",
    );
    let action = |uri: &str| {
        run(&rules, EngineMode::On, &Request::get(uri))
            .1
            .interruption
            .map(|i| (i.status, i.action))
    };
    let location = "https://x.example/?u=r\\x0d\\x0aX: y".to_owned();
    assert_eq!(
        action("/?a=r%0d%0aX:%20y"),
        Some((302, InterruptionAction::Redirect(location)))
    );
    assert_eq!(action("/?a=d"), Some((403, InterruptionAction::Drop)));
}

#[test]
fn secrets_are_not_written_down() {
    let rules = compile(
        "SecRule REQUEST_COOKIES|REQUEST_HEADERS:Authorization x \"id:1,logdata:'%{MATCHED_VAR}'\"",
    );
    let request = Request::get("/")
        .header("Cookie", "sid=x1")
        .header("Authorization", "Bearer x2");
    let (_, record) = run(&rules, EngineMode::On, &request);
    assert_eq!(record.matches[0].data, "***");
}

fn limited(limits: Limits, rules: &str, request: &Request) -> Option<u16> {
    let mut options = TransactionOptions::new(
        EngineMode::On,
        "t".into(),
        std::time::SystemTime::UNIX_EPOCH,
    );
    options.limits = limits;
    let mut tx = Transaction::begin(compile(rules), options);
    tx.request_line(
        request.method.as_bytes(),
        request.uri.as_bytes(),
        "HTTP/1.1",
    );
    request
        .headers
        .iter()
        .for_each(|(name, value)| tx.request_header(name.as_bytes(), value.as_bytes()));
    let mut verdict = tx.request_headers_end();
    if verdict == Verdict::Continue {
        tx.request_body(request.body.as_bytes());
        verdict = tx.request_body_end();
    }
    match verdict {
        Verdict::Continue => None,
        Verdict::Interrupt(interruption) => Some(interruption.status),
    }
}

#[test]
fn what_exceeds_a_limit_is_refused() {
    let get = Request::get("/?a=1&b=2&c=3").header("Cookie", "a=1; b=2");
    let rule = "SecRule ARGS|ARGS_NAMES x \"id:1,pass,t:lowercase\"";
    let all = Limits::default();
    assert_eq!(limited(all.clone(), rule, &get), None);
    assert_eq!(
        limited(
            Limits {
                max_arguments: 2,
                ..all.clone()
            },
            rule,
            &get
        ),
        Some(400)
    );
    assert_eq!(
        limited(
            Limits {
                max_headers: 1,
                ..all.clone()
            },
            rule,
            &get
        ),
        Some(400)
    );
    assert_eq!(
        limited(
            Limits {
                max_cookies: 1,
                ..all.clone()
            },
            rule,
            &get
        ),
        Some(400)
    );
    assert_eq!(
        limited(
            Limits {
                max_work: 50,
                ..all.clone()
            },
            rule,
            &get
        ),
        Some(400)
    );
    // Also where no rule asks: one that has no literal of the rule is only looked at.
    assert_eq!(
        limited(
            Limits {
                max_work: 10,
                ..all.clone()
            },
            "SecRule REQUEST_URI|ARGS|REQUEST_HEADERS \"@contains marker77\" id:1,pass",
            &get
        ),
        Some(400)
    );
    assert_eq!(
        limited(
            Limits {
                max_matches: 2,
                ..all.clone()
            },
            "SecRule ARGS \\d id:1,pass",
            &get
        ),
        Some(400)
    );
    let many = "SecRule ARGS \\d \"id:1,pass,setvar:tx.%{MATCHED_VAR}=1\"";
    assert_eq!(
        limited(
            Limits {
                max_tx_variables: 2,
                ..all.clone()
            },
            many,
            &get
        ),
        Some(500)
    );
    let post = Request::post("text/plain", "0123456789marker7");
    let deny = "SecRule REQUEST_BODY marker7 id:1,deny";
    assert_eq!(limited(all.clone(), deny, &post), Some(403));
    let short = Limits {
        max_request_body_bytes: 12,
        ..all.clone()
    };
    assert_eq!(limited(short.clone(), deny, &post), Some(413));
    assert_eq!(
        limited(
            Limits {
                max_request_text_bytes: 12,
                ..all
            },
            deny,
            &post
        ),
        Some(413)
    );
    let prefix = Limits {
        request_over_limit: BodyOverLimit::InspectPrefix,
        ..short.clone()
    };
    assert_eq!(limited(prefix.clone(), deny, &post), None);
    assert_eq!(
        limited(
            prefix,
            "SecRule INBOUND_DATA_ERROR \"@eq 1\" id:1,deny",
            &post
        ),
        Some(403)
    );
    assert_eq!(limited(short, "SecRequestBodyAccess Off", &post), None);
}

#[test]
fn responses_run_through_phases_three_to_five() {
    let rules = compile(
        "SecResponseBodyAccess On\n\
         SecRule RESPONSE_HEADERS:X-Leak yes \"id:1,phase:3,deny,status:502\"\n\
         SecRule RESPONSE_BODY secret \"id:2,phase:4,deny,status:502\"\n\
         SecRule RESPONSE_STATUS \"@ge 200\" \"id:3,phase:5,pass,setvar:tx.inbound_anomaly_score=%{RESPONSE_STATUS}\"",
    );
    assert!(rules.inspects_response_body());
    let answer = |header: &[u8], kind: &[u8], body: &[u8]| {
        let options = TransactionOptions::new(
            EngineMode::On,
            "t".into(),
            std::time::SystemTime::UNIX_EPOCH,
        );
        let mut tx = Transaction::begin(rules.clone(), options);
        assert_eq!(tx.request_headers_end(), Verdict::Continue);
        assert_eq!(tx.request_body_end(), Verdict::Continue);
        tx.response_head(200, "HTTP/1.1");
        tx.response_header(b"X-Leak", header);
        tx.response_header(b"Content-Type", kind);
        let early = tx.response_headers_end();
        let wants = tx.wants_response_body();
        tx.response_body(body);
        let late = tx.response_body_end();
        assert_eq!(tx.finish().inbound_anomaly_score, 200);
        (early != Verdict::Continue, wants, late != Verdict::Continue)
    };
    assert_eq!(
        answer(b"no", b"text/html; charset=utf-8", b"fine"),
        (false, true, false)
    );
    assert_eq!(answer(b"yes", b"text/html", b""), (true, false, true));
    assert_eq!(
        answer(b"no", b"text/html", b"a secret"),
        (false, true, true)
    );
    assert_eq!(
        answer(b"no", b"text/event-stream", b"a secret"),
        (false, false, false)
    );
}

#[test]
fn files_come_from_the_source_and_no_error_depends_on_what_follows() {
    struct Files;
    impl RuleSource for Files {
        fn read(&self, path: &str) -> Result<String, String> {
            match path {
                "a.conf" => Ok(
                    "# comment\nSecRule ARGS \"@pmFromFile words.data\" id:1,deny # not a comment"
                        .into(),
                ),
                "b.conf" => Ok("SecRule ARGS \"@pmFromFile words.data\" id:1,deny".into()),
                "c.conf" => Ok("SecRule ARGS \"@ipMatchFromFile ips.data\" id:1,deny".into()),
                "d.conf" => Ok("SecRule ARGS \"@ipMatchFromFile words.data\" id:1,deny".into()),
                "ips.data" => Ok("# scanners\n192.0.2.0/24 # all\n\n2001:db8::1\n".into()),
                "words.data" => Ok("# words\nMarker7\n\nother words\n".into()),
                "loop.conf" => Ok("Include loop.conf".into()),
                _ => Err("no such file".into()),
            }
        }
    }
    let compile =
        |rules: &str| RuleSet::compile(&[text(rules)], &Files).map_err(|e| e[0].to_string());
    let rules = Arc::new(compile("Include b.conf").unwrap());
    assert_eq!(
        run(&rules, EngineMode::On, &Request::get("/?q=xmarker7")).0,
        Some(403)
    );
    assert_eq!(
        run(&rules, EngineMode::On, &Request::get("/?q=other")).0,
        None
    );
    let rules = Arc::new(compile("Include c.conf").unwrap());
    let addressed = |address: &str| {
        run(
            &rules,
            EngineMode::On,
            &Request::get(&format!("/?ip={address}")),
        )
        .0
    };
    assert_eq!(addressed("192.0.2.200"), Some(403));
    assert_eq!(addressed("2001:db8::1"), Some(403));
    assert_eq!(addressed("192.0.3.1"), None);
    assert_eq!(
        compile("Include d.conf").unwrap_err(),
        "d.conf:1:15: words.data:2: \"Marker7\" is not an address or a network"
    );
    assert!(
        compile("Include a.conf")
            .unwrap_err()
            .starts_with("a.conf:2:1: SecRule takes 2 to 3")
    );
    assert_eq!(
        compile("Include e.conf").unwrap_err(),
        "t.conf:1:9: cannot include e.conf: no such file"
    );
    assert!(
        compile("Include loop.conf")
            .unwrap_err()
            .contains("nested too deeply")
    );
}

#[test]
fn exclusions_without_effect_are_warned_about() {
    let rules = compile("SecRuleRemoveById 5\nSecRule ARGS x id:5,deny\nSecAuditEngine On");
    let warnings: Vec<String> = rules.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("t.conf:1:1: this exclusion has no effect"));
}

#[test]
fn an_exclusion_at_run_time_that_comes_too_late_is_warned_about() {
    let warnings = |phase: u8| {
        let exclusion =
            format!("SecAction \"id:1,phase:{phase},pass,nolog,ctl:ruleRemoveById=20\"");
        let rules = compile(&format!(
            "SecRule ARGS bad \"id:20,phase:2,deny\"\n{exclusion}"
        ));
        rules
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(1), Vec::<String>::new());
    assert!(warnings(2)[0].starts_with("t.conf:2:1: this exclusion has no effect"));
}

#[test]
fn a_phase_runs_once_and_an_interruption_stays() {
    let rules = compile(
        "SecRule ARGS bad id:1,phase:1,deny\nSecAction \"id:2,phase:2,pass,nolog,setvar:tx.n=+1\"\nSecRule TX:n \"@gt 1\" id:3,phase:3,deny",
    );
    let options = TransactionOptions::new(
        EngineMode::On,
        "t".into(),
        std::time::SystemTime::UNIX_EPOCH,
    );
    let mut tx = Transaction::begin(rules.clone(), options.clone());
    assert_eq!(tx.request_body_end(), Verdict::Continue);
    assert_eq!(tx.request_body_end(), Verdict::Continue);
    assert_eq!(tx.response_headers_end(), Verdict::Continue);
    let mut tx = Transaction::begin(rules, options);
    tx.request_line(b"GET", b"/?a=bad", "HTTP/1.1");
    assert!(matches!(tx.request_headers_end(), Verdict::Interrupt(i) if i.rule == Some(1)));
    assert!(!tx.wants_request_body());
    assert!(matches!(tx.request_body_end(), Verdict::Interrupt(i) if i.rule == Some(1)));
}

#[test]
fn rules_remember_a_client_from_one_transaction_to_the_next() {
    let rules = compile(
        "SecCollectionTimeout 60\n\
         SecAction \"id:1,phase:1,pass,nolog,initcol:ip=%{REQUEST_HEADERS.X-Client},setvar:ip.requests=+1\"\n\
         SecRule IP:REQUESTS \"@gt 2\" \"id:2,phase:1,deny,status:429,msg:'%{ip.key} %{ip.requests}'\"",
    );
    assert!(rules.warnings().is_empty());
    let store = Arc::new(Collections::default());
    let send = |client: &[u8], second: u64| {
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        let mut options = TransactionOptions::new(EngineMode::On, "t".into(), time);
        options.collections = Some(store.clone());
        let mut tx = Transaction::begin(rules.clone(), options);
        tx.request_header(b"X-Client", client);
        match tx.request_headers_end() {
            Verdict::Continue => None,
            Verdict::Interrupt(interruption) => Some(interruption.message),
        }
    };
    assert_eq!(send(b"a", 0), None);
    assert_eq!(send(b"a", 1), None);
    assert_eq!(send(b"b", 2), None);
    assert_eq!(send(b"a", 3).as_deref(), Some("a 3"));
    assert_eq!(send(b"a", 62).as_deref(), Some("a 4"));
    assert_eq!(send(b"a", 122), None);
}

#[test]
fn a_change_of_a_collection_that_nothing_opens_is_warned_about() {
    let rules = compile("SecAction \"id:1,phase:1,pass,setvar:ip.n=+1\"");
    let warning = rules.warnings()[0].to_string();
    assert!(warning.starts_with("t.conf:1:1: this change of a collection has no effect"));
}

#[test]
fn a_transaction_can_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Transaction>();
}

#[test]
fn an_empty_rule_set_lets_everything_pass() {
    let rules = compile("");
    assert!(rules.is_empty());
    assert_eq!(status("", &Request::get("/?q=<script>")), None);
}
