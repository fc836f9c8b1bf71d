use serde_json::{Value, json};

use super::*;
use crate::egress_tools::record::tests::record;

fn entry(raw: bool, private: bool) -> Seen {
    Seen::Entry {
        raw,
        private,
        hidden_name: false,
    }
}

fn left(reason: &str) -> Seen {
    Seen::LeftOut(reason.into())
}

#[test]
fn each_verdict_and_reason_is_proposed_or_left_out() {
    let mut cluster = AddressSet::default();
    cluster.insert("44.0.0.0/8".parse().expect("a network"));
    let plain = Options {
        cluster_ranges: cluster,
        ..Options::default()
    };
    let all = Options {
        private: true,
        denied: true,
        ..plain.clone()
    };
    let seen = |verdict: &str, reason: &str, more: Value| {
        let mut changes = json!({"verdict": verdict, "reason": reason});
        let map = changes.as_object_mut().expect("an object");
        map.extend(more.as_object().expect("an object").clone());
        record(changes)
    };
    let private = json!({"resolved": ["10.0.0.9"]});
    let mixed = json!({"resolved": ["10.0.0.9", "93.184.216.34"]});
    let of_cluster = json!({"resolved": ["44.1.1.1"]});
    let blocked = json!({"resolved": ["169.254.169.254"]});
    let literal = json!({"host": "93.184.216.34", "resolved": ["93.184.216.34"]});
    let inside = json!({"host": "10.0.0.9", "resolved": []});
    let none = json!({});
    let hidden = Seen::Entry {
        raw: false,
        private: false,
        hidden_name: true,
    };
    for (verdict, reason, more, plainly, with_all) in [
        (
            "allow",
            "allowed",
            &none,
            entry(false, false),
            entry(false, false),
        ),
        (
            "allow",
            "allow_all",
            &none,
            entry(false, false),
            entry(false, false),
        ),
        (
            "allow",
            "allowed",
            &private,
            left(PRIVATE),
            entry(false, true),
        ),
        (
            "allow",
            "allowed",
            &of_cluster,
            left(PRIVATE),
            entry(false, true),
        ),
        (
            "allow",
            "allowed",
            &inside,
            left(PRIVATE),
            entry(false, true),
        ),
        (
            "allow",
            "allowed",
            &literal,
            entry(false, false),
            entry(false, false),
        ),
        ("allow", "allowed", &blocked, left(NEVER), left(NEVER)),
        // Mode `open`: it passed, and the reason is what it would be refused with.
        (
            "allow",
            "not_allowed",
            &none,
            entry(false, false),
            entry(false, false),
        ),
        (
            "allow",
            "denied_host",
            &none,
            left("denied_host"),
            left("denied_host"),
        ),
        (
            "would_deny",
            "not_allowed",
            &none,
            entry(false, false),
            entry(false, false),
        ),
        (
            "would_deny",
            "ip_literal",
            &literal,
            entry(false, false),
            entry(false, false),
        ),
        (
            "would_deny",
            "port_not_allowed",
            &none,
            entry(false, false),
            entry(false, false),
        ),
        (
            "would_deny",
            "request_not_allowed",
            &none,
            entry(false, false),
            entry(false, false),
        ),
        (
            "would_deny",
            "private_address",
            &private,
            left(PRIVATE),
            entry(false, true),
        ),
        // Without `resolved` the reason tells.
        (
            "would_deny",
            "private_address",
            &none,
            left(PRIVATE),
            entry(false, true),
        ),
        (
            "would_deny",
            "mixed_answer",
            &mixed,
            left("mixed_answer"),
            left("mixed_answer"),
        ),
        (
            "would_deny",
            "not_tls",
            &mixed,
            left("mixed_answer"),
            left("mixed_answer"),
        ),
        (
            "would_deny",
            "not_tls",
            &none,
            entry(true, false),
            entry(true, false),
        ),
        (
            "would_deny",
            "not_tls",
            &private,
            left(PRIVATE),
            entry(true, true),
        ),
        (
            "would_deny",
            "sni_mismatch",
            &none,
            left("sni_mismatch"),
            left("sni_mismatch"),
        ),
        (
            "would_deny",
            "grant_expired",
            &none,
            left("grant_expired"),
            left("grant_expired"),
        ),
        (
            "would_deny",
            "denied_address",
            &none,
            left("denied_address"),
            left("denied_address"),
        ),
        (
            "would_deny",
            "encrypted_client_hello",
            &none,
            hidden.clone(),
            hidden.clone(),
        ),
        (
            "deny",
            "encrypted_client_hello",
            &none,
            left("encrypted_client_hello"),
            hidden,
        ),
        (
            "deny",
            "not_allowed",
            &none,
            left("not_allowed"),
            entry(false, false),
        ),
        (
            "deny",
            "no_policy",
            &none,
            left("no_policy"),
            entry(false, false),
        ),
        (
            "deny",
            "private_address",
            &private,
            left(PRIVATE),
            entry(false, true),
        ),
        ("deny", "not_tls", &none, left("not_tls"), left("not_tls")),
        ("deny", "always_blocked", &none, left(NEVER), left(NEVER)),
        (
            "deny",
            "token_missing",
            &none,
            left("token_missing"),
            left("token_missing"),
        ),
        (
            "error",
            "dns_nxdomain",
            &none,
            left("dns_nxdomain"),
            left("dns_nxdomain"),
        ),
        (
            "error",
            "connect_failed",
            &none,
            left("connect_failed"),
            left("connect_failed"),
        ),
        (
            "error",
            "upstream_failed",
            &none,
            entry(false, false),
            entry(false, false),
        ),
        (
            "allow",
            "of_the_future",
            &none,
            left("of_the_future"),
            left("of_the_future"),
        ),
    ] {
        let record = seen(verdict, reason, more.clone());
        assert_eq!(judge(&record, &plain), plainly, "{verdict} {reason} {more}");
        assert_eq!(
            judge(&record, &all),
            with_all,
            "{verdict} {reason} {more}, all"
        );
    }
    let plain_request = seen("would_deny", "not_tls", json!({"method": "GET"}));
    assert_eq!(judge(&plain_request, &all), left("not_tls"));
    for (host, reason) in [
        ("cloudflare-ech.com", "ech_public_name"),
        ("a.localhost", NEVER),
    ] {
        let record = seen("allow", "allowed", json!({"host": host}));
        assert_eq!(judge(&record, &all), left(reason), "{host}");
    }
    let unknown = seen("deny", "bad_host", json!({"host": "", "port": 0}));
    assert_eq!(judge(&unknown, &all), left("bad_host"));
}
