//! One body, given to the processor and through the coding that its first two bytes name.
#![no_main]

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use libfuzzer_sys::fuzz_target;
use portcullis_waf::{
    BodyOverLimit, EngineMode, Limits, NoFiles, RuleSet, RuleText, Transaction, TransactionOptions,
    UndecodableBody,
};

const TYPES: [&str; 8] = [
    "application/x-www-form-urlencoded",
    "application/json",
    "text/xml",
    "multipart/form-data; boundary=b",
    "multipart/form-data; boundary=\"----x\"",
    "multipart/form-data boundary = --",
    "text/plain",
    "",
];

const CODINGS: [&str; 8] = ["", "", "", "", "gzip", "deflate", "br", "gzip, br"];

/// Everything that a body can fill.
static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let text = "SecRule ARGS|ARGS_NAMES|FILES|FILES_NAMES|FILES_SIZES|FILES_COMBINED_SIZE|MULTIPART_NAME|\
        MULTIPART_FILENAME|MULTIPART_PART_HEADERS|MULTIPART_STRICT_ERROR|REQBODY_ERROR_MSG|REQUEST_BODY|\
        XML:/*|XML://@* \"@contains marker7\" \"id:1,phase:2,pass\"";
    let text = RuleText {
        name: "fuzz.conf".into(),
        text: text.into(),
    };
    Arc::new(RuleSet::compile(&[text], &NoFiles).expect("the rules compile"))
});

fuzz_target!(|input: &[u8]| {
    let [kind, how, body @ ..] = input else {
        return;
    };
    let mut options = TransactionOptions::new(
        EngineMode::DetectionOnly,
        String::new(),
        SystemTime::UNIX_EPOCH,
    );
    options.limits.request_undecodable = UndecodableBody::InspectEncoded;
    if how & 8 != 0 {
        options.limits = Limits {
            max_request_body_bytes: 64,
            max_arguments: 8,
            max_json_depth: 4,
            max_xml_depth: 4,
            max_xml_attributes: 4,
            max_multipart_parts: 4,
            max_multipart_files: 2,
            request_over_limit: BodyOverLimit::InspectPrefix,
            ..options.limits
        };
    }
    let mut tx = Transaction::begin(RULES.clone(), options);
    tx.request_line(b"POST", b"/", "HTTP/1.1");
    tx.request_header(b"Content-Type", TYPES[usize::from(kind % 8)].as_bytes());
    tx.request_header(
        b"Content-Encoding",
        CODINGS[usize::from(how % 8)].as_bytes(),
    );
    let _ = tx.request_headers_end();
    tx.request_body(body);
    let _ = tx.request_body_end();
    tx.finish();
});
