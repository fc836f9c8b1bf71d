//! Nothing that is thrown at the compiler or at a transaction makes it panic.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use portcullis_waf::{
    BodyOverLimit, Connection, EngineMode, Limits, NoFiles, RuleSet, RuleText, Transaction,
    TransactionOptions, baseline,
};
use proptest::prelude::*;

/// The baseline, and rules that use what the baseline does not.
static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let text = r#"
        SecResponseBodyAccess On
        SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|MATCHED_VARS|FILES|TX|RULE "@rx (.)(.)?" "id:1,phase:2,pass,capture,multiMatch,\
            t:utf8toUnicode,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,t:escapeSeqDecode,t:cmdLine,\
            setvar:'tx.%{MATCHED_VAR_NAME}=+%{MATCHED_VAR}',initcol:'ip=%{tx.0}',\
            setvar:'ip.%{tx.1}=%{MATCHED_VAR}',expirevar:'ip.%{tx.1}=%{tx.2}',deprecatevar:'ip.a=1/0',chain"
            SecRule MATCHED_VARS "@contains %{tx.1}" "t:base64DecodeExt,t:hexDecode,t:normalizePathWin,t:removeComments"
        SecRule ARGS|ARGS_NAMES|REQUEST_BODY|REQUEST_HEADERS "@detectSQLi" "id:3,phase:2,pass,capture"
        SecRule ARGS|ARGS_NAMES|REQUEST_BODY|REQUEST_HEADERS "@detectXSS" "id:4,phase:2,pass,capture"
        SecRule RESPONSE_BODY|RESPONSE_HEADERS "@containsWord %{ARGS}" "id:2,phase:4,deny"
    "#;
    let own = RuleText {
        name: "own.conf".into(),
        text: text.into(),
    };
    Arc::new(
        RuleSet::compile(&[vec![own], baseline()].concat(), &NoFiles).expect("the rules compile"),
    )
});

fn run(
    limits: Limits,
    mode: EngineMode,
    uri: &[u8],
    headers: &[(Vec<u8>, Vec<u8>)],
    chunks: &[Vec<u8>],
) {
    let options = TransactionOptions {
        mode,
        limits,
        unique_id: String::new(),
        time: SystemTime::UNIX_EPOCH,
        collections: None,
        secrets: Default::default(),
    };
    let mut tx = Transaction::begin(RULES.clone(), options);
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    tx.connection(Connection {
        client: address,
        client_port: 1,
        server: address,
        server_port: 2,
    });
    tx.request_line(b"POST", uri, "HTTP/1.1");
    headers
        .iter()
        .for_each(|(name, value)| tx.request_header(name, value));
    let _ = tx.request_headers_end();
    chunks.iter().for_each(|chunk| tx.request_body(chunk));
    let _ = tx.request_body_end();
    tx.response_head(200, "HTTP/1.1");
    tx.response_header(b"Content-Type", b"text/html");
    let _ = tx.response_headers_end();
    chunks.iter().for_each(|chunk| tx.response_body(chunk));
    let _ = tx.response_body_end();
    serde_json::to_string(&tx.finish()).expect("a record is JSON");
}

fn small() -> Limits {
    Limits {
        max_request_body_bytes: 40,
        max_request_text_bytes: 30,
        request_over_limit: BodyOverLimit::InspectPrefix,
        max_response_body_bytes: 10,
        max_arguments: 4,
        max_json_depth: 3,
        max_tx_variables: 5,
        max_expansion_bytes: 7,
        max_audit_matches: 2,
        max_audit_value_bytes: 5,
        ..Limits::default()
    }
}

const TYPES: &[&str] = &[
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
    "text/xml",
    "\"",
    "",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_request_panics(
        uri: Vec<u8>,
        kind in 0..TYPES.len(),
        headers in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..4),
        chunks in prop::collection::vec(any::<Vec<u8>>(), 0..4),
        narrow: bool,
        detect: bool,
    ) {
        let mut headers = headers;
        headers.push((b"Content-Type".to_vec(), TYPES[kind].as_bytes().to_vec()));
        let limits = if narrow { small() } else { Limits::default() };
        let mode = if detect { EngineMode::DetectionOnly } else { EngineMode::On };
        run(limits, mode, &uri, &headers, &chunks);
    }

    #[test]
    fn no_likely_request_panics(
        uri in r"(http://|/|\?|&|=|%|%u|\.\./|[a-f0-9]{2}|;|'|<|é|:|@|\[|\]){0,20}",
        cookie in "(a|=|;| |\"|%){0,12}",
        body in "(--b|\r\n|Content-Disposition: form-data; name=|\"|\\{|\\}|\\[|\\]|:|,|\\\\u|d83d|a|=|&|%){0,24}",
        kind in 0..TYPES.len(),
    ) {
        let headers = [
            (b"Content-Type".to_vec(), TYPES[kind].as_bytes().to_vec()),
            (b"Cookie".to_vec(), cookie.into_bytes()),
            (b"Host".to_vec(), uri.clone().into_bytes()),
        ];
        run(Limits::default(), EngineMode::On, uri.as_bytes(), &headers, &[body.into_bytes()]);
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in r"\PC{0,80}") {
        let _ = RuleSet::compile(&[RuleText { name: "t".into(), text }], &NoFiles);
    }

    #[test]
    fn no_likely_text_panics(
        text in r#"(SecRule |SecAction |SecMarker |SecRuleUpdateTargetById |ARGS|TX|XML|:|\||!|&|/|"|'|\\|\n|\r\n|#| |@rx |@pm |id:|1|,|chain|setvar:|tx\.|=|%\{|\}|ctl:|ruleRemoveTargetById|;|é|\u{feff}){0,30}"#,
    ) {
        let _ = RuleSet::compile(&[RuleText { name: "t".into(), text }], &NoFiles);
    }
}
