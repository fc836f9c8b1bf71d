use proptest::prelude::*;
use serde::Deserialize;

use super::{ContentType, MultipartFlags, ParseOptions, Parsed, Processor};
use crate::limits::Limits;

/// One row of `tests/data/bodies.json`.
#[derive(Deserialize)]
struct Case {
    name: String,
    content_type: String,
    body: String,
    /// Arguments, then files, then what `XML` has, as `name=value`.
    fields: Vec<String>,
    /// A part of the problem, or nothing.
    problem: Option<String>,
    #[serde(default)]
    truncated: bool,
    /// `MULTIPART_*` flags; `crlf_line` only where `lf_line` is there too.
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    invalid_escape: bool,
}

/// The names of the flags that are set.
fn set(flags: &MultipartFlags) -> Vec<String> {
    let text = format!("{flags:?}");
    let inside = text
        .trim_start_matches("MultipartFlags { ")
        .trim_end_matches(" }");
    inside
        .split(", ")
        .filter_map(|field| field.strip_suffix(": true"))
        .filter(|name| *name != "error" && (*name != "crlf_line" || flags.lf_line))
        .map(str::to_owned)
        .collect()
}

fn parse(content_type: &str, body: &[u8], truncated: bool, limits: &Limits) -> Parsed {
    let content_type = ContentType::parse(content_type.as_bytes());
    let options = ParseOptions {
        limits,
        max_arguments: limits.max_arguments,
        separator: b'&',
        truncated,
    };
    Processor::of(&content_type)
        .expect("a known type")
        .parse(body, &content_type, &options)
}

#[test]
fn every_body_of_the_table_is_taken_apart() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../tests/data/bodies.json")).unwrap();
    for case in cases {
        let parsed = parse(
            &case.content_type,
            case.body.as_bytes(),
            case.truncated,
            &Limits::default(),
        );
        let fields: Vec<String> = parsed
            .arguments
            .iter()
            .chain(parsed.files.iter())
            .map(|f| {
                format!(
                    "{}={}",
                    String::from_utf8_lossy(&f.name),
                    String::from_utf8_lossy(&f.value)
                )
            })
            .collect();
        let xml = parsed.xml.iter().flat_map(|xml| {
            let text = ("/*", &xml.text);
            let attributes = xml.attributes.iter().map(|value| ("//@*", value));
            std::iter::once(text).chain(attributes)
        });
        let fields: Vec<String> = fields
            .into_iter()
            .chain(xml.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value))))
            .collect();
        assert_eq!(fields, case.fields, "{}", case.name);
        assert_eq!(set(&parsed.multipart), case.flags, "{}", case.name);
        assert_eq!(parsed.invalid_escape, case.invalid_escape, "{}", case.name);
        match (&parsed.problem, &case.problem) {
            (None, None) => {}
            (Some(found), Some(wanted)) if found.contains(wanted) => {}
            (found, wanted) => panic!("{}: {found:?} instead of {wanted:?}", case.name),
        }
    }
}

#[test]
fn deep_and_wide_json_is_refused_in_bounded_memory() {
    let limits = Limits::default();
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    let parsed = parse("application/json", deep.as_bytes(), false, &limits);
    assert!(
        parsed
            .problem
            .is_some_and(|problem| problem.contains("too deeply nested"))
    );
    let wide = format!("[{}1]", "1,".repeat(100_000));
    assert!(parse("application/json", wide.as_bytes(), false, &limits).too_many_arguments);
    let long = format!("{{\"{}\":[{}1]}}", "k".repeat(1 << 20), "1,".repeat(500));
    assert!(
        parse("application/json", long.as_bytes(), false, &limits)
            .problem
            .is_some()
    );
}

#[test]
fn deep_and_wide_xml_is_refused() {
    let problem =
        |body: &str| parse("text/xml", body.as_bytes(), false, &Limits::default()).problem;
    let deep = format!("{}{}", "<a>".repeat(200_000), "</a>".repeat(200_000));
    assert!(problem(&deep).is_some_and(|problem| problem.contains("too deeply nested")));
    let wide = format!(
        "<a{}/>",
        (0..20_000).map(|n| format!(" a{n}=''")).collect::<String>()
    );
    assert!(problem(&wide).is_some_and(|problem| problem.contains("too many attributes")));
    let repeated = format!("<a{}/>", " a=''".repeat(200_000));
    assert!(problem(&repeated).is_some_and(|problem| problem.contains("attribute")));
}

proptest! {
    #[test]
    fn no_body_panics(body: Vec<u8>, truncated: bool) {
        let limits = Limits { max_json_depth: 8, max_arguments: 10, max_multipart_parts: 3, ..Limits::default() };
        for kind in ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/xml"] {
            parse(kind, &body, truncated, &limits);
        }
    }

    #[test]
    fn no_json_panics(body in r#"([\[\]{}:,"\\ 0-9eE.+-]|u[dD][89c][0-9a-f]{2}|true|null|a|é){0,40}"#, truncated: bool) {
        parse("application/json", body.as_bytes(), truncated, &Limits::default());
    }

    #[test]
    fn no_xml_panics(body in r#"(<|>|/|a|b|=|"|'|&|;|#x|41|lt|!|\[CDATA\[|\]\]|<!DOCTYPE|<!--|-->|\?xml| |encoding|utf-8|é|\x00){0,40}"#, truncated: bool) {
        let limits = Limits { max_xml_depth: 3, max_xml_attributes: 3, ..Limits::default() };
        parse("text/xml", body.as_bytes(), truncated, &limits);
        parse("text/xml", format!("<a>{body}</a>").as_bytes(), truncated, &limits);
    }

    #[test]
    fn no_multipart_panics(body in "(--b|--b--|\r\n|\n|Content-Disposition: form-data; name=|\"|filename=|a|;|=|\\\\|:){0,30}") {
        parse("multipart/form-data; boundary=b", body.as_bytes(), false, &Limits::default());
    }
}
