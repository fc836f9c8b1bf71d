//! What is asked of DNS: the question itself carries data out.

use portcullis_tests::{Dns, TokenIssuer, replace, status_of};
use serde_json::json;

use super::site::{Site, allow, reason};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_looked_up() {
    let dns = Dns::start().await;
    let resolver = format!("resolver: {{servers: ['{}']}}", dns.address);
    let entries = "[api.example, {host: '*.spent.example', quota: {rate: 1/d}}]";
    let site = Site::start_with(&resolver, &allow(entries), &[], &[]);
    for target in ["data.evil.example:443", "api.example:22"] {
        assert_eq!(status_of(&site.connect(target).1), 403, "{target}");
    }
    assert_eq!(dns.queries(), 0, "a policy refuses first");
    let (_, answer) = site.connect("a.spent.example:443");
    assert_eq!(reason(&answer), "egress/dns_nxdomain");
    let asked = dns.queries();
    assert!(asked > 0);
    let (_, answer) = site.connect("b.spent.example:443");
    assert_eq!(reason(&answer), "egress/quota_rate");
    assert_eq!(dns.queries(), asked, "a quota refuses first");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_looked_up_for_a_client_that_does_not_say_who_it_is() {
    let dns = Dns::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let issuer = TokenIssuer::new("one");
    let keys = folder.path().join("jwks.json");
    replace(&keys, TokenIssuer::jwks(&[&issuer]));
    let tokens = json!({"jwks": keys, "issuer": TokenIssuer::ISSUER, "audience": "portcullis"});
    let more = format!(
        "resolver: {{servers: ['{}']}}\n  identity: {{serviceAccountTokens: {tokens}}}",
        dns.address
    );
    let site = Site::start_with(&more, &allow("[api.example]"), &[], &[]);
    let (_, answer) = site.connect("api.example:443");
    assert_eq!(reason(&answer), "egress/token_missing");
    assert_eq!(dns.queries(), 0);
}
