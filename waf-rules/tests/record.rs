//! What a record tells of a request, and what it never does.

mod support;

use std::{sync::Arc, time::SystemTime};

use portcullis_waf::{
    AuditRecord, EngineMode, Exclusion, InterruptionAction, NoFiles, NotInspected, Part, Reason,
    RuleSet, RuleText, SecretNames, Transaction, TransactionOptions, Verdict, baseline,
};
use support::{Request, run};

fn compile(text: &str) -> Arc<RuleSet> {
    let text = RuleText {
        name: "t.conf".into(),
        text: text.into(),
    };
    Arc::new(RuleSet::compile(&[text], &NoFiles).expect("rules"))
}

/// Everything that a record says, as text.
fn said(record: &AuditRecord) -> String {
    serde_json::to_string(record).expect("JSON")
}

/// Every way in which a rule can write something down, of every variable.
fn curious_rules(transformation: &str) -> Arc<RuleSet> {
    let variables = "ARGS|ARGS_GET|ARGS_POST|ARGS_NAMES|REQUEST_COOKIES|REQUEST_HEADERS|REQUEST_URI|\
        REQUEST_URI_RAW|REQUEST_LINE|QUERY_STRING|REQUEST_BODY|XML:/*";
    compile(&format!(
        "SecRule {variables} \"@rx (?i)(hunter.*)\" \"id:1,phase:2,pass,capture,{transformation},\
            msg:'%{{MATCHED_VAR}} %{{TX.1}}',logdata:'%{{TX.0}} in %{{MATCHED_VAR}} %{{MATCHED_VARS}}',tag:'%{{TX.1}}'\"
         SecRule REQUEST_METHOD \"@unconditionalMatch\" \"id:2,phase:2,pass,\
            logdata:'%{{TX.0}} %{{TX.1}} %{{ARGS.password}} %{{ARGS.newPassword}} %{{ARGS_POST.password}} \
            %{{REQUEST_COOKIES.id}} %{{REQUEST_HEADERS.cookie}} %{{REQUEST_HEADERS.authorization}} \
            %{{REQUEST_HEADERS.x-api-key}} %{{REQUEST_URI}} %{{QUERY_STRING}} %{{REQUEST_LINE}} %{{REQUEST_BODY}}'\"
         SecAction \"id:3,phase:2,pass,nolog,setvar:'tx.copy=%{{ARGS.password}}'\"
         SecRule TX:copy \"@rx .\" \"id:4,phase:2,pass,logdata:'%{{MATCHED_VAR}} %{{TX.copy}}'\"
         SecAction \"id:5,phase:2,deny,msg:'%{{TX.copy}} %{{REQUEST_COOKIES.id}}'\""
    ))
}

#[test]
fn no_part_of_a_record_tells_a_secret() {
    let form = "application/x-www-form-urlencoded";
    let requests = [
        (
            "query",
            Request::get("/?q=1&password=Hunter2Hunter&x=hunter"),
        ),
        ("spelling", Request::get("/?q=1&p%61ssword=Hunter2Hunter")),
        ("escapes", Request::get("/?password=Hunter2%48unter")),
        ("authority", Request::get("http://a:Hunter2Hunter@h/?q=1")),
        ("form", Request::post(form, "q=1&newPassword=Hunter2Hunter")),
        (
            "JSON",
            Request::post(
                "application/json",
                r#"{"user":{"password":"Hunter2Hunter"}}"#,
            ),
        ),
        (
            "JSON in a form",
            Request::post(form, "data=%7B%22password%22%3A%22Hunter2Hunter%22%7D"),
        ),
        (
            "JSON that is sent as a form",
            Request::post(form, r#"{"password":"Hunter2Hunter","q":"<script>"}"#),
        ),
        (
            "JSON in the target",
            Request::get("/?data=%7B%22password%22%3A%22Hunter2Hunter%22%7D"),
        ),
        (
            "a target in the target",
            Request::get("/?next=%2Fcb%3Ftoken%3DHunter2Hunter"),
        ),
        (
            "XML",
            Request::post("text/xml", "<a><password>Hunter2Hunter</password></a>"),
        ),
        (
            "text",
            Request::post("text/plain", "my password is Hunter2Hunter"),
        ),
        (
            "multipart",
            Request::post(
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nHunter2Hunter\r\n--b--\r\n",
            ),
        ),
        (
            "cookie",
            Request::get("/").header("Cookie", "id=Hunter2Hunter; b=1"),
        ),
        (
            "bearer",
            Request::get("/?x=hunter2hunter").header("Authorization", "Bearer Hunter2Hunter"),
        ),
        (
            "key",
            Request::get("/").header("X-Api-Key", "Hunter2Hunter"),
        ),
        (
            "referer",
            Request::get("/").header("Referer", "https://h/?token=Hunter2Hunter"),
        ),
    ];
    for transformation in [
        "t:none",
        "t:lowercase",
        "t:none,t:removeWhitespace",
        "t:urlDecodeUni",
    ] {
        let rules = curious_rules(transformation);
        for (what, request) in &requests {
            for mode in [EngineMode::On, EngineMode::DetectionOnly] {
                let (_, record) = run(&rules, mode, request);
                assert!(record.is_notable() && !record.matches.is_empty());
                let said = said(&record);
                let lower = said.to_ascii_lowercase();
                assert!(
                    !lower.contains("hunter2") && !lower.contains("2hunter"),
                    "{what}, {transformation}: {said}"
                );
            }
        }
    }
}

#[test]
fn a_redirection_is_told_without_secrets_and_sent_with_them() {
    let rules = compile(
        "SecAction \"id:1,phase:1,redirect:'https://h/?token=%{ARGS.password}&a=%{REQUEST_COOKIES.id}'\"",
    );
    let request = Request::get("/?password=Hunter2Hunter").header("Cookie", "id=Hunter2Cookie");
    let (_, record) = run(&rules, EngineMode::On, &request);
    assert!(!said(&record).contains("Hunter2"), "{}", said(&record));
    let mut tx = Transaction::begin(
        rules,
        TransactionOptions::new(EngineMode::On, "t".into(), SystemTime::UNIX_EPOCH),
    );
    tx.request_line(b"GET", b"/?password=Hunter2Hunter", "HTTP/1.1");
    let verdict = tx.request_headers_end();
    let location = "https://h/?token=Hunter2Hunter&a=";
    assert!(
        matches!(&verdict, Verdict::Interrupt(stop) if stop.action == InterruptionAction::Redirect(location.into())),
        "{verdict:?}"
    );
}

#[test]
fn a_secret_of_a_body_that_was_forgotten_is_not_told_either() {
    let rules = compile(
        "SecAction \"id:1,phase:2,pass,nolog,setvar:'tx.copy=%{ARGS.password}'\"\nSecRule TX:copy . \"id:2,phase:3,pass,logdata:'%{TX.copy}'\"",
    );
    let options = TransactionOptions::new(EngineMode::On, "t".into(), SystemTime::UNIX_EPOCH);
    let mut tx = Transaction::begin(rules, options);
    tx.request_line(b"POST", b"/", "HTTP/1.1");
    tx.request_header(b"content-type", b"application/x-www-form-urlencoded");
    let _ = tx.request_headers_end();
    tx.request_body(b"password=Hunter2Hunter");
    let _ = tx.request_body_end();
    tx.forget_bodies();
    tx.response_head(200, "HTTP/1.1");
    let _ = tx.response_headers_end();
    let record = tx.finish();
    assert_eq!(record.matches.len(), 1);
    assert!(!said(&record).contains("Hunter2"), "{}", said(&record));
}

#[test]
fn what_is_no_secret_is_told() {
    let rules = curious_rules("t:none");
    let request = Request::get("/a/b?q=hunter3&password=x123456")
        .header("User-Agent", "Mozilla/5.0")
        .header("Cookie", "id=abcdef");
    let (_, record) = run(&rules, EngineMode::On, &request);
    assert_eq!(record.uri, "/a/b?q=hunter3&password=***");
    assert_eq!(record.path, "/a/b");
    let header = |name: &str| {
        let mut headers = record.request_headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(header("User-Agent"), Some("Mozilla/5.0"));
    assert_eq!(header("Cookie"), Some("***"));
    let first = &record.matches[0];
    assert_eq!(first.operator, "@rx (?i)(hunter.*)");
    let found = |name: &str| {
        let mut found = first.found.iter();
        found
            .find(|found| found.variable == name)
            .map(|found| found.value.as_str())
    };
    assert_eq!(found("ARGS:q"), Some("hunter3"));
    assert_eq!(found("REQUEST_URI"), Some("/a/b?q=hunter3&password=***"));
}

#[test]
fn a_request_with_hundreds_of_cookies_is_told_without_their_values() {
    let rules = compile(
        "SecRule ARGS:q \"@contains attack\" \"id:1,phase:2,deny,msg:'Attack in %{MATCHED_VAR_NAME}',logdata:'%{MATCHED_VAR}'\"",
    );
    for count in [1, 257, 500, 600] {
        let cookies: Vec<String> = (0..count).map(|n| format!("c{n}=Hunter{n:04}")).collect();
        let request = Request::get("/?q=attack+with+hunter0000")
            .header("Cookie", &cookies.join("; "))
            .header("X-Seen", "plain words");
        let (_, record) = run(&rules, EngineMode::DetectionOnly, &request);
        let found = &record.matches[0];
        assert_eq!(found.message, "Attack in ARGS:q", "{count}");
        assert_eq!(found.data, "attack with ***", "{count}");
        assert_eq!(record.uri, "/?q=attack+with+***", "{count}");
        let said = said(&record);
        assert!(said.contains("plain words"), "{said}");
        assert!(!said.to_lowercase().contains("hunter0"), "{said}");
        // More than the limit is no more of the rules' business, and only that is said.
        let over = NotInspected {
            part: Part::Request,
            reason: Reason::LimitExceeded,
        };
        assert_eq!(record.not_inspected.contains(&over), count > 500, "{count}");
    }
}

#[test]
fn names_of_secrets_can_be_added_by_the_caller_and_by_rules() {
    let rule = "SecRule ARGS|REQUEST_URI|REQUEST_HEADERS:X-Card \"@contains 4711\" \"id:1,phase:2,pass,logdata:'%{MATCHED_VAR}'\"\n";
    let request = Request::get("/?card=x-4711-y&q=4711").header("X-Card", "z-4711");
    let rules = compile(rule);
    let (_, record) = run(&rules, EngineMode::On, &request);
    assert!(said(&record).contains("x-4711-y"), "not yet a secret");

    let mut options = TransactionOptions::new(EngineMode::On, "t".into(), SystemTime::UNIX_EPOCH);
    options.secrets = Arc::new(SecretNames::new(["card"]));
    let mut tx = Transaction::begin(rules, options);
    tx.request_line(b"GET", b"/?card=x-4711-y&q=4711", "HTTP/1.1");
    tx.request_header(b"X-Card", b"z-4711");
    let _ = tx.request_headers_end();
    let _ = tx.request_body_end();
    let told = said(&tx.finish());
    assert!(
        !told.contains("x-4711") && !told.contains("z-4711"),
        "{told}"
    );

    for sanitise in [
        "sanitiseArg:card,sanitiseRequestHeader:x-card",
        "sanitiseMatched",
    ] {
        // Before and behind what they hide.
        let late = format!(
            "{rule}SecRule ARGS:card|REQUEST_HEADERS:X-Card . \"id:2,phase:2,pass,nolog,{sanitise}\"\n"
        );
        let early = format!(
            "SecRule ARGS:card|REQUEST_HEADERS:X-Card . \"id:2,phase:1,pass,nolog,{sanitise}\"\n{rule}"
        );
        for rules in [late, early] {
            let (_, record) = run(&compile(&rules), EngineMode::On, &request);
            let told = said(&record);
            assert!(
                !told.contains("x-4711") && !told.contains("z-4711"),
                "{rules}: {told}"
            );
        }
    }
}

#[test]
fn a_match_tells_its_chain_and_what_it_scored() {
    let rules = compile(
        "SecRule ARGS \"@contains bad\" \"id:1,phase:2,block,chain,ver:'A/1',rev:2,maturity:3,accuracy:4,setvar:tx.inbound_anomaly_score=+5\"
           SecRule REQUEST_METHOD \"!@streq POST\" \"t:lowercase\"\n",
    );
    let (_, record) = run(&rules, EngineMode::On, &Request::get("/?a=bad&b=very-bad"));
    let found: Vec<(usize, &str)> = record.matches[0]
        .found
        .iter()
        .map(|found| (found.link, found.variable.as_str()))
        .collect();
    assert_eq!(found, [(0, "ARGS:a"), (0, "ARGS:b"), (1, "REQUEST_METHOD")]);
    let one = &record.matches[0];
    assert_eq!((one.score, one.maturity, one.accuracy), (10, 3, 4));
    assert_eq!(
        (one.version.as_deref(), one.revision.as_deref()),
        (Some("A/1"), Some("2"))
    );
    assert_eq!(
        (one.operator.as_str(), one.value.as_str()),
        ("!@streq POST", "get")
    );
    assert_eq!(one.transformations, ["lowercase"]);
}

#[test]
fn parts_decide_what_is_written() {
    let with = |parts: &str| {
        let rules = compile(&format!(
            "SecAuditLogParts {parts}\nSecAction id:1,phase:1,deny\n"
        ));
        let warnings = rules.warnings().len();
        (run(&rules, EngineMode::On, &Request::get("/")).1, warnings)
    };
    let (all, warnings) = with("ABFHZ");
    assert!(!all.request_headers.is_empty() && all.has_messages && warnings == 0);
    let (few, warnings) = with("ACIZ");
    assert!(few.request_headers.is_empty() && !few.has_messages && warnings == 1);
    let wrong = RuleText {
        name: "t.conf".into(),
        text: "SecAuditLogParts AQZ".into(),
    };
    let errors = RuleSet::compile(&[wrong], &NoFiles).expect_err("no part");
    assert_eq!(
        errors[0].to_string(),
        "t.conf:1:18: expected letters of ABCDEFGHIJKZ, found \"AQZ\""
    );
}

#[test]
fn what_was_not_inspected_is_told() {
    let of = |rules: &str, request: &Request| {
        let (_, record) = run(&compile(rules), EngineMode::On, request);
        let all = record.not_inspected.iter();
        all.map(|noted| (noted.part, noted.reason))
            .collect::<Vec<_>>()
    };
    let form = Request::post("text/plain", "0123456789").header("Content-Length", "10");
    let limit = "SecRequestBodyLimit 5\nSecRequestBodyLimitAction ProcessPartial\n";
    assert_eq!(of(limit, &form), [(Part::RequestBody, Reason::PrefixOnly)]);
    assert_eq!(
        of("SecRequestBodyAccess Off\n", &form),
        [(Part::RequestBody, Reason::SwitchedOff)]
    );
    assert_eq!(of("SecRequestBodyAccess Off\n", &Request::get("/")), []);
    assert_eq!(
        of(
            "SecAction id:1,phase:1,nolog,pass,ctl:ruleEngine=Off\n",
            &form
        ),
        [(Part::Request, Reason::SwitchedOff)]
    );
    assert_eq!(
        of("SecAction id:1,phase:1,nolog,allow\n", &form),
        [(Part::Request, Reason::Allowed)]
    );
    assert_eq!(of("SecAction id:1,phase:1,nolog,allow:phase\n", &form), []);
    assert_eq!(of("", &form), []);
}

#[test]
fn every_exclusion_of_a_rule_set_is_told() {
    let rules = compile(
        "SecRule ARGS a id:1,tag:x,msg:m\nSecRule ARGS b id:2,tag:x\nSecRule ARGS c id:3\n\
         SecRuleRemoveById 3\nSecRuleUpdateTargetByTag x \"!ARGS:/^k\\d/|!REQUEST_COOKIES:s\"\n\
         SecRuleUpdateTargetById 1 REQUEST_URI\nSecRuleUpdateActionById 2 pass\n\
         SecRule REQUEST_URI /y \"id:4,phase:1,pass,ctl:ruleRemoveTargetById=1;ARGS:z,ctl:auditEngine=Off\"\n\
         SecAction id:5,phase:1,allow\nSecAction \"id:6,phase:1,pass,ctl:ruleEngine=Off\"\nSecRuleRemoveById 6\n",
    );
    let all: Vec<(&str, Option<u64>, u32, Option<usize>)> = rules
        .exclusions()
        .iter()
        .map(
            |Exclusion {
                 text,
                 rule,
                 line,
                 rules,
                 ..
             }| (text.as_str(), *rule, *line, *rules),
        )
        .collect();
    assert_eq!(
        all,
        [
            ("SecRuleRemoveById 3", None, 4, Some(1)),
            (
                "SecRuleUpdateTargetByTag x \"!ARGS:/^k\\d/|!REQUEST_COOKIES:s\"",
                None,
                5,
                Some(2)
            ),
            ("SecRuleUpdateActionById 2:0 \"pass\"", None, 7, Some(1)),
            ("ctl:ruleRemoveTargetById=1;ARGS:z", Some(4), 8, None),
            ("allow", Some(5), 9, None),
            ("SecRuleRemoveById 6", None, 11, Some(1)),
        ]
    );
}

#[test]
fn the_hash_is_of_what_the_rules_say_and_not_of_where_they_are() {
    let named = |name: &str, text: &str| {
        let text = RuleText {
            name: name.into(),
            text: text.into(),
        };
        RuleSet::compile(&[text], &NoFiles)
            .expect("rules")
            .hash()
            .to_owned()
    };
    let one = named("a.conf", "SecAction id:1,pass");
    assert_eq!(one.len(), 64);
    assert_eq!(one, named("b/a.conf", "SecAction id:1,pass"));
    assert_ne!(one, named("a.conf", "SecAction id:2,pass"));
    assert_eq!(
        RuleSet::compile(&baseline(), &NoFiles)
            .expect("rules")
            .hash()
            .len(),
        64
    );
}
