//! What is found out by a policy that only reports.

use std::{collections::BTreeSet, process::Command};

use portcullis_tests::{egress_site::config, portcullis, status_of, wait_for};

use super::around::Around;

/// Hosts and ports that the log has a verdict for.
fn hosts(around: &Around, verdict: &str) -> BTreeSet<String> {
    let lines = around.site.gateway.audit_lines().into_iter();
    let lines = lines.filter(|line| line["verdict"] == verdict);
    lines
        .map(|line| {
            format!(
                "{}:{}",
                line["host"].as_str().unwrap_or_default(),
                line["port"]
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_35_report_mode_tells_what_package_managers_need_beside_their_index() {
    let policies = |mode: &str, more: &str| {
        format!(
            "  - {{name: build, subjects: [{{addresses: [127.0.0.0/8]}}], mode: {mode}, allow: [index.test{more}]}}\n"
        )
    };
    let around = Around::start(&policies("report", ""), "index.test", "store.test").await;
    let managers = ["pip", "npm", "cargo", "go-mod", "git"];
    let ran: Vec<&str> = managers
        .into_iter()
        .filter(|client| {
            let printed = around.run(client, "index.test");
            // Work goes on.
            printed.is_some_and(|printed| {
                assert!(printed.success, "{client}: {}", printed.text);
                true
            })
        })
        .collect();
    // A dependency over ssh: what is said is the host and its port.
    let (_, answer) = around.site.connect("ssh.test:22");
    assert_ne!(status_of(&answer), 403, "{answer}");
    wait_for("the records", || {
        hosts(&around, "would_deny").contains("store.test:443")
            && !around.records("ssh.test").is_empty()
    });
    assert_eq!(
        hosts(&around, "allow"),
        BTreeSet::from(["index.test:443".to_owned()])
    );
    assert_eq!(
        hosts(&around, "would_deny"),
        BTreeSet::from(["store.test:443".to_owned()])
    );
    // The summary, as the page about the tools has it.
    let log = around.site.gateway.folder().join("audit.log");
    let output = Command::new(portcullis())
        .args(["egress", "propose", "--as", "document"])
        .arg(&log)
        .output()
        .expect("the binary runs");
    let proposed = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "- {host: index.test, ports: [443]}",
        "- {host: store.test, ports: [443]}",
    ] {
        assert!(proposed.contains(line), "{line}: {proposed}");
    }
    assert!(
        proposed.contains("ssh.test:22"),
        "what did not work is said: {proposed}"
    );
    // Enforced, what is not listed is denied and nothing else.
    around
        .site
        .gateway
        .reload(&config("", &policies("enforce", "")));
    for client in ran
        .iter()
        .filter(|client| !["git", "go-mod"].contains(client))
    {
        let printed = around.run(client, "index.test").expect("it ran before");
        assert!(!printed.success, "{client}: {}", printed.text);
    }
    assert_eq!(
        hosts(&around, "deny"),
        BTreeSet::from(["store.test:443".to_owned()])
    );
    around
        .site
        .gateway
        .reload(&config("", &policies("enforce", ", store.test")));
    for client in ran {
        let printed = around.run(client, "index.test").expect("it ran before");
        assert!(printed.success, "{client}: {}", printed.text);
    }
}
