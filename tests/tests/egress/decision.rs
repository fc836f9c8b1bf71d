//! `portcullis egress test`: what the proxy would decide, explained without one.

use std::{
    path::Path,
    process::{Command, Output},
};

use portcullis_tests::{Dns, portcullis, replace, status_of};
use serde_json::Value;

use super::site::{PUBLIC, Site, reason};

const POLICIES: &str = r"
egress:
  listeners: [{name: proxy, address: '127.0.0.1:0'}]
  identity: {level: none, pods: {}}
  clusterRanges: [10.96.0.0/12]
  clusterPolicies:
    - name: floor
      subjects: [{namespace: shop}]
      deny: [evil.example.com]
      delegate: {allow: ['*.example.com', {host: api.example.com, ports: [22], raw: true}], modes: [enforce]}
  policies:
    - name: web
      subjects: [{namespace: shop, serviceAccount: web}]
      mode: report
      quota: {connections: 5}
      allow:
        - api.example.com
        - {host: api.example.com, ports: [22], raw: true, until: '2099-01-01T00:00:00Z'}
        - {host: old.example.com, methods: [GET], paths: [/v1]}
        - other.example.org
        - evil.example.com
    - name: front
      subjects: [{namespace: shop, podLabels: {tier: front}}, {addresses: [192.0.2.0/24]}]
      allow: [front.example.com]
";

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(portcullis())
        .args(["egress", "test"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

/// The exit code, and what is printed for programs.
fn answers(folder: &Path, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = run(folder, &[arguments, &["--output", "json"]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    let printed = serde_json::from_slice(&output.stdout);
    let printed: Value = printed.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}"));
    (
        output.status.code(),
        printed.as_array().expect("a list").clone(),
    )
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    replace(&folder.path().join("gate.yaml"), POLICIES);
    folder
}

#[test]
fn a_decision_is_explained_with_what_decided_and_where_it_stands() {
    let folder = folder();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    for (client, target, expected) in [
        // Several entries have this host: it is the one that allows this port.
        (
            "shop/web",
            "api.example.com:443",
            "0 allow allowed web egress.policies[0].allow[0] 17",
        ),
        (
            "shop/web",
            "api.example.com:22",
            "0 allow allowed web egress.policies[0].allow[1] 18",
        ),
        (
            "shop/web",
            "api.example.com:5432",
            "1 deny port_not_allowed web egress.policies[0].allow[0] 17",
        ),
        (
            "shop/web",
            "evil.example.com:443",
            "1 deny denied_host floor egress.clusterPolicies[0].deny[0] 9",
        ),
        // Its mode is to report, which the floor does not leave it.
        (
            "shop/web",
            "unknown.example.com:443",
            "1 deny not_allowed web egress.policies[0] 12",
        ),
        (
            "shop/web",
            "other.example.org:443",
            "1 deny not_delegated floor egress.policies[0].allow[3] 20",
        ),
        (
            "shop/web",
            "old.example.com:443",
            "1 deny request_not_allowed web egress.policies[0].allow[2] 19",
        ),
        (
            "shop/other",
            "api.example.com:443",
            "1 deny not_allowed floor egress.clusterPolicies[0] 7",
        ),
        ("other/web", "api.example.com:443", "1 deny no_policy - - 0"),
        (
            "shop/other,podLabels.tier=front",
            "front.example.com:443",
            "0 allow allowed front egress.policies[1].allow[0] 24",
        ),
        (
            "address=192.0.2.7",
            "front.example.com:443",
            "0 allow allowed front egress.policies[1].allow[0] 24",
        ),
        (
            "address=192.0.3.7",
            "front.example.com:443",
            "1 deny no_policy - - 0",
        ),
        (
            "shop/web",
            "169.254.169.254:80",
            "1 deny always_blocked - - 0",
        ),
        ("shop/web", "127.1:80", "1 deny numeric_host - - 0"),
    ] {
        let (code, all) = answers(folder.path(), &["gate.yaml", target, "--as", client]);
        let [answer] = &all[..] else {
            panic!("{all:?}")
        };
        let place = &answer["place"];
        let said = ["verdict", "reason", "policy"].map(|field| text(&answer[field]));
        let line = place["origin"]["file"]["line"].as_u64().unwrap_or_default();
        let code = code.expect("it exits");
        let found = format!("{code} {} {} {line}", said.join(" "), text(&place["path"]));
        assert_eq!(found, expected, "{client} {target}: {answer:#}");
    }
}

#[test]
fn what_people_read_says_what_is_asked_what_is_not_known_and_what_would_allow_it() {
    let folder = folder();
    let printed = |arguments: &[&str]| {
        let output = run(folder.path(), arguments);
        String::from_utf8(output.stdout).expect("text")
    };
    let web = ["gate.yaml", "--as", "shop/web"];
    let answer = printed(&[&web[..], &["api.example.com:443"]].concat());
    for told in [
        "api.example.com:443: allowed\n",
        "by: policy \"web\", entry \"api.example.com\", egress.policies[0].allow[0] (gate.yaml:17:11)",
        "counted by: the quota of policy \"web\", mode enforce",
        "not known: its addresses",
        "not known: the address of the client",
        "must begin with a ClientHello that names api.example.com",
        "floor \"floor\" (enforce) alone: deny, not_allowed",
        "; it leaves this to policies by \"*.example.com\"\n",
        "policy \"web\" (enforce by a floor) alone: allow, allowed",
    ] {
        assert!(answer.contains(told), "{told}: {answer}");
    }
    let raw = printed(&[&web[..], &["api.example.com:22"]].concat());
    assert!(raw.contains("until: 2099-01-01T00:00:00Z"), "{raw}");
    assert!(!raw.contains("ClientHello"), "{raw}");
    for (more, told) in [
        (
            &["api.example.com:5432"][..],
            "to allow it: 5432 in egress.policies[0].allow[0].ports",
        ),
        (
            &["new.example.com:8443"],
            "to allow it: {host: new.example.com, ports: [8443]} in egress.policies[0].allow",
        ),
        (
            &["evil.example.com:80"],
            "to allow it: take egress.clusterPolicies[0].deny[0] away",
        ),
        (
            &["other.example.org:443"],
            "other.example.org in egress.clusterPolicies[0].delegate.allow",
        ),
        (
            &["api.example.com:443", "--address", "10.96.0.1"],
            "to allow it: egress.policies[0].allow[0].private: true",
        ),
        (
            &["old.example.com:80", "--method", "POST", "--path", "/v1"],
            "to allow it: POST in egress.policies[0].allow[2].methods",
        ),
    ] {
        let answer = printed(&[&web[..], more].concat());
        assert!(
            answer.contains(": refused\n") && answer.contains(told),
            "{told}: {answer}"
        );
    }
    let nothing = printed(&[&web[..], &["127.0.0.1:80"]].concat());
    assert!(!nothing.contains("to allow it"), "{nothing}");
}

#[test]
fn addresses_and_requests_are_judged_where_they_are_given() {
    let folder = folder();
    let judged = |more: &[&str]| {
        let (code, all) = answers(
            folder.path(),
            &[&["gate.yaml", "--as", "shop/web"], more].concat(),
        );
        (code, all[0]["reason"].as_str().expect("a code").to_owned())
    };
    let target = "api.example.com:443";
    for (more, code, reason) in [
        (&[target, "--address", PUBLIC][..], 0, "allowed"),
        (&[target, "--address", "10.96.0.1"], 1, "private_address"),
        (
            &[target, "--address", "10.96.0.1", "--address", PUBLIC],
            1,
            "mixed_answer",
        ),
        (
            &[target, "--address", "169.254.169.254"],
            1,
            "always_blocked",
        ),
        (
            &[
                "old.example.com:80",
                "--method",
                "GET",
                "--path",
                "/v1/a?b=/v2",
            ],
            0,
            "allowed",
        ),
        (
            &[
                "old.example.com:80",
                "--method",
                "GET",
                "--path",
                "/v1/../v2",
            ],
            1,
            "request_not_allowed",
        ),
        (
            &["old.example.com:80", "--method", "POST", "--path", "/v1"],
            1,
            "request_not_allowed",
        ),
    ] {
        assert_eq!(judged(more), (Some(code), reason.to_owned()), "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_where_that_is_asked_for_and_they_are_not_refused() {
    let dns = Dns::start().await;
    dns.set("api.example.com", &["10.96.0.1"], 60);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with_dns = format!("{POLICIES}  resolver: {{servers: ['{}']}}\n", dns.address);
    replace(&folder.path().join("gate.yaml"), with_dns);
    let reason = |more: &[&str]| {
        let (_, all) = answers(
            folder.path(),
            &[&["gate.yaml", "--as", "shop/web"], more].concat(),
        );
        all[0]["reason"].as_str().expect("a code").to_owned()
    };
    assert_eq!(reason(&["api.example.com:443"]), "allowed");
    assert_eq!(
        reason(&["evil.example.com:443", "--resolve"]),
        "denied_host"
    );
    assert_eq!(dns.queries(), 0, "what is refused is not looked up");
    assert_eq!(
        reason(&["api.example.com:443", "--resolve"]),
        "private_address"
    );
    assert!(dns.queries() > 0);
}

#[test]
fn one_policy_is_asked_alone_under_the_floors() {
    let folder = folder();
    let asked = |name: &str, target: &str, client: &str| {
        let arguments = [name, target, "--as", client, "--config", "gate.yaml"];
        let (code, all) = answers(folder.path(), &arguments);
        let policies = all[0]["policies"].as_array().expect("a list").iter();
        let names: Vec<_> = policies.map(|policy| policy["name"].clone()).collect();
        (code, all[0]["reason"].clone(), names)
    };
    let client = "shop/web,podLabels.tier=front";
    let both: Vec<Value> = vec!["floor".into(), "front".into()];
    let front = asked("front", "api.example.com:443", client);
    assert_eq!(front, (Some(1), "not_allowed".into(), both.clone()));
    let allowed = asked("front", "front.example.com:443", client);
    assert_eq!(allowed, (Some(0), "allowed".into(), both));
    // One that is not about the client says nothing to it.
    let none = asked("front", "front.example.com:443", "shop/web");
    assert_eq!(none, (Some(1), "no_policy".into(), Vec::new()));
}

#[test]
fn mistakes_have_a_status_of_their_own_and_are_named() {
    let folder = folder();
    let bad = POLICIES.replace("mode: report", "mode: reprot");
    replace(&folder.path().join("bad.yaml"), bad);
    let plain = "egress: {listeners: [{name: p, address: '127.0.0.1:0'}], policies: [{name: a, subjects: [{addresses: [10.0.0.0/8]}]}]}";
    replace(&folder.path().join("plain.yaml"), plain);
    replace(
        &folder.path().join("none.yaml"),
        "listeners: [{name: a, protocol: http}]",
    );
    let target = "api.example.com:443";
    for (arguments, told) in [
        (&["gate.yaml", target][..], "--as"),
        (&["gate.yaml", "--as", "shop/web"], "HOST:PORT"),
        (&["bad.yaml", target, "--as", "shop/web"], "bad.yaml:14:"),
        (
            &["missing.yaml", target, "--as", "shop/web"],
            "missing.yaml",
        ),
        (
            &["none.yaml", target, "--as", "shop/web"],
            "no section `egress`",
        ),
        (
            &["gate.yaml", target, "--as", "web"],
            "NAMESPACE/SERVICEACCOUNT",
        ),
        (
            &["gate.yaml", target, "--as", "certificateName=a"],
            "`tls.clientCertificates`",
        ),
        (
            &["plain.yaml", target, "--as", "shop/web"],
            "`egress.identity`",
        ),
        (
            &["wrong", target, "--as", "shop/web", "--config", "gate.yaml"],
            "\"wrong\"",
        ),
        (
            &["gate.yaml", target, "--as", "shop/web", "--method", "GET"],
            "--path",
        ),
        (
            &[
                "gate.yaml",
                target,
                "--as",
                "shop/web",
                "--method",
                "GET",
                "--path",
                "/a%2fb",
            ],
            "non_canonical_path",
        ),
        (
            &[
                "gate.yaml",
                target,
                "--as",
                "shop/web",
                "--address",
                "127.1",
            ],
            "127.1",
        ),
    ] {
        let output = run(folder.path(), arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
}

#[test]
fn policies_that_are_objects_are_asked_and_what_is_not_known_is_told() {
    let folder = folder();
    replace(
        &folder.path().join("floor.yaml"),
        "apiVersion: portcullis.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: paste}\n\
         spec: {subjects: [{namespace: shop}], deny: [{host: api.example.com}]}\n",
    );
    let bare = ["gate.yaml", "api.example.com:443", "--as", "shop/web"];
    let (code, all) = answers(folder.path(), &bare);
    assert_eq!(code, Some(0));
    let unknown = all[0]["unknown"].to_string();
    for told in ["address of the client", "labels of its pod", "--manifests"] {
        assert!(unknown.contains(told), "{told}: {unknown}");
    }
    let more = ["--manifests", "floor.yaml"];
    let (code, all) = answers(folder.path(), &[&bare[..], &more].concat());
    assert_eq!(code, Some(1));
    assert_eq!(all[0]["reason"], "denied_host");
    assert_eq!(all[0]["policy"], "ClusterEgressPolicy/paste");
    let known = ["--as", "podLabels.tier=front,address=10.244.1.7"];
    let (_, all) = answers(folder.path(), &[&bare[..], &more, &known].concat());
    let unknown = all[0]["unknown"].as_array().map_or(0, Vec::len);
    assert_eq!(unknown, 0, "{}", all[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_decides_what_is_explained() {
    let policies = "  - {name: p, subjects: [{addresses: [127.0.0.0/8]}], allow: [a.example, {host: b.example, ports: [8443]}, {host: m.example, methods: [GET]}], deny: [d.example]}\n  - {name: q, subjects: [{addresses: [127.0.0.1/32]}], mode: report, allow: [d.example]}\n";
    let names = ["a", "b", "c", "d", "m"].map(|name| format!("{name}.example={PUBLIC}"));
    let site = Site::start(policies, &names.each_ref().map(String::as_str), &[]);
    let file = site.gateway.folder().join("explained.yaml");
    replace(&file, super::site::config("", policies));
    for target in [
        "b.example:443",
        "c.example:443",
        "d.example:443",
        "m.example:443",
        "93.184.215.14:443",
        "127.0.0.1:443",
        "0x7f.1:443",
    ] {
        let file = file.to_str().expect("a path");
        let arguments = [
            file,
            target,
            "--as",
            "address=127.0.0.1",
            "--address",
            PUBLIC,
        ];
        let (code, all) = answers(site.gateway.folder(), &arguments);
        let (_, answer) = site.connect(target);
        let said = format!("egress/{}", all[0]["reason"].as_str().expect("a code"));
        assert_eq!(said, reason(&answer), "{target}: {answer}");
        assert_eq!(code, Some(1), "{target}");
        assert!(matches!(status_of(&answer), 400 | 403), "{answer}");
    }
}

#[test]
fn a_plain_request_that_is_sent_over_tls_is_asked_as_such() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policies = "  - {name: p, subjects: [{addresses: [10.0.0.0/8]}], allow: [{host: a.example, originateTls: true, paths: [/v1]}]}\n";
    let config = super::site::config("", policies);
    std::fs::write(folder.path().join("gate.yaml"), config).expect("writable");
    for (path, code, verdict) in [("/v1/x", 0, "allow"), ("/v2", 1, "deny")] {
        let asked = ["gate.yaml", "a.example:80", "--as", "address=10.0.0.1"];
        let request = ["--method", "GET", "--path", path];
        let (status, all) = answers(folder.path(), &[&asked[..], &request].concat());
        assert_eq!(status, Some(code), "{all:?}");
        assert_eq!(all[0]["destination"], "a.example:443", "{all:?}");
        assert_eq!(all[0]["originatedTls"], true, "{all:?}");
        assert_eq!(all[0]["verdict"], verdict, "{all:?}");
    }
}
