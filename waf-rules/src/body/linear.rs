//! Work is linear in the body, also where a body is made to cost more.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::{ContentType, ParseOptions, Processor};
use crate::limits::Limits;

/// A content type, and what a body begins with, repeats and ends with.
const BODIES: &[(&str, &str, &str, &str)] = &[
    ("application/x-www-form-urlencoded", "", "a&", ""),
    ("application/x-www-form-urlencoded", "", "%", ""),
    ("application/x-www-form-urlencoded", "a=", "%41+", ""),
    ("application/json", "", "[", ""),
    ("application/json", "[", "{\"a\":[]},", ""),
    ("application/json", "{\"", "k", "\":1}"),
    ("application/json", "\"", "\\ud83d\\ude00", "\""),
    ("application/json", "\"", "\\ud83d", "\""),
    ("application/json", "", "1", ""),
    ("application/json", "[", "\"\",", ""),
    ("application/json", "", " ", ""),
    ("multipart/form-data; boundary=b", "", "--b\r\n", ""),
    ("multipart/form-data; boundary=b", "", "--b", ""),
    ("multipart/form-data; boundary=b", "", "--bx\r\n", ""),
    (
        "multipart/form-data; boundary=---------------------------",
        "",
        "-",
        "",
    ),
    ("multipart/form-data; boundary=b", "", "\r\n", ""),
    ("multipart/form-data; boundary=b", "--b\r\n", "X: y\r\n", ""),
    (
        "multipart/form-data; boundary=b",
        "--b\r\nX: y\r\n",
        " z\r\n",
        "",
    ),
    (
        "multipart/form-data; boundary=b",
        "--b\r\nContent-Disposition: form-data",
        "; a=b",
        "",
    ),
    (
        "multipart/form-data; boundary=b",
        "--b\r\nContent-Disposition: form-data; name=\"",
        "\\\"",
        "",
    ),
    (
        "multipart/form-data; boundary=b",
        "",
        "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n",
        "",
    ),
    ("text/xml", "", "<a>", ""),
    ("text/xml", "<a>", "<b c=''/>", ""),
    ("text/xml", "<a", " b=''", "/>"),
    ("text/xml", "<a ", "b", ""),
    ("text/xml", "<a b='", "&lt;", "'/>"),
    ("text/xml", "<a>", "&lt;", "</a>"),
    ("text/xml", "<a>", "&", ""),
    ("text/xml", "<a>", "<!--", ""),
    ("text/xml", "<a>", "<!-- -->", "</a>"),
    ("text/xml", "<a>", "<![CDATA[", ""),
    ("text/xml", "<a>", "<![CDATA[]]>", "</a>"),
    ("text/xml", "<a>", "]]>", ""),
    ("text/xml", "<!DOCTYPE ", "[<!ENTITY ", ""),
    ("text/xml", "<a>", "<?b?>", "</a>"),
    ("text/xml", "<a>", "</b>", ""),
    ("text/xml", "", "<", ""),
    ("text/xml", "", "\u{e9}", ""),
];

/// CPU time of this thread, the least of some runs: what else the machine does counts
/// little.
fn duration(content_type: &ContentType, body: &[u8]) -> Duration {
    let limits = Limits {
        max_arguments: usize::MAX,
        max_xml_attributes: usize::MAX,
        max_xml_depth: usize::MAX,
        max_json_depth: usize::MAX,
        max_multipart_parts: usize::MAX,
        max_request_text_bytes: usize::MAX,
        ..Limits::default()
    };
    let options = ParseOptions {
        limits: &limits,
        max_arguments: limits.max_arguments,
        separator: b'&',
        truncated: false,
    };
    let processor = Processor::of(content_type).expect("a known type");
    let run = |_| {
        let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let begun = now();
        drop(processor.parse(body, content_type, &options));
        now() - begun
    };
    (0..3).map(run).min().unwrap_or_default()
}

#[test]
fn sixteen_times_the_body_is_not_a_hundred_times_the_work() {
    for (kind, begin, unit, end) in BODIES {
        let content_type = ContentType::parse(kind.as_bytes());
        let body = |bytes: usize| format!("{begin}{}{end}", unit.repeat(bytes / unit.len()));
        let short = duration(&content_type, body(8 << 10).as_bytes());
        let long = duration(&content_type, body(128 << 10).as_bytes());
        // Linear work is 16 times as long, and 256 times where it grows with the square.
        let most = short * 100 + Duration::from_millis(5);
        assert!(
            long < most,
            "{kind} {begin}{unit}: {short:?}, then {long:?}"
        );
    }
}
