//! Rule sets that differ little from another: what they find, and what they cost.

use std::{sync::Arc, time::SystemTime};

use portcullis_waf::{
    Change, EngineMode, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions, Verdict,
};

/// Rules with a default, a marker, a jump and a chain.
const RULES: &str = r#"
SecRule &TX:level "@eq 0" "id:10,phase:1,pass,nolog,setvar:tx.level=1"
SecRule TX:level "@lt 2" "id:11,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@rx (?i)union\s+select" "id:20,phase:2,deny,status:403,tag:attack/sql"
SecMarker END
SecRule ARGS|REQUEST_HEADERS:X-Text "@contains passwd" "id:30,phase:2,deny,status:406,tag:attack/file,tag:paranoia.1"
SecRule ARGS:a "@streq 1" "id:40,phase:2,deny,status:409,chain"
    SecRule ARGS:b "@streq 1"
"#;

fn text(name: &str, text: &str) -> RuleText {
    RuleText {
        name: name.into(),
        text: text.into(),
    }
}

fn base() -> Arc<RuleSet> {
    Arc::new(RuleSet::compile(&[text("base", RULES)], &NoFiles).expect("the rules compile"))
}

fn changed(base: &RuleSet, before: &str, settings: &[(&str, u64)], after: &str) -> Arc<RuleSet> {
    let (before, after) = ([text("before", before)], [text("after", after)]);
    let change = Change {
        before: &before,
        settings,
        after: &after,
    };
    Arc::new(base.change(&change, &NoFiles).expect("the change compiles"))
}

/// The status of a request; 200 where it passes.
fn status(rules: &Arc<RuleSet>, query: &str) -> u16 {
    let options = TransactionOptions::new(EngineMode::On, "1".into(), SystemTime::UNIX_EPOCH);
    let mut transaction = Transaction::begin(rules.clone(), options);
    transaction.request_line(b"GET", format!("/?{query}").as_bytes(), "HTTP/1.1");
    transaction.request_header(b"Host", b"shop.example");
    let verdict = match transaction.request_headers_end() {
        Verdict::Continue => transaction.request_body_end(),
        stopped => stopped,
    };
    match verdict {
        Verdict::Continue => 200,
        Verdict::Interrupt(interruption) => interruption.status,
    }
}

const SQL: &str = "q=1+union+select+2";
const FILE: &str = "q=passwd";
const CHAIN: &str = "a=1&b=1";

#[test]
fn a_setting_counts_more_than_what_the_rules_say_before() {
    let base = base();
    assert_eq!(status(&base, SQL), 200);
    let strict = changed(&base, "", &[("level", 2)], "");
    assert_eq!(status(&strict, SQL), 403);
    // Behind what a text before the rules says, and before their own default.
    let loud = "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.level=3\"";
    assert_eq!(status(&changed(&base, loud, &[], ""), SQL), 403);
    assert_eq!(status(&changed(&base, loud, &[("level", 1)], ""), SQL), 200);
    // The base itself is as it was.
    assert_eq!(status(&base, SQL), 200);
}

#[test]
fn no_jump_goes_past_a_setting() {
    let rules = r#"
SecRule ARGS:jump "@streq skip" "id:1,phase:1,pass,nolog,skip:1"
SecRule ARGS:jump "@streq after" "id:2,phase:1,pass,nolog,skipAfter:END"
SecRule ARGS:jump "@streq phase" "id:3,phase:1,allow:phase,nolog"
SecRule &TX:level "@eq 0" "id:10,phase:1,pass,nolog,setvar:tx.level=1"
SecRule ARGS:jump "@streq other" "id:11,phase:1,pass,nolog,skip:1"
SecRule &TX:more "@eq 0" "id:12,phase:1,pass,nolog,setvar:tx.more=1"
SecMarker END
SecRule TX:level|TX:more "@ge 2" "id:20,phase:2,deny,status:403"
"#;
    let base = RuleSet::compile(&[text("base", rules)], &NoFiles).expect("the rules compile");
    let base = Arc::new(base);
    for jump in ["skip", "after", "phase", "other", "none"] {
        let query = format!("jump={jump}");
        assert_eq!(status(&base, &query), 200, "{jump}");
        for setting in ["level", "more"] {
            let strict = changed(&base, "", &[(setting, 2)], "");
            assert_eq!(status(&strict, &query), 403, "{jump}: {setting}");
        }
        // A text before the rules is not past them either.
        for action in [
            "skip:1",
            "skip:9",
            "skipAfter:END",
            "skipAfter:11",
            "allow:phase",
        ] {
            let before = format!("SecAction \"id:30,phase:1,nolog,pass,{action}\"")
                .replace("pass,allow", "allow");
            let strict = changed(&base, &before, &[("level", 2), ("more", 2)], "");
            assert_eq!(status(&strict, &query), 403, "{jump}: {action}");
        }
    }
}

#[test]
fn exclusions_are_of_the_changed_set_alone() {
    let base = base();
    let without = changed(&base, "", &[], "SecRuleRemoveById 30");
    assert_eq!((status(&base, FILE), status(&without, FILE)), (406, 200));
    let without = changed(&base, "", &[], "SecRuleRemoveByTag \"^attack/file$\"");
    assert_eq!(status(&without, FILE), 200);
    let target = changed(&base, "", &[], "SecRuleUpdateTargetById 30 \"!ARGS:q\"");
    assert_eq!((status(&base, FILE), status(&target, FILE)), (406, 200));
    assert_eq!(status(&target, "other=passwd"), 406);
    // A target that is added is looked at, though the plan does not know it.
    let more = changed(&base, "", &[], "SecRuleUpdateTargetById 30 \"ARGS_NAMES\"");
    assert_eq!(
        (status(&base, "passwd=1"), status(&more, "passwd=1")),
        (200, 406)
    );
    assert_eq!(status(&more, FILE), 406);
    // Another way to look at values leaves the plan.
    let lower = changed(&base, "", &[], "SecRuleUpdateActionById 30 \"t:lowercase\"");
    assert_eq!(
        (status(&base, "q=PASSWD"), status(&lower, "q=PASSWD")),
        (200, 406)
    );
}

#[test]
fn of_two_directives_the_one_behind_counts() {
    let said = text("base", "SecResponseBodyAccess On\n");
    let base = RuleSet::compile(&[said], &NoFiles).expect("the rules compile");
    let access = |before: &str, after: &str| {
        let changed = changed(&base, before, &[], after);
        (
            changed.inspects_request_body(),
            changed.inspects_response_body(),
        )
    };
    assert_eq!(access("", ""), (true, true));
    let off = "SecResponseBodyAccess Off\nSecRequestBodyAccess Off\n";
    assert_eq!(access(off, ""), (false, true));
    assert_eq!(access("", off), (false, false));
}

#[test]
fn jumps_land_where_they_did() {
    let base = base();
    let before = "SecMarker END\nSecRule ARGS:x \"@streq 1\" \"id:2,phase:2,deny,status:410\"";
    let after = "SecRule ARGS:y \"@streq 1\" \"id:50,phase:2,deny,status:411\"";
    for level in [1, 2] {
        let both = changed(&base, before, &[("level", level)], after);
        let sql = if level == 1 { 200 } else { 403 };
        assert_eq!(status(&both, SQL), sql);
        assert_eq!(status(&both, "x=1"), 410);
        assert_eq!(status(&both, "y=1"), 411);
        assert_eq!(status(&both, FILE), 406);
        assert_eq!(status(&both, CHAIN), 409);
        assert_eq!(status(&both, "a=1&b=2"), 200);
    }
}

#[test]
fn what_cannot_be_is_told() {
    let base = base();
    let problems = |before: &str, settings: &[(&str, u64)], after: &str| -> Vec<String> {
        let (before, after) = ([text("before", before)], [text("after", after)]);
        let change = Change {
            before: &before,
            settings,
            after: &after,
        };
        match base.change(&change, &NoFiles) {
            Ok(set) => set.warnings().iter().map(ToString::to_string).collect(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    };
    assert_eq!(
        problems("", &[("paranoia", 2)], ""),
        [
            "settings:1:1: no rule gives tx.paranoia a default in phase 1, so it would have no effect"
        ]
    );
    assert_eq!(
        problems("", &[], "\nSecAction \"id:20,pass\""),
        ["after:2:1: id 20 is taken by the rule at base:4"]
    );
    let warnings = problems("", &[], "SecRuleRemoveById 21");
    assert!(
        warnings[0].starts_with("after:1:1: this exclusion has no effect"),
        "{warnings:?}"
    );
    let again = changed(&base, "", &[], "").change(&Change::default(), &NoFiles);
    assert!(again.is_err());
}
