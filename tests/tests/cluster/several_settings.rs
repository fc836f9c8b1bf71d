//! Settings of three ConfigMaps, one of them packed, for a gateway of its own.

use std::{io::Write, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use portcullis_tests::{Cluster, portcullis};

use crate::{
    edge::{Edge, edge, ingress, web},
    own::{gateway, rights},
};

/// The namespace of this gateway and of what it serves.
const NAMESPACE: &str = "several";

/// Lists of addresses.
const NOBODY: &str = "{name: nobody, allow: [192.0.2.1/32]}";
const ALL: &str = "{name: all, allow: [0.0.0.0/0, '::/0']}";

fn base() -> String {
    config_map(
        "base",
        "data",
        "\n  base.yaml: |
    listeners: [{name: http, protocol: http}, {name: https, protocol: https}]
    management: {address: '[::]:9090'}",
    )
}

fn routes(access: &str) -> String {
    defaults(&format!("defaults: {{access: [{access}]}}"))
}

fn defaults(text: &str) -> String {
    config_map("routes", "data", &format!("{{routes.yaml: '{text}'}}"))
}

fn lists(lists: &str) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let text = format!("accessLists: [{lists}]");
    encoder.write_all(text.as_bytes()).expect("memory");
    let bytes = BASE64_STANDARD.encode(encoder.finish().expect("memory"));
    config_map(
        "lists",
        "binaryData",
        &format!("{{lists.yaml.gz: {bytes}}}"),
    )
}

/// The ConfigMap of the lists, with rules beside them and, where there are any, their words.
fn lists_and_rules(words: Option<&str>) -> String {
    let words = words.map_or(String::new(), |words| format!("  words.txt: {words}\n"));
    let rules = format!(
        "data:
  shop.conf: |
    SecRuleEngine On
    SecRule ARGS \"@pmFromFile words.txt\" \"id:1,phase:1,deny,status:406\"
{words}---
"
    );
    lists(ALL).replace("---\n", &rules)
}

fn config_map(name: &str, field: &str, keys: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\n{field}: {keys}\n---\n"
    )
}

/// Asks the pod of the gateway, at a port: status and body; 0 where nothing answers.
fn ask(cluster: &Cluster, host: &str, port: u16, path: &str) -> (u16, String) {
    let address = cluster.field(
        &["pods", "-n", NAMESPACE, "-l", "app=several"],
        "{.items[0].status.podIP}",
    );
    let Ok(ip) = address.parse::<std::net::IpAddr>() else {
        return (0, String::new());
    };
    let (host, path) = (host.to_owned(), path.to_owned());
    cluster.within("node-a", move || async move {
        let client = reqwest::Client::builder()
            .resolve(&host, (ip, port).into())
            .timeout(std::time::Duration::from_secs(5))
            .no_proxy()
            .build()
            .expect("a client");
        match client
            .get(format!("http://{host}:{port}{path}"))
            .send()
            .await
        {
            Ok(response) => {
                let status = response.status().as_u16();
                (status, response.text().await.unwrap_or_default())
            }
            Err(_) => (0, String::new()),
        }
    })
}

#[test]
fn three_config_maps_are_one_configuration_and_one_that_is_missing_changes_nothing() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let status = |host: &str| ask(cluster, host, 8080, "/").0;
    let ready = || ask(cluster, "gateway.test", 9090, "/readyz");
    cluster.apply(&web(NAMESPACE, 1));
    let config_maps = [
        "--configmap=several/routes",
        "--configmap=several/lists",
        "--configmap=several/base",
    ];
    let named = [
        "--service-account=portcullis-several",
        "--system-namespace=several",
        "--namespace=several",
    ];
    cluster.apply(&rights(&[&named[..], &config_maps].concat()));
    cluster.apply(&[base(), lists(NOBODY), routes("nobody")].concat());
    cluster.apply(&ingress(NAMESPACE, "web", "several", "several.test", None));
    cluster.rolled_out(NAMESPACE, "web");
    let watched = ["--watch-namespace=several"];
    let arguments = [&watched[..], &config_maps].concat();
    cluster.apply(&gateway(NAMESPACE, "several", &arguments));
    cluster.rolled_out(NAMESPACE, "several");
    cluster.wait("all three are served", || status("several.test") == 403);
    assert_eq!(ready(), (200, "ready\n".to_owned()));

    // One is gone: what was goes on, and objects change.
    cluster.kubectl(&["delete", "configmap", "lists", "-n", NAMESPACE]);
    let refused =
        "the configuration is refused, for ConfigMap/several/lists; the last good one serves";
    cluster.wait("the loss is told", || ready().1.contains(refused));
    assert_eq!(ready().0, 200);
    let log = cluster.logs_of(NAMESPACE);
    let told = "ConfigMap/several/lists: error: there is no such ConfigMap";
    assert!(log.contains(told), "{log}");
    cluster.apply(&ingress(
        NAMESPACE,
        "later",
        "several",
        "later.several.test",
        None,
    ));
    cluster.wait("objects go on", || status("later.several.test") == 403);

    // What was not there at the start serves nothing.
    cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, "-l", "app=several"]);
    let missing = "the settings are refused, for ConfigMap/several/lists";
    cluster.wait("a new pod tells why it is not ready", || {
        let (status, said) = ready();
        status == 503 && said.contains(missing)
    });
    assert_eq!(status("several.test"), 0, "nothing listens");

    // The first half of a change of two is refused until the other half is there.
    cluster.apply(&lists(ALL));
    cluster.wait("the half is told", || {
        let (status, said) = ready();
        status == 503 && said.contains("for ConfigMap/several/routes/routes.yaml:1:")
    });
    cluster.apply(&routes("all"));
    cluster.wait("the whole is served", || status("several.test") == 200);

    // What is packed and cannot be read is told with an Event of its object.
    let broken = lists(NOBODY).replace("lists.yaml.gz: H4sI", "lists.yaml.gz: AAAA");
    cluster.apply(&broken);
    cluster.wait("what is no gzip is told", || {
        let events = edge.events(NAMESPACE);
        events.contains("ConfigMap/several/lists/lists.yaml.gz: error: cannot be unpacked as gzip")
    });
    assert_eq!(status("several.test"), 200);
    cluster.apply(&[lists(NOBODY), routes("nobody")].concat());
    cluster.wait("it is good again", || status("several.test") == 403);
    cluster.wait("and that is told", || ready().1 == "ready\n");
    rules_come_with_settings(&edge);
}

/// Rules and their data beside a document, edited while they serve.
fn rules_come_with_settings(edge: &Edge) {
    let cluster = edge.cluster;
    let status = |host: &str, word: &str| ask(cluster, host, 8080, &format!("/?a={word}")).0;
    cluster.apply(&lists_and_rules(Some("one")));
    cluster.apply(&defaults(
        "{wafProfiles: [{name: shop, rules: [{file: configmap:several/lists/shop.conf}]}], \
         defaults: {waf: {profile: shop, mode: block}}}",
    ));
    cluster.wait("the rules are there", || {
        status("several.test", "one") == 406
    });
    assert_eq!(status("several.test", "two"), 200);
    cluster.apply(&lists_and_rules(Some("two")));
    cluster.wait("an edit of data is taken up", || {
        status("several.test", "two") == 406
    });
    assert_eq!(status("several.test", "one"), 200);
    // Without the data the rules of before go on whole, and objects change.
    cluster.apply(&lists_and_rules(None));
    cluster.wait("the missing key is told", || {
        let events = edge.events(NAMESPACE);
        events.contains("ConfigMap several/lists has no key words.txt")
    });
    assert_eq!(status("several.test", "two"), 406);
    cluster.apply(&ingress(
        NAMESPACE,
        "ruled",
        "several",
        "ruled.several.test",
        None,
    ));
    cluster.wait("objects go on", || {
        status("ruled.several.test", "two") == 406
    });
    assert_eq!(status("ruled.several.test", "one"), 200);
    cluster.apply(&lists_and_rules(Some("three")));
    cluster.wait("it is good again", || {
        status("several.test", "three") == 406
    });
    assert_eq!(status("several.test", "two"), 200);
}

/// The limits that `check --manifests` tells of are those of the API server.
#[test]
fn what_check_calls_too_large_is_what_the_api_server_refuses() {
    let Some(edge) = edge() else { return };
    let of_size = |name: &str, bytes: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{a.yaml: '{}'}}\n",
            "a".repeat(bytes)
        )
    };
    let check = |manifest: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("one.yaml");
        std::fs::write(&file, manifest).expect("writable");
        let output = Command::new(portcullis())
            .args(["check", "--manifests"])
            .arg(&file)
            .output()
            .expect("the binary runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let applied = |arguments: &[&str], manifest: &str| {
        let arguments = [&["apply"], arguments, &["-f", "-"]].concat();
        edge.cluster.try_kubectl(&arguments, manifest)
    };
    let server_side = ["--server-side"];
    for (bytes, calls_error, calls_warning) in [
        (260_000, false, false),
        (263_000, false, true),
        (1 << 20, false, true),
        ((1 << 20) + 1, true, false),
    ] {
        let manifest = of_size(&format!("size-{bytes}"), bytes);
        let said = check(&manifest);
        assert_eq!(
            said.contains("error: its values have"),
            calls_error,
            "{said}"
        );
        assert_eq!(
            said.contains("(use `kubectl apply --server-side`)"),
            calls_warning,
            "{said}"
        );
        let of_client = applied(&[], &manifest);
        assert_eq!(
            of_client.is_err(),
            calls_error || calls_warning,
            "{bytes}: {of_client:?}"
        );
        let of_server = applied(&server_side, &manifest);
        assert_eq!(of_server.is_err(), calls_error, "{bytes}: {of_server:?}");
    }
}
