//! Cases from public reports that are about the OWASP CRS, each named by its id.

#[path = "crs/setup.rs"]
mod setup;
mod support;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use portcullis_waf::{Change, EngineMode, NoFiles, RuleSet, RuleText};

use support::{Request, encoded, run};

/// The rules as they are published, compiled once for all tests here.
fn crs() -> Option<&'static RuleSet> {
    static RULES: OnceLock<Option<Arc<RuleSet>>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let folder = std::env::var_os("PORTCULLIS_CRS").map(PathBuf::from)?;
        let mut texts = setup::texts(&folder, 1);
        // Limits that the regression tests are meant for, and nobody else.
        texts.retain(|text| text.name != "level.conf");
        Some(setup::compile(&folder, &texts).expect("the rules compile"))
    });
    if rules.is_none() {
        println!("skipped: PORTCULLIS_CRS does not say where the OWASP CRS is");
    }
    rules.as_deref()
}

/// The rules at a paranoia level, behind rules of one's own.
fn changed(crs: &RuleSet, level: u64, before: &str) -> Arc<RuleSet> {
    let before = [RuleText {
        name: "own.conf".into(),
        text: before.into(),
    }];
    let change = Change {
        before: &before,
        settings: &[("blocking_paranoia_level", level)],
        after: &[],
    };
    Arc::new(crs.change(&change, &NoFiles).expect("the change compiles"))
}

/// What a browser sends with every request.
fn browser(request: Request) -> Request {
    request
        .header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)")
        .header("Accept", "*/*")
}

/// A POST as clients send it, with its length.
fn post(content_type: &str, body: &str) -> Request {
    let length = body.len().to_string();
    browser(Request::post(content_type, body)).header("Content-Length", &length)
}

/// The status of a request, and the rules that matched, each with the variable.
fn judged(rules: &Arc<RuleSet>, request: &Request) -> (Option<u16>, Vec<(u64, String)>) {
    let (status, record) = run(rules, EngineMode::On, request);
    let matches = record.matches.into_iter();
    let matches = matches.filter_map(|found| Some((found.rule?, found.variable)));
    (status, matches.collect())
}

/// Whether a rule matched a variable, or a chain by way of it.
fn matched(found: &[(u64, String)], rule: u64, variable: &str) -> bool {
    let mut found = found.iter();
    found.any(|(id, name)| *id == rule && name.ends_with(variable))
}

/// A query with an alias, a fragment and a path, and a variable of the operation.
const QUERY: &str =
    r#"query Cmp($n: Int = 2) { left: page(at: \"a/b c\") { ...F } } fragment F on Page { part }"#;

#[test]
fn waf_04_an_exclusion_of_the_query_of_graphql_leaves_its_variables() {
    let Some(crs) = crs() else { return };
    let request = |variables: &str| {
        let mut request = post(
            "application/json",
            &format!("{{\"query\":\"{QUERY}\",\"variables\":{variables}}}"),
        );
        request.uri = "/graphql".into();
        request
    };
    let plain = request("{}");
    let (status, found) = judged(&changed(crs, 1, ""), &plain);
    assert_eq!(status, None, "{found:?}");
    let (status, found) = judged(&changed(crs, 2, ""), &plain);
    assert_eq!(status, Some(403), "{found:?}");
    assert!(matched(&found, 932200, "ARGS:json.query"), "{found:?}");
    let exclusion = r#"SecRule REQUEST_FILENAME "@streq /graphql" "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=932200;ARGS:json.query""#;
    let excluded = changed(crs, 2, exclusion);
    let (status, found) = judged(&excluded, &plain);
    assert_eq!(status, None, "{found:?}");
    let (status, found) = judged(&excluded, &request(r#"{"name":"x; cat /etc/passwd"}"#));
    assert_eq!(status, Some(403), "{found:?}");
    assert!(
        matched(&found, 932160, "ARGS:json.variables.name"),
        "{found:?}"
    );
}

#[test]
fn waf_06_cookies_are_read_as_they_are_and_a_finding_names_the_cookie() {
    let Some(crs) = crs() else { return };
    let cookies = [
        "_ga=GA1.1.85.17",
        "_ga_ABC=GS2.1.s1700000001$o3$g1$t1700000099$j0$l0$h0",
        "FCX=[[\"QUJD+on12xyz=\",null,\"[[],[],true]\"]]",
        "sess=\"a b\"",
        "pref={\"created_at\":\"2026-01-02T03:04:05.231Z\"}",
    ];
    let with = |cookies: &str| browser(Request::get("/")).header("Cookie", cookies);
    let all = cookies.join("; ");
    let rules = changed(crs, 1, "");
    for cookie in cookies.into_iter().chain([all.as_str()]) {
        let (status, found) = judged(&rules, &with(cookie));
        assert_eq!((status, found), (None, Vec::new()), "{cookie}");
    }
    // Rules of level 2 object to two of them, each by its name.
    let strict = |exclusion| judged(&changed(crs, 2, exclusion), &with(&all));
    let (status, found) = strict("");
    assert_eq!(status, Some(403), "{found:?}");
    for (id, variable) in [
        (942_200, "REQUEST_COOKIES:FCX"),
        (942_340, "REQUEST_COOKIES:pref"),
    ] {
        assert!(matched(&found, id, variable), "{found:?}");
    }
    let exclusion = "SecAction \"id:1,phase:1,pass,nolog,\
        ctl:ruleRemoveTargetByTag=attack-sqli;REQUEST_COOKIES:/^(?:FCX|pref|_ga)/\"";
    let (status, found) = strict(exclusion);
    assert_eq!(status, None, "{found:?}");
    // Nothing is decoded, and no quote is taken away.
    let values = [
        ("FCX", r#"[["QUJD+on12xyz=",null,"[[],[],true]"]]"#),
        ("sess", r#""a b""#),
        ("_ga_ABC", "GS2.1.s1700000001$o3$g1$t1700000099$j0$l0$h0"),
    ];
    for (name, value) in values {
        let value = value.replace('"', "\\\"");
        let rule = format!(
            "SecRule REQUEST_COOKIES:{name} \"@streq {value}\" \"id:1,phase:1,deny,status:418\""
        );
        assert_eq!(
            judged(&changed(crs, 1, &rule), &with(&all)).0,
            Some(418),
            "{name}"
        );
    }
}

#[test]
fn waf_07_letters_of_other_scripts_pass_level_2() {
    let Some(crs) = crs() else { return };
    let rules = changed(crs, 2, "");
    let form = "application/x-www-form-urlencoded";
    for (text, wanted) in [("имо", None), ("د..", None), ("%u003c%u003e", Some(403))] {
        let body = format!("c={}", encoded(text));
        let (status, found) = judged(&rules, &post(form, &body));
        assert_eq!(status, wanted, "{text}: {found:?}");
    }
}

#[test]
fn waf_09_overlong_and_doubly_encoded_paths_are_refused() {
    let Some(crs) = crs() else { return };
    for level in [1, 2] {
        let rules = changed(crs, level, "");
        for (query, id, variable) in [
            ("f=..%c0%af..%c0%afetc/passwd", 930_100, "REQUEST_URI_RAW"),
            ("f=..%c0%af..%c0%afx", 930_100, "REQUEST_URI_RAW"),
            ("f=%252e%252e%252fetc", 930_110, "ARGS:f"),
        ] {
            let (status, found) = judged(&rules, &browser(Request::get(&format!("/?{query}"))));
            assert_eq!(status, Some(403), "{query}: {found:?}");
            assert!(matched(&found, id, variable), "{query}: {found:?}");
        }
    }
    // An overlong slash alone scores 3, as the rule set has it: below the usual threshold.
    let alone = browser(Request::get("/?f=%e0%80%af"));
    let (status, found) = judged(&changed(crs, 1, ""), &alone);
    assert!(
        status.is_none() && matched(&found, 920_250, "ARGS:f"),
        "{found:?}"
    );
    let threshold =
        "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score_threshold=3\"";
    assert_eq!(judged(&changed(crs, 1, threshold), &alone).0, Some(403));
}

#[test]
fn waf_28_a_charset_that_hides_a_body_is_refused() {
    let Some(crs) = crs() else { return };
    let rules = changed(crs, 1, "");
    // x=<script>alert(7)</script> in EBCDIC.
    let hidden =
        "%a7%7e%4c%a2%83%99%89%97%a3%6e%81%93%85%99%a3%4d%f7%5d%4c%61%a2%83%99%89%97%a3%6e";
    let utf7 = r#"{"e":"+ACc- or +ACc-3+ACc-=+ACc-3"}"#;
    let part = "--charset=utf-8\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--charset=utf-8--\r\n";
    for (content_type, body, id) in [
        (
            "application/x-www-form-urlencoded; charset=ibm037",
            hidden,
            920_480,
        ),
        (
            "application/json; charset=utf-8; charset=utf-7",
            utf7,
            920_530,
        ),
        ("application/json; charset=\"utf-7\"", utf7, 920_480),
        ("application/json; charset=utf-16", utf7, 920_480),
        (
            "multipart/form-data; boundary=\"charset=utf-8\"; charset=utf-7",
            part,
            920_530,
        ),
    ] {
        let (status, found) = judged(&rules, &post(content_type, body));
        assert_eq!(status, Some(403), "{content_type}: {found:?}");
        assert!(
            found.iter().any(|(found, _)| *found == id),
            "{content_type}: {found:?}"
        );
    }
    // Rules see both of two types, whichever comes first.
    for (first, second) in [
        ("text/plain", "text/plain; charset=utf-7"),
        ("text/plain; charset=utf-7", "text/plain"),
    ] {
        let request = post(first, "a=b").header("Content-Type", second);
        let (status, found) = judged(&rules, &request);
        assert_eq!(status, Some(403), "{found:?}");
        for id in [920_480, 920_620] {
            assert!(
                found.iter().any(|(found, _)| *found == id),
                "{id}: {found:?}"
            );
        }
    }
    // A byte order mark is no charset, and hides nothing.
    let marked = |body: &str| {
        judged(
            &rules,
            &post("application/json", &format!("\u{feff}{body}")),
        )
    };
    let (status, found) = marked(r#"{"e":"x"}"#);
    assert_eq!(status, None, "{found:?}");
    let (status, found) = marked(r#"{"e":"<script>alert(7)</script>"}"#);
    assert!(
        status == Some(403) && matched(&found, 941_100, "ARGS:json.e"),
        "{found:?}"
    );
}
