//! One value, through each transformation alone and before the one that its first byte names.
#![no_main]

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use libfuzzer_sys::fuzz_target;
use portcullis_waf::{EngineMode, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions};

const NAMES: [&str; 35] = [
    "base64Decode",
    "base64DecodeExt",
    "base64Encode",
    "cmdLine",
    "compressWhitespace",
    "cssDecode",
    "escapeSeqDecode",
    "hexDecode",
    "hexEncode",
    "htmlEntityDecode",
    "jsDecode",
    "length",
    "lowercase",
    "md5",
    "normalizePath",
    "normalizePathWin",
    "parityEven7bit",
    "parityOdd7bit",
    "parityZero7bit",
    "removeComments",
    "removeCommentsChar",
    "removeNulls",
    "removeWhitespace",
    "replaceComments",
    "replaceNulls",
    "sha1",
    "sqlHexDecode",
    "trim",
    "trimLeft",
    "trimRight",
    "uppercase",
    "urlDecode",
    "urlDecodeUni",
    "urlEncode",
    "utf8toUnicode",
];

/// Rules that end with each transformation.
static RULES: LazyLock<Vec<Arc<RuleSet>>> = LazyLock::new(|| {
    let rules = NAMES.iter().map(|last| {
        let rules = NAMES.iter().enumerate().map(|(id, first)| {
            format!(
                "SecRule REQUEST_BODY \"@rx [^a]marker7$\" \
                 \"id:{},phase:2,pass,nolog,multiMatch,t:none,t:{first},t:{last}\"\n",
                id + 1
            )
        });
        let text = RuleText {
            name: "fuzz.conf".into(),
            text: rules.collect(),
        };
        Arc::new(RuleSet::compile(&[text], &NoFiles).expect("the rules compile"))
    });
    rules.collect()
});

fuzz_target!(|input: &[u8]| {
    let [last, value @ ..] = input else {
        return;
    };
    let rules = &RULES[usize::from(*last) % RULES.len()];
    let options = TransactionOptions::new(EngineMode::On, String::new(), SystemTime::UNIX_EPOCH);
    let mut tx = Transaction::begin(rules.clone(), options);
    tx.request_header(b"Content-Type", b"text/plain");
    let _ = tx.request_headers_end();
    tx.request_body(value);
    let _ = tx.request_body_end();
    tx.finish();
});
