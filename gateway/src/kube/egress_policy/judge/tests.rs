use std::net::IpAddr;

use portcullis_config::egress::{Client, Identity};

use super::*;
use crate::kube::{ClusterEgressPolicyObject, EgressPolicyObject};

fn object<K: PolicyObject>(spec: &str) -> K {
    let spec: Value = serde_saphyr::from_str(spec).expect("YAML");
    let value = json!({ "metadata": { "name": "p" }, "spec": spec });
    serde_json::from_value(value).expect("an object")
}

/// Settings by which namespaces and labels of pods are known.
fn section() -> Egress {
    let text = "egress: {listeners: [{name: proxy}], identity: {level: address, pods: {}}, \
                policies: [{name: p, subjects: [{addresses: [10.0.0.0/8]}], allowAll: true}]}";
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: text.into(),
    }]);
    read.document.egress.expect("the section")
}

fn of_namespace() -> ResourceName {
    ResourceName::new("ci", "builds")
}

fn of_cluster() -> ResourceName {
    ResourceName::new("", "floor")
}

/// What is wrong with a policy of a namespace, and with one of the cluster.
fn wrong(spec: &str) -> [String; 2] {
    let told = |judged: Result<EgressPolicy, Vec<Problem>>| match judged {
        Ok(_) => String::new(),
        Err(problems) => {
            let told = problems.iter().map(ToString::to_string);
            told.collect::<Vec<_>>().join("\n")
        }
    };
    let namespaced: EgressPolicyObject = object(spec);
    // One of the cluster must say whom it is about.
    let mut with_subjects: Value = serde_saphyr::from_str(spec).expect("YAML");
    if let Some(spec) = with_subjects.as_object_mut() {
        spec.entry("subjects")
            .or_insert_with(|| json!([{ "addresses": ["10.0.0.0/8"] }]));
    }
    let cluster: ClusterEgressPolicyObject = object(&with_subjects.to_string());
    [
        told(judge(&of_namespace(), &namespaced, &section())),
        told(judge(&of_cluster(), &cluster, &section())),
    ]
}

#[test]
fn a_policy_of_a_namespace_is_about_that_alone() {
    for (spec, expected) in [
        ("{allow: [{host: a.test}]}", "[{\"namespace\":\"ci\"}]"),
        (
            "{subjects: [{serviceAccount: builder}, {podLabels: {a: b}}, {addresses: [10.1.0.0/16]}]}",
            "[{\"namespace\":\"ci\",\"serviceAccount\":\"builder\"},\
              {\"namespace\":\"ci\",\"podLabels\":{\"a\":\"b\"}},\
              {\"namespace\":\"ci\",\"addresses\":[\"10.1.0.0/16\"]}]",
        ),
    ] {
        let policy: EgressPolicyObject = object(spec);
        let policy = judge(&of_namespace(), &policy, &section()).expect("a policy");
        assert_eq!(policy.name, "ci/builds");
        let subjects = serde_json::to_string(&policy.subjects).expect("JSON");
        assert_eq!(subjects, expected, "{spec}");
    }
    for field in [
        "namespace: other",
        "namespace: ci",
        "spiffeId: spiffe://a.test/b",
        "certificateName: b",
    ] {
        let [namespaced, _] = wrong(&format!("{{subjects: [{{{field}}}]}}"));
        assert!(
            namespaced.contains("ServiceAccounts of its own namespace"),
            "{field}: {namespaced}"
        );
    }
}

#[test]
fn every_mistake_is_told_with_its_field() {
    for (spec, told) in [
        ("null", "spec: error: there is no spec"),
        (
            "{allow: [a.test]}",
            "spec.allow[0]: error: an entry of an object is a map",
        ),
        ("{allow: [{hots: a.test}]}", "spec.allow[0]"),
        (
            "{allow: [{host: a.test, inspect: true, path: [/v1]}]}",
            "spec.allow[0].path: error: unknown key",
        ),
        (
            "{subjects: [{serviceAcount: b}]}",
            "spec.subjects[0].serviceAcount: error: unknown key",
        ),
        (
            "{allow: [{host: '*'}]}",
            "spec.allow[0]: error: `*` allows everything",
        ),
        (
            "{deny: [{host: a.test}, {host: a.test, ports: [0]}]}",
            "spec.deny[1].ports: error: ports are numbers",
        ),
        (
            "{allow: [{cidr: 127.0.0.0/8}]}",
            "spec.allow[0]: error: 127.0.0.0/8 can never be reached",
        ),
        (
            "{allow: [{host: a.test, until: tomorrow}]}",
            "spec.allow[0].until",
        ),
        ("{mode: off}", "spec.mode"),
        (
            "{name: other}",
            "spec.name: error: a policy has the name of its object",
        ),
        ("{allow: {host: a.test}}", "spec.allow"),
        (
            "{subjects: [{serviceAccount: ''}]}",
            "spec.subjects[0].serviceAccount",
        ),
        (
            "{subjects: [{podLabels: {'a b': c}}]}",
            "spec.subjects[0].podLabels",
        ),
        (
            "{allow: [{host: a.test, inject: {}}]}",
            "spec.allow[0].inject: error: only the settings",
        ),
    ] {
        for (told_of, kind) in wrong(spec)
            .iter()
            .zip(["EgressPolicy/ci/builds", "ClusterEgressPolicy/floor"])
        {
            assert!(
                told_of.contains(&format!("{kind} {told}")),
                "{spec}: {told_of}"
            );
            assert!(!told_of.contains("egress."), "{told_of}");
        }
    }
    let [namespaced, cluster] =
        wrong("{subjects: [{addresses: [10.0.0.0/8]}], delegate: {allow: [a.test, {host: '*'}]}}");
    assert!(namespaced.contains("spec.delegate"), "{namespaced}");
    assert!(
        cluster.contains("spec.delegate.allow[0]: error: an entry"),
        "{cluster}"
    );
    assert!(
        cluster.contains("spec.delegate.allow[1]: error: `*`"),
        "{cluster}"
    );
    // What is needed of the settings.
    let policy: EgressPolicyObject = object("{subjects: [{podLabels: {a: b}}]}");
    let bare = Egress::default();
    assert!(judge(&of_namespace(), &policy, &bare).is_err());
}

/// Whom the policy that stands in for one with errors selects, among pods of two namespaces.
fn closed_to<K: PolicyObject>(name: &ResourceName, spec: &str) -> Vec<&'static str> {
    let object: K = object(spec);
    let closed = closed(name, &object, &section());
    assert!(!closed.for_any_labels);
    let policy = closed.policy.expect("one");
    assert!(policy.closed && policy.allow.is_empty(), "{policy:?}");
    let mut made = section();
    made.policies = vec![EgressPolicy {
        name: "p".into(),
        ..policy
    }];
    let document = Document {
        egress: Some(made),
        ..Document::default()
    };
    let model = validate(&document, &Origins::default()).model;
    let policy = &model.egress.expect("the section").policies[0];
    let clients = [("ci", "builder"), ("ci", "web"), ("shop", "web"), ("", "")];
    let names = ["ci/builder", "ci/web", "shop/web", "nobody"];
    let selected = clients
        .iter()
        .zip(names)
        .filter(|((namespace, account), _)| {
            let identity = Identity {
                namespace: (*namespace).to_owned(),
                service_account: (*account).to_owned(),
                pod: None,
                pod_uid: None,
            };
            policy.subjects.contains(Client {
                address: IpAddr::from([192, 0, 2, 1]),
                identity: Some(&identity).filter(|identity| !identity.namespace.is_empty()),
                labels: None,
                certificate: None,
            })
        });
    selected.map(|(_, name)| name).collect()
}

#[test]
fn what_stands_in_for_a_policy_with_errors_closes_its_clients_and_no_more() {
    let ci = &["ci/builder", "ci/web"][..];
    let all = &["ci/builder", "ci/web", "shop/web", "nobody"][..];
    let wrong = "allow: [{host: '*'}]";
    for (subjects, expected) in [
        ("subjects: [{serviceAccount: builder}]", &["ci/builder"][..]),
        ("subjects: [{serviceAccount: 1}, {}]", ci),
        ("subjects: builder", ci),
        ("subjects: [{namespace: shop}]", ci),
        ("mode: open", ci),
    ] {
        let spec = format!("{{{subjects}, {wrong}}}");
        assert_eq!(
            closed_to::<EgressPolicyObject>(&of_namespace(), &spec),
            expected,
            "{spec}"
        );
    }
    for (subjects, expected) in [
        ("subjects: [{namespace: ci}]", ci),
        (
            "subjects: [{namespace: ci, serviceAccount: web}]",
            &["ci/web"][..],
        ),
        ("subjects: [{addresses: [192.0.2.0/24]}]", all),
        ("subjects: [{namespaces: ci}]", all),
        ("mode: open", all),
    ] {
        let spec = format!("{{{subjects}, {wrong}}}");
        assert_eq!(
            closed_to::<ClusterEgressPolicyObject>(&of_cluster(), &spec),
            expected,
            "{spec}"
        );
    }
    assert_eq!(
        closed_to::<ClusterEgressPolicyObject>(&of_cluster(), "null"),
        all
    );
    // Without namespaces nobody is of one.
    let policy: EgressPolicyObject = object("{mode: off}");
    let closed = closed(&of_namespace(), &policy, &Egress::default());
    assert_eq!(closed.policy, None);
}

#[test]
fn an_object_names_no_profile_of_the_gateway() {
    for told in wrong("{allow: [{host: a.test, inspect: true, waf: w}]}") {
        let fault = "spec.allow[0].waf: error: only the settings";
        assert!(told.contains(fault), "{told}");
    }
}

#[test]
fn subjects_of_which_the_settings_know_nobody_close_nobody() {
    let closed_with = |subjects: &str| {
        let spec = format!("{{subjects: {subjects}, allow: [{{host: '*'}}]}}");
        let floor: ClusterEgressPolicyObject = object(&spec);
        let closed = closed(&of_cluster(), &floor, &Egress::default());
        assert!(!closed.for_any_labels);
        closed
            .policy
            .map(|policy| serde_json::to_string(&policy.subjects).expect("JSON"))
    };
    for nobody in [
        "[{namespace: ci}]",
        "[{namespace: ci, podLabels: {a: b}}]",
        "[{spiffeId: 'spiffe://a.test/b'}, {certificateName: c}]",
    ] {
        assert_eq!(closed_with(nobody), None, "{nobody}");
    }
    let some = r#"[{"addresses":["10.0.0.0/8"]}]"#;
    let found = closed_with("[{namespace: ci}, {addresses: [10.0.0.0/8]}]");
    assert_eq!(found.as_deref(), Some(some));
    // What nobody can read may be anybody.
    let all = r#"[{"addresses":["0.0.0.0/0","::/0"]}]"#;
    for unclear in [
        "[{namespace: ci}, {names: a}]",
        "[]",
        "ci",
        "[{namespace: '-'}]",
    ] {
        assert_eq!(closed_with(unclear).as_deref(), Some(all), "{unclear}");
    }
}

#[test]
fn where_no_labels_are_known_pods_without_them_are_closed_as_well() {
    let mut known = section();
    known.identity.as_mut().expect("identities").pods = None;
    let closed_with = |subjects: &str| {
        let spec = format!("{{subjects: {subjects}, deny: [{{host: a.test}}]}}");
        let policy: EgressPolicyObject = object(&spec);
        let closed = closed(&of_namespace(), &policy, &known);
        let policy = closed.policy.expect("a policy that closes");
        assert!(policy.closed, "{policy:?}");
        let subjects = serde_json::to_string(&policy.subjects).expect("JSON");
        (subjects, closed.for_any_labels)
    };
    for (subjects, expected, wider) in [
        ("[{podLabels: {a: b}}]", r#"[{"namespace":"ci"}]"#, true),
        (
            "[{podLabels: {a: b}, serviceAccount: web, addresses: [10.1.0.0/16]}, {serviceAccount: builder}]",
            r#"[{"namespace":"ci","serviceAccount":"web","addresses":["10.1.0.0/16"]},{"namespace":"ci","serviceAccount":"builder"}]"#,
            true,
        ),
        (
            "[{serviceAccount: web}]",
            r#"[{"namespace":"ci","serviceAccount":"web"}]"#,
            false,
        ),
        // Everybody of the namespace, which is more already.
        (
            "[{podLabels: {a: b}}, {podLabels: a}]",
            r#"[{"namespace":"ci"}]"#,
            false,
        ),
    ] {
        assert_eq!(
            closed_with(subjects),
            (expected.to_owned(), wider),
            "{subjects}"
        );
    }
    // One of the cluster that names what nobody can show is closed to nobody all the same.
    let spec = "{subjects: [{namespace: ci, podLabels: {a: b}, spiffeId: 'spiffe://a.test/b'}]}";
    let floor: ClusterEgressPolicyObject = object(spec);
    assert_eq!(closed(&of_cluster(), &floor, &known).policy, None);
}

#[test]
fn an_object_has_no_more_than_its_share() {
    let many = |count: usize, entry: &str| format!("[{}]", vec![entry; count].join(","));
    for (field, count, entry, told) in [
        (
            "allow",
            MAX_ENTRIES + 1,
            "{host: a.test}",
            "5001 entries are more than the 5000",
        ),
        (
            "deny",
            MAX_REGEXES + 1,
            "{regex: a}",
            "17 entries with `regex` are more than the 16",
        ),
        (
            "allow",
            MAX_QUOTAS + 1,
            "{host: a.test, quota: {rate: 1/s}}",
            "65 entries with `quota`",
        ),
        (
            "subjects",
            MAX_SUBJECTS + 1,
            "{addresses: [10.0.0.1]}",
            "257 subjects are more",
        ),
    ] {
        let of = |count| format!("{{{field}: {}}}", many(count, entry));
        for wrong in wrong(&of(count)) {
            assert!(wrong.contains(told), "{wrong}");
        }
        assert_eq!(wrong(&of(count - 1)), ["", ""], "{field}");
    }
    let regex = |length: usize| format!("{{allow: [{{regex: '{}'}}]}}", "a".repeat(length));
    assert!(wrong(&regex(MAX_REGEX_BYTES + 1))[0].contains("at most 1024 bytes"));
    assert_eq!(wrong(&regex(MAX_REGEX_BYTES)), ["", ""]);
}

#[test]
fn what_stands_beside_the_spec_is_refused() {
    let judged = |beside: Value| {
        let mut object = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "EgressPolicy",
            "metadata": { "name": "p" }, "spec": { "subjects": [{ "serviceAccount": "b" }], "allow": [{ "host": "a.test" }] }, "status": {},
        });
        let fields = object.as_object_mut().expect("an object");
        fields.extend(beside.as_object().cloned().unwrap_or_default());
        let object: EgressPolicyObject = serde_json::from_value(object).expect("an object");
        judge(&of_namespace(), &object, &section())
    };
    assert_eq!(
        judged(json!({}))
            .err()
            .map(|problems| problems[0].to_string()),
        None
    );
    // As where it is indented one level less.
    let problems = judged(json!({ "deny": ["b.a.test"] })).expect_err("it denies nothing there");
    let told = problems[0].to_string();
    assert!(
        told.contains("deny") && told.contains("beside `spec`"),
        "{told}"
    );
}
