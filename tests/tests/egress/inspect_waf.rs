//! The WAF on what leaves inside TLS.

use std::time::{Duration, Instant};

use portcullis_tests::{TokenIssuer, status_of, wait_for};

use super::{
    inspected::Inspected,
    site::{allow, reason},
};

const RULES: &str = include_str!("../../../config/examples/outbound.conf");

/// A proxy whose requests are inspected; `more` are settings of the profile.
async fn start(policies: &str, more: &str) -> Inspected {
    let policies =
        format!("{policies}wafProfiles: [{{name: out, rules: [{{file: outbound.conf}}]{more}}}]\n");
    let files = [("outbound.conf", RULES)];
    Inspected::start_with(&policies, &["h2", "http/1.1"], &files).await
}

fn entry() -> String {
    allow("[{host: api.example, inspect: true, waf: out}]")
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_do_not_leave_in_a_body_a_query_or_a_header() {
    let proxy = start(&entry(), "").await;
    let issuer = TokenIssuer::new("one");
    let token = issuer.sign(&TokenIssuer::claims("portcullis", ("ci", "builder"), 600));
    // Put together here, so that nobody takes this file for one with secrets.
    let key = ["-----BEGIN RSA PRIVATE", " KEY-----\nMIIB"].concat();
    let secrets = [
        (key.clone(), "9110010"),
        (["AKIA", "IOSFODNN7EXAMPLE"].concat(), "9110020"),
        (format!("ghp_{}", "a1B2".repeat(9)), "9110030"),
        (format!("github_pat_{}", "a1B2".repeat(9)), "9110030"),
        (["xoxb-", "123456789012-abcdefghij"].concat(), "9110040"),
        (format!("AIza{}", "a1B2_".repeat(7)), "9110050"),
        (token, "9110060"),
    ];
    let mut refused = 0;
    for (secret, rule) in &secrets {
        let json =
            serde_json::json!({"notes": [{"text": format!("see {secret} there")}]}).to_string();
        let plain = format!("text {secret} text");
        let form = "file=@-;filename=notes.txt";
        let header = format!("X-Note: {}", secret.lines().next().unwrap_or_default());
        let url = "https://api.example/post";
        let is_multiline = secret.contains('\n');
        let mut ways = vec![
            vec![
                "--http2",
                "-H",
                "Content-Type: application/json",
                "-d",
                &json,
                url,
            ],
            vec![
                "--http1.1",
                "-H",
                "Content-Type: text/plain",
                "-d",
                &plain,
                url,
            ],
            vec![
                "-H",
                "Content-Type: application/octet-stream",
                "-d",
                &plain,
                url,
            ],
            vec![
                "-H",
                "Transfer-Encoding: chunked",
                "--http1.1",
                "--data-urlencode",
                &plain,
                url,
            ],
            vec!["-G", "--data-urlencode", &plain, url],
            vec!["-F", form, url],
        ];
        if !is_multiline {
            ways.push(vec!["-H", &header, url]);
        }
        for way in ways {
            let text = match way[0] {
                "-F" => with_input(&proxy, &way, secret),
                _ => proxy.curl(&way),
            };
            refused += 1;
            assert!(text.ends_with(" 403"), "{way:?}: {text}");
            assert!(
                text.contains("\"reason\":\"waf_blocked\""),
                "{way:?}: {text}"
            );
            wait_for("the record", || proxy.records().len() == refused);
            let record = &proxy.records()[refused - 1];
            assert_eq!(record["wafRule"], *rule, "{way:?}: {record}");
            assert_eq!(record["reason"], "waf_blocked", "{record}");
            assert_eq!(record["verdict"], "deny", "{record}");
            assert_eq!(record["policy"], "all", "{record}");
            assert_eq!(record["rule"], "api.example", "{record}");
        }
    }
    for (secret, _) in secrets.iter().filter(|(secret, _)| !secret.contains('\n')) {
        let text = proxy.curl(&[&format!("https://api.example/collect/{secret}/x")]);
        assert!(text.contains("\"reason\":\"waf_blocked\""), "{text}");
    }
    assert_eq!(proxy.backend.requests(), 0, "{:?}", proxy.backend.seen());
    // The record of the WAF has the rule and the request.
    let lines = proxy.site.gateway.audit_lines();
    let waf = lines
        .iter()
        .find(|line| line["kind"] == "waf")
        .expect("one");
    assert_eq!(waf["requestId"], proxy.records()[0]["requestId"]);
    // What is no secret leaves whole, and a token goes to the one whom it is for.
    let harmless = "{\"text\":\"AKIA is a prefix, and -----BEGIN CERTIFICATE----- is public\"}";
    let bearer = format!("Authorization: Bearer {}", secrets[2].0);
    let arguments = [
        "-H",
        "Content-Type: application/json",
        "-H",
        &bearer,
        "-d",
        harmless,
    ];
    let text = proxy.curl(&[&arguments[..], &["https://api.example/ok"]].concat());
    assert_eq!(text, "one /ok 200");
    assert_eq!(proxy.backend.last().body_len, harmless.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_stands_in_no_log() {
    let proxy = start(&entry(), "").await;
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let json = serde_json::json!({"notes": [{"text": format!("see {secret} there")}]}).to_string();
    let (plain, argument) = (format!("see {secret} there"), format!("note={secret}"));
    let header = format!("X-Note: {secret}");
    let url = "https://api.example/post";
    let ways = [
        &["-H", "Content-Type: application/json", "-d", &json, url][..],
        &["-H", "Content-Type: text/plain", "-d", &plain, url],
        &["--data-urlencode", &argument, url],
        &["-G", "--data-urlencode", &argument, url],
        &["-H", &header, url],
        &["-F", "file=@-;filename=notes.txt", url],
    ];
    for way in ways {
        let text = match way[0] {
            "-F" => with_input(&proxy, way, &secret),
            _ => proxy.curl(way),
        };
        assert!(
            text.contains("\"reason\":\"waf_blocked\""),
            "{way:?}: {text}"
        );
        assert!(!text.contains(&secret), "{way:?}: {text}");
    }
    let of_waf = || {
        let mut lines = proxy.site.gateway.audit_lines();
        lines.retain(|line| line["kind"] == "waf");
        lines
    };
    wait_for("the records", || of_waf().len() == ways.len());
    for line in proxy.site.gateway.audit_lines() {
        assert!(!line.to_string().contains(&secret), "{line}");
    }
    assert!(!proxy.site.gateway.log().contains(&secret));
}

/// curl with a text in the file that it sends.
fn with_input(proxy: &Inspected, arguments: &[&str], input: &str) -> String {
    let file = proxy.site.gateway.folder().join("input");
    std::fs::write(&file, input).expect("writable");
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("@-", &format!("@{}", file.display())));
    let arguments: Vec<String> = arguments.collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    proxy.curl(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_to_be_looked_into_goes_by_the_profile() {
    let key = ["-----BEGIN PRIVATE", " KEY-----"].concat();
    let long = format!("{}{key}", "x".repeat(100_000));
    for (setting, status, leaves) in [
        (", bodyLimit: 64KiB", 413, false),
        (", bodyLimit: 64KiB, overLimit: skip", 200, true),
        (", bodyLimit: 64KiB, overLimit: inspect-prefix", 200, true),
        (", bodyLimit: 200KiB", 403, false),
    ] {
        let proxy = start(&entry(), setting).await;
        for framing in ["Content-Length: 100027", "Transfer-Encoding: chunked"] {
            let mut client = proxy.inside("api.example:443");
            let body = match framing.starts_with("Transfer") {
                true => format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()),
                false => long.clone(),
            };
            assert_eq!(long.len(), 100_027);
            let answer = client.ask(&format!(
                "POST /up HTTP/1.1\r\nHost: api.example\r\nContent-Type: text/plain\r\n{framing}\r\n\r\n{body}"
            ));
            assert_eq!(status_of(&answer), status, "{setting} {framing}: {answer}");
            if leaves {
                assert_eq!(proxy.backend.last().body_len, long.len());
            } else {
                assert_eq!(proxy.backend.requests(), 0);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_reports_and_a_profile_that_detects_let_pass() {
    let key = ["-----BEGIN PRIVATE", " KEY-----"].concat();
    let report = entry().replace("allow:", "mode: report, allow:");
    for (policies, more, verdict, code) in [
        (report, "", "would_deny", "waf_blocked"),
        (entry(), ", mode: detect", "allow", "allowed"),
    ] {
        let proxy = start(&policies, more).await;
        let arguments = ["-H", "Content-Type: text/plain", "-d", &key];
        let text = proxy.curl(&[&arguments[..], &["https://api.example/up"]].concat());
        assert_eq!(text, "one /up 200", "{verdict}");
        wait_for("the record", || proxy.records().len() == 1);
        let record = &proxy.records()[0];
        assert_eq!(record["verdict"], verdict, "{record}");
        assert_eq!(record["reason"], code, "{record}");
        let lines = proxy.site.gateway.audit_lines();
        assert!(lines.iter().any(|line| line["kind"] == "waf"), "{verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_bodies_is_shared_and_bounded() {
    let policies = format!("{}process: {{maxBufferedBytes: 100KiB}}\n", entry());
    let proxy = start(&policies, "").await;
    let mut client = proxy.inside("api.example:443");
    let body = "x".repeat(150_000);
    let answer = client.ask(&format!(
        "POST /up HTTP/1.1\r\nHost: api.example\r\nContent-Length: 150000\r\n\r\n{body}"
    ));
    assert_eq!(status_of(&answer), 503, "{answer}");
    assert_eq!(reason(&answer), "egress/buffers_spent");
    assert_eq!(proxy.backend.requests(), 0);
    // It is given back.
    let answer = proxy.curl(&["-d", "x", "https://api.example/up"]);
    assert_eq!(answer, "one /up 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_a_body_is_given_back_when_it_is_sent_whatever_the_answer_takes() {
    let policies = format!("{}process: {{maxBufferedBytes: 150KiB}}\n", entry());
    let proxy = start(&policies, "").await;
    let body = "x".repeat(100_000);
    let post = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: api.example\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n{body}"
        )
    };
    let mut waits = proxy.inside("api.example:443");
    waits.send(post("/sleep/20000").as_bytes());
    wait_for("the request", || proxy.backend.requests() == 1);
    let began = Instant::now();
    wait_for("memory for another", || {
        let mut other = proxy.inside("api.example:443");
        status_of(&other.ask(&post("/up"))) == 200
    });
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "it was waited for"
    );
}
