//! Each limit of a WAF profile acts, and is not there where nobody asks for it.

use portcullis_tests::{Backend, Gateway, raw, status_of, wait_for};

const RULES: &str = r#"
  - builtin: recommended
  - inline: |
      SecRule ARGS "@contains value" "id:1,phase:2,pass,nolog,setvar:'tx.%{MATCHED_VAR_NAME}=1'"
      SecRule ARGS "@contains word" "id:2,phase:2,pass,log,msg:'A word'"
      SecRule ARGS "@contains word" "id:3,phase:2,deny,status:406,log,msg:'The last word of all'"
"#;

/// Each limit with a request that exceeds it, and no other: its head behind the path, its
/// body, and the status.
fn cases() -> Vec<(&'static str, String, String, u16)> {
    let get = |query: &str, fields: &str| {
        let head = format!("{query} HTTP/1.1\r\n{fields}");
        (head, String::new())
    };
    let post = |content_type: &str, body: &str| {
        let head = format!(
            " HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n",
            body.len()
        );
        (head, body.to_owned())
    };
    let part = |name: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}.txt\"\r\n\r\nx\r\n"
        )
    };
    let two = part("a") + &part("b") + "--b--\r\n";
    let multipart = "multipart/form-data; boundary=b";
    let json = "application/json";
    [
        ("maxArguments: 2", get("?a=1&b=2&c=3", ""), 400),
        ("maxCookies: 1", get("", "Cookie: a=1; b=2\r\n"), 400),
        ("maxHeaders: 3", get("", "A: 1\r\nB: 2\r\n"), 400),
        ("maxMatches: 2", get("?a=value&b=value&c=value", ""), 400),
        ("maxTxVariables: 1", get("?a=value&b=value", ""), 500),
        (
            "maxWork: 200B",
            get(&format!("?a={}", "x".repeat(300)), ""),
            400,
        ),
        ("maxJsonDepth: 2", post(json, r#"{"a":{"b":{"c":1}}}"#), 400),
        (
            "maxJsonNames: 20B",
            post(json, r#"{"a-long-name":{"b-long-name":1}}"#),
            400,
        ),
        (
            "maxXmlDepth: 2",
            post("text/xml", "<a><b><c>x</c></b></a>"),
            400,
        ),
        (
            "maxXmlAttributes: 1",
            post("text/xml", "<a b=\"1\" c=\"2\"/>"),
            400,
        ),
        ("maxParts: 1", post(multipart, &two), 400),
        ("maxFiles: 1", post(multipart, &two), 400),
    ]
    .map(|(limit, (head, body), status)| (limit, head, body, status))
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_of_a_profile_acts() {
    let backend = Backend::start("one").await;
    let cases = cases();
    let mut profiles = format!("- name: default\n  rules:{RULES}");
    let mut routes = String::from(
        "- {name: default, policies: {waf: {profile: default}}, rules: [{matches: [{path: {prefix: /default}}], backends: [{name: one}]}]}\n",
    );
    let more = ["maxAuditMatches: 1", "maxAuditText: 16B"];
    let limits = cases.iter().map(|(limit, ..)| *limit).chain(more);
    for (number, limit) in limits.enumerate() {
        profiles += &format!("- name: p{number}\n  limits: {{{limit}}}\n  rules:{RULES}");
        routes += &format!(
            "- {{name: r{number}, policies: {{waf: {{profile: p{number}}}}}, rules: [{{matches: [{{path: {{prefix: /r{number}}}}}], backends: [{{name: one}}]}}]}}\n"
        );
    }
    let gateway = Gateway::start(&format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
{profiles}
backends: [{{name: one, endpoints: [{{address: '{}'}}]}}]
routes:
{routes}",
        backend.address
    ));
    let ask = |path: &str, rest: &str, body: &str| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request =
            format!("{method} {path}{rest}Host: a.test\r\nConnection: close\r\n\r\n{body}");
        raw(gateway.http(), request.as_bytes())
    };
    for (number, (limit, head, body, status)) in cases.iter().enumerate() {
        let usual = ask("/default", head, body);
        assert_eq!(status_of(&usual), 200, "{limit}: {usual}");
        let refused = ask(&format!("/r{number}"), head, body);
        assert_eq!(status_of(&refused), *status, "{limit}: {refused}");
        assert!(refused.contains("waf/blocked"), "{limit}: {refused}");
    }
    // What only records have.
    let told = |path: &str| {
        let answer = ask(path, "?a=word HTTP/1.1\r\n", "");
        assert_eq!(status_of(&answer), 406, "{answer}");
        let lower = answer.to_ascii_lowercase();
        let id = lower
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: "));
        let id = id.expect("an id").trim().to_owned();
        let find = || {
            let lines = gateway.audit_lines();
            lines.into_iter().find(|line| line["requestId"] == *id)
        };
        wait_for("the record", || find().is_some());
        find().unwrap_or_default()["waf"].clone()
    };
    let whole = told("/default");
    assert_eq!(whole["matches"].as_array().map(Vec::len), Some(2));
    assert_eq!(whole["matches"][1]["message"], "The last word of all");
    let few = told(&format!("/r{}", cases.len()));
    assert_eq!(few["matches"].as_array().map(Vec::len), Some(1));
    assert_eq!(few["matchesDropped"], 1);
    let short = told(&format!("/r{}", cases.len() + 1));
    let message = short["matches"][1]["message"].as_str().expect("text");
    assert!(
        message.starts_with("The last word of") && message.len() < 20,
        "{message}"
    );
}
