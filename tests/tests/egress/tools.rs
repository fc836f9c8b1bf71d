//! What `portcullis egress` makes of a real proxy's audit log.

use std::{
    path::Path,
    process::{Command, Output},
};

use portcullis_tests::{
    Authority, Backend, Recorder, check, portcullis, replace, status_of, wait_for,
};
use serde_json::Value;

use super::{
    inspected::Inspected,
    site::{PUBLIC, Site, client_hello},
};

const BLOCKED: &str = "169.254.169.254";

fn egress(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(portcullis())
        .arg("egress")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary runs")
}

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = egress(folder, arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).expect("text")
}

/// The message of a command that fails.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = egress(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// What a workload does: a tunnel with TLS, one with something else, plain requests and one that
/// is never let through. Returns the statuses, and whether what is no TLS came through.
struct Workload {
    web: Backend,
    tls: Backend,
    database: Recorder,
    authority: Authority,
}

impl Workload {
    async fn new() -> Self {
        let authority = Authority::new();
        Self {
            web: Backend::start("web").await,
            tls: Backend::start_tls("tls", authority.server(&["api.example"], &["http/1.1"])).await,
            database: Recorder::start().await,
            authority,
        }
    }

    fn proxy(&self, policies: &str) -> Site {
        let names = [
            "api.example",
            "db.example",
            "a.cdn.example",
            "b.cdn.example",
        ];
        let dns = names.map(|name| format!("{name}={PUBLIC}"));
        let at = |port: u16| format!("{PUBLIC}:{port}");
        Site::start(
            policies,
            &dns.each_ref().map(String::as_str),
            &[
                (&at(443), self.tls.address),
                (&at(8443), self.tls.address),
                (&at(80), self.web.address),
                (&at(5432), self.database.address),
            ],
        )
    }

    /// Does it all once; the log has a line for each before it returns.
    fn run(&self, site: &Site) -> Vec<String> {
        let before = site.gateway.audit_lines().len();
        let mut outcomes = Vec::new();
        let (mut tunnel, answer) = site.connect("api.example:443");
        tunnel.send(&client_hello(&self.authority, "api.example"));
        // The server's flight has come back through it.
        let came = status_of(&answer) == 200 && !tunnel.some().is_empty();
        outcomes.push(format!("tls {} {came}", status_of(&answer)));
        drop(tunnel);
        let bytes = self.database.bytes();
        let (mut tunnel, answer) = site.connect("db.example:5432");
        tunnel.send(b"hello db");
        tunnel.finish();
        tunnel.end();
        let came = self.database.bytes() - bytes;
        outcomes.push(format!("raw {} {came}", status_of(&answer)));
        for name in ["a", "b"] {
            let answer = site.get(&format!("http://{name}.cdn.example/"));
            outcomes.push(format!("{name} {}", status_of(&answer)));
        }
        for target in [format!("{BLOCKED}:80"), "api.example:8443".to_owned()] {
            let (mut tunnel, answer) = site.connect(&target);
            tunnel.finish();
            outcomes.push(format!("{target} {}", status_of(&answer)));
        }
        wait_for("a line for each", || {
            site.gateway.audit_lines().len() == before + 6
        });
        outcomes
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_what_was_seen_lets_it_pass_and_nothing_else() {
    let workload = Workload::new().await;
    let report = "  - {name: learn, subjects: [{addresses: [127.0.0.0/8]}], mode: report}\n";
    let site = workload.proxy(report);
    let seen = workload.run(&site);
    assert_eq!(
        seen,
        [
            "tls 200 true",
            "raw 200 8",
            "a 200",
            "b 200",
            "169.254.169.254:80 403",
            "api.example:8443 200"
        ]
    );
    let folder = site.gateway.folder();
    // What came to the port that is left out of the log now must be refused afterwards.
    let log = folder.join("seen.jsonl");
    let lines = site.gateway.audit_lines().into_iter();
    let lines = lines.filter(|line| line["port"] != 8443);
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    replace(&log, lines.join("\n"));

    let arguments = ["propose", "seen.jsonl", "--as", "document"];
    let text = printed(folder, &arguments);
    let served = text.replace("egress:\n", "egress:\n  listeners: [{name: proxy}]\n");
    let (good, problems) = check(&served);
    assert!(good, "{problems}\n{text}");
    for line in [
        "      mode: report\n",
        "        - {host: api.example, ports: [443]} # seen once\n",
        "        - {host: db.example, ports: [5432], raw: true} # seen once\n",
        "        - {host: a.cdn.example, ports: [80], methods: [\"GET\"]} # seen once\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("left out, always_blocked"), "{text}");
    let enforced = [
        arguments.as_slice(),
        &["--mode", "enforce", "--wildcard-from", "2"],
    ]
    .concat();
    let text = printed(folder, &enforced);
    assert!(
        text.contains("- {host: \"*.cdn.example\", ports: [80], methods: [\"GET\"]}"),
        "{text}"
    );
    let (_, policies) = text.split_once("  policies:\n").expect("policies");
    let held = workload.proxy(policies);
    assert_eq!(
        workload.run(&held),
        [
            "tls 200 true",
            "raw 200 8",
            "a 200",
            "b 200",
            "169.254.169.254:80 403",
            "api.example:8443 403"
        ]
    );

    // The gateway keeps the same records as its log.
    let admin = format!("http://{}", site.gateway.at("admin"));
    let by_admin = printed(folder, &["propose", "--admin", &admin, "--as", "document"]);
    let by_log = printed(folder, &["propose", "audit.log", "--as", "document"]);
    assert_eq!(by_admin, by_log);
    let as_resource = printed(folder, &["propose", "audit.log"]);
    assert!(
        as_resource.contains("# 127.0.0.1 has shown no token"),
        "{as_resource}"
    );
    let error = refused(folder, &["propose", "audit.log", "--max-entries", "2"]);
    assert!(
        error.contains("more than 2 distinct destinations"),
        "{error}"
    );
    let error = refused(folder, &["propose", "gone.jsonl"]);
    assert!(error.contains("gone.jsonl cannot be read"), "{error}");

    review(&held);
}

/// Of the enforced policy one entry is used no more: what its proxy has seen is reviewed.
fn review(site: &Site) {
    let folder = site.gateway.folder();
    let all = printed(
        folder,
        &["review", "--config", "portcullis.yaml", "audit.log"],
    );
    assert!(all.contains("everything is used"), "{all}");
    assert!(all.contains("6 egress records, 0 other lines"), "{all}");
    assert!(all.contains("warning: the log begins"), "{all}");

    let lines = site.gateway.audit_lines().into_iter();
    let lines = lines.filter(|line| line["host"] != "db.example");
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    replace(&folder.join("less.jsonl"), lines.join("\n"));
    let arguments = ["review", "--config", "portcullis.yaml", "less.jsonl"];
    let text = printed(folder, &arguments);
    assert!(
        text.contains("policy address-127-0-0-1\n  allow[1] db.example (5432): unused\n"),
        "{text}"
    );
    let output = egress(
        folder,
        &[arguments.as_slice(), &["--fail", "--output", "json"]].concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["lines"]["records"], 5);
    let policies = told["policies"].as_array().expect("a list");
    assert_eq!(policies.len(), 1, "{told}");
    assert_eq!(policies[0]["entries"][0]["rule"], "db.example");
    assert_eq!(policies[0]["entries"][0]["unused"], true);
    assert_eq!(policies[0]["entries"].as_array().map(Vec::len), Some(1));
    // Seen from a year later, nothing of it counts.
    let later = [arguments.as_slice(), &["--now", "2099-01-01T00:00:00Z"]].concat();
    let text = printed(folder, &later);
    assert!(text.contains("no record names it"), "{text}");
    assert!(text.contains("warning: the log ends"), "{text}");
    let output = egress(
        folder,
        &[
            "review",
            "--config",
            "portcullis.yaml",
            "--fail",
            "audit.log",
        ],
    );
    assert_eq!(output.status.code(), Some(0));
    let error = refused(folder, &["review", "--config", "gone.yaml", "audit.log"]);
    assert!(error.contains("gone.yaml"), "{error}");
}

/// Sends a request inside a tunnel, and tells its status.
fn inside(proxy: &Inspected, method: &str, path: &str) -> u16 {
    let mut client = proxy.inside("api.example:443");
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n");
    status_of(&client.ask(&head))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_into_is_not_opened_and_what_decides_inside_is_used() {
    let policy = "  - name: all
    subjects: [{addresses: [127.0.0.0/8]}]
    allow:
    - {host: api.example, inspect: true, methods: [GET, DELETE], paths: [/a]}
    - {regex: 'api[.]example', inspect: true, paths: [/b]}
    - {host: other.example, inspect: true}
    deny:
    - {host: api.example, methods: [DELETE]}
";
    let proxy = Inspected::start_with(policy, &["http/1.1"], &[]).await;
    for (method, path, status) in [
        ("GET", "/a", 200),
        ("GET", "/b", 200),
        ("DELETE", "/a", 403),
    ] {
        assert_eq!(inside(&proxy, method, path), status, "{method} {path}");
    }
    // One whose client leaves before anything can be looked into.
    let (left, answer) = proxy.site.connect("other.example:443");
    assert_eq!(status_of(&answer), 200, "{answer}");
    drop(left);
    wait_for("a line for each", || {
        proxy.records().len() == 3 && proxy.tunnels().len() == 4
    });
    let folder = proxy.site.gateway.folder();
    let text = printed(folder, &["propose", "audit.log", "--as", "document"]);
    for line in [
        "  policies: []\n",
        "#   api.example:443, allowed by policy all\n",
        "#   other.example:443, allowed by policy all\n",
        "# Of requests inside tunnels: 3 records.",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }

    let review = |log: &str| printed(folder, &["review", "--config", "portcullis.yaml", log]);
    let all = review("audit.log");
    assert!(all.contains("everything is used"), "{all}");
    assert!(all.contains("7 egress records, 0 other lines"), "{all}");
    let tunnels: Vec<String> = proxy.tunnels().iter().map(Value::to_string).collect();
    replace(&folder.join("tunnels.jsonl"), tunnels.join("\n"));
    let text = review("tunnels.jsonl");
    for unused in ["allow[1] api[.]example", "deny[0] api.example"] {
        assert!(text.contains(unused), "{unused}: {text}");
    }
}

#[test]
fn manifests_name_the_ports_that_the_proxy_listens_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let write = |name: &str, listeners: &str| {
        replace(
            &folder.join(name),
            format!("egress: {{listeners: [{listeners}]}}\n"),
        );
    };
    write("two.yaml", "{name: http}, {name: socks, protocol: socks5}");
    write("any.yaml", "{name: http, address: '[::]:0'}");
    write("own.yaml", "{name: http, address: '127.0.0.1:3128'}");
    let ingress = "listeners: [{name: http, protocol: http}]\n";
    replace(&folder.join("none.yaml"), ingress);
    let text = printed(
        folder,
        &[
            "netpol",
            "--config",
            "two.yaml",
            "--namespace",
            "agents",
            "--cluster",
            "--namespace-label",
            "egress=proxy",
        ],
    );
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let objects: Vec<Value> = objects.into_iter().filter(|one| !one.is_null()).collect();
    assert_eq!(objects.len(), 2, "{text}");
    let of_namespace = &objects[0]["spec"]["egress"][0];
    let ports = of_namespace["ports"].as_array().expect("ports");
    let ports: Vec<&Value> = ports.iter().map(|port| &port["port"]).collect();
    assert_eq!(ports, [1080, 3128]);
    assert_eq!(
        of_namespace["to"][0]["podSelector"]["matchLabels"],
        serde_json::json!({
            "app.kubernetes.io/name": "portcullis", "app.kubernetes.io/component": "egress",
        })
    );
    assert_eq!(objects[1]["kind"], "ClusterNetworkPolicy");
    assert_eq!(objects[1]["spec"]["egress"][1]["action"], "Deny");

    let namespace = ["--namespace", "agents"];
    for (arguments, told) in [
        (["--config", "any.yaml"], "say --port"),
        (["--config", "none.yaml"], "no `egress.listeners`"),
        (["--config", "own.yaml"], "no other pod reaches it"),
        (["--port", "0"], "0"),
        (["--proxy-labels", "a b=c"], "no key of a label"),
    ] {
        let arguments = [["netpol"].as_slice(), &arguments, &namespace].concat();
        let error = refused(folder, &arguments);
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
    for (arguments, told) in [
        (vec!["--port", "1"], "--namespace"),
        (vec!["--port", "1", "--namespace", "A"], "not a namespace"),
        (vec!["--port", "1", "--cluster"], "--namespace-label"),
        (vec!["--namespace", "agents"], "--port"),
        (
            vec!["--port", "1", "--namespace", "agents", "--priority", "1001"],
            "1001",
        ),
        (
            vec!["--port", "1", "--namespace", "portcullis-egress"],
            "the proxy's own",
        ),
    ] {
        let error = refused(folder, &[["netpol"].as_slice(), &arguments].concat());
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}
