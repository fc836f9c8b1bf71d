use super::*;
use crate::{
    read::{Origins, Read, SourceFile, read},
    validate::validate,
};

fn loaded(text: &str) -> (Document, Model, Origins) {
    let Read {
        document,
        origins,
        problems,
    } = read(&[SourceFile {
        name: "a.yaml".into(),
        text: text.into(),
    }]);
    assert!(problems.is_empty(), "{problems:#?}\n{text}");
    let validated = validate(&document, &origins);
    let errors: Vec<_> = validated
        .problems
        .iter()
        .filter(|problem| problem.severity == crate::problem::Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{text}");
    (document, validated.model, origins)
}

fn dump_of(text: &str) -> String {
    let (document, model, _) = loaded(text);
    dump(&document, &model)
}

#[test]
fn what_is_not_written_is_shown_with_its_default() {
    let text = dump_of(
        "listeners: [{name: web, protocol: https, limits: {idleTimeout: 5s}}]\n\
         certificates: [{name: c, certificate: c.crt, key: c.key}]\n\
         accessLists: [{name: all, deny: []}]\n\
         rateLimits: [{name: r, rate: 7/s}]\n\
         wafProfiles: [{name: w}]\n\
         backends: [{name: b, endpoints: [{address: '10.0.0.1:80'}]}]\n\
         defaults: {access: [all], timeouts: {read: 9s}}\n\
         routes:\n  - name: shop\n    policies: {rateLimits: [r]}\n    rules: [{backends: [{name: b}]}, {redirect: {host: a.test}, policies: {access: [], waf: {profile: w}}}]\n\
         egress: {listeners: [{name: e}], identity: {serviceAccountTokens: {jwks: k, issuer: i, audience: a}}, policies: [{name: p, subjects: [{addresses: [10.0.0.0/8]}], allow: [a.test], quota: {bytesOut: 1MiB}}]}\n",
    );
    let expected = "\
listeners:
- name: web
  protocol: https
  address: \"[::]:8443\"
  tls:
    minVersion: \"1.2\"
    maxVersion: \"1.3\"
    cipherSuites:
    - TLS_AES_256_GCM_SHA384
    - TLS_AES_128_GCM_SHA256
    - TLS_CHACHA20_POLY1305_SHA256
    - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    - TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    alpn:
    - h2
    - http/1.1
  limits:
    maxConnections: 20000
    maxConnectionsPerAddress: 0
    proxyHeaderTimeout: 3s
    handshakeTimeout: 10s
    maxClientHelloSize: 32KiB
    headerTimeout: 15s
    idleTimeout: 5s
    maxHeaderSize: 64KiB
    maxHeaders: 100
    maxConnectionAge: 1h
    maxRequestsPerConnection: 0
    maxStreams: 128
";
    assert!(text.starts_with(expected), "{text}");
    for part in [
        "address: client",
        "burst: 7",
        "level: required",
        "clockSkew: 10s",
        "maxKeys: 100000",
        "maxRetryAfter: 1h",
        "- builtin: baseline",
        "bodyLimit: 1MiB",
        "overLimit: refuse",
        "protocol: http1",
        "keepalive: 4s",
        "balance: round-robin",
        "failures: 5",
        "maxEjected: 50",
        "encodedSlashes: refuse",
        "status: 302",
        "weight: 1",
        "prefix: /",
        "[::]:3128",
        "maxLifetime: 1d",
        "maxQuotaCounts: 100000",
        "window: 1d",
        "mode: enforce",
        "encryptedClientHello: allow",
        "[::]:9090",
        "127.0.0.1:9091",
        "auditRecords: 1000",
        "access: stdout",
        "drainTimeout: 30s",
        "maxBufferedBytes: 256MiB",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let shown = loaded(&text).0;
    let rules = &shown.routes[0].rules;
    let policies = |index: usize| rules[index].policies.clone().expect("policies");
    assert_eq!(policies(0).access, Some(vec!["all".into()]));
    assert_eq!(policies(0).rate_limits, Some(vec!["r".into()]));
    assert_eq!(policies(1).access, Some(Vec::new()));
    assert_eq!(
        policies(1).waf.and_then(|waf| waf.profile).as_deref(),
        Some("w")
    );
    let read = policies(0).timeouts.and_then(|times| times.read);
    assert_eq!(read.map(|time| time.0.as_secs()), Some(9));
}

#[test]
fn what_asks_about_tokens_is_told_with_its_limits() {
    let text = dump_of(
        "egress: {listeners: [{name: e}], identity: {serviceAccountTokens: {audience: a, tokenReview: {cache: {time: 1s}}}}}\n",
    );
    let expected = "
      tokenReview:
        timeout: 5s
        maxConcurrent: 16
        cache:
          time: 1s
          refusedTime: 1s
          maxEntries: 10000
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_dump_is_a_configuration_that_means_the_same() {
    for text in [
        include_str!("../../examples/quickstart.yaml"),
        include_str!("../../examples/full.yaml"),
        include_str!("../../examples/egress.yaml"),
        include_str!("../../examples/kube-api.yaml"),
        include_str!("../../examples/token-review.yaml"),
    ] {
        let (_, model, _) = loaded(text);
        let shown = dump_of(text);
        let (_, again, _) = loaded(&shown);
        assert_eq!(format!("{model:#?}"), format!("{again:#?}"));
        assert_eq!(dump_of(&shown), shown);
    }
}

#[test]
fn secrets_in_headers_are_hidden() {
    let text = dump_of(
        "backends: [{name: b, endpoints: []}]\n\
         routes:\n  - name: r\n    rules:\n      - matches: [{headers: [{name: X-Api-Key, exact: hunter2}, {name: Cookie, regex: 'id=hunter2.*'}, {name: x-team, exact: red}]}]\n        requestHeaders: {set: {Authorization: Basic hunter2}, add: {X-Access-Token: hunter2, X-Zone: eu}}\n        responseHeaders: {set: {Set-Cookie: hunter2}}\n        canary: {backend: b, header: {name: X-Api-Key, exact: hunter2}}\n        backends: [{name: b}]\n",
    );
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(text.matches("***").count(), 6, "{text}");
    assert!(text.contains("red") && text.contains("eu"), "{text}");
}

#[test]
fn what_workloads_get_is_shown_with_its_defaults() {
    let text = dump_of(
        "egress:\n  listeners: [{name: e}]\n  identity: {serviceAccountTokens: {jwks: k, issuer: i, audience: ours}}\n  \
         workloads: {injection: {proxy: 'http://10.0.0.7', relay: {image: p}}, networkPolicies: {inCluster: allow}}\n",
    );
    let expected = "  workloads:
    namespaceLabel: portcullis.dev/egress
    injection:
      proxy: http://10.0.0.7
      identity: relay
      relay:
        image: p
        port: 3128
        memoryLimit: 64MiB
        memoryRequest: 32MiB
        cpuRequest: 10m
      token:
        audience: ours
        expiration: 1h
      clusterTraffic: direct
    networkPolicies:
      proxyLabels:
        app.kubernetes.io/component: egress
        app.kubernetes.io/name: portcullis
      ports:
      - 3128
      inCluster: allow
      dns:
        namespace: kube-system
        labels:
          k8s-app: kube-dns
        port: 53
";
    assert!(text.contains(expected), "{text}");
}
