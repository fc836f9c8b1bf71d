//! Tokens that the API server judges, beside the same ones judged by its keys.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_tests::TokenIssuer;
use serde_json::{Value, json};

use crate::{edge::edge, egress_bed::Bed};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-reviews";

const ARGUMENTS: &[&str] = &["--update-status=false"];

/// How long an answer counts here.
const CACHE_TIME: Duration = Duration::from_secs(15);

fn settings(identity: &Value, destination: &str) -> Value {
    let account = |name: &str| json!({"namespace": SYSTEM, "serviceAccount": name});
    json!({
        "identity": identity,
        "policies": [{
            "name": "builds",
            "subjects": [account("builder"), account("doomed")],
            "allow": [{"cidr": destination, "ports": [8080], "private": true, "raw": true}],
        }],
    })
}

/// A token for the proxy that is bound to nothing.
fn unbound(bed: &Bed, account: &str, more: &[&str]) -> String {
    let arguments = ["create", "token", account, "-n", SYSTEM];
    let arguments = [&arguments[..], more].concat();
    bed.cluster.kubectl(&arguments).trim().to_owned()
}

/// A token with another part, which the same key has not signed.
fn forged(token: &str, part: usize, change: impl FnOnce(&mut Value)) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&parts[part]).expect("base64");
    let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut value);
    parts[part] = BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    parts.join(".")
}

#[test]
fn what_keys_refuse_the_api_server_refuses_and_more_while_it_is_there() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let mut bed = Bed::install(cluster, SYSTEM, ARGUMENTS);
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: doomed, namespace: {SYSTEM}}}}}"
    ));
    bed.pod("builder", "builder", "app: client");
    bed.pod("other", "builder", "app: client");
    let raw = |path: &str| cluster.kubectl(&["get", "--raw", path]);
    let discovery: Value =
        serde_json::from_str(&raw("/.well-known/openid-configuration")).expect("JSON");
    let issuer = &discovery["issuer"];
    let files = json!({ "keys.jwks": raw("/openid/v1/jwks") });
    let by_keys = json!({
        "jwks": format!("configmap:{SYSTEM}/portcullis-config/keys.jwks"),
        "issuer": issuer, "audience": "portcullis",
    });
    let by_review = json!({
        "issuer": issuer, "audience": "portcullis",
        "tokenReview": {"timeout": "3s", "cache": {"time": format!("{}s", CACHE_TIME.as_secs())}},
    });
    let identity = |tokens: &Value| json!({"level": "bind-to-address", "pods": {}, "serviceAccountTokens": tokens});
    bed.configure(&settings(&identity(&by_review), &bed.destination), &files);
    bed.ready();
    let bed = bed;
    let [builder, other] = ["builder", "other"].map(|pod| bed.uid(pod));
    let good = bed.token("builder", "builder");

    // The right is missing: that is no fault of the token.
    assert_eq!(bed.ask(&builder, &good), "503 token_review_failed");
    bed.give_rights(&[ARGUMENTS, &["--egress-token-review"]].concat());
    bed.wait(&builder, &good, "200 -");

    // One table for both.
    let mut claims = TokenIssuer::claims("portcullis", (SYSTEM, "builder"), 600);
    claims["iss"] = issuer.clone();
    let ours = "--audience=portcullis";
    let of_pod = ["--bound-object-kind=Pod", "--bound-object-name=builder"];
    let of_another_account = forged(&good, 1, |claims| {
        claims["sub"] = json!(format!("system:serviceaccount:{SYSTEM}:doomed"));
        claims["kubernetes.io"]["serviceaccount"]["name"] = json!("doomed");
    });
    let (unsigned, _) = good.rsplit_once('.').expect("a signature");
    let cases = [
        ("none", &builder, String::new(), ["407 token_missing"; 2]),
        ("good", &builder, good.clone(), ["200 -"; 2]),
        (
            "for two audiences",
            &builder,
            unbound(
                &bed,
                "builder",
                &[&[ours, "--audience=other"], &of_pod[..]].concat(),
            ),
            ["200 -"; 2],
        ),
        (
            "from another pod",
            &other,
            good.clone(),
            ["403 identity_mismatch"; 2],
        ),
        (
            "for the API server",
            &builder,
            unbound(&bed, "builder", &of_pod),
            ["407 bad_audience"; 2],
        ),
        (
            "bound to nothing",
            &builder,
            unbound(&bed, "builder", &[ours]),
            ["407 token_without_pod"; 2],
        ),
        ("no token", &builder, "a.b.c".into(), ["407 bad_token"; 2]),
        (
            "without a signature",
            &builder,
            unsigned.into(),
            ["407 bad_token"; 2],
        ),
        (
            "of another ServiceAccount than was signed",
            &builder,
            of_another_account,
            ["407 bad_signature", "407 token_rejected"],
        ),
        (
            "for another audience than was signed",
            &builder,
            forged(&unbound(&bed, "builder", &of_pod), 1, |claims| {
                claims["aud"] = json!(["portcullis"])
            }),
            ["407 bad_signature", "407 token_rejected"],
        ),
        (
            "with an algorithm of its own",
            &builder,
            forged(&good, 0, |header| header["alg"] = json!("HS256")),
            ["407 bad_algorithm", "407 token_rejected"],
        ),
        (
            "signed by somebody else",
            &builder,
            TokenIssuer::new("one").sign(&claims),
            ["407 unknown_key", "407 token_rejected"],
        ),
        (
            "signed by somebody else, and over",
            &builder,
            TokenIssuer::new("one").sign(&{
                let mut over = claims.clone();
                over["exp"] = json!(1_700_000_000);
                over
            }),
            ["407 unknown_key", "407 token_expired"],
        ),
    ];
    let marker = &cases[8].2;
    for (way, tokens) in [&by_keys, &by_review].into_iter().enumerate() {
        bed.configure(&settings(&identity(tokens), &bed.destination), &files);
        bed.wait(&builder, marker, cases[8].3[way]);
        for (what, from, token, expected) in &cases {
            assert_eq!(bed.ask(from, token), expected[way], "{what}");
        }
    }
    cluster.kubectl(&["delete", "pod", "other", "-n", SYSTEM, "--wait=true"]);

    // Without a watch of pods the API server alone knows that something is deleted.
    let without_pods = json!({"serviceAccountTokens": by_review});
    bed.configure(&settings(&without_pods, &bed.destination), &files);
    let doomed = unbound(&bed, "doomed", &[ours]);
    bed.wait(&builder, &doomed, "200 -");
    bed.pod("brief", "builder", "app: client");
    let of_brief = bed.token("builder", "brief");
    assert_eq!(bed.ask(&builder, &of_brief), "200 -");
    cluster.kubectl(&["delete", "serviceaccount", "doomed", "-n", SYSTEM]);
    cluster.kubectl(&["delete", "pod", "brief", "-n", SYSTEM, "--wait=true"]);
    let deleted = Instant::now();
    for token in [&doomed, &of_brief] {
        bed.wait(&builder, token, "407 token_rejected");
    }
    // Our time, that of the API server's own memory (10 s), and some for a busy machine.
    let limit = CACHE_TIME + Duration::from_secs(25);
    assert!(deleted.elapsed() < limit, "{:?}", deleted.elapsed());

    // The API server is away.
    let (known, new) = (good, bed.token("builder", "builder"));
    let fresh = unbound(&bed, "builder", &[ours]);
    std::thread::sleep(CACHE_TIME);
    let asked = Instant::now();
    assert_eq!(bed.ask(&builder, &known), "200 -");
    cluster.ask(&json!({"do": "kill", "name": "apiserver"}));
    for token in [&new, &fresh] {
        assert_eq!(bed.ask(&builder, token), "503 token_review_failed");
    }
    assert_eq!(bed.ask(&builder, "a.b.c"), "407 bad_token");
    while asked.elapsed() < CACHE_TIME - Duration::from_secs(3) {
        let answer = bed.ask(&builder, &known);
        assert_eq!(answer, "200 -", "after {:?}", asked.elapsed());
        std::thread::sleep(Duration::from_secs(1));
    }
    bed.wait(&builder, &known, "503 token_review_failed");
    assert!(asked.elapsed() >= CACHE_TIME);
    cluster.ask(&json!({"do": "start", "name": "apiserver"}));
    for token in [&known, &new, &fresh] {
        bed.wait(&builder, token, "200 -");
    }
    let metrics = bed.says("/metrics");
    for result in ["good", "refused", "error"] {
        let series = format!("portcullis_egress_token_reviews_total{{result=\"{result}\"}}");
        assert!(metrics.contains(&series), "{series}");
    }
    assert!(metrics.contains("portcullis_egress_token_review_duration_seconds_count"));
    let log = cluster.logs_of(SYSTEM);
    let signature = known.rsplit('.').next().expect("a signature");
    assert!(!log.contains(signature), "a token is in no log");
}
