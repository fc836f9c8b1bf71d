//! The forms in which it is printed, what a configuration makes of it, and what is refused.

use std::{collections::BTreeMap, fs, process::Command};

use portcullis_tests::{Authority, portcullis};

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

/// Without quotes a shell makes one line of all, and `#` ends it.
#[test]
fn egr_29_a_shell_takes_the_lines_without_quotes_too() {
    let script = "eval $(\"$0\" egress clients http://127.0.0.1:3128 --no-proxy .svc); echo \"$https_proxy $NO_PROXY $NODE_USE_ENV_PROXY\"";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(portcullis())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("there is a shell");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "http://127.0.0.1:3128 localhost,127.0.0.1,::1,.svc 1\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// What the webhook mounts, and the relay that it adds, are in pods alone: a shell does without the file of
/// authorities, and whoever writes a container is told what it needs.
#[test]
fn egr_29_what_is_in_pods_alone_is_said_and_not_taken_for_granted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("egress.yaml");
    let ca = folder.path().join("ca.crt");
    fs::write(&ca, Authority::new().pem()).expect("writable");
    let ca = ca.to_str().expect("UTF-8");
    let of = |identity: &str, arguments: &[&str]| {
        let text = format!(
            "egress:\n  listeners: [{{name: proxy, address: '127.0.0.1:0'}}]\n  policies: [{{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], allow: [good.test]}}]\n  workloads: {{injection: {{proxy: 'http://10.0.0.7:3128', {identity}, trust: {{configMap: bundle, key: ca.crt}}}}}}\n"
        );
        fs::write(&file, text).expect("writable");
        clients(&[&["-c", file.to_str().expect("UTF-8")], arguments].concat())
    };
    let relay = "relay: {image: p, port: 3130}, token: {audience: portcullis}";
    let token = "identity: token, token: {audience: portcullis}";
    let mounted = "/etc/portcullis/trust/bundle.crt";
    let must_answer = "A relay (`portcullis egress relay`) must answer at 127.0.0.1:3130";

    let shell = of(relay, &[]).expect("settings");
    assert!(!shell.contains("export SSL_CERT_FILE"), "{shell}");
    for said in [must_answer, mounted, "name a file with --ca"] {
        assert!(shell.contains(said), "{said}: {shell}");
    }
    let shell = of(relay, &["--ca", ca]).expect("settings");
    let line = format!("export SSL_CERT_FILE='{ca}'\n");
    assert!(shell.contains(&line) && !shell.contains(mounted), "{shell}");
    for program in ["env", "kubernetes"] {
        let text = of(relay, &["--for", program]).expect("settings");
        let must_be = format!("# {mounted} must be at this path in the container, where pods have");
        for said in [must_answer, &must_be] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let text = of(relay, &["--for", program, "--ca", ca]).expect("settings");
        let must_be = format!("# {ca} must be at this path in the container.\n");
        assert!(text.contains(&must_be), "{text}");
        // What the webhook gives: the token is a file beside these.
        let text = of(token, &["--for", program]).expect("settings");
        let file = "reads it from /var/run/secrets/portcullis/token";
        assert!(
            text.contains(file) && !text.contains("token:$(cat"),
            "{text}"
        );
        assert!(text.contains("http://10.0.0.7:3128") && !text.contains(must_answer));
        let told = of(token, &["--for", program, "--token-file", "/t"]);
        let told = told.expect_err("it is asked for");
        assert!(told.contains("cannot read a token"), "{told}");
    }
    for program in ["java", "gradle", "maven", "ssh"] {
        let text = of(relay, &["--for", program]).expect("settings");
        assert!(text.contains(must_answer), "{text}");
        let told = of(token, &["--for", program]).expect_err("none can");
        assert!(told.contains("cannot read a token"), "{told}");
    }
    let at = clients(&["http://127.0.0.1:3130"]).expect("settings");
    assert!(!at.contains(must_answer), "{at}");
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
