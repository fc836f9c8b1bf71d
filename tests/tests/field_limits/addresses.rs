//! Who the client is, and which lists let it in.

use portcullis_tests::{Backend, Gateway, check, status_of, wait_for};

use crate::{ask, ask_from};

/// A gateway with routes to one backend; `policies` are those of the route.
fn config(backend: &Backend, top: &str, policies: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
{top}
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- {{name: a, hosts: [a.test], policies: {policies}, rules: [{{backends: [{{name: one}}]}}]}}
",
        backend.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_01_what_an_untrusted_peer_says_of_itself_changes_nothing() {
    let backend = Backend::start("one").await;
    let office = "accessLists: [{name: office, allow: [203.0.113.9/32]}]";
    let closed = Gateway::start(&config(&backend, office, "{access: [office]}"));
    let open = Gateway::start(&config(&backend, "", "{}"));
    for field in [
        "X-Forwarded-For: 203.0.113.9",
        "X-Real-IP: 203.0.113.9",
        "Forwarded: for=203.0.113.9",
        "True-Client-IP: 203.0.113.9",
        "CF-Connecting-IP: 203.0.113.9",
        "X-Client-IP: 203.0.113.9",
        "X_Forwarded_For: 203.0.113.9",
    ] {
        let field = format!("{field}\r\n");
        assert_eq!(status_of(&ask(closed.http(), &field)), 403, "{field}");
        assert_eq!(status_of(&ask(open.http(), &field)), 200, "{field}");
        let seen = backend.last();
        assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1", "{field}");
        assert_eq!(seen.header("x-real-ip"), "127.0.0.1", "{field}");
        let told = seen.headers.values().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.contains("203.0.113.9")
        });
        assert!(!told, "{field}: {:?}", seen.headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_02_the_client_is_the_rightmost_that_is_no_proxy_and_one_for_all() {
    let backend = Backend::start("one").await;
    let top = r#"
clientAddress: {trustedProxies: [127.0.0.1/32, 10.0.0.0/8]}
accessLists: [{name: not-nine, deny: [192.0.2.9]}]
rateLimits: [{name: each, rate: 3/d}]
wafProfiles:
- name: addresses
  rules: [{inline: 'SecRule REMOTE_ADDR "@ipMatch 192.0.2.8" "id:10001,phase:1,deny,status:418"'}]
"#;
    let policies = "{access: [not-nine], rateLimits: [each], waf: {profile: addresses}}";
    let gateway = Gateway::start(&config(&backend, top, policies));
    let many = format!("203.0.113.77{}", ", 10.0.0.5".repeat(299));
    for (chain, client) in [
        ("1.1.1.1, 203.0.113.9, 10.0.0.5", "203.0.113.9"),
        ("203.0.113.10", "203.0.113.10"),
        ("10.0.0.5, 10.0.0.6", "10.0.0.5"),
        ("junk, 10.0.0.7", "10.0.0.7"),
        ("1.1.1.1, junk, 10.0.0.8", "10.0.0.8"),
        ("203.0.113.11:51000, 10.0.0.5", "203.0.113.11"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
        // No honest chain is that long: the work is bounded, and the peer counts.
        (&many, "127.0.0.1"),
    ] {
        let answer = ask(gateway.http(), &format!("X-Forwarded-For: {chain}\r\n"));
        assert_eq!(status_of(&answer), 200, "{chain}: {answer}");
        assert_eq!(backend.last().header("x-real-ip"), client, "{chain}");
        let id = backend.last().header("x-request-id").to_owned();
        assert_eq!(gateway.access_line(&id)["client"], client, "{chain}");
    }
    // Access list, WAF and limiter go by the same address.
    let status = |chain: &str| {
        let field = format!("X-Forwarded-For: {chain}\r\n");
        status_of(&ask(gateway.http(), &field))
    };
    assert_eq!(status("203.0.113.1, 192.0.2.9, 10.0.0.5"), 403);
    assert_eq!(status("203.0.113.1, 192.0.2.8, 10.0.0.5"), 418);
    let spent = [
        "198.51.100.1",
        "1.1.1.1, 198.51.100.1",
        "2.2.2.2, 198.51.100.1, 10.0.0.5",
        "198.51.100.1:1, 10.0.0.6",
    ];
    assert_eq!(spent.map(status), [200, 200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_04_trust_is_asked_for_by_host_scheme_and_port_too() {
    let backend = Backend::start("one").await;
    let said = "X-Forwarded-Host: said.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\nX-Forwarded-Prefix: /x\r\n";
    for (trusted, host, proto, port, prefix) in [
        ("10.0.0.0/8", "a.test", "http", "80", ""),
        ("127.0.0.0/8", "said.test", "https", "8443", "/x"),
    ] {
        let top = format!("clientAddress: {{trustedProxies: [{trusted}]}}");
        let gateway = Gateway::start(&config(&backend, &top, "{}"));
        assert_eq!(status_of(&ask(gateway.http(), said)), 200);
        let seen = backend.last();
        assert_eq!(
            ["host", "proto", "port", "prefix"]
                .map(|name| seen.header(&format!("x-forwarded-{name}"))),
            [host, proto, port, prefix],
            "trusted: {trusted}"
        );
        assert_eq!(seen.header("host"), "a.test");
        assert_eq!(seen.headers.get_all("x-forwarded-proto").iter().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_05_who_connects_and_who_asks_are_two_rules() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
clientAddress: {{trustedProxies: [127.0.0.5]}}
accessLists:
- {{name: cdn, address: peer, allow: [127.0.0.5]}}
- {{name: office, allow: [203.0.113.0/24]}}
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
defaults: {{access: [cdn]}}
routes:
- name: a
  hosts: [a.test]
  rules:
  - {{matches: [{{path: {{prefix: /admin}}}}], policies: {{access: [cdn, office]}}, backends: [{{name: one}}]}}
  - {{backends: [{{name: one}}]}}
",
        backend.address
    ));
    let (cdn, other) = ([127, 0, 0, 5], [127, 0, 0, 7]);
    for (source, client, path, status, by) in [
        (cdn, "203.0.113.9", "/admin", 200, None),
        (cdn, "203.0.113.9", "/", 200, None),
        (cdn, "192.0.2.1", "/admin", 403, Some("office")),
        (cdn, "192.0.2.1", "/", 200, None),
        (other, "203.0.113.9", "/admin", 403, Some("cdn")),
        (other, "203.0.113.9", "/", 403, Some("cdn")),
    ] {
        let field = format!("X-Forwarded-For: {client}\r\n");
        let answer = ask_from(source, gateway.http(), path, &field);
        assert_eq!(
            status_of(&answer),
            status,
            "{source:?} {client} {path}: {answer}"
        );
        let id = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-request-id").then_some(value)
        });
        let line = gateway.access_line(id.expect("an id"));
        assert_eq!(line["decidedBy"].as_str(), by, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_07_a_range_is_read_in_one_way_or_refused() {
    let backend = Backend::start("one").await;
    let top = |allow: &str| {
        format!(
            "clientAddress: {{trustedProxies: [127.0.0.1]}}\naccessLists: [{{name: some, allow: {allow}}}]"
        )
    };
    for (allow, inside, outside) in [
        ("[10.0.0.5]", "10.0.0.5", "10.0.0.6"),
        ("['2001:db8::5']", "2001:db8::5", "2001:db8::6"),
        (
            "[' 10.0.0.0/8 , 192.168.0.0/16 ,']",
            "192.168.1.1",
            "11.0.0.1",
        ),
        (
            "[\"10.0.0.0/8\\n192.168.0.0/16\"]",
            "192.168.1.1",
            "11.0.0.1",
        ),
        // Host bits are told and masked.
        ("[10.1.2.3/8]", "10.200.0.1", "11.0.0.1"),
        ("['::ffff:10.0.0.0/104']", "10.1.1.1", "11.0.0.1"),
        ("['2001:db8::/32']", "2001:db8:ffff::1", "2001:db9::1"),
    ] {
        let yaml = config(&backend, &top(allow), "{access: [some]}");
        let gateway = Gateway::start(&yaml);
        for (client, status) in [(inside, 200), (outside, 403)] {
            let answer = ask(gateway.http(), &format!("X-Forwarded-For: {client}\r\n"));
            assert_eq!(status_of(&answer), status, "{allow} {client}: {answer}");
        }
        let (_, said) = check(&yaml);
        assert_eq!(
            said.contains("10.0.0.0/8 is meant"),
            allow.contains("10.1.2.3"),
            "{said}"
        );
    }
    let gateway = Gateway::start(&config(
        &backend,
        &top("['0.0.0.0/0,::/0']"),
        "{access: [some]}",
    ));
    for client in ["192.0.2.1", "2001:db8::1"] {
        let answer = ask(gateway.http(), &format!("X-Forwarded-For: {client}\r\n"));
        assert_eq!(status_of(&answer), 200, "{client}");
    }
    for allow in [
        "['::ffff:10.0.0.0/8']",
        "[010.0.0.1/32]",
        "[10.0.0.0/33]",
        "['2001:db8::/129']",
        "['fe80::1%eth0/64']",
        "[10.0/8]",
        "['']",
        "[example.test]",
        "[~]",
        // A list and nothing else, so that no text is taken for everybody or nobody.
        "''",
        "10.0.0.0/8",
        "~",
    ] {
        let (accepted, said) = check(&config(&backend, &top(allow), "{access: [some]}"));
        assert!(
            !accepted && said.contains("accessLists[0].allow"),
            "{allow}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_08_an_entry_that_cannot_be_read_opens_nothing() {
    let backend = Backend::start("one").await;
    let top = |allow: &str| {
        format!(
            "clientAddress: {{trustedProxies: [127.0.0.1]}}\naccessLists: [{{name: some, allow: [{allow}]}}]"
        )
    };
    let status = |gateway: &Gateway, client: &str| {
        let field = format!("X-Forwarded-For: {client}\r\n");
        status_of(&ask(gateway.http(), &field))
    };
    // Spaces separate as commas do: a comma that is missing loses nothing.
    let spaced = top("203.0.113.9/32 198.51.100.0/24");
    let gateway = Gateway::start(&config(&backend, &spaced, "{access: [some]}"));
    for (client, expected) in [
        ("203.0.113.9", 200),
        ("198.51.100.7", 200),
        ("192.0.2.1", 403),
    ] {
        assert_eq!(status(&gateway, client), expected, "{client}");
    }
    // At a start it is refused, with its place and the token.
    let broken = config(
        &backend,
        &top("203.0.113.9/32, 198.51.100.999"),
        "{access: [some]}",
    );
    let (accepted, said) = check(&broken);
    assert!(
        !accepted && said.contains("allow[1]") && said.contains("198.51.100.999"),
        "{said}"
    );
    // As an update, the last good list stays.
    gateway.write_config(&broken);
    wait_for("the problem", || {
        gateway
            .admin("/config/problems")
            .1
            .contains("198.51.100.999")
    });
    for (client, expected) in [
        ("203.0.113.9", 200),
        ("198.51.100.7", 200),
        ("192.0.2.1", 403),
    ] {
        assert_eq!(status(&gateway, client), expected, "{client}");
    }
}
