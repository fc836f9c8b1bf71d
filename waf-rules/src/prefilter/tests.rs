//! With and without the prefilter, everything is found alike.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use crate::{
    AuditRecord, Change, EngineMode, NoFiles, RuleSet, RuleSource, RuleText, Transaction,
    TransactionOptions, baseline,
};

/// Rules whose chains, selectors and operators the baseline does not have.
const MORE: &str = r#"
SecRule ARGS|!ARGS:free|REQUEST_HEADERS:X-Test "@rx (?i)un(?:ion|ite)\s+select" "id:1,phase:2,pass,t:none,t:urlDecodeUni,t:replaceComments,t:compressWhitespace,setvar:tx.a=+1"
SecRule ARGS_NAMES|ARGS "@pm <script javascript: onload" "id:2,phase:2,pass,t:none,t:htmlEntityDecode,t:jsDecode,capture,chain"
SecRule MATCHED_VARS "!@contains harmless" "setvar:tx.b=%{matched_var}"
SecRule &ARGS "@ge 2" "id:3,phase:2,pass"
SecRule ARGS "!@rx ^[a-z ]*$" "id:4,phase:2,pass,t:none,t:lowercase"
SecRule ARGS "@streq passwd" "id:5,phase:2,pass,t:none,t:cmdLine"
SecRule ARGS "@beginsWith etc/" "id:6,phase:2,pass,t:none,t:normalizePath,multiMatch"
SecRule TX:a "@eq 1" "id:7,phase:2,pass"
SecRule ARGS "@endsWith SHADOW" "id:8,phase:2,pass,t:none,t:uppercase"
SecRule ARGS|ARGS_NAMES|REQUEST_HEADERS "@validateByteRange 32-36,38-126" "id:9,phase:1,pass"
SecRule ARGS|REQUEST_BODY "@validateUtf8Encoding" "id:10,phase:2,pass,t:none,t:urlDecodeUni"
SecRule ARGS|ARGS_POST|REQUEST_BODY "@detectSQLi" "id:11,phase:2,pass,t:none,t:urlDecodeUni,t:removeWhitespace"
SecRule ARGS_NAMES|ARGS|REQUEST_HEADERS:X-Test "@rx [;<\\(][a-z]+" "id:12,phase:1,pass,t:none,t:jsDecode,t:lowercase"
SecRule ARGS_NAMES|ARGS|REQUEST_HEADERS:X-Test "@rx [;<\\(][a-z]+" "id:13,phase:3,pass,t:none,t:jsDecode,t:lowercase"
SecRule ARGS "@validateUrlEncoding" "id:14,phase:2,pass,t:none,t:base64Decode,multiMatch"
SecRule ARGS "@gt 3" "id:15,phase:2,pass,t:none,t:length"
SecRule RESPONSE_HEADERS|REQUEST_HEADERS "@contains select" "id:16,phase:3,pass,t:none,t:compressWhitespace"
SecRule ARGS|TX:foo "@rx <script" "id:17,phase:2,pass,t:none,t:urlDecodeUni,t:lowercase,multiMatch"
SecRule ARGS_NAMES|ARGS|&REQUEST_HEADERS "@pm union alert shadow" "id:18,phase:2,pass,t:none,t:htmlEntityDecode,t:replaceComments,t:removeWhitespace,multiMatch"
SecRule TX:a "@ge %{rule.severity}" "id:19,phase:2,pass,severity:3,t:none"
SecRule TX:a "!@eq %{matched_var}" "id:20,phase:2,pass,t:none"
"#;

fn rules() -> RuleSet {
    let more = RuleText {
        name: "more".into(),
        text: MORE.into(),
    };
    RuleSet::compile(&[baseline(), vec![more]].concat(), &NoFiles).unwrap()
}

/// The same with targets that no plan knows.
fn changed() -> RuleSet {
    let more = RuleText {
        name: "change".into(),
        text: "SecRuleUpdateTargetById 2 \"REQUEST_HEADERS_NAMES\"\n\
               SecRuleUpdateTargetById 6 \"ARGS_NAMES\"\n\
               SecRuleUpdateTargetById 18 \"REQUEST_HEADERS:X-Test\"\n"
            .into(),
    };
    let change = Change {
        after: &[more],
        ..Change::default()
    };
    rules().change(&change, &NoFiles).unwrap()
}

fn record(rules: &Arc<RuleSet>, query: &str, header: &str, body: &str) -> AuditRecord {
    let options = TransactionOptions::new(
        EngineMode::DetectionOnly,
        "1".into(),
        SystemTime::UNIX_EPOCH,
    );
    let mut transaction = Transaction::begin(Arc::clone(rules), options);
    transaction.request_line(b"GET", format!("/?{query}").as_bytes(), "HTTP/1.1");
    transaction.request_header(b"Host", b"shop.example");
    transaction.request_header(b"X-Test", header.as_bytes());
    if !body.is_empty() {
        let form = b"application/x-www-form-urlencoded";
        transaction.request_header(b"Content-Type", form);
    }
    let _ = transaction.request_headers_end();
    transaction.request_body(body.as_bytes());
    let _ = transaction.request_body_end();
    transaction.response_head(200, "HTTP/1.1");
    transaction.response_header(b"X-Test", header.as_bytes());
    let _ = transaction.response_headers_end();
    transaction.finish()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]
    #[test]
    fn what_matches_is_the_same(
        query in "(a|free|x)=((UNION|union|/\\*x\\*/|%20|\\+|select|<script|&lt;script|\\\\u003cscript|javascript:|%253Cscript|%253cSCRIPT|harmless|p'asswd|PASSWD|etc/\\./|./etc/|shadow|' or 1=1|%00|\\.\\./|[a-z0-9%])){0,5}(&(b|union select)=((alert\\(1\\)|<svg onload|[a-z ;'\"])){0,4}){0,2}",
        header in "((union|unite|select| |/\\*\\*/|;ls|[a-z])){0,5}",
        body in "(|(a|c)=((UNION|\\+|select|%3Cscript|\\\\x3b|harmless|%ff|JTI3|[a-z0-9;()'])){0,6})",
    ) {
        thread_local! {
            static PAIRS: [[Arc<RuleSet>; 2]; 2] = [rules, changed].map(|make| {
                let mut without = make();
                without.forget_plan();
                [Arc::new(make()), Arc::new(without)]
            });
        }
        let records = PAIRS.with(|pairs| {
            pairs.each_ref().map(|pair| {
                pair.each_ref().map(|rules| record(rules, &query, &header, &body))
            })
        });
        for [with, without] in records {
            proptest::prop_assert_eq!(with, without);
        }
    }
}

#[test]
fn most_conditions_have_literals() {
    let rules = rules();
    let all: usize = (1..=5).map(|phase| rules.phase(phase).rules.len()).sum();
    assert!(rules.plan().conditions() * 2 > all, "{all}");
}

/// The word lists of the CRS.
struct Beside<'p>(&'p Path);

impl RuleSource for Beside<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(path)).map_err(|error| error.to_string())
    }
}

fn crs(folder: &Path) -> RuleSet {
    let rules = folder.join("rules");
    let entries = fs::read_dir(&rules).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "conf")
    });
    files.sort();
    let read = |path: &Path| RuleText {
        name: path.display().to_string(),
        text: fs::read_to_string(path).unwrap(),
    };
    let level = RuleText {
        name: "level".into(),
        text: "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=4\"".into(),
    };
    let setup = read(&folder.join("crs-setup.conf.example"));
    let mut texts = vec![level, setup];
    texts.extend(files.iter().map(|path| read(path)));
    RuleSet::compile(&texts, &Beside(&rules)).unwrap()
}

/// What the regression tests of the CRS send, roughly: the text behind `uri:` and `data:`.
fn payloads(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            payloads(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter_map(|line| {
            let (key, value) = line.trim().split_once(": ")?;
            ["uri", "data", "Cookie", "User-Agent"]
                .contains(&key)
                .then_some(value)
        });
        found.extend(lines.map(|value| value.trim_matches('"').to_owned()));
    }
}

#[test]
fn what_the_crs_finds_in_its_own_payloads_is_the_same() {
    /// One of so many payloads; without the prefilter each takes its time.
    const EACH: usize = 7;
    let Ok(folder) = std::env::var("PORTCULLIS_CRS") else {
        println!("skipped: PORTCULLIS_CRS names no CRS");
        return;
    };
    let folder = Path::new(&folder);
    let with = Arc::new(crs(folder));
    let mut without = crs(folder);
    without.forget_plan();
    let without = Arc::new(without);
    let mut all = Vec::new();
    payloads(&folder.join("tests"), &mut all);
    all.sort();
    all.dedup();
    assert!(all.len() > 2000, "{}", all.len());
    let mut matched = 0;
    for payload in all.iter().step_by(EACH) {
        let query = payload.strip_prefix('/').unwrap_or(payload);
        let query = query.split_once('?').map_or(query, |(_, query)| query);
        let one = record(&with, query, payload, payload);
        let other = record(&without, query, payload, payload);
        matched += one.matches.len();
        assert_eq!(one, other, "{payload}");
    }
    assert!(matched > 500, "{matched}");
}
