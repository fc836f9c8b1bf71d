//! The forms in which it is printed, what a configuration makes of it, and what is refused.

use std::{collections::BTreeMap, fs, process::Command};

use portcullis_tests::Authority;

use super::{clients, clients_in};

/// Three forms, one meaning: what a shell exports, a file of variables has, and a container is given.
#[test]
fn egr_29_all_forms_of_the_variables_say_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.crt");
    fs::write(&ca, Authority::new().pem()).expect("writable");
    let ca = ca.to_str().expect("a path in UTF-8");
    let of = |program: &str| {
        let list = ".svc,10.96.0.0/12,10.96.0.1";
        let url = "http://127.0.0.1:3128";
        clients(&["--for", program, url, "--ca", ca, "--no-proxy", list]).expect("settings")
    };
    let pairs = |text: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').expect("a variable");
            (name.to_owned(), value.to_owned())
        };
        lines.map(pair).collect()
    };
    let file = pairs(&of("env"));
    let script = format!("{}\nenv", of("shell"));
    let output = Command::new("sh")
        .args(["-c", &script])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("there is a shell");
    let mut shell = pairs(&String::from_utf8(output.stdout).expect("text"));
    shell.retain(|name, _| !["PATH", "PWD", "_", "SHLVL", "OLDPWD"].contains(&name.as_str()));
    assert_eq!(shell, file);
    let container: serde_json::Value =
        serde_saphyr::from_str(&of("kubernetes")).expect("YAML of a container");
    let container = container["env"].as_array().expect("a list").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let container: BTreeMap<String, String> = container
        .map(|variable| (text(&variable["name"]), text(&variable["value"])))
        .collect();
    assert_eq!(container, file);
    for (name, value) in [
        ("http_proxy", "http://127.0.0.1:3128"),
        ("HTTPS_PROXY", "http://127.0.0.1:3128"),
        (
            "no_proxy",
            "localhost,127.0.0.1,::1,.svc,10.96.0.0/12,10.96.0.1",
        ),
        ("NODE_USE_ENV_PROXY", "1"),
        ("REQUESTS_CA_BUNDLE", ca),
    ] {
        assert_eq!(file[name], value, "{name}");
    }
    assert_eq!(file.len(), 7 + 10);
}

/// One source: what the configuration gives to pods is what is printed by it.
#[test]
fn egr_29_what_pods_are_given_is_what_is_printed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("egress.yaml");
    let config = |injection: &str| {
        let text = format!(
            "egress:\n  listeners: [{{name: proxy, address: '127.0.0.1:0'}}]\n  clusterRanges: [10.96.0.0/12, 'fd00::/64']\n  policies: [{{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], allow: [good.test]}}]\n  workloads: {injection}\n"
        );
        fs::write(&file, text).expect("writable");
        clients(&[
            "-c",
            file.to_str().expect("UTF-8"),
            "--no-proxy",
            "10.96.0.1",
        ])
    };
    let token = "token: {audience: portcullis}";
    for (injection, url) in [
        (
            format!(
                "{{injection: {{proxy: 'http://10.0.0.7:3128', relay: {{image: p, port: 3130}}, noProxy: [.corp.test], {token}}}}}"
            ),
            "'http://127.0.0.1:3130'",
        ),
        (
            format!(
                "{{injection: {{proxy: 'http://10.0.0.7:3128', identity: token, noProxy: [.corp.test], {token}}}}}"
            ),
            "\"http://token:$(cat '/var/run/secrets/portcullis/token')@10.0.0.7:3128\"",
        ),
        (
            "{injection: {proxy: 'http://10.0.0.7', identity: none, noProxy: [.corp.test]}}"
                .to_owned(),
            "'http://10.0.0.7:3128'",
        ),
    ] {
        let text = config(&injection).expect("settings");
        for line in [
            format!("export HTTPS_PROXY={url}\n"),
            "export NO_PROXY='localhost,127.0.0.1,::1,.svc,.cluster.local,10.96.0.0/12,.corp.test,10.96.0.1'\n"
                .to_owned(),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
    }
    // In a pod the address of the API server is known, and one that is asked by its address is told it once.
    let direct = "{injection: {proxy: 'http://10.0.0.7', identity: none}}";
    config(direct).expect("settings");
    let path = file.to_str().expect("UTF-8");
    for more in [&[][..], &["--no-proxy", "10.96.0.1"]] {
        let text = clients_in(Some("10.96.0.1"), &[&["-c", path], more].concat());
        let text = text.expect("settings");
        assert!(
            text.contains(",.cluster.local,10.96.0.0/12,10.96.0.1'\n"),
            "{text}"
        );
    }
    let told = config("{}").expect_err("it gives nothing");
    assert!(told.contains("no `egress.workloads.injection`"), "{told}");
}

#[test]
fn egr_29_what_is_wrong_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let no_pem = path("text", "no certificate");
    let broken = path("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let missing = folder.path().join("missing");
    let missing = missing.to_str().expect("UTF-8");
    let at = "http://127.0.0.1:3128";
    let over_tls = "https://proxy.test:3128";
    for (arguments, says) in [
        (
            &["ftp://proxy.test:3128"][..],
            "\"ftp://proxy.test:3128\": expected http://HOST:PORT",
        ),
        (&["proxy.test:3128"], "\"proxy.test:3128\""),
        (&["http://proxy.test:0"], "\"http://proxy.test:0\""),
        (&["http://proxy.test:3128/x"], "without user, path"),
        (&[], "<URL>"),
        (&[at, "--config", missing], "cannot be used with"),
        (&[at, "--no-proxy", "*.corp.test"], "--no-proxy"),
        (&[at, "--no-proxy", "*.corp.test"], "no star; `.suffix`"),
        (&[at, "--no-proxy", "a.test, b.test"], "\" b.test\""),
        (&[at, "--no-proxy", "http://a.test"], "without a scheme"),
        (&[at, "--no-proxy", "a.test:8443"], "without a port"),
        (&[at, "--no-proxy", "fd00::/8"], "httpx"),
        (&[at, "--ca", &no_pem], "holds no PEM certificate"),
        (&[at, "--ca", &no_pem], &format!("--ca {no_pem}")),
        (&[at, "--ca", &broken], &format!("--ca {broken}")),
        (&[at, "--ca", missing], &format!("--ca {missing}")),
        (
            &[at, "--for", "java", "--token-file", "/t"],
            "--for java: java cannot read a token",
        ),
        (
            &[over_tls, "--for", "maven"],
            "--for maven: maven cannot speak TLS",
        ),
        (&[over_tls, "--for", "ssh"], "portcullis egress relay"),
        (&[at, "--for", "emacs"], "kubernetes"),
    ] {
        let told = clients(arguments).expect_err(says);
        assert!(told.contains(says), "{arguments:?}: {says}: {told}");
    }
    for url in [
        "http://token:s3cret@proxy.test:3128",
        "http://s3cret@proxy.test",
    ] {
        let told = clients(&[url]).expect_err("a password");
        assert!(
            told.contains("--token-file") && !told.contains("s3cret"),
            "{told}"
        );
    }
    // Of all, those that cannot are named, and the others there.
    let all = clients(&["--for", "all", over_tls]).expect("some can");
    for text in [
        "#### java: none; java cannot speak TLS",
        "export HTTPS_PROXY='https://proxy.test:3128'",
    ] {
        assert!(all.contains(text), "{text}: {all}");
    }
    // Who reads variables is found by its own name, and a port is always said.
    let npm = clients(&["--for", "npm", "http://proxy.test"]).expect("settings");
    assert!(npm.contains("export https_proxy='http://proxy.test:3128'\n"));
}
