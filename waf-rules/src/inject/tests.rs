//! The answers of the C library.

use super::{is_html_injection, sql_fingerprint};

#[test]
fn injections_are_found() {
    let fingerprint = |value: &str| {
        sql_fingerprint(value.as_bytes())
            .map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned())
    };
    assert_eq!(fingerprint("1' or 1=1--").as_deref(), Some("s&1c"));
    assert_eq!(fingerprint("hello world"), None);
    assert!(is_html_injection(b"<script>"));
    assert!(!is_html_injection(b"a < b"));
}
