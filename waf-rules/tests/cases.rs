//! Cases from public reports about bodies, each named by its id.

mod support;

use std::time::Instant;

use support::{Request, status};

/// What the recommended configuration of ModSecurity says about bodies.
const RECOMMENDED: &str = r#"
    SecRequestBodyAccess On
    SecRule REQUEST_HEADERS:Content-Type "@rx ^(?:application(?:/soap\+|/)|text/)xml" \
        "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
    SecRule REQUEST_HEADERS:Content-Type "@rx ^application/json" \
        "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
    SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,deny,status:400,logdata:'%{REQBODY_ERROR_MSG}'"
    SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:200003,phase:2,t:none,deny,status:400,\
        logdata:'PE %{REQBODY_PROCESSOR_ERROR}, BQ %{MULTIPART_BOUNDARY_QUOTED}, BW %{MULTIPART_BOUNDARY_WHITESPACE}, \
        DB %{MULTIPART_DATA_BEFORE}, DA %{MULTIPART_DATA_AFTER}, HF %{MULTIPART_HEADER_FOLDING}, \
        LF %{MULTIPART_LF_LINE}, SM %{MULTIPART_MISSING_SEMICOLON}, IQ %{MULTIPART_INVALID_QUOTING}, \
        IP %{MULTIPART_INVALID_PART}, IH %{MULTIPART_INVALID_HEADER_FOLDING}, FL %{MULTIPART_FILE_LIMIT_EXCEEDED}'"
    SecRule MULTIPART_UNMATCHED_BOUNDARY "@eq 1" "id:200004,phase:2,t:none,deny,status:400"
"#;

const MARKER: &str =
    "SecRule REQUEST_BODY|ARGS|ARGS_NAMES \"@contains marker7\" \"id:1,phase:2,deny\"";

fn json(rules: &str, body: &str) -> Option<u16> {
    status(rules, &Request::post("application/json", body))
}

/// A form with one file, as browsers and curl write it.
fn upload(content_type: &str, boundary: &str, disposition: &str, content: &str) -> Option<u16> {
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\
         Content-Type: application/octet-stream\r\n\r\n{content}\r\n--{boundary}--\r\n"
    );
    status(RECOMMENDED, &Request::post(content_type, &body))
}

#[test]
fn waf_16_a_body_of_any_type_is_inspected() {
    let rules = "SecRequestBodyAccess On\nSecRule REQUEST_BODY|ARGS \"@contains marker7\" \"id:1,phase:2,deny\"";
    for kind in [
        "text/plain",
        "",
        ";",
        "application/octet-stream",
        "application/x-www-form-urlencoded;charset=x",
        "APPLICATION/X-www-form-URLENCODED",
        "text/xml",
    ] {
        let request = Request::post(kind, "marker7");
        assert_eq!(status(rules, &request), Some(403), "{kind}");
    }
    let mut untyped = Request::get("/");
    untyped.method = "POST".into();
    untyped.body = "marker7".into();
    assert_eq!(status(rules, &untyped), Some(403));
}

#[test]
fn waf_18_json_that_is_no_object_is_inspected() {
    let rules = format!("{RECOMMENDED}\n{MARKER}");
    for body in [
        r#""marker7""#,
        r#"["marker7"]"#,
        r#"[[["marker7"]]]"#,
        r#"{"marker7":1}"#,
        r#"{"marker7":[]}"#,
        r#"{"a":{"b":[{"c":"marker7"}]}}"#,
        r#"{"a":"mark\u0065r7"}"#,
        r#"{"a":"x","a":"marker7"}"#,
        r#"{"a":"marker7","a":"x"}"#,
    ] {
        assert_eq!(json(&rules, body), Some(403), "{body}");
    }
    for body in ["null", ""] {
        assert_eq!(json(&rules, body), None, "{body}");
    }
    assert_eq!(json(&rules, r#"{"a":1} marker7"#), Some(400));
}

#[test]
fn waf_19_deep_and_wide_json_is_refused_at_once() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    let wide = format!("[{}1]", "1,".repeat(100_000));
    let number = "1".repeat(1_000_000);
    let key = format!("{{\"{}\":1}}", "k".repeat(1_000_000));
    let begun = Instant::now();
    assert_eq!(json(RECOMMENDED, &deep), Some(400));
    assert_eq!(json(RECOMMENDED, &wide), Some(400));
    assert_eq!(json(RECOMMENDED, &number), None);
    assert_eq!(json(RECOMMENDED, &key), None);
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn waf_21_every_value_of_a_repeated_name_is_tested() {
    let rule = "SecRule ARGS:q \"@contains marker7\" \"id:1,phase:2,deny\"";
    let form = "application/x-www-form-urlencoded";
    for (query, wanted) in [
        ("/?q=ok&q=marker7", Some(403)),
        ("/?q=marker7&q=ok", Some(403)),
        ("/?Q=marker7", Some(403)),
        ("/?q=ok;q=marker7", Some(403)),
        ("/?q[]=marker7", None),
        ("/?=marker7", None),
        ("/?marker7", None),
    ] {
        assert_eq!(status(rule, &Request::get(query)), wanted, "{query}");
    }
    let mut both = Request::post(form, "q=ok");
    both.uri = "/?q=marker7".into();
    assert_eq!(status(rule, &both), Some(403));
    let empty = Request::post(form, "x=1&q=&q=marker7");
    assert_eq!(status(rule, &empty), Some(403));
    let count = "SecRule &ARGS:q \"@eq 2\" \"id:1,phase:2,deny\"";
    assert_eq!(status(count, &empty), Some(403));
    let name = "SecRule ARGS_NAMES \"@streq q\" \"id:1,phase:2,deny\"";
    assert_eq!(status(name, &Request::post(form, "q=")), Some(403));
}

#[test]
fn waf_24_lines_of_a_file_may_begin_with_dashes() {
    for content in [
        "-----BEGIN PRIVATE KEY-----\nMIIC\n-----END PRIVATE KEY-----\n",
        "a\n-- \nsig\n--x\n",
        "abcdef",
    ] {
        let boundary = "------------------------d74496d66958873e";
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let disposition = "name=\"up\"; filename=\"k.pem\"";
        assert_eq!(
            upload(&content_type, boundary, disposition, content),
            None,
            "{content}"
        );
    }
}

#[test]
fn waf_25_parameters_of_a_multipart_type_are_read_as_parameters() {
    for (content_type, boundary) in [
        (
            "multipart/form-data;boundary=----geckoformboundary4a7b;charset=UTF-8",
            "----geckoformboundary4a7b",
        ),
        (
            "multipart/form-data; charset=utf-8; boundary=\"----=_Part_0_16.15\"",
            "----=_Part_0_16.15",
        ),
        ("multipart/form-data; BOUNDARY=abc", "abc"),
        ("multipart/form-data; boundary=9xTq_kW-CSS", "9xTq_kW-CSS"),
        (
            "multipart/form-data; boundary=----WebKitFormBoundaryF8pdf",
            "----WebKitFormBoundaryF8pdf",
        ),
    ] {
        let disposition = "name=\"up\"; filename=\"a.txt\"";
        assert_eq!(
            upload(content_type, boundary, disposition, "x"),
            None,
            "{content_type}"
        );
    }
}

#[test]
fn waf_27_an_apostrophe_in_a_file_name_is_no_quote() {
    let with = |disposition| upload("multipart/form-data; boundary=b", "b", disposition, "x");
    assert_eq!(with("name=\"f\"; filename=\"it's a test.txt\""), None);
    assert_eq!(with("name='abcd'"), Some(400));
    assert_eq!(with("name=ab'cd"), Some(400));
}

#[test]
fn waf_31_a_nul_ends_no_value() {
    let form = |body: &str| Request::post("application/x-www-form-urlencoded", body);
    let nul = "SecRule ARGS|ARGS_NAMES \"@rx \\x00\" \"id:1,phase:2,deny,t:none,t:urlDecodeUni\"";
    let tail = "SecRule ARGS \"@contains tail\" \"id:1,phase:2,deny\"";
    let bytes = "SecRule REQUEST_BODY|ARGS \"@validateByteRange 1-255\" \"id:1,phase:2,deny\"";
    for request in [
        Request::get("/?a=x%00"),
        Request::get("/?a%00=1"),
        form("a=%00"),
        form("a=%2500"),
        Request::post("application/json", "{\"a\":\"\\u0000\"}"),
    ] {
        assert_eq!(status(nul, &request), Some(403), "{request:?}");
    }
    assert_eq!(status(tail, &Request::get("/?a=x%00tail")), Some(403));
    assert_eq!(status(bytes, &form("log=u&pwd=p")), None);
    assert_eq!(status(bytes, &form("a=%00")), Some(403));
}
