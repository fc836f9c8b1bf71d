//! Policies that are broken when they are read again.

use std::process::Command;

use portcullis_tests::{
    Recorder,
    egress_site::{PUBLIC, Site, allow, config, reason},
    portcullis, status_of, wait_for,
};

/// Five hundred entries, and one of another kind in the middle.
fn many(odd: &str) -> String {
    let mut entries: Vec<String> = (0..500).map(|n| format!("h{n}.test")).collect();
    entries.insert(250, odd.to_owned());
    config("", &allow(&format!("[{}]", entries.join(", "))))
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_32_a_broken_policy_opens_nothing_and_closes_nothing() {
    let recorder = Recorder::start().await;
    let good = config("", &allow("[good.test]"));
    let site = Site::start(
        &allow("[good.test]"),
        &[
            &format!("good.test={PUBLIC}"),
            &format!("evil.test={PUBLIC}"),
        ],
        &[(&format!("{PUBLIC}:443"), recorder.address)],
    );
    let stale = "portcullis_config_stale_since_timestamp_seconds";
    let is_stale = || site.gateway.metric(stale).is_some_and(|since| since > 0.0);
    assert!(!is_stale());
    for (broken, place, says) in [
        (good.replace("allow:", "alow:"), "policies[0]", "alow"),
        (
            good.replace("[good.test]", "[good.test"),
            "portcullis.yaml",
            "",
        ),
        (
            many("'*.test'"),
            "egress.policies[0].allow[250]",
            "public suffix",
        ),
        (
            many("{cidr: 127.0.0.1/32}"),
            "egress.policies[0].allow[250]",
            "always blocked",
        ),
        (
            config("", &allow("[evil.test, {host: a.test, port: 443}]")),
            "allow[1]",
            "port",
        ),
    ] {
        let refused = site
            .gateway
            .metric("portcullis_reloads_total{outcome=\"refused\"}")
            .unwrap_or(0.0);
        site.gateway.write_config(&broken);
        wait_for("the refusal", || {
            let now = site
                .gateway
                .metric("portcullis_reloads_total{outcome=\"refused\"}");
            now > Some(refused)
        });
        // The last good one holds, for what it allows and for what it does not.
        let (_, answer) = site.connect("good.test:443");
        assert_eq!(status_of(&answer), 200, "{says}: {answer}");
        let (_, answer) = site.connect("evil.test:443");
        assert_eq!(reason(&answer), "egress/not_allowed", "{says}: {answer}");
        // Who runs it sees that, and where the mistake is.
        assert!(is_stale(), "{says}");
        let (_, problems) = site.gateway.admin("/config/problems");
        assert!(
            problems.contains(place) && problems.contains(says),
            "{says}: {problems}"
        );
        let (_, ready) = site.gateway.management("/readyz");
        assert!(ready.contains("the last good one serves"), "{ready}");
        assert!(
            site.gateway
                .log()
                .contains("configuration refused; the last good one serves")
        );
        // A start with it fails.
        let file = site.gateway.folder().join("start.yaml");
        std::fs::write(&file, &broken).expect("writable");
        let output = Command::new(portcullis())
            .args(["run", "--config"])
            .arg(&file)
            .output();
        let output = output.expect("the binary runs");
        assert!(!output.status.success(), "{says}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(says), "{says}: {told}");
    }
    site.gateway.reload(&config("", &allow("[evil.test]")));
    assert!(!is_stale());
    assert_eq!(status_of(&site.connect("good.test:443").1), 403);
    assert_eq!(status_of(&site.connect("evil.test:443").1), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_33_the_proxy_is_ready_when_it_has_shown_that_it_refuses() {
    let policies = allow("[good.test]")
        + "  - {name: trial, subjects: [{addresses: [10.0.0.0/8]}], mode: report}\n"
        + "  - {name: loose, subjects: [{addresses: [10.1.0.0/16]}], mode: open}\n";
    let site = Site::start(&policies, &[&format!("good.test={PUBLIC}")], &[]);
    wait_for("readiness", || site.gateway.management("/readyz").0 == 200);
    let log = site.gateway.log();
    assert!(
        log.contains("the egress proxy has shown that it refuses"),
        "{log}"
    );
    assert!(
        log.contains("modes of the egress policies enforce=1 report=1 open=1"),
        "{log}"
    );
    let modes = |gateway: &portcullis_tests::Gateway| {
        ["enforce", "report", "open"]
            .map(|mode| gateway.metric(&format!("portcullis_egress_policies{{mode=\"{mode}\"}}")))
    };
    assert_eq!(modes(&site.gateway), [Some(1.0); 3]);
    // It is nothing that a client did.
    assert_eq!(site.gateway.audit_lines().len(), 0);
    assert!(
        !site
            .gateway
            .management("/metrics")
            .1
            .contains("policy=\"self-test\"")
    );
    site.gateway.reload(&config("", &allow("[good.test]")));
    assert_eq!(modes(&site.gateway), [Some(1.0), Some(0.0), Some(0.0)]);
    assert!(
        site.gateway
            .log()
            .contains("modes of the egress policies enforce=1 report=0 open=0")
    );
}
