//! YAML that says something else than its writer meant.

use std::time::{Duration, Instant};

use portcullis_tests::{Backend, Gateway, check, status_of};

use crate::ask;

const LISTENER: &str = "listeners: [{name: http, protocol: http, address: '127.0.0.1:0'}]\n";

#[tokio::test(flavor = "multi_thread")]
async fn cfg_07_a_scalar_is_what_it_looks_like() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        "{LISTENER}backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: a
  hosts: [null.test, a.test]
  rules:
  - backends: [{{name: one}}]
    requestHeaders:
      set: {{X-Country: NO, X-Version: 1.10, X-Id: 1e3, X-Hex: 0x50, X-Token: 12_000, X-Date: 2026-01-02, X-Zero: 0123456}}
",
        backend.address
    ));
    assert_eq!(status_of(&ask(gateway.http(), "")), 200);
    let seen = backend.last();
    for (name, text) in [
        ("x-country", "NO"),
        ("x-version", "1.10"),
        ("x-id", "1e3"),
        ("x-hex", "0x50"),
        ("x-token", "12_000"),
        ("x-date", "2026-01-02"),
        ("x-zero", "0123456"),
    ] {
        assert_eq!(seen.header(name), text);
    }
    for (yaml, place) in [
        ("routes: [{name: a, hosts: [~]}]", "hosts[0]"),
        (
            "routes: [{name: a, rules: [{redirect: {port: 0443}}]}]",
            "redirect.port",
        ),
        (
            "routes: [{name: a, rules: [{redirect: {port: 0x50}}]}]",
            "redirect.port",
        ),
        (
            "routes: [{name: a, rules: [{redirect: {port: 1e3}}]}]",
            "redirect.port",
        ),
        (
            "routes: [{name: a, rules: [{redirect: {port: 12_000}}]}]",
            "redirect.port",
        ),
        ("defaults: {timeouts: {read: 1:30}}", "timeouts.read"),
        ("defaults: {timeouts: {read: 90}}", "timeouts.read"),
        ("defaults: {maxBodySize: 010}", "maxBodySize"),
        ("wafProfiles: [{name: a, threshold: 010}]", "threshold"),
    ] {
        let (accepted, said) = check(&format!("{LISTENER}{yaml}\n"));
        assert!(!accepted && said.contains(place), "{yaml}: {said}");
    }
}

#[test]
fn cfg_08_a_key_that_stands_twice_is_an_error_with_both_places() {
    for (yaml, key, places) in [
        (
            "accessLists:\n- name: a\n  allow: [10.0.0.0/8]\n  allow: [0.0.0.0/0]\n",
            "allow",
            ["checked.yaml:5:3", "checked.yaml:4:3"],
        ),
        (
            "routes: []\nmanagement: {address: '127.0.0.1:0'}\nroutes: []\n",
            "routes",
            ["checked.yaml:4:1", "checked.yaml:2:1"],
        ),
        (
            "routes:\n- name: a\n  rules:\n  - requestHeaders:\n      set:\n        X-A: one\n        \"X-A\": two\n",
            "X-A",
            ["checked.yaml:8:9", "checked.yaml:7:9"],
        ),
    ] {
        let (accepted, said) = check(&format!("{LISTENER}{yaml}"));
        assert!(!accepted && said.contains(key), "{yaml}: {said}");
        assert!(
            places.iter().all(|place| said.contains(place)),
            "{yaml}: {said}"
        );
    }
    // Names of fields are the same in any case, and two hosts of one route are one.
    let twice = "routes: [{name: a, rules: [{requestHeaders: {set: {X-A: one, x-a: two}}}]}]\n";
    let (accepted, said) = check(&format!("{LISTENER}{twice}"));
    assert!(!accepted && said.contains("x-a"), "{said}");
}

#[test]
fn cfg_10_anchors_work_and_what_go_tools_read_otherwise_is_refused() {
    let good = "rateLimits:\n- {name: a, rate: &rate 5/s}\n- {name: b, rate: *rate}\n";
    let (accepted, said) = check(&format!("{LISTENER}{good}"));
    assert!(accepted, "{said}");
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let aliases = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    for (yaml, said_of_it) in [
        (
            "rateLimits:\n- &d {name: a, rate: 5/s}\n- {<<: *d, name: b}\n",
            "<<",
        ),
        (bomb.as_str(), "aliases"),
        ("---\nroutes: []\n", "second YAML document"),
        ("routes: *later\nbackends: &later []\n", "anchor"),
        ("routes: !include routes.yaml\n", "!include"),
        ("routes: !!python/object:os.system []\n", "tag"),
        ("? [a, b]\n: c\n", "key"),
    ] {
        let began = Instant::now();
        let (accepted, said) = check(&format!("{LISTENER}{yaml}"));
        assert!(!accepted && said.contains(said_of_it), "{yaml}: {said}");
        assert!(began.elapsed() < Duration::from_secs(10), "{yaml}");
    }
    // Another version of YAML is not read as if it were this one.
    let (_, said) = check(&format!(
        "%YAML 1.1\n---\nroutes: [{{name: a, hosts: [~]}}]\n{LISTENER}"
    ));
    assert!(said.contains("error"), "{said}");
}
