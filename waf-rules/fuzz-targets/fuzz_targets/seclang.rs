//! A text of rules; whatever it says, the compiler ends with rules or with errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_waf::{NoFiles, RuleSet, RuleText};

fuzz_target!(|text: &str| {
    let text = RuleText {
        name: "fuzz.conf".into(),
        text: text.into(),
    };
    let _ = RuleSet::compile(&[text], &NoFiles);
});
