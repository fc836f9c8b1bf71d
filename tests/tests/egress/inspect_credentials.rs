//! Credentials that requests inside TLS are given.

use portcullis_tests::{Authority, check, status_of, wait_for};

use super::{
    inspected::{INSPECTION, Inspected},
    site::{allow, config, reason},
};

const TOKEN: &str = "s3cret-of-the-destination";

async fn start(entries: &str) -> Inspected {
    let files = [("token", "s3cret-of-the-destination\n")];
    Inspected::start_with(&allow(entries), &["h2", "http/1.1"], &files).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_added_behind_all_that_a_client_may_take_away() {
    let proxy = start(
        "[{host: api.example, inspect: true, paths: [/v1], inject: {header: authorization, value: token, prefix: 'Bearer '}}, \
          {host: api.example, inspect: true, paths: [/open]}, {host: other.example, inspect: true}]",
    )
    .await;
    let expected = format!("Bearer {TOKEN}");
    for head in [
        "",
        "Connection: authorization, host\r\n",
        "Connection: keep-alive, Authorization\r\n",
    ] {
        let mut client = proxy.inside("api.example:443");
        let answer = client.ask(&format!(
            "GET /v1/x HTTP/1.1\r\nHost: api.example\r\n{head}\r\n"
        ));
        assert_eq!(status_of(&answer), 200, "{answer}");
        let seen = proxy.backend.last();
        assert_eq!(seen.header("authorization"), expected, "{head}");
        assert_eq!(seen.header("host"), "api.example", "{head}");
        assert!(!answer.contains(TOKEN));
    }
    assert_eq!(
        proxy.curl(&["--http2", "https://api.example/v1/y"]),
        "one /v1/y 200"
    );
    let seen = proxy.backend.last();
    assert_eq!(seen.header("authorization"), expected);
    assert_eq!(seen.version, "HTTP/2.0");
    // Beside the entry, and at another host, there is none.
    for url in ["https://api.example/open", "https://other.example/v1/x"] {
        assert!(proxy.curl(&[url]).ends_with(" 200"));
        assert_eq!(proxy.backend.last().header("authorization"), "", "{url}");
    }
    // No answer shows it.
    let before = proxy.backend.requests();
    for method in ["TRACE", "TRACK", "trace"] {
        let mut client = proxy.inside("api.example:443");
        let answer = client.ask(&format!(
            "{method} /v1/x HTTP/1.1\r\nHost: api.example\r\n\r\n"
        ));
        assert_eq!(reason(&answer), "egress/trace_refused", "{answer}");
        let text = proxy.curl(&["--http2", "-X", method, "https://api.example/v1/x"]);
        assert!(text.contains("trace_refused"), "{text}");
    }
    assert_eq!(proxy.backend.requests(), before);
    let mut client = proxy.inside("other.example:443");
    let answer = client.ask("GET /v1/x HTTP/1.1\r\nHost: api.example\r\n\r\n");
    assert_eq!(status_of(&answer), 421, "{answer}");
    assert_eq!(proxy.backend.requests(), before);
    wait_for("the records", || proxy.records().len() == 13);
    for (path, injected) in [("/v1/y", Some("authorization")), ("/open", None)] {
        let record = &proxy.records_with("path", path)[0];
        assert_eq!(record["injected"].as_str(), injected, "{record}");
    }
    // It is told nowhere.
    let gateway = &proxy.site.gateway;
    let (_, dump) = gateway.admin("/config");
    assert!(dump.contains("inject"), "{dump}");
    let lines = format!("{:?}", gateway.audit_lines());
    for text in [&dump, &lines, &gateway.log()] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_the_clients_own_is_refused_or_replaced() {
    for (setting, status) in [
        ("", 403),
        (", clientCredential: refuse", 403),
        (", clientCredential: replace", 200),
    ] {
        let proxy = start(&format!(
            "[{{host: api.example, inspect: true, inject: {{header: x-api-key, value: token{setting}}}}}]"
        ))
        .await;
        for name in ["x-api-key", "X-API-Key", "x_api_key"] {
            let mut client = proxy.inside("api.example:443");
            let request = format!(
                "POST /v1/files HTTP/1.1\r\nHost: api.example\r\n{name}: attacker-key\r\nConnection: {name}\r\nContent-Length: 2\r\n\r\nhi"
            );
            let answer = client.ask(&request);
            assert_eq!(status_of(&answer), status, "{setting} {name}: {answer}");
            if status == 403 {
                assert_eq!(reason(&answer), "egress/foreign_credential");
                assert_eq!(proxy.backend.requests(), 0);
            } else {
                let seen = proxy.backend.last();
                assert_eq!(seen.header("x-api-key"), TOKEN);
                assert_eq!(seen.header("x_api_key"), "");
                let values = seen.headers.get_all("x-api-key");
                assert_eq!(values.iter().count(), 1);
            }
        }
        // Without one it is given in either case.
        assert_eq!(proxy.curl(&["https://api.example/"]), "one / 200");
        assert_eq!(proxy.backend.last().header("x-api-key"), TOKEN);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_goes_to_nobody_who_does_not_prove_the_name() {
    let unknown = Authority::named("unknown");
    let tls = unknown.server(&["api.example"], &["http/1.1"]);
    let backend = portcullis_tests::Backend::start_tls("one", tls).await;
    let known = Authority::named("known");
    let policies = allow(
        "[{host: api.example, inspect: true, inject: {header: authorization, value: token}}]",
    );
    let files = [("trust.crt", known.pem()), ("token", TOKEN.to_owned())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let proxy = Inspected::with(&policies, backend, &files);
    assert!(proxy.curl(&["https://api.example/"]).ends_with(" 502"));
    assert_eq!(proxy.backend.requests(), 0);
}

#[test]
fn what_is_no_credential_is_told_with_its_place_and_never_shown() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("ca.crt"), authority.pem()).expect("writable");
    std::fs::write(at("ca.key"), authority.key_pem()).expect("writable");
    std::fs::write(at("trust.crt"), authority.pem()).expect("writable");
    for (content, says) in [
        (Some("one\ntwo-s3cret"), "not one line of text"),
        (Some(" \n"), "holds no credential"),
        (None, "token"),
    ] {
        let _ = std::fs::remove_file(at("token"));
        if let Some(content) = content {
            std::fs::write(at("token"), content).expect("writable");
        }
        let entry = format!(
            "[{{host: api.example, inspect: true, inject: {{header: authorization, value: '{}'}}}}]",
            at("token").display()
        );
        let inspection = INSPECTION
            .replace("ca.", &format!("{}/ca.", folder.path().display()))
            .replace("trust.", &format!("{}/trust.", folder.path().display()));
        let (accepted, told) = check(&config(&inspection, &allow(&entry)));
        assert!(accepted, "it stops nobody else: {told}");
        assert!(
            told.contains("egress.policies[0].allow[0].inject.value: "),
            "{told}"
        );
        assert!(told.contains(says), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_missing_stops_nobody_else_and_one_that_is_lost_goes_on() {
    let entries = "[{host: api.example, inspect: true, inject: {header: authorization, value: token}}, \
                   {host: other.example, inspect: true}]";
    let proxy = Inspected::start_with(&allow(entries), &["h2", "http/1.1"], &[]).await;
    let (api, other) = ("https://api.example/", "https://other.example/");
    assert_eq!(proxy.curl(&[other]), "one / 200");
    let text = proxy.curl(&[api]);
    assert!(
        text.contains("credential_missing") && text.ends_with(" 503"),
        "{text}"
    );
    assert_eq!(proxy.backend.requests(), 1);
    // Other changes are taken meanwhile.
    let gateway = &proxy.site.gateway;
    gateway.reload(&config(
        INSPECTION,
        &format!("{}# changed\n", allow(entries)),
    ));
    let file = gateway.folder().join("token");
    std::fs::write(&file, TOKEN).expect("writable");
    gateway.reload(&config(INSPECTION, &allow(entries)));
    assert_eq!(proxy.curl(&[api]), "one / 200");
    assert_eq!(proxy.backend.last().header("authorization"), TOKEN);
    // One that is lost, or broken, is told, and the one that was there goes on; so do others.
    for (content, says) in [(None, "token"), (Some("\n"), "holds no credential")] {
        let _ = std::fs::remove_file(&file);
        if let Some(content) = content {
            std::fs::write(&file, content).expect("writable");
        }
        wait_for("the problem", || {
            let (_, problems) = gateway.admin("/config/problems");
            problems.contains("inject.value") && problems.contains(says)
        });
        assert_eq!(proxy.curl(&[api]), "one / 200");
        assert_eq!(proxy.backend.last().header("authorization"), TOKEN);
    }
    let less = entries.replace("{host: other.example, inspect: true}", "");
    gateway.reload(&config(INSPECTION, &allow(&less)));
    let text = proxy.curl(&[other]);
    assert!(
        text.contains("response 403"),
        "what was taken away is: {text}"
    );
    assert_eq!(proxy.curl(&[api]), "one / 200");
    assert_eq!(proxy.backend.last().header("authorization"), TOKEN);
}
