//! Cases from public reports about exclusions, each named by its id.

mod support;

use std::{sync::Arc, time::SystemTime};

use portcullis_waf::{
    EngineMode, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions, Verdict, recommended,
};

use support::{FORM, Request, form, json, run, status};

/// Compiles texts behind each other; the problems, each with its place.
fn compile(texts: Vec<RuleText>) -> Result<Arc<RuleSet>, Vec<String>> {
    let rules = RuleSet::compile(&texts, &NoFiles);
    rules
        .map(Arc::new)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn text(name: &str, text: &str) -> RuleText {
    RuleText {
        name: name.into(),
        text: text.into(),
    }
}

#[test]
fn waf_12_exclusions_by_expression_reach_the_items_of_arrays() {
    let pattern = r"/^json\.\d+\.Desc$/";
    let rule = "SecRule ARGS \"@contains bad\" \"id:20,phase:2,deny\"";
    let at_run_time = format!(
        "SecRule REQUEST_URI \"@beginsWith /api/jobs\" \
         \"id:10,phase:1,pass,nolog,ctl:ruleRemoveTargetById=20;ARGS:{pattern}\"\n{rule}"
    );
    let at_load = format!("{rule}\nSecRuleUpdateTargetById 20 \"!ARGS:{pattern}\"");
    for rules in [at_run_time, at_load] {
        let form = |body| {
            let mut request = Request::post(FORM, body);
            request.uri = "/api/jobs".into();
            request
        };
        for (request, wanted) in [
            (json(r#"[{"Desc":"bad"},{"Desc":"x"}]"#), None),
            (json(r#"[{"Desc":"x"},{"DESC":"bad"}]"#), None),
            (json(r#"[{"Title":"bad"}]"#), Some(403)),
            (json(r#"[{"Desc":"bad"},{"Title":"bad"}]"#), Some(403)),
            (json(r#"{"Desc":"bad"}"#), Some(403)),
            (form("json.0.Desc=bad"), None),
            (form("json.x.Desc=bad"), Some(403)),
        ] {
            assert_eq!(status(&rules, &request), wanted, "{rules}: {request:?}");
        }
    }
    let slash = format!("{rule}\nSecRuleUpdateTargetById 20 \"!ARGS:/^a\\/b$/\"");
    assert_eq!(status(&slash, &Request::get("/?a/b=bad")), None);
    assert_eq!(status(&slash, &Request::get("/?a/c=bad")), Some(403));
    for text in [
        format!("{rule}\nSecRuleUpdateTargetById 20 \"!ARGS:/(/\""),
        format!("SecAction \"id:1,phase:1,ctl:ruleRemoveTargetById=20;ARGS:/(/\"\n{rule}"),
    ] {
        let errors = compile(vec![self::text("a.conf", &text)]).expect_err("it is wrong");
        assert!(errors[0].contains("regular expression /(/"), "{errors:?}");
    }
}

#[test]
fn waf_13_exclusions_take_ranges_tags_and_messages() {
    let rules = |exclusion: &str| {
        let rule = |id: u32, words: &str, tag: &str| {
            format!(
                "SecRule ARGS \"@contains {words}\" \"id:{id},phase:2,deny,tag:{tag},msg:'About {tag}'\"\n"
            )
        };
        format!(
            "SecAction \"id:1,phase:1,pass,nolog,{exclusion}\"\n{}{}{}",
            rule(941_100, "<script", "attack-xss"),
            rule(941_950, "alert(1)", "attack-xss"),
            rule(942_000, "union", "attack-sqli")
        )
    };
    let script = "<script>alert(1)</script>";
    for exclusion in [
        "ctl:ruleRemoveTargetById=941100-941950;ARGS:html",
        "ctl:ruleRemoveTargetByTag=attack-xss;ARGS:html",
        "ctl:ruleRemoveTargetByMsg=About attack-xss;ARGS:html",
    ] {
        let rules = rules(exclusion);
        assert_eq!(status(&rules, &form("html", script)), None, "{exclusion}");
        assert_eq!(status(&rules, &form("text", script)), Some(403));
        assert_eq!(status(&rules, &form("html", "union")), Some(403));
    }
    for exclusion in [
        "ctl:ruleRemoveById=941100-941950",
        "ctl:ruleRemoveByTag=attack-xss",
        "ctl:ruleRemoveByMsg=About attack-xss",
    ] {
        let rules = rules(exclusion);
        assert_eq!(status(&rules, &form("text", script)), None, "{exclusion}");
        assert_eq!(status(&rules, &form("text", "union")), Some(403));
    }
    // One below the upper end, and one above the lower.
    for range in ["941100-941949", "941101-941950"] {
        let rules = rules(&format!("ctl:ruleRemoveTargetById={range};ARGS:html"));
        assert_eq!(status(&rules, &form("html", script)), Some(403), "{range}");
    }
}

type Phase<'a> = Box<dyn FnMut(&mut Transaction) -> Verdict + 'a>;

/// The status that a request and its answer end with.
fn answered(rules: &Arc<RuleSet>, request: &Request, body: &str) -> Option<u16> {
    let options = TransactionOptions::new(EngineMode::On, "t".into(), SystemTime::UNIX_EPOCH);
    let mut tx = Transaction::begin(rules.clone(), options);
    let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
    tx.request_line(method, uri, "HTTP/1.1");
    for (name, value) in &request.headers {
        tx.request_header(name.as_bytes(), value.as_bytes());
    }
    let mut phases: [Phase<'_>; 4] = [
        Box::new(Transaction::request_headers_end),
        Box::new(|tx| {
            tx.request_body(request.body.as_bytes());
            tx.request_body_end()
        }),
        Box::new(|tx| {
            tx.response_head(200, "HTTP/1.1");
            tx.response_header(b"Content-Type", b"text/html");
            tx.response_headers_end()
        }),
        Box::new(|tx| {
            tx.response_body(body.as_bytes());
            tx.response_body_end()
        }),
    ];
    phases.iter_mut().find_map(|phase| match phase(&mut tx) {
        Verdict::Continue => None,
        Verdict::Interrupt(interruption) => Some(interruption.status),
    })
}

#[test]
fn waf_15_an_exclusion_at_run_time_must_come_before_what_it_means() {
    let rules = |phase: u8| {
        let exclusion = format!(
            "SecRule REQUEST_URI \"@beginsWith /form\" \
             \"id:1,phase:{phase},pass,nolog,ctl:ruleRemoveById=200003\"\n"
        );
        let texts = vec![recommended(), text("exclusions.conf", &exclusion)];
        compile(texts).expect("the rules compile")
    };
    // The header of the part is folded, which is strict to object to.
    let body = "--b\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nx\r\n--b--\r\n";
    let request = Request::post("multipart/form-data; boundary=b", body);
    assert_eq!(run(&rules(2), EngineMode::On, &request).0, Some(400));
    assert_eq!(run(&rules(1), EngineMode::On, &request).0, None);
    let mut elsewhere = request;
    elsewhere.uri = "/other".into();
    assert_eq!(run(&rules(1), EngineMode::On, &elsewhere).0, Some(400));
    let warnings = |phase| -> Vec<String> {
        let rules = rules(phase);
        rules.warnings().iter().map(ToString::to_string).collect()
    };
    assert_eq!(warnings(1), Vec::<String>::new());
    assert!(
        warnings(2)[0].starts_with("exclusions.conf:1:1: this exclusion has no effect"),
        "{:?}",
        warnings(2)
    );
}

#[test]
fn waf_15_what_phase_1_excludes_is_excluded_in_every_later_phase() {
    for (phase, condition) in [
        (2, "ARGS \"@contains leak\""),
        (3, "RESPONSE_HEADERS:Content-Type \"@contains html\""),
        (4, "RESPONSE_BODY \"@contains leak\""),
    ] {
        let rules = |exclusion: &str| {
            let text = format!(
                "SecResponseBodyAccess On\n\
                 SecAction \"id:1,phase:1,pass,nolog{exclusion}\"\n\
                 SecRule {condition} \"id:20,phase:{phase},deny,tag:t\"\n"
            );
            compile(vec![self::text("a.conf", &text)]).expect("the rules compile")
        };
        let request = Request::get("/?q=leak");
        assert_eq!(answered(&rules(""), &request, "leak"), Some(403));
        for exclusion in [",ctl:ruleRemoveById=20", ",ctl:ruleRemoveByTag=^t$"] {
            assert_eq!(
                answered(&rules(exclusion), &request, "leak"),
                None,
                "{phase}"
            );
        }
    }
}
