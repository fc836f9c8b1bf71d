//! What modes of policies let pass where TLS is looked into, and what no mode does.

use portcullis_tests::{Authority, Backend, Raw, status_of, wait_for};

use super::{
    inspected::{INSPECTION, Inspected},
    site::{allow, config},
};

/// A request that is in no TLS.
const CLEAR: &[u8] = b"GET /denied HTTP/1.1\r\nHost: api.example\r\n\r\n";

/// A proxy before a destination in clear, so that what reaches it is seen.
async fn in_clear(policies: &str) -> Inspected {
    let trust = Authority::named("authority of destinations").pem();
    let backend = Backend::start("one").await;
    Inspected::with(policies, backend, &[("trust.crt", &trust)])
}

/// Policies in a mode, under a floor that denies a path.
fn under_a_floor(mode: &str, entry: &str) -> String {
    let policies = allow(entry).replace("allow:", &format!("mode: {mode}, allow:"));
    format!(
        "{policies}  clusterPolicies:\n  - {{name: floor, subjects: [{{addresses: [127.0.0.0/8]}}], \
         deny: [{{host: api.example, paths: [/denied]}}]}}\n"
    )
}

/// A tunnel that was opened.
fn tunnel(proxy: &Inspected) -> Raw {
    let (tunnel, answer) = proxy.site.connect("api.example:443");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_into_leaves_in_no_mode() {
    for mode in ["report", "open"] {
        let policies = under_a_floor(mode, "[{host: api.example, inspect: true}]");
        let proxy = in_clear(&policies).await;
        let mut client = tunnel(&proxy);
        assert!(client.send(CLEAR).ends(), "{mode}");
        assert_eq!(proxy.backend.requests(), 0, "{mode}");
        wait_for("the record", || proxy.tunnels().len() == 1);
        let record = &proxy.tunnels()[0];
        assert_eq!(record["verdict"], "deny", "{mode}: {record}");
        assert_eq!(record["reason"], "not_tls", "{mode}: {record}");
        assert_eq!(record["bytesUp"], 0, "{mode}: {record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_began_unseen_ends_in_any_mode_when_it_is_to_be_looked_into() {
    for entry in ["[api.example]", "[{host: api.example, raw: true}]"] {
        let before = allow(entry).replace("allow:", "mode: report, allow:");
        let proxy = in_clear(&before).await;
        let mut client = tunnel(&proxy);
        let answer = client.send(CLEAR).response();
        assert_eq!(status_of(&answer), 200, "{entry}: {answer}");
        let after = under_a_floor("report", "[{host: api.example, inspect: true}]");
        proxy.site.gateway.reload(&config(INSPECTION, &after));
        assert!(client.ends(), "{entry}");
        wait_for("the record", || proxy.tunnels().len() == 1);
        let record = &proxy.tunnels()[0];
        assert_eq!(record["ended"], "policy_changed", "{entry}: {record}");
    }
}

const RULES: &str = include_str!("../../../config/examples/outbound.conf");

/// A proxy with two policies about its clients: one that only reports, which allows the host and
/// comes first, and another with an entry of its own.
async fn beside_a_lax_one(mode: &str, entry: &str) -> Inspected {
    let who = "subjects: [{addresses: [127.0.0.0/8]}]";
    let policies = format!(
        "  - {{name: lax, {who}, mode: report, allow: [api.example]}}\n  \
         - {{name: strict, {who}, mode: {mode}, allow: [{entry}]}}\n\
         wafProfiles: [{{name: out, rules: [{{file: outbound.conf}}]}}]\n"
    );
    let files = [("outbound.conf", RULES), ("token", "s3cret")];
    Inspected::start_with(&policies, &["h2", "http/1.1"], &files).await
}

/// A text with a private key, put together here so that nobody takes this file for one.
fn secret() -> String {
    ["-----BEGIN PRIVATE", " KEY-----"].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_entry_objects_to_is_up_to_its_own_policy() {
    let entry =
        "{host: api.example, inspect: true, waf: out, inject: {header: x-api-key, value: token}}";
    for (mode, status, verdict) in [("enforce", 403, "deny"), ("report", 200, "would_deny")] {
        let proxy = beside_a_lax_one(mode, entry).await;
        let secret = secret();
        let url = "https://api.example/up";
        for (arguments, code) in [
            (
                &["-H", "Content-Type: text/plain", "-d", &secret][..],
                "waf_blocked",
            ),
            (&["-H", "X-API-Key: theirs"], "foreign_credential"),
        ] {
            let before = proxy.records().len();
            let text = proxy.curl(&[arguments, &[url]].concat());
            assert!(
                text.ends_with(&format!(" {status}")),
                "{mode} {code}: {text}"
            );
            wait_for("the record", || proxy.records().len() > before);
            let record = &proxy.records()[before];
            assert_eq!(record["verdict"], verdict, "{mode}: {record}");
            assert_eq!(record["reason"], code, "{mode}: {record}");
            assert_eq!(record["policy"], "strict", "{mode}: {record}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_goes_with_nothing_that_any_mode_would_refuse() {
    for setting in ["refuse", "replace"] {
        let entry = format!(
            "{{host: api.example, inspect: true, waf: out, inject: {{header: x-api-key, value: token, clientCredential: {setting}}}}}"
        );
        for mode in ["report", "open"] {
            let proxy = beside_a_lax_one(mode, &entry).await;
            let url = "https://api.example/up";
            let secret = secret();
            let arguments = ["-H", "Content-Type: text/plain", "-d", &secret, url];
            assert_eq!(proxy.curl(&arguments), "one /up 200", "{mode}");
            assert_eq!(proxy.backend.last().header("x-api-key"), "", "{mode}");
            assert_eq!(proxy.curl(&["-d", "x", url]), "one /up 200", "{mode}");
            assert_eq!(proxy.backend.last().header("x-api-key"), "s3cret", "{mode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_with_what_a_profile_detects() {
    let rules = include_str!("../../../config/examples/outbound.conf");
    let policies = allow(
        "[{host: api.example, inspect: true, waf: out, inject: {header: x-api-key, value: token}}]",
    );
    let profiles = "wafProfiles: [{name: out, mode: detect, rules: [{file: outbound.conf}]}]\n";
    let files = [("token", "s3cret"), ("outbound.conf", rules)];
    let policies = format!("{policies}{profiles}");
    let proxy = Inspected::start_with(&policies, &["h2", "http/1.1"], &files).await;
    let url = "https://api.example/up";
    let secret = secret();
    for (body, given) in [(secret.as_str(), ""), ("x", "s3cret")] {
        let arguments = ["-H", "Content-Type: text/plain", "-d", body, url];
        assert_eq!(proxy.curl(&arguments), "one /up 200");
        assert_eq!(proxy.backend.last().header("x-api-key"), given);
    }
    wait_for("the records", || proxy.records().len() == 2);
    let rule = proxy.records()[0]["wafRule"].clone();
    assert!(
        rule.as_str().is_some_and(|rule| rule.starts_with("91100")),
        "{rule}"
    );
}
