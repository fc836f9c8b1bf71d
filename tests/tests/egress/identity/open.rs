//! What is open while keys, tokens and settings change.

use std::time::Duration;

use portcullis_tests::{Raw, Recorder, TokenIssuer, replace, status_of, wait_for};

use super::{
    super::site::{PUBLIC, Site, config, reason},
    BUILDER, RAW, ask, bearer, good, keys, policy, section,
};

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_live_and_a_broken_file_keeps_the_last_good_ones() {
    let recorder = Recorder::start().await;
    let (old, new) = (TokenIssuer::new("old"), TokenIssuer::new("new"));
    let folder = keys(&[&old]);
    let site = Site::start_with(
        &section("required", folder.path()),
        &policy("ci", "{namespace: ci}", RAW),
        &[&format!("raw.example={PUBLIC}")],
        &[(&format!("{PUBLIC}:22"), recorder.address)],
    );
    let open = |issuer: &TokenIssuer| {
        let mut connection = Raw::connect(site.proxy());
        let answer = ask(
            &mut connection,
            "raw.example:22",
            &bearer(&good(issuer, BUILDER)),
        );
        (connection, reason(&answer).to_owned())
    };
    let file = folder.path().join("jwks.json");
    let (mut by_old, refused) = open(&old);
    assert_eq!(refused, "");
    assert_eq!(open(&new).1, "egress/unknown_key");
    replace(&file, "{\"keys\": [");
    wait_for("the problem in the log", || {
        site.gateway.log().contains("no JSON Web Key Set")
    });
    assert_eq!(open(&old).1, "");
    replace(&file, TokenIssuer::jwks(&[&new, &old]));
    wait_for("the new key", || open(&new).1.is_empty());
    assert_eq!(open(&old).1, "");
    let (mut by_new, _) = open(&new);
    let before = recorder.bytes();
    by_old.send(b"one");
    wait_for("the tunnel of the old key", || {
        recorder.bytes() == before + 3
    });
    // A key that is no longer trusted holds no tunnel open.
    replace(&file, TokenIssuer::jwks(&[&new]));
    wait_for("the old key to go", || open(&old).1 == "egress/unknown_key");
    assert!(by_old.ends());
    let before = recorder.bytes();
    by_new.send(b"two");
    wait_for("the tunnel of the new key", || {
        recorder.bytes() == before + 3
    });
    wait_for("the audit line", || {
        let lines = site.gateway.audit_lines();
        lines.iter().any(|line| line["ended"] == "policy_changed")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_tunnel_outlives_its_token_and_ends_with_its_policy() {
    let recorder = Recorder::start().await;
    let issuer = TokenIssuer::new("one");
    let folder = keys(&[&issuer]);
    let identity = section("required", folder.path());
    let site = Site::start_with(
        &identity,
        &policy("ci", "{namespace: ci}", RAW),
        &[&format!("raw.example={PUBLIC}")],
        &[(&format!("{PUBLIC}:22"), recorder.address)],
    );
    let line = bearer(&issuer.sign(&TokenIssuer::claims("portcullis", BUILDER, 3)));
    let mut tunnel = Raw::connect(site.proxy());
    assert_eq!(status_of(&ask(&mut tunnel, "raw.example:22", &line)), 200);
    wait_for("the token to expire", || {
        let answer = ask(&mut Raw::connect(site.proxy()), "raw.example:22", &line);
        reason(&answer) == "egress/token_expired"
    });
    // A reload decides on it again: the token was good when it was shown.
    let policies = policy(
        "ci",
        "{namespace: ci}",
        "[raw.example, {host: raw.example, ports: [22], raw: true}]",
    );
    site.gateway.reload(&config(&identity, &policies));
    tunnel.pause(Duration::from_millis(1500)).send(b"still");
    wait_for("the bytes", || recorder.bytes() == 5);
    let others = policy("ci", "{namespace: ci, serviceAccount: other}", RAW);
    site.gateway.reload(&config(&identity, &others));
    assert!(tunnel.ends());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_token_is_required_an_address_is_enough_and_a_bad_token_is_not() {
    let recorder = Recorder::start().await;
    let issuer = TokenIssuer::new("one");
    let folder = keys(&[&issuer]);
    let policies = policy("ci", "{namespace: ci}", RAW)
        + &policy("others", "{addresses: [127.0.0.0/8]}", "[a.example]");
    let dns = [format!("raw.example={PUBLIC}")];
    let site = Site::start_with(
        &section("none", folder.path()),
        &policies,
        &[&dns[0]],
        &[(&format!("{PUBLIC}:22"), recorder.address)],
    );
    for (lines, expected) in [
        (String::new(), "egress/not_allowed"),
        (bearer(&good(&issuer, BUILDER)), ""),
        (
            bearer(&good(&issuer, ("shop", "builder"))),
            "egress/not_allowed",
        ),
        (bearer("a.b.c"), "egress/bad_token"),
        (
            "Proxy-Authorization: Digest a\r\n".to_owned(),
            "egress/unsupported_scheme",
        ),
    ] {
        let answer = ask(&mut Raw::connect(site.proxy()), "raw.example:22", &lines);
        assert_eq!(reason(&answer), expected, "{lines}");
    }
    // From now on it is: what is open without one ends.
    let by_address = policy("others", "{addresses: [127.0.0.0/8]}", RAW);
    site.gateway
        .reload(&config(&section("none", folder.path()), &by_address));
    let mut tunnel = Raw::connect(site.proxy());
    assert_eq!(status_of(&ask(&mut tunnel, "raw.example:22", "")), 200);
    site.gateway
        .reload(&config(&section("required", folder.path()), &by_address));
    assert!(tunnel.ends());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_api_server_to_ask_without_a_cluster_and_the_keys_stay() {
    let recorder = Recorder::start().await;
    let issuer = TokenIssuer::new("one");
    let folder = keys(&[&issuer]);
    let policies = policy("ci", "{namespace: ci}", RAW);
    let site = Site::start_with(
        &section("required", folder.path()),
        &policies,
        &[&format!("raw.example={PUBLIC}")],
        &[(&format!("{PUBLIC}:22"), recorder.address)],
    );
    let review = "identity: {serviceAccountTokens: {audience: portcullis, tokenReview: {}}}";
    site.gateway.write_config(&config(review, &policies));
    wait_for("the problem in the log", || {
        let log = site.gateway.log();
        log.contains("egress.identity.serviceAccountTokens.tokenReview")
            && log.contains("there is an API server to ask with `run --kubernetes` alone")
    });
    let mut connection = Raw::connect(site.proxy());
    let answer = ask(
        &mut connection,
        "raw.example:22",
        &bearer(&good(&issuer, BUILDER)),
    );
    assert_eq!(status_of(&answer), 200, "{answer}");
}
