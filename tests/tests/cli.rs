//! The command line, as a newcomer meets it.

use std::{fs, process::Command};

use portcullis_tests::portcullis;

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run(folder: &std::path::Path, arguments: &[&str]) -> Run {
    let output = Command::new(portcullis())
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary runs");
    Run {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const WRONG: &str = "listeners:
- name: web
  protocol: htp
  port: 80
routes:
- name: shop
  hosts: [shop_example!]
  rules:
  - backends: [{name: shopp}]
    policies: {rateLimits: [none]}
backends:
- name: shop
  endpoints: [{address: shop.svc}]
- name: shop
  endpoints: []
rateLimits:
- {name: few, rate: 10}
process: {drainTimeout: 30}
egress:
  policies:
  - {name: all, subjects: [{addresses: [10.0.0.0/33]}], allow: [169.254.169.254]}
";

#[test]
fn check_tells_every_problem_with_its_place_and_exits_with_1() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("wrong.yaml"), WRONG).expect("writable");
    let run = run(folder.path(), &["check", "wrong.yaml"]);
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.out.ends_with("\n10 errors\n"), "{}", run.out);
    for (place, hint) in [
        ("wrong.yaml:3:13", "http"),
        ("wrong.yaml:4:3", "port"),
        ("wrong.yaml:7:", "shop_example!"),
        ("wrong.yaml:9:", "did you mean \"shop\""),
        ("wrong.yaml:13:", "shop.svc"),
        ("wrong.yaml:14:", "\"shop\" is taken"),
        ("wrong.yaml:17:", "10/s"),
        ("wrong.yaml:18:", "30s"),
        ("wrong.yaml:21:", "10.0.0.0/33"),
        ("wrong.yaml:21:", "169.254.169.254"),
    ] {
        assert!(
            run.out
                .lines()
                .any(|line| line.starts_with(place) && line.contains(hint)),
            "{place} {hint}\n{}",
            run.out
        );
    }
}

#[test]
fn a_good_file_exits_with_0_and_files_it_names_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = "listeners: [{name: web, protocol: http}]\nroutes: [{name: any, rules: [{backends: [{name: one}]}]}]\nbackends: [{name: one, endpoints: [{address: 127.0.0.1:1}]}]\n";
    fs::write(folder.path().join("good.yaml"), good).expect("writable");
    let ok = run(folder.path(), &["check", "good.yaml"]);
    assert_eq!(
        (ok.code, ok.out.starts_with("ok: ")),
        (0, true),
        "{}",
        ok.out
    );
    assert_eq!(run(folder.path(), &["check", "-q", "good.yaml"]).out, "");
    let broken = format!("{good}wafProfiles: [{{name: own, rules: [{{file: own.conf}}]}}]\n");
    fs::write(folder.path().join("broken.yaml"), &broken).expect("writable");
    let missing = run(folder.path(), &["check", "broken.yaml"]);
    assert!(
        missing.code == 1 && missing.out.contains("own.conf"),
        "{}",
        missing.out
    );
    fs::write(
        folder.path().join("own.conf"),
        "SecRule ARGS @rx x id:1\nSecRull\n",
    )
    .expect("writable");
    let refused = run(folder.path(), &["check", "broken.yaml"]);
    assert!(
        refused.code == 1 && refused.out.contains("own.conf"),
        "{}",
        refused.out
    );
    // The words of the one are taken by the other.
    let ok = run(folder.path(), &["check", "-q", "--config", "good.yaml"]);
    assert_eq!((ok.code, ok.out.as_str()), (0, ""), "{}", ok.err);
    let both = run(folder.path(), &["check", "good.yaml", "-c", "broken.yaml"]);
    assert!(
        both.code == 1 && both.out.contains("first at good.yaml"),
        "{}",
        both.out
    );
    let started = run(folder.path(), &["run", "broken.yaml"]);
    assert!(
        started.code == 1 && started.err.contains("own.conf"),
        "{}",
        started.err
    );
    for command in ["check", "run"] {
        assert_eq!(run(folder.path(), &[command]).code, 2, "{command}");
    }
    // What check refuses, run refuses too.
    let started = run(folder.path(), &["run", "--config", "broken.yaml"]);
    assert!(
        started.code == 1 && started.err.contains("own.conf"),
        "{}",
        started.err
    );
    for arguments in [
        &["check", "nowhere.yaml"][..],
        &["run", "--config", "nowhere.yaml"],
    ] {
        let run = run(folder.path(), arguments);
        assert_eq!(run.code, 1);
        assert!((run.out + &run.err).contains("nowhere.yaml"));
    }
}

#[test]
fn the_schema_is_json_and_knows_the_document() {
    let run = run(&std::env::temp_dir(), &["schema"]);
    assert_eq!(run.code, 0);
    let schema: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    for key in ["listeners", "routes", "backends", "egress", "wafProfiles"] {
        let property = &schema["properties"][key];
        assert!(property.is_object(), "{key}");
    }
    assert!(
        run.out.contains("\"description\""),
        "editors show what a key means"
    );
}

#[test]
fn a_wrong_command_is_told_what_there_is() {
    let folder = std::env::temp_dir();
    let none = run(&folder, &[]);
    assert_eq!(none.code, 2);
    for word in ["run", "check", "demo", "schema"] {
        assert!(none.err.contains(word), "{}", none.err);
    }
    let wrong = run(&folder, &["chek"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("check"),
        "{}",
        wrong.err
    );
    assert_eq!(run(&folder, &["--version"]).code, 0);
}

#[test]
fn rules_that_switch_themselves_off_are_warned_of() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(
        folder.path().join("own.conf"),
        "SecRuleEngine DetectionOnly\n",
    )
    .expect("writable");
    fs::write(
        folder.path().join("waf.yaml"),
        "listeners: [{name: web, protocol: http}]\nwafProfiles:\n- {name: w, rules: [{file: own.conf}, {builtin: baseline}]}\n",
    )
    .expect("writable");
    let run = run(folder.path(), &["check", "waf.yaml"]);
    assert_eq!(run.code, 0, "{}", run.out);
    assert!(
        run.out.contains("waf.yaml:3:") && run.out.contains("nothing is refused"),
        "{}",
        run.out
    );
}

#[test]
fn a_broken_file_does_not_hide_a_broken_certificate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(
        folder.path().join("a.yaml"),
        "listeners: [{name: web, protocol: https}]\ncertificates: [{name: c, certificate: c.crt, key: c.key}]\nwafProfiles: [{name: w, rules: [{file: none.conf}]}]\n",
    )
    .expect("writable");
    let run = run(folder.path(), &["check", "a.yaml"]);
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(
        run.out.contains("c.crt") && run.out.contains("none.conf"),
        "{}",
        run.out
    );
}

#[test]
fn an_address_in_use_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    for (name, yaml, place) in [
        (
            "listener.yaml",
            format!(
                "management: {{address: '127.0.0.1:0'}}\nadmin: {{address: '127.0.0.1:0'}}\nlisteners: [{{name: web, protocol: http, address: '{address}'}}]\n"
            ),
            "listener.yaml:3:",
        ),
        (
            "management.yaml",
            format!(
                "management: {{address: '{address}'}}\nadmin: {{address: '127.0.0.1:0'}}\nlisteners: [{{name: web, protocol: http, address: '127.0.0.1:0'}}]\n"
            ),
            "management.yaml:1:",
        ),
        (
            "egress.yaml",
            format!(
                "management: {{address: '127.0.0.1:0'}}\nadmin: {{address: '127.0.0.1:0'}}\negress: {{listeners: [{{name: out, address: '{address}'}}]}}\n"
            ),
            "egress.yaml:3:",
        ),
    ] {
        fs::write(folder.path().join(name), yaml).expect("writable");
        let run = run(folder.path(), &["run", "--config", name]);
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(
            run.err.contains(place) && run.err.contains("ss -ltnp"),
            "{}",
            run.err
        );
    }
}
