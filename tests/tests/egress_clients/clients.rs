//! What clients that people use make of the proxy.

use std::process::Command;

use portcullis_tests::{
    RealClients,
    egress_site::{allow, reason},
    installed, status_of, wait_for,
};

use super::around::Around;

#[tokio::test(flavor = "multi_thread")]
async fn egr_12_clients_that_are_strict_about_the_answer_take_it() {
    let around = Around::start(&allow("[o.test]"), "o.test", "o.test").await;
    for client in ["curl", "node", "java", "httpx"] {
        if let Some(printed) = around.run(client, "o.test") {
            assert!(
                printed.success && printed.text.contains("hello"),
                "{client}: {}",
                printed.text
            );
        }
    }
}

/// What each prints is with the real clients; here it is that a refusal is one for all of them: 403,
/// never 407, with the reason where a program finds it, on a connection that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn egr_17_a_refusal_is_403_with_a_reason_that_tools_understand() {
    let around = Around::start(&allow("[good.test]"), "good.test", "good.test").await;
    for (client, told) in [
        ("curl", "403 Forbidden egress/not_allowed"),
        ("git", "CONNECT tunnel failed, response 403"),
        (
            "pip",
            "Tunnel connection failed: 403 Forbidden egress/not_allowed",
        ),
        ("npm", "403 Forbidden egress/not_allowed"),
    ] {
        if let Some(printed) = around.run(client, "evil.test") {
            assert!(
                !printed.success && printed.text.contains(told),
                "{client}: {}",
                printed.text
            );
            assert!(!printed.text.contains("407"), "{client}: {}", printed.text);
        }
    }
    assert_eq!(
        around.files.asked(),
        [""; 0],
        "no client takes it for an answer of the origin"
    );
    let (mut client, answer) = around.site.connect("evil.test:443");
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/not_allowed")
    );
    let id = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "));
    let id = id.expect("an id").to_owned();
    for field in [
        "x-portcullis-policy: all",
        "content-type: application/json",
        "connection: keep-alive",
    ] {
        assert!(answer.contains(field), "{field}: {answer}");
    }
    // The same connection, to what is allowed.
    client.send(b"CONNECT good.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n");
    assert_eq!(status_of(&client.response()), 200);
    wait_for("the record", || {
        around
            .records("evil.test")
            .iter()
            .any(|line| line["requestId"] == *id)
    });
    let line = around.records("evil.test");
    let line = line
        .iter()
        .find(|line| line["requestId"] == *id)
        .expect("its record");
    for (field, value) in [
        ("verdict", "deny"),
        ("reason", "not_allowed"),
        ("policy", "all"),
        ("method", "CONNECT"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((&line["port"], &line["status"]), (&443.into(), &403.into()));
    assert!(
        line["client"]
            .as_str()
            .is_some_and(|client| client.starts_with("127.0.0.1:"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_18_clients_that_open_tunnels_for_plain_http_are_served() {
    let policies = allow("[{host: svc.test, ports: [80]}, {host: api.test, ports: [443]}]");
    let around = Around::start(&policies, "svc.test", "api.test").await;
    for client in ["node", "httplib2"] {
        let Some(printed) = around.run(client, "http://svc.test") else {
            continue;
        };
        assert!(
            printed.success && printed.text.contains("200 hello"),
            "{client}: {}",
            printed.text
        );
        wait_for("the record of a tunnel", || {
            let lines = around.records("svc.test");
            lines
                .iter()
                .any(|line| line["method"] == "CONNECT" && line["port"] == 80)
        });
        let refused = around.run(client, "http://api.test").expect("it is there");
        assert!(
            !refused.success && refused.text.contains("403"),
            "{client}: {}",
            refused.text
        );
        wait_for("the refusal", || {
            let lines = around.records("api.test");
            lines
                .iter()
                .any(|line| line["reason"] == "port_not_allowed")
        });
    }
}

/// The variables of `RealClients` are those that the page names for each client. A client that reads
/// none goes its own way: the proxy has no record of it, and so no policy helps.
#[tokio::test(flavor = "multi_thread")]
async fn egr_27_clients_go_through_the_proxy_by_what_is_documented_or_it_never_hears_of_them() {
    let around = Around::start(&allow("[good.test]"), "good.test", "good.test").await;
    let page = include_str!("../../../docs/egress.md");
    for said in [
        "`http_proxy` in small letters alone",
        "`NODE_USE_ENV_PROXY=1`, from Node 24 on",
        "-Dhttps.proxyHost= -Dhttps.proxyPort=",
        "`settings.xml`",
        "`ProxyCommand` of ssh",
        "[`portcullis egress clients`](egress-tools.md#clients)",
        "by `ENOTFOUND`, `getaddrinfo` or a timeout, while curl beside it works",
    ] {
        assert!(page.contains(said), "{said}");
    }
    for client in RealClients::ALL {
        let before = around.records("good.test").len();
        let Some(printed) = around.run(client, "good.test") else {
            continue;
        };
        assert!(printed.success, "{client}: {}", printed.text);
        wait_for("its record", || around.records("good.test").len() > before);
    }
    if installed("node").is_none() {
        return;
    }
    // Node before 24 reads no variable, and looks the name up itself.
    let before = around.site.gateway.audit_lines().len();
    let script =
        "fetch('https://good.test/hello').catch(error => console.log(String(error.cause)))";
    let output = Command::new("node")
        .args(["-e", script])
        .env("HTTPS_PROXY", around.url())
        .env_remove("NODE_USE_ENV_PROXY")
        .output()
        .expect("node starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("ENOTFOUND") || text.contains("EAI_AGAIN"),
        "{text}"
    );
    assert_eq!(around.site.gateway.audit_lines().len(), before);
}
