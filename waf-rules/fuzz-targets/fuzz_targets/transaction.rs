//! A request as lines: the target, headers, an empty line, a body. The baseline judges it.
#![no_main]

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use libfuzzer_sys::fuzz_target;
use portcullis_waf::{EngineMode, NoFiles, RuleSet, Transaction, TransactionOptions, baseline};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    Arc::new(RuleSet::compile(&baseline(), &NoFiles).expect("the baseline compiles"))
});

fuzz_target!(|input: &[u8]| {
    let options = TransactionOptions::new(
        EngineMode::DetectionOnly,
        String::new(),
        SystemTime::UNIX_EPOCH,
    );
    let mut tx = Transaction::begin(RULES.clone(), options);
    let mut lines = input.split(|byte| *byte == b'\n');
    tx.request_line(b"POST", lines.next().unwrap_or_default(), "HTTP/1.1");
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        tx.request_header(&line[..colon], value.trim_ascii());
    }
    let _ = tx.request_headers_end();
    for line in lines {
        tx.request_body(line);
        tx.request_body(b"\n");
    }
    let _ = tx.request_body_end();
    let record = tx.finish();
    assert!(
        record.interruption.is_none(),
        "a transaction that only detects stopped"
    );
});
