//! What a transaction gives back before its response is there.

use std::{sync::Arc, time::SystemTime};

use portcullis_waf::{
    EngineMode, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions, Verdict,
};

fn compile(text: &str) -> Arc<RuleSet> {
    let text = RuleText {
        name: "t.conf".into(),
        text: text.into(),
    };
    Arc::new(RuleSet::compile(&[text], &NoFiles).expect("rules"))
}

/// A transaction behind phase 2, of a form with a secret and a large field.
fn with_large_form(rules: &str) -> Transaction {
    let options = TransactionOptions::new(EngineMode::On, "t".into(), SystemTime::UNIX_EPOCH);
    let mut tx = Transaction::begin(compile(rules), options);
    tx.request_line(b"POST", b"/save?seen=hunter2Hunter+and+more", "HTTP/1.1");
    tx.request_header(b"content-type", b"application/x-www-form-urlencoded");
    let _ = tx.request_headers_end();
    tx.request_body(b"password=Hunter2Hunter&text=");
    tx.request_body(&vec![b'x'; 200_000]);
    assert_eq!(tx.request_body_end(), Verdict::Continue);
    assert!(tx.body_memory() > 400_000);
    tx.release_request_body();
    tx
}

#[test]
fn a_large_request_body_is_given_back_where_no_later_rule_reads_it() {
    const COPY: &str =
        "SecAction \"id:1,phase:2,pass,nolog,setvar:'tx.copy=%{ARGS.password} %{ARGS.seen}'\"\n";
    let mut tx = with_large_form(&format!(
        "{COPY}SecRule TX:copy . \"id:2,phase:3,pass,log,logdata:'%{{TX.copy}}'\""
    ));
    assert!(tx.body_memory() < 10_000, "{}", tx.body_memory());
    tx.response_head(200, "HTTP/1.1");
    let _ = tx.response_headers_end();
    let record = tx.finish();
    // Secrets are known for such all the same, and the rest is told.
    assert_eq!(record.matches[0].data, "*** *** and more");
    assert_eq!(record.uri, "/save?seen=***+and+more");
    assert_eq!(record.not_inspected, []);
    for late in [
        "SecRule ARGS \"@contains x\" \"id:2,phase:3,pass\"",
        "SecRule ARGS_POST:text \"@contains x\" \"id:2,phase:5,pass\"",
        "SecRule REQUEST_BODY \"@contains x\" \"id:2,phase:4,pass\"",
        "SecRule FILES_SIZES \"@gt 1\" \"id:2,phase:3,pass\"",
        "SecRule RESPONSE_STATUS \"@eq 200\" \"id:2,phase:3,pass,chain\"\nSecRule XML:/* x",
        "SecRule RESPONSE_STATUS \"@eq 200\" \"id:2,phase:3,pass,chain\"\nSecRule &ARGS \"@gt 1\"",
        "SecRule RESPONSE_HEADERS \"@contains %{ARGS.text}\" \"id:2,phase:3,pass\"",
        "SecAction \"id:2,phase:3,pass,msg:'%{ARGS.text}'\"",
        "SecAction \"id:2,phase:3,pass,logdata:'%{REQUEST_BODY}'\"",
        "SecAction \"id:2,phase:3,pass,tag:'%{ARGS.text}'\"",
        "SecAction \"id:2,phase:3,pass,setvar:'tx.a=%{ARGS.text}'\"",
        "SecAction \"id:2,phase:3,pass,setvar:'tx.%{ARGS.text}=1'\"",
        "SecAction \"id:2,phase:5,pass,initcol:'ip=%{ARGS.text}'\"",
        "SecAction \"id:2,phase:3,redirect:'/%{ARGS.text}'\"",
        "SecAction \"id:2,phase:5,pass,sanitiseArg:text\"",
    ] {
        let tx = with_large_form(late);
        assert!(tx.body_memory() > 400_000, "{late}");
    }
    // What has no need of values may be there.
    for late in [
        "SecRule REQUEST_BODY_LENGTH|FILES_COMBINED_SIZE|REQBODY_ERROR \"@gt 1\" \"id:2,phase:3,pass\"",
        "SecRule ARGS \"@contains y\" \"id:2,phase:2,pass\"",
        "SecRule ARGS_GET|REQUEST_URI|REQUEST_HEADERS \"@contains y\" \"id:2,phase:4,pass\"",
    ] {
        let tx = with_large_form(late);
        assert!(tx.body_memory() < 10_000, "{late}");
    }
}
