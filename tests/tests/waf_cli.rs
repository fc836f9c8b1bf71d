//! `portcullis waf` and `portcullis explain`, and the audit record that they read.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use http::Request;
use http_body_util::Full;
use portcullis_tests::{Backend, Client, Gateway, portcullis, wait_for};
use serde_json::Value;

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(portcullis())
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may not read it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the binary runs");
    Run {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Run {
    run_with(folder, arguments, "")
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.out)
        .unwrap_or_else(|error| panic!("{error}: {} {}", run.out, run.err))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn crs() -> Option<PathBuf> {
    let found = std::env::var_os("PORTCULLIS_CRS").map(PathBuf::from);
    if found.is_none() {
        println!("skipped in part: PORTCULLIS_CRS does not say where the OWASP CRS is");
    }
    found
}

const ATTACK: &str = "/search?text=1%20UNION%20SELECT%20password%20FROM%20users";
const ELSEWHERE: &str = "/search?other=1%20UNION%20SELECT%20password%20FROM%20users";
const OTHER_PATH: &str = "/find?text=1%20UNION%20SELECT%20password%20FROM%20users";

fn pasted(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\nHost: shop.example\nUser-Agent: Mozilla/5.0\nAccept: */*\nCookie: sid=Hunter2\n\n"
    )
}

fn config(backend: &Backend, rules: &str, mode: &str) -> String {
    format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
  - name: shop
    mode: {mode}
    rules: {rules}
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- {{name: shop, hosts: [shop.example], policies: {{waf: {{profile: shop}}}}, rules: [{{backends: [{{name: one}}]}}]}}
- {{name: open, hosts: [open.example], rules: [{{backends: [{{name: one}}]}}]}}
",
        backend.address
    )
}

/// The list of rules, written as a block, so that SecLang can stand in it as it is.
fn with_exclusion(exclusion: &str, rest: &str) -> String {
    match exclusion {
        "" => format!("\n    - inline: '# none'\n{rest}"),
        text => format!("\n    - inline: |\n{text}\n{rest}"),
    }
}

/// Sends a request; its status and its id.
async fn send(gateway: &Gateway, target: &str) -> (u16, String) {
    let request = Request::get(target)
        .header("host", "shop.example")
        .header("user-agent", "Mozilla/5.0")
        .header("accept", "*/*")
        .header("authorization", "Bearer Hunter2Hunter")
        .header("cookie", "sid=Hunter2Hunter")
        .body(Full::default())
        .expect("a request");
    let mut client = Client::h1(gateway.http()).await;
    let response = client.send(request).await.expect("an answer");
    let id = response.headers()["x-request-id"].to_str().expect("text");
    (response.status().as_u16(), id.to_owned())
}

#[test]
fn check_tells_every_problem_and_warning_of_rules() {
    let folder = folder();
    let write =
        |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).expect("writable");
    fs::create_dir(folder.path().join("rules")).expect("a folder");
    write(
        "rules/a.conf",
        b"SecRule ARG \"@rx a\" \"id:1,deny\"\nSecRule ARGS \"@rx (\" \"id:2,deny\"\n",
    );
    write("rules/b.conf", b"SecAction \"id:3,pass,exec:/bin/sh\"\n");
    let wrong = run(folder.path(), &["waf", "check", "rules"]);
    assert_eq!(wrong.code, 1, "{}", wrong.out);
    assert!(wrong.out.ends_with("3 errors\n"), "{}", wrong.out);
    for line in [
        "rules/a.conf:1:9: error: unknown variable ARG (did you mean ARGS?)",
        "rules/a.conf:2:15: error: ",
        "rules/b.conf:1:22: error: action exec is not supported",
    ] {
        assert!(wrong.out.contains(line), "{line}: {}", wrong.out);
    }

    write(
        "good.conf",
        b"SecRule ARGS a \"id:1,deny\"\nSecDebugLogLevel 3\nSecRuleRemoveById 99\n",
    );
    let good = run(folder.path(), &["waf", "check", "good.conf", "baseline"]);
    assert_eq!(good.code, 0, "{}{}", good.out, good.err);
    assert!(
        good.out
            .contains("good.conf:2:1: warning: SecDebugLogLevel"),
        "{}",
        good.out
    );
    assert!(
        good.out
            .contains("good.conf:3:1: warning: this exclusion has no effect"),
        "{}",
        good.out
    );
    assert!(
        good.out
            .contains("rules, of portcullis-baseline/2, 2 warnings"),
        "{}",
        good.out
    );

    write("binary.conf", b"\x7fELF\xff\xfe");
    let unreadable = run(
        folder.path(),
        &["waf", "check", "binary.conf", "missing.conf"],
    );
    assert_eq!(unreadable.code, 1);
    assert!(
        unreadable
            .out
            .contains("binary.conf: not UTF-8 text at byte 4"),
        "{}",
        unreadable.out
    );
    assert!(
        unreadable.out.contains("missing.conf: No such file"),
        "{}",
        unreadable.out
    );

    if let Some(crs) = crs() {
        let path = |name: &str| crs.join(name).display().to_string();
        let (setup, rules) = (path("crs-setup.conf.example"), path("rules"));
        let all = run(folder.path(), &["waf", "check", &setup, &rules]);
        assert_eq!(all.code, 0, "{}", all.out);
        assert!(all.out.contains("OWASP_CRS/4"), "{}", all.out);
        assert!(all.out.contains(", 0 warnings"), "{}", all.out);
    }
}

#[test]
fn eval_tells_the_verdict_and_why() {
    let folder = folder();
    fs::write(folder.path().join("attack.http"), pasted(ATTACK)).expect("writable");
    let refused = run(folder.path(), &["waf", "eval", "--request", "attack.http"]);
    assert_eq!(refused.code, 3, "{}{}", refused.out, refused.err);
    for part in [
        "note: lines of the head end in LF",
        "verdict: refused with 403 by rule 9109000 in phase 2: Anomaly score",
        "(refused from 5 on)",
        "found: ARGS:text = \"1 UNION SELECT password FROM users\"",
        "score +5",
        "why:   @rx ",
    ] {
        assert!(refused.out.contains(part), "{part}: {}", refused.out);
    }
    let told = run(
        folder.path(),
        &["waf", "eval", "--request", "attack.http", "--json"],
    );
    let told = json(&told);
    assert_eq!(told["waf"]["verdict"], "blocked");
    assert_eq!(told["waf"]["inboundAnomalyScore"], 5);
    assert_eq!(told["transaction"]["request"]["headers"]["cookie"], "***");
    let passed = run_with(
        folder.path(),
        &["waf", "eval", "--request", "-"],
        &pasted("/search?text=hello"),
    );
    assert_eq!(passed.code, 0, "{}", passed.out);
    assert!(passed.out.contains("verdict: pass\n"), "{}", passed.out);

    fs::write(
        folder.path().join("own.conf"),
        "SecResponseBodyAccess On\nSecRule RESPONSE_BODY secret-code \"id:1,phase:4,deny,status:502\"\n\
         SecRule ARGS_POST:a \"@streq b\" \"id:2,phase:2,deny,status:418\"\n",
    )
    .expect("writable");
    fs::write(
        folder.path().join("answer.http"),
        "HTTP/1.1 200 OK\nContent-Type: text/html\n\nthe secret-code\n",
    )
    .expect("writable");
    let arguments = [
        "waf",
        "eval",
        "--request",
        "-",
        "--rules",
        "own.conf",
        "--response",
        "answer.http",
    ];
    let leaked = run_with(folder.path(), &arguments, &pasted("/"));
    assert_eq!(leaked.code, 3, "{}{}", leaked.out, leaked.err);
    assert!(
        leaked.out.contains("refused with 502 by rule 1 in phase 4"),
        "{}",
        leaked.out
    );
    let form = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\na=b\n";
    let form = run_with(folder.path(), &arguments[..6], form);
    assert!(
        form.out.contains("refused with 418"),
        "{}{}",
        form.out,
        form.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn eval_takes_profile_and_mode_from_a_configuration() {
    let backend = Backend::start("one").await;
    let folder = folder();
    let text = config(&backend, "[{builtin: baseline}]", "detect");
    fs::write(folder.path().join("gateway.yaml"), text).expect("writable");
    fs::write(folder.path().join("attack.http"), pasted(ATTACK)).expect("writable");
    let eval = |more: &[&str]| {
        let arguments = [
            "waf",
            "eval",
            "--request",
            "attack.http",
            "--config",
            "gateway.yaml",
        ];
        run(folder.path(), &[&arguments, more].concat())
    };
    for more in [
        &[][..],
        &["--route", "shop"],
        &["--route", "shop/0"],
        &["--profile", "shop"],
    ] {
        let detected = eval(more);
        assert_eq!(
            detected.code, 0,
            "{more:?}: {}{}",
            detected.out, detected.err
        );
        assert!(
            detected.out.contains("pass, since only detecting"),
            "{}",
            detected.out
        );
    }
    for (more, expected) in [
        (
            &["--profile", "shopp"][..],
            "there is no profile \"shopp\" (did you mean \"shop\"?); there are shop",
        ),
        (
            &["--route", "shp"],
            "there is no route \"shp\" (did you mean \"shop\"?); there are shop, open",
        ),
        (&["--route", "open"], "the rule open/0 has no WAF profile"),
    ] {
        let refused = eval(more);
        assert_eq!(refused.code, 1, "{more:?}");
        assert!(refused.err.contains(expected), "{}", refused.err);
    }
    let elsewhere = pasted("/").replace("shop.example", "other.example");
    let unrouted = run_with(
        folder.path(),
        &["waf", "eval", "--request", "-", "--config", "gateway.yaml"],
        &elsewhere,
    );
    assert!(
        unrouted.err.contains("no route takes GET other.example/"),
        "{}",
        unrouted.err
    );
}

#[test]
fn eval_says_what_is_wrong_with_a_request() {
    let folder = folder();
    fs::write(folder.path().join("binary"), b"\x1f\x8b\x08\x00").expect("writable");
    let eval = |file: &str, input: &str| {
        let told = run_with(folder.path(), &["waf", "eval", "--request", file], input);
        assert_eq!(told.code, 1, "{}", told.out);
        told.err
    };
    for (file, input, expected) in [
        (
            "missing.http",
            "",
            "missing.http cannot be read: No such file",
        ),
        (
            "binary",
            "",
            "binary is no request: this is no text of HTTP: byte 0",
        ),
        ("-", "", "the file is empty"),
        ("-", "GET / HTTP/1.1\nAccept: */*\n\n", "has no Host"),
        ("-", "GET /\nHost: h\n\n", "METHOD TARGET HTTP/1.1"),
        (
            "-",
            "GET /%00 HTTP/1.1\nHost: h\n\n",
            "the gateway refuses the path",
        ),
        (
            "-",
            "POST / HTTP/1.1\nHost: h\nContent-Length: 5\n\nab",
            "has only 2 bytes",
        ),
    ] {
        let told = eval(file, input);
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let rules = run_with(
        folder.path(),
        &["waf", "eval", "--request", "-", "--rules", "none.conf"],
        &pasted("/"),
    );
    assert!(
        rules.err.contains("none.conf: No such file"),
        "{}",
        rules.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_record_is_that_of_modsecurity_with_fields_beside() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        "{}logs: {{access: access.log, audit: audit.log, secrets: [card]}}\n",
        config(&backend, "[{builtin: baseline}]", "block")
    ));
    let (status, id) = send(
        &gateway,
        &format!("{ATTACK}&password=Hunter2Hunter&cardNumber=4711-4711"),
    )
    .await;
    assert_eq!(status, 403);
    wait_for("the audit record", || gateway.audit_lines().len() == 1);
    let line = &gateway.audit_lines()[0];
    let transaction = &line["transaction"];
    assert_eq!(transaction["client_ip"], "127.0.0.1");
    assert_eq!(transaction["unique_id"], id.as_str());
    assert_eq!(transaction["request"]["method"], "GET");
    assert_eq!(transaction["request"]["http_version"], 1.1);
    assert_eq!(transaction["request"]["headers"]["host"], "shop.example");
    assert_eq!(transaction["response"]["http_code"], 403);
    assert_eq!(transaction["producer"]["secrules_engine"], "Enabled");
    assert_eq!(
        transaction["producer"]["components"][0],
        "portcullis-baseline/2"
    );
    assert!(transaction["host_port"].is_u64() && transaction["client_port"].is_u64());
    assert!(
        transaction["time_stamp"]
            .as_str()
            .is_some_and(|time| time.len() == 24)
    );
    assert!(
        transaction["server_id"]
            .as_str()
            .is_some_and(|name| !name.is_empty())
    );
    let message = &transaction["messages"][0];
    let details = &message["details"];
    for field in [
        "match",
        "reference",
        "ruleId",
        "file",
        "lineNumber",
        "data",
        "severity",
        "ver",
        "rev",
        "maturity",
        "accuracy",
    ] {
        assert!(details[field].is_string(), "{field}: {details}");
    }
    assert!(details["tags"].is_array());
    let reason = details["match"].as_str().expect("text");
    assert!(
        reason.starts_with("Matched \"Operator `Rx' with parameter `")
            && reason.contains("against variable `ARGS:text'"),
        "{reason}"
    );
    let waf = &line["waf"];
    assert_eq!(
        (&waf["verdict"], &waf["mode"], &waf["rule"]),
        (&"blocked".into(), &"on".into(), &"shop/0".into())
    );
    assert_eq!(waf["rules"]["hash"].as_str().map(str::len), Some(64));
    assert_eq!(waf["snapshot"]["version"], 1);
    assert_eq!(waf["level"]["inboundThreshold"], 5);
    assert_eq!(waf["matches"][0]["found"][0]["variable"], "ARGS:text");
    let told = line.to_string();
    assert!(
        !told.contains("Hunter2") && !told.contains("4711"),
        "{told}"
    );
    assert!(
        transaction["request"]["uri"]
            .as_str()
            .is_some_and(|uri| uri.ends_with("&password=***&cardNumber=***"))
    );
}

/// Refuses an attack, asks for its exclusion, pastes that, and tries again.
async fn explained_and_excluded(rules: impl Fn(&str) -> String) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend, &rules(""), "block"));
    let (status, id) = send(&gateway, ATTACK).await;
    assert_eq!(status, 403);
    wait_for("the audit record", || !gateway.audit_lines().is_empty());
    let admin = format!("http://{}", gateway.at("admin"));
    let folder = gateway.folder();
    let by_ring = run(folder, &["explain", &id, "--admin", &admin]);
    assert_eq!(by_ring.code, 0, "{}{}", by_ring.out, by_ring.err);
    assert!(
        by_ring.out.contains("refused with 403 by rule"),
        "{}",
        by_ring.out
    );
    assert!(by_ring.out.contains("ARGS:text"), "{}", by_ring.out);
    let by_file = run(folder, &["explain", &id, "--audit", "audit.log"]);
    assert_eq!(by_ring.out, by_file.out);
    let told = json(&run(folder, &["explain", &id, "--admin", &admin, "--json"]));
    let exclusion = told["exclusion"]["seclang"].as_str().expect("an exclusion");
    assert!(by_ring.out.contains(exclusion), "{}", by_ring.out);

    let indented: Vec<String> = exclusion
        .lines()
        .map(|line| format!("        {line}"))
        .collect();
    gateway.reload(&config(&backend, &rules(&indented.join("\n")), "block"));
    assert_eq!(send(&gateway, ATTACK).await.0, 200, "{exclusion}");
    for still in [ELSEWHERE, OTHER_PATH] {
        assert_eq!(send(&gateway, still).await.0, 403, "{still}: {exclusion}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exclusion_of_explain_lets_one_request_pass_the_baseline() {
    explained_and_excluded(|exclusion| with_exclusion(exclusion, "    - builtin: baseline\n"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exclusion_of_explain_lets_one_request_pass_the_crs() {
    let Some(crs) = crs() else { return };
    // What judges this request, and not all of it: a debug build takes long to compile.
    let names = [
        "crs-setup.conf.example",
        "rules/REQUEST-901-INITIALIZATION.conf",
        "rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf",
        "rules/REQUEST-949-BLOCKING-EVALUATION.conf",
    ];
    let rest: String = names
        .iter()
        .map(|name| format!("    - file: {}\n", crs.join(name).display()))
        .collect();
    explained_and_excluded(|exclusion| with_exclusion(exclusion, &rest)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_where_it_looked_in_vain() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&config(&backend, "[{builtin: baseline}]", "block"));
    let (status, id) = send(&gateway, "/plain").await;
    assert_eq!(status, 200);
    let admin = format!("http://{}", gateway.at("admin"));
    let folder = gateway.folder();
    fs::write(folder.join("other.log"), "no JSON\n{\"requestId\": 1}\n").expect("writable");
    for (arguments, expected) in [
        (
            &["--admin", &admin][..],
            "knows no record of a WAF for the request",
        ),
        (
            &["--audit", "other.log"],
            "other.log has no record of a WAF",
        ),
        (
            &["--audit", "none.log"],
            "none.log cannot be read: No such file",
        ),
        (
            &["--admin", "http://127.0.0.1:1"],
            "asking the gateway at http://127.0.0.1:1",
        ),
        (
            &["--admin", "nonsense"],
            "is no address: write http://127.0.0.1:9091",
        ),
    ] {
        let told = run(folder, &[&["explain", &id], arguments].concat());
        assert_eq!(told.code, 1, "{}", told.out);
        assert!(told.err.contains(expected), "{expected}: {}", told.err);
    }
    let no_id = run(folder, &["explain", "a/b", "--audit", "other.log"]);
    assert!(no_id.err.contains("is no request id"), "{}", no_id.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_no_rule_sees_are_counted() {
    let backend = Backend::start("one").await;
    for (over_limit, reason) in [("skip", "over-limit"), ("inspect-prefix", "prefix-only")] {
        let rules =
            format!("[{{builtin: baseline}}]\n    bodyLimit: 10B\n    overLimit: {over_limit}");
        let gateway = Gateway::start(&config(&backend, &rules, "block"));
        let mut client = Client::h1(gateway.http()).await;
        for body in ["short", "longer than ten bytes"] {
            let request = Request::post("/form")
                .header("host", "shop.example")
                .header("content-type", "text/plain")
                .body(Full::from(body))
                .expect("a request");
            let response = client.send(request).await.expect("an answer");
            assert_eq!(response.status(), 200, "{over_limit}");
        }
        let counted = format!(
            r#"portcullis_waf_not_inspected_total{{part="request-body",reason="{reason}",rule="shop/0"}}"#
        );
        wait_for("the count", || gateway.metric(&counted).is_some());
        assert_eq!(gateway.metric(&counted), Some(1.0), "{over_limit}");
        let (_, traffic) = gateway.admin("/waf/traffic");
        let traffic: Value = serde_json::from_str(&traffic).expect("JSON");
        let shop = &traffic["rules"]["shop/0"];
        assert_eq!(
            (&shop["requests"], &shop["notInspected"][0]["reason"]),
            (&2.into(), &reason.into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn report_tells_what_is_inspected_and_what_is_not() {
    let backend = Backend::start("one").await;
    let rules = "\n    - inline: 'SecRule REQUEST_URI \"@beginsWith /bypass\" \"id:7,phase:1,pass,nolog,ctl:ruleEngine=Off\"'\n    - builtin: baseline\n    - inline: SecRuleRemoveById 9100604\n";
    let text = config(&backend, rules, "block");
    let gateway = Gateway::start(&text);
    for target in ["/a", "/bypass/1", "/bypass/2"] {
        assert_eq!(send(&gateway, target).await.0, 200);
    }
    let admin = format!("http://{}", gateway.at("admin"));
    let arguments = ["waf", "report", "--config", "portcullis.yaml"];
    let told = run(
        gateway.folder(),
        &[&arguments[..], &["--admin", &admin]].concat(),
    );
    assert_eq!(told.code, 0, "{}", told.err);
    for part in [
        "shop.example  (rule shop/0)\n  profile shop blocks, rules ",
        "thresholds 5 inbound",
        "request bodies: up to 1048576 bytes, then refuse",
        "requests so far: 3",
        "not fully inspected: 2 (request, switched-off)",
        "open.example  (rule open/0)\n  no WAF: nothing is inspected",
        "SecRuleRemoveById 9100604  (always, 1 rule; shop.rules[2].inline:1)",
        "ctl:ruleEngine=Off  (where rule 7 matches; shop.rules[0].inline:1)",
    ] {
        assert!(told.out.contains(part), "{part}: {}", told.out);
    }
    let told = json(&run(
        gateway.folder(),
        &[&arguments[..], &["--json"]].concat(),
    ));
    let shop = &told["routes"][0];
    assert_eq!(shop["hosts"][0], "shop.example");
    assert_eq!(shop["waf"]["mode"], "on");
    assert!(shop["traffic"].is_null(), "nobody was asked");
    let rules = shop["waf"]["rules"].as_str().expect("a hash");
    let exclusions = told["rules"][rules]["exclusions"]
        .as_array()
        .expect("a list");
    assert!(
        exclusions
            .iter()
            .any(|one| one["text"] == "SecRuleRemoveById 9100604"),
        "{exclusions:?}"
    );
    let counted =
        r#"portcullis_waf_not_inspected_total{part="request",reason="switched-off",rule="shop/0"}"#;
    assert_eq!(gateway.metric(counted), Some(2.0));
}
