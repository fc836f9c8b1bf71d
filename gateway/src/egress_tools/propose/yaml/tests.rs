use portcullis_config::{
    problem::Severity,
    read::{SourceFile, read},
    validate::validate,
};
use serde_json::{Value, json};

use super::{
    super::{Mode, Options},
    *,
};
use crate::egress_tools::{read_lines, record::tests::line};

const IDENTITY: &str = "  identity:
    serviceAccountTokens: {jwks: jwks.json, issuer: 'https://issuer.test', audience: portcullis}
";

fn proposed(changes: &[Value], options: Options, form: Form) -> String {
    let log: Vec<String> = changes.iter().map(|change| line(change.clone())).collect();
    let mut collector = Collector::new(options);
    let mut counts = LineCounts::default();
    let read = read_lines("log", log.join("\n").as_bytes(), &mut counts, |record| {
        collector.add(&record).map_err(std::io::Error::other)
    });
    read.expect("the log is read");
    write(&collector, &counts, form)
}

/// What a configuration of it says, which the real validation accepts without a warning.
fn accepted(document: &str) -> Value {
    let (head, policies) = document.split_once("egress:\n").expect("a section");
    let text = format!("{head}egress:\n{IDENTITY}{policies}");
    let read = read(&[SourceFile {
        name: "proposed.yaml".into(),
        text: text.clone(),
    }]);
    let validated = validate(&read.document, &read.origins);
    let problems: Vec<String> = read
        .problems
        .iter()
        .chain(&validated.problems)
        .filter(|problem| problem.severity == Severity::Error || problem.path.contains("policies"))
        .map(ToString::to_string)
        .collect();
    assert_eq!(problems, [""; 0], "{text}");
    let egress = read.document.egress.expect("a section");
    serde_json::to_value(egress.policies).expect("it can be written")
}

fn passed(host: &str, port: u16) -> Value {
    json!({"host": host, "port": port, "verdict": "would_deny", "reason": "not_allowed"})
}

#[test]
fn a_proposal_covers_what_was_seen_and_is_accepted() {
    let by_address = |host: &str| {
        let mut seen = passed(host, 443);
        seen["identity"] = Value::Null;
        seen["client"] = "[fd00::7]:999".into();
        seen
    };
    let mut blocked = passed("169.254.169.254", 80);
    blocked["verdict"] = "deny".into();
    blocked["reason"] = "always_blocked".into();
    blocked["resolved"] = json!([]);
    let mut raw = passed("db.example.com", 5432);
    raw["reason"] = "not_tls".into();
    let seen = [
        passed("api.example.com", 443),
        passed("api.example.com", 80),
        passed("1e5", 443),
        passed("null", 443),
        passed("one.example", 443),
        passed("one.example", 443),
        passed("[2606:4700::1]", 443),
        passed("93.184.216.34", 80),
        raw,
        blocked,
        by_address("api.example.com"),
    ];
    let document = proposed(&seen, Options::default(), Form::Document);
    assert_eq!(
        accepted(&document),
        json!([
            {
                "name": "ci.builder",
                "subjects": [{"namespace": "ci", "serviceAccount": "builder"}],
                "mode": "report",
                "allow": [
                    {"host": "1e5", "ports": [443]},
                    "api.example.com",
                    {"host": "db.example.com", "ports": [5432], "raw": true},
                    {"host": "null", "ports": [443]},
                    {"host": "one.example", "ports": [443]},
                    {"cidr": "93.184.216.34/32", "ports": [80]},
                    {"cidr": "2606:4700::1/128", "ports": [443]},
                ]
            },
            {
                "name": "address-fd00--7",
                "subjects": [{"addresses": ["fd00::7"]}],
                "mode": "report",
                "allow": [{"host": "api.example.com", "ports": [443]}]
            }
        ])
    );
    for comment in [
        "# From 11 egress records, 2026-11-20T12:00:00Z to 2026-11-20T12:00:00Z.",
        "    # ci/builder: 10 connections\n",
        "    # left out, always_blocked (no policy and no mode opens it): 169.254.169.254:80\n",
        "- {host: \"1e5\", ports: [443]} # seen once\n",
        "- {host: one.example, ports: [443]}\n",
        "# It is known by its address alone",
    ] {
        assert!(document.contains(comment), "{comment}\n{document}");
    }
    let backwards: Vec<Value> = seen.iter().rev().cloned().collect();
    assert_eq!(
        proposed(&backwards, Options::default(), Form::Document),
        document
    );
}

#[test]
fn a_resource_is_of_the_namespace_of_its_workload() {
    let mut other = passed("api.example.com", 443);
    other["identity"] = json!({"namespace": "123", "serviceAccount": "default"});
    let mut address = passed("api.example.com", 443);
    address["identity"] = Value::Null;
    let mut nothing = passed("api.example.com", 443);
    nothing["identity"] = json!({"namespace": "shop", "serviceAccount": "web"});
    nothing["verdict"] = "deny".into();
    let seen = [passed("api.example.com", 443), other, address, nothing];
    let text = proposed(&seen, Options::default(), Form::Resource);
    let object = |namespace: &str, name: &str| {
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "EgressPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "subjects": [{"serviceAccount": name}], "mode": "report",
                "allow": [{"host": "api.example.com", "ports": [443]}]
            }
        })
    };
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let objects: Vec<Value> = objects.into_iter().filter(|one| !one.is_null()).collect();
    assert_eq!(objects, [object("123", "default"), object("ci", "builder")]);
    for comment in [
        "# 10.244.0.7 has shown no token, and a resource selects ServiceAccounts: --as document has 1 entry\n",
        "# shop/web: 1 connection\n# left out, not_allowed (refused by an enforced policy; --denied proposes it): api.example.com:443\n# Nothing is left to propose.\n",
    ] {
        assert!(text.contains(comment), "{comment}\n{text}");
    }
}

#[test]
fn a_proposal_opens_no_more_than_was_open() {
    let allowed = json!({});
    let denied = json!({"verdict": "deny", "reason": "not_allowed"});
    let open = json!({"reason": "not_allowed"});
    let everything = json!({"reason": "allow_all"});
    let failed = json!({"verdict": "error", "reason": "upstream_failed"});
    for (seen, mode) in [
        (vec![&allowed], "enforce"),
        (vec![&allowed, &denied], "enforce"),
        (vec![&allowed, &failed], "enforce"),
        (vec![&allowed, &open], "report"),
        (vec![&everything], "enforce"),
    ] {
        let seen: Vec<Value> = seen.into_iter().cloned().collect();
        let text = proposed(&seen, Options::default(), Form::Document);
        assert!(
            text.contains(&format!("  mode: {mode}\n")),
            "{seen:?}\n{text}"
        );
    }
    let asked = Options {
        mode: Some(Mode::Enforce),
        ..Options::default()
    };
    let text = proposed(&[open], asked, Form::Document);
    assert!(text.contains("  mode: enforce\n"), "{text}");
}

#[test]
fn wildcards_and_private_addresses_come_where_they_are_asked_for() {
    let mut inside = passed("db.shop.example.com", 443);
    inside["reason"] = "private_address".into();
    inside["resolved"] = json!(["10.1.2.3"]);
    let seen = [
        passed("a.cdn.example.com", 443),
        passed("b.cdn.example.com", 443),
        inside,
    ];
    let plain = proposed(&seen, Options::default(), Form::Document);
    assert!(
        plain.contains("# left out, private_address (--private proposes it with `private: true`): db.shop.example.com:443\n"),
        "{plain}"
    );
    assert!(!plain.contains('*'), "{plain}");
    let options = Options {
        wildcard_from: Some(2),
        private: true,
        ..Options::default()
    };
    let asked = proposed(&seen, options, Form::Document);
    let policies = accepted(&asked);
    assert_eq!(
        policies[0]["allow"],
        json!([
            {"host": "db.shop.example.com", "ports": [443], "private": true},
            {"host": "*.cdn.example.com", "ports": [443]},
        ])
    );
    assert!(
        asked.contains("# from 2 names: a.cdn.example.com, b.cdn.example.com\n"),
        "{asked}"
    );
}

#[test]
fn a_log_with_nothing_in_it_makes_an_empty_document() {
    let text = proposed(&[], Options::default(), Form::Document);
    assert_eq!(accepted(&text), json!([]));
    let denied = json!({"verdict": "deny", "reason": "not_allowed"});
    let text = proposed(&[denied], Options::default(), Form::Document);
    assert_eq!(accepted(&text), json!([]));
}

#[test]
fn long_names_of_workloads_stay_apart() {
    let account = |last: &str| Workload::Account {
        namespace: "n".repeat(63),
        service_account: "s".repeat(252) + last,
    };
    let (one, other) = (name(&account("a")), name(&account("b")));
    assert_eq!((one.len(), other.len()), (MAX_NAME, MAX_NAME));
    assert_ne!(one, other);
}

#[test]
fn destinations_are_kept_within_their_limit() {
    let options = Options {
        max_entries: 3,
        ..Options::default()
    };
    let mut collector = Collector::new(options);
    let mut add = |changes: Value| {
        let record = crate::egress_tools::record::tests::record(changes);
        collector.add(&record)
    };
    let denied = json!({"verdict": "deny", "reason": "not_allowed"});
    let elsewhere = json!({"identity": null});
    for _ in 0..2 {
        assert_eq!(add(passed("api.example.com", 443)), Ok(()));
        assert_eq!(add(denied.clone()), Ok(()));
        assert_eq!(add(elsewhere.clone()), Ok(()));
    }
    let error = add(passed("api.example.com", 80)).expect_err("a fourth");
    assert!(
        error.to_string().contains("more than 3 distinct"),
        "{error}"
    );
}

#[test]
fn comments_name_few_of_many_and_end_where_they_should() {
    let denied: Vec<Value> = (10..35)
        .map(|number| json!({"host": format!("h{number}.example"), "verdict": "deny", "reason": "not_allowed"}))
        .collect();
    let text = proposed(&denied, Options::default(), Form::Document);
    assert!(text.contains("h10.example:443, "), "{text}");
    assert!(text.contains("h19.example:443, and 15 more\n"), "{text}");
    assert!(!text.contains("h20.example"), "{text}");
    let mut counts = LineCounts {
        unusable: 1,
        first_unusable: Some("a\n- b\u{2028}c".into()),
        ..LineCounts::default()
    };
    let collector = Collector::new(Options::default());
    let text = write(&collector, &counts, Form::Resource);
    assert!(text.contains("# The first of these: a?- b?c\n"), "{text}");
    counts.first_unusable = None;
    assert!(!write(&collector, &counts, Form::Resource).contains("first of these"));
}

#[test]
fn who_shows_a_certificate_is_known_by_that() {
    let shown = |certificate: Value| {
        let mut seen = passed("api.example.com", 443);
        seen["identity"] = Value::Null;
        seen["certificate"] = certificate;
        seen
    };
    let changes = [
        shown(json!({"spiffe": "spiffe://example.org/ns/ci"})),
        shown(json!({"commonName": "builder"})),
    ];
    let text = proposed(&changes, Options::default(), Form::Document);
    for subject in [
        "- {spiffeId: \"spiffe://example.org/ns/ci\"}\n",
        "- {certificateName: \"builder\"}\n",
    ] {
        assert!(text.contains(subject), "{text}");
    }
    assert!(!text.contains("addresses"), "{text}");
    let text = proposed(&changes, Options::default(), Form::Resource);
    assert!(!text.contains("subjects"), "{text}");
    assert!(
        text.contains("# certificate builder has shown no token"),
        "{text}"
    );
}

#[test]
fn only_what_nothing_allowed_makes_a_proposal_report() {
    for (verdict, reason, expected) in [
        ("allow", "allowed", "enforce"),
        ("allow", "allow_all", "enforce"),
        ("allow", "not_allowed", "report"),
        ("would_deny", "not_allowed", "report"),
        ("would_deny", "private_address", "report"),
        ("would_deny", "denied_host", "enforce"),
        ("would_deny", "not_delegated", "enforce"),
        ("deny", "not_allowed", "enforce"),
    ] {
        let mut seen = passed("api.example.com", 443);
        seen["verdict"] = verdict.into();
        seen["reason"] = reason.into();
        let allowed =
            json!({"host": "b.example.com", "port": 443, "verdict": "allow", "reason": "allowed"});
        let text = proposed(&[seen, allowed], Options::default(), Form::Document);
        let mode = format!("mode: {expected}\n");
        assert!(text.contains(&mode), "{verdict} {reason}: {text}");
    }
}

#[test]
fn what_is_looked_into_is_left_to_the_entry_that_it_has() {
    let inspected =
        |host: &str, policy: &str| json!({"host": host, "inspected": true, "policy": policy});
    let inside = json!({"method": "GET", "tunnel": "1", "path": "/a", "host": "only.example.com"});
    let seen = [
        inspected("api.example.com", "p"),
        inside,
        // Seen without it too, before or after.
        json!({}),
        // Its client came and went; and what is inside is none of it.
        inspected("failed.example.com", "q\nr"),
        json!({"host": "failed.example.com", "verdict": "error", "reason": "upstream_failed", "inspected": true}),
        json!({"host": "a.example.com", "port": 443}),
        json!({"host": "b.example.com", "port": 443}),
        json!({"host": "api.example.com", "port": 80, "method": "GET"}),
    ];
    let options = || Options {
        wildcard_from: Some(2),
        ..Options::default()
    };
    let text = proposed(&seen, options(), Form::Document);
    let policies = accepted(&text);
    assert_eq!(
        policies[0]["allow"],
        json!([
            {"host": "a.example.com", "ports": [443]},
            {"host": "api.example.com", "ports": [80], "methods": ["GET"]},
            {"host": "b.example.com", "ports": [443]},
        ]),
        "{text}"
    );
    for comment in [
        "    # left out, inspected: some entry looks into these tunnels.",
        "    #   api.example.com:443, allowed by policy p\n",
        "    #   failed.example.com:443, allowed by policy q?r\n",
        "# Of requests inside tunnels: 1 record. Those of the tunnels stand for them.\n",
    ] {
        assert!(text.contains(comment), "{comment}\n{text}");
    }
    assert!(!text.contains("only.example.com"), "{text}");
    let backwards: Vec<Value> = seen.iter().rev().cloned().collect();
    assert_eq!(proposed(&backwards, options(), Form::Document), text);

    let alone = proposed(&seen[..1], options(), Form::Document);
    assert_eq!(accepted(&alone), json!([]));
    assert!(alone.contains("# Nothing is left to propose."), "{alone}");
    let resource = proposed(&seen[..1], options(), Form::Resource);
    assert!(!resource.contains("kind:"), "{resource}");
}

#[test]
fn what_is_looked_into_is_kept_within_the_limit_too() {
    let options = Options {
        max_entries: 2,
        ..Options::default()
    };
    let mut collector = Collector::new(options);
    let mut add = |policy: &str, tunnel: Value| {
        let changes = json!({"inspected": true, "policy": policy, "tunnel": tunnel});
        collector.add(&crate::egress_tools::record::tests::record(changes))
    };
    for policy in ["p", "q", "p"] {
        assert_eq!(add(policy, Value::Null), Ok(()));
    }
    assert_eq!(add("inside", "1".into()), Ok(()));
    add("r", Value::Null).expect_err("a third");
}

fn plain(method: &str) -> Value {
    let mut seen = passed("api.example.com", 80);
    seen["method"] = method.into();
    seen
}

#[test]
fn methods_are_texts_whatever_clients_call_them() {
    let methods = ["-", "--", "GET", "NO", "NULL", "ON", "TRUE", "Y", "_"];
    let seen: Vec<Value> = methods.into_iter().map(plain).collect();
    let text = proposed(&seen, Options::default(), Form::Document);
    assert_eq!(accepted(&text)[0]["allow"][0]["methods"], json!(methods));
    // Readers of YAML 1.1 take a bare NO for false.
    for method in methods {
        assert!(text.contains(&format!("\"{method}\"")), "{text}");
    }
    let resource = proposed(&seen, Options::default(), Form::Resource);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&resource).expect("YAML");
    let object = objects.iter().find(|one| !one.is_null()).expect("one");
    assert_eq!(object["spec"]["allow"][0]["methods"], json!(methods));
}

#[test]
fn an_entry_has_few_methods_and_says_what_it_leaves_out() {
    let names: Vec<String> = (0..MAX_METHODS + 8)
        .map(|number| {
            let letters = [number / 26, number % 26];
            let letters =
                letters.map(|letter| char::from(b'A' + u8::try_from(letter).expect("few")));
            letters.iter().collect()
        })
        .collect();
    let mut seen: Vec<Value> = names.iter().chain(&names).map(|name| plain(name)).collect();
    let text = proposed(&seen, Options::default(), Form::Document);
    let listed = &accepted(&text)[0]["allow"][0]["methods"];
    assert_eq!(listed, &json!(names[..MAX_METHODS]));
    let left_out = " # 16 requests with more methods than 32 left out\n";
    assert!(text.contains(left_out), "{text}");
    seen.reverse();
    assert_eq!(proposed(&seen, Options::default(), Form::Document), text);
    seen.retain(|one| one["method"].as_str() < Some(&names[MAX_METHODS]));
    let text = proposed(&seen, Options::default(), Form::Document);
    assert!(!text.contains("left out"), "{text}");
    // A tunnel has none of them.
    seen.extend([plain("ZZ"), passed("api.example.com", 80)]);
    let text = proposed(&seen, Options::default(), Form::Document);
    assert!(!text.contains("methods"), "{text}");
}

#[test]
fn an_object_of_more_entries_than_it_may_have_is_warned_of() {
    use crate::kube::MAX_EGRESS_POLICY_ENTRIES as MAX_ENTRIES;
    let mut seen: Vec<Value> = (0..MAX_ENTRIES)
        .map(|number| passed(&format!("h{number}.example.com"), 443))
        .collect();
    let warning = "# It has 5001 entries, and an object may have 5000";
    let most = proposed(&seen, Options::default(), Form::Resource);
    assert!(!most.contains("entries"), "{}", &most[..500]);
    seen.push(passed("one.more.example.com", 443));
    let over = proposed(&seen, Options::default(), Form::Resource);
    assert!(over.contains(warning), "{}", &over[..500]);
    let document = proposed(&seen, Options::default(), Form::Document);
    assert!(!document.contains(warning), "{}", &document[..500]);
}

#[test]
fn what_is_sent_over_tls_is_told_to_have_more_than_the_log_says() {
    let mut seen = plain("GET");
    seen["originatedTls"] = true.into();
    let text = proposed(&[seen], Options::default(), Form::Document);
    let line = "originateTls: true} # seen once; take over its `paths`, `waf` and `inject`: they are not in the log\n";
    assert!(text.contains(line), "{text}");
}
