//! A ClientHello that may name another host than it shows.

use portcullis_tests::{Authority, Recorder, status_of, wait_for, with_ech};

use super::site::{PUBLIC, Site, client_hello, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_may_hide_a_name_passes_unless_the_policy_refuses_it() {
    let recorder = Recorder::start().await;
    let public = format!("{PUBLIC}:443");
    let policy = |settings: &str| {
        format!(
            "  - {{name: all, subjects: [{{addresses: [127.0.0.0/8]}}], {settings}\
             allow: [api.example, {{host: raw.example, ports: [443], raw: true}}]}}\n"
        )
    };
    let refuse = "encryptedClientHello: refuse, ";
    let dns = ["api", "raw"].map(|name| format!("{name}.example={PUBLIC}"));
    let site = Site::start(
        &policy(""),
        &[&dns[0], &dns[1]],
        &[(&public, recorder.address)],
    );
    let plain = client_hello(&Authority::new(), "api.example");
    let hiding = with_ech(plain.clone());
    let mut bytes = 0;
    let mut open = |host: &str, hello: &[u8]| {
        let (mut tunnel, answer) = site.connect(&format!("{host}:443"));
        assert_eq!(status_of(&answer), 200, "{answer}");
        bytes += hello.len() as u64;
        tunnel.send(hello);
        wait_for("the hello", || recorder.bytes() == bytes);
        tunnel
    };
    // Browsers send the extension always.
    let mut before = open("api.example", &hiding);
    let other = open("api.example", &plain);

    // Whatever it hides, what it shows is the host that was asked for.
    let other_name = with_ech(client_hello(&Authority::new(), "evil.example"));
    let (mut tunnel, _) = site.connect("api.example:443");
    tunnel.send(&other_name);
    assert!(tunnel.ends());
    site.told("api.example", "reason", "sni_mismatch");

    // What would be refused now ends, and nothing else.
    site.gateway.reload(&config("", &policy(refuse)));
    assert!(before.ends());
    site.told("api.example", "ended", "policy_changed");
    let known = recorder.bytes();
    let (mut tunnel, answer) = site.connect("api.example:443");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.send(&hiding);
    assert!(tunnel.ends());
    let line = site.told("api.example", "reason", "encrypted_client_hello");
    assert_eq!(line["verdict"], "deny", "{line}");
    assert_eq!(line["ended"], "encrypted_client_hello", "{line}");
    assert_eq!(recorder.bytes(), known, "not one byte left");
    drop(open("api.example", &plain));
    // What is raw is not looked into.
    drop(open("raw.example", &hiding));
    drop(other);

    let report = format!("mode: report, {refuse}");
    site.gateway.reload(&config("", &policy(&report)));
    drop(open("api.example", &hiding));
    let line = site.told("api.example", "reason", "encrypted_client_hello");
    assert_eq!(line["verdict"], "would_deny", "{line}");
}
