//! Settings that do not fit into one ConfigMap.

use std::{fs, io::Write, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use portcullis_tests::{Gateway, Raw, portcullis, status_of};
use tempfile::TempDir;

/// Hosts of an allow-list that is too large for one ConfigMap.
const HOSTS: usize = 40_000;

/// The one address that every host of the test has; it leads nowhere.
const PUBLIC: &str = "93.184.215.14";

fn allow_list() -> String {
    let mut text = "egress:\n  listeners: [{name: proxy, address: '127.0.0.1:0'}]\n  policies:\n  - name: all\n    \
                    subjects: [{addresses: [127.0.0.0/8]}]\n    allow:\n"
        .to_owned();
    for number in 0..HOSTS {
        text.push_str(&format!("    - service-{number}.partners.example.com\n"));
    }
    text
}

fn config_map(name: &str, key: &str, text: &str) -> String {
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: gw}}\ndata:\n  {key}: |\n{indented}"
    )
}

fn packed(name: &str, key: &str, content: &[u8]) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("memory");
    let bytes = BASE64_STANDARD.encode(encoder.finish().expect("memory"));
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: gw}}\nbinaryData: {{{key}: {bytes}}}\n"
    )
}

fn folder(manifests: &[String]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("all.yaml"), manifests.concat()).expect("writable");
    folder
}

/// What `check` says of manifests with the ConfigMaps that are named.
fn check(manifests: &[String], names: &[&str]) -> (bool, String) {
    let folder = folder(manifests);
    let output = Command::new(portcullis())
        .args(["check", "--manifests"])
        .arg(folder.path())
        .args(names.iter().map(|name| format!("--configmap=gw/{name}")))
        .output()
        .expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// One ConfigMap has no room for it; three are one configuration, packed where that is needed.
/// On a cluster: `cluster/several_settings.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn cfg_11_what_is_too_large_for_one_config_map_fits_into_several() {
    let hosts = allow_list();
    let (accepted, said) = check(&[config_map("hosts", "hosts.yaml", &hosts)], &["hosts"]);
    let told = "ConfigMap/gw/hosts: error: its values have ";
    assert!(!accepted && said.contains(told), "{said}");
    assert!(said.contains("1 error"), "{said}");
    // What `kubectl apply` without `--server-side` cannot, the API server may.
    let rules = "# a rule\n".repeat(30_000);
    let (accepted, said) = check(
        &[config_map(
            "rules",
            "rules.yaml",
            &format!("{rules}listeners: [{{name: http, protocol: http}}]"),
        )],
        &["rules"],
    );
    assert!(
        accepted && said.contains("kubectl apply --server-side"),
        "{said}"
    );

    let base = "accessLists: [{name: office, allow: [127.0.0.0/8]}]";
    let all = [
        config_map("base", "base.yaml", base),
        packed("hosts", "hosts.yaml.gz", hosts.as_bytes()),
        config_map("routes", "routes.yaml", "defaults: {access: [office]}"),
    ];
    let (accepted, said) = check(&all, &["routes", "hosts", "base"]);
    assert!(accepted && !said.contains("ConfigMap/"), "{said}");
    // Each is needed: the others alone mean something else.
    for (missing, name) in ["base", "hosts", "routes"].iter().enumerate() {
        let mut others = all.to_vec();
        others.remove(missing);
        let (accepted, said) = check(&others, &["routes", "hosts", "base"]);
        let told = format!("ConfigMap/gw/{name}: error: there is no such ConfigMap\n1 error");
        assert!(!accepted && said.contains(&told), "{said}");
    }
    // Halves of a change of two meet as duplicates, and are refused.
    let twice = [&all[..], &[config_map("new", "base.yaml", base)]].concat();
    let (accepted, said) = check(&twice, &["base", "hosts", "new", "routes"]);
    assert!(
        !accepted && said.contains("ConfigMap/gw/new/base.yaml:1:") && said.contains("office"),
        "{said}"
    );
    let bomb = packed("bomb", "bomb.yaml.gz", &vec![b'#'; 32 << 20]);
    let (accepted, said) = check(&[bomb], &["bomb"]);
    let told = "ConfigMap/gw/bomb/bomb.yaml.gz: error: unpacks to more than 16 MiB";
    assert!(!accepted && said.contains(told), "{said}");

    let manifests = folder(&all);
    let path = manifests.path().display().to_string();
    let last = format!("service-{}.partners.example.com", HOSTS - 1);
    let gateway = Gateway::start_in(
        tempfile::tempdir().expect("a temporary folder"),
        "listeners: [{name: http, protocol: http, address: '127.0.0.1:0'}]",
        &[
            "--manifests",
            &path,
            "--configmap=gw/routes",
            "--configmap=gw/hosts",
            "--configmap=gw/base",
            "--test-dns",
            &format!("{last}={PUBLIC}"),
            // Nobody listens there: an answer that it cannot be reached comes after the decision.
            "--test-address-map",
            &format!("{PUBLIC}:443=127.0.0.1:1"),
        ],
    );
    for (host, expected) in [
        (last.as_str(), 502),
        ("service-x.partners.example.com", 403),
    ] {
        let request = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
        let answer = Raw::connect(gateway.at("egress/proxy"))
            .send(request.as_bytes())
            .response();
        assert_eq!(status_of(&answer), expected, "{answer}");
    }
}
