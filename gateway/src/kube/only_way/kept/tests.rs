use serde_json::json;

use super::*;

fn wanted(port: u16) -> Wanted<'static> {
    let settings = KeptNetworkPolicies {
        proxy_namespace: Some("proxy".to_owned()),
        proxy_labels: BTreeMap::from([("app".to_owned(), "p".to_owned())]),
        ports: [port].into(),
        in_cluster: model::InCluster::Deny,
        allow_dns: false,
        dns_namespace: "kube-system".to_owned(),
        dns_labels: BTreeMap::new(),
        dns_port: 53,
    };
    Wanted {
        label: "test/egress",
        way: way(&settings, "gateway"),
        instance: "gateway",
    }
}

fn known(namespaces: &[(&str, &str)]) -> Known {
    let mut known = Known::default();
    for (name, value) in namespaces {
        let metadata = json!({ "name": name, "labels": { "test/egress": value } });
        let namespace = serde_json::from_value(json!({ "metadata": metadata }));
        known.see(namespace.expect("a Namespace"));
    }
    known
}

fn written(look: &Look) -> Vec<(&str, NetworkPolicy)> {
    let written = look.steps.iter().map(|step| match step {
        Step::Write(policy) => (step.namespace(), NetworkPolicy::clone(policy)),
        Step::Remove { .. } => panic!("{step:?}"),
    });
    written.collect()
}

#[test]
fn labelled_namespaces_get_one_and_those_that_the_proxy_runs_by_never() {
    let all = [
        ("a", "enforced"),
        ("b", "injected"),
        ("c", ""),
        ("gateway", "enforced"),
        ("kube-system", "enforced"),
        ("proxy", "enforced"),
    ];
    let mut known = known(&all);
    let look = wanted(3128).look(&known);
    let steps = written(&look);
    assert_eq!((steps.len(), steps[0].0), (1, "a"));
    assert_eq!((look.kept, look.missing), (0, 1));
    assert_eq!(look.never, ["gateway", "kube-system", "proxy"]);
    known.policies.insert("a".into(), steps[0].1.clone());
    let look = wanted(3128).look(&known);
    assert_eq!((look.steps, look.kept, look.missing), (vec![], 1, 0));
    // Another port, by another configuration.
    assert_eq!(written(&wanted(3129).look(&known)).len(), 1);
    known
        .namespaces
        .entry("a".into())
        .and_modify(|seen| seen.1 = true);
    assert_eq!(wanted(3129).look(&known).steps, []);
}

#[test]
fn whatever_opens_more_is_undone_and_what_does_not_is_left() {
    let mut known = known(&[("a", "enforced")]);
    let good = written(&wanted(1).look(&known))[0].1.clone();
    let mut with = |change: &dyn Fn(&mut NetworkPolicy)| {
        let mut changed = good.clone();
        change(&mut changed);
        known.policies.insert("a".into(), changed);
        wanted(1).look(&known).steps.len()
    };
    type Spec = k8s_openapi::api::networking::v1::NetworkPolicySpec;
    let spec = |policy: &mut NetworkPolicy| policy.spec.clone().expect("a spec");
    assert_eq!(with(&|_| {}), 0);
    assert_eq!(with(&|one| one.spec = None), 1);
    assert_eq!(with(&|one| one.metadata.labels = None), 1);
    let selector = json!({ "matchLabels": { "a": "b" } });
    let selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector =
        serde_json::from_value(selector).expect("a selector");
    assert_eq!(
        with(&|one| {
            let pod_selector = Some(selector.clone());
            one.spec = Some(Spec {
                pod_selector,
                ..spec(one)
            });
        }),
        1
    );
    assert_eq!(
        with(&|one| {
            let mut spec = spec(one);
            spec.egress
                .iter_mut()
                .flatten()
                .for_each(|rule| rule.to = None);
            one.spec = Some(spec);
        }),
        1
    );
    assert_eq!(
        with(&|one| {
            let policy_types = Some(vec!["Ingress".to_owned()]);
            one.spec = Some(Spec {
                policy_types,
                ..spec(one)
            });
        }),
        1
    );
    // Of the traffic to pods it says nothing, and labels of others are theirs.
    assert_eq!(
        with(&|one| {
            let ingress = Some(Vec::new());
            one.spec = Some(Spec {
                ingress,
                ..spec(one)
            });
            let labels = one.metadata.labels.get_or_insert_default();
            labels.insert("theirs".into(), "x".into());
        }),
        0
    );
}

#[test]
fn without_the_label_ours_goes_and_that_of_others_stays() {
    let mut known = known(&[("a", "enforced")]);
    let mut policy = written(&wanted(1).look(&known))[0].1.clone();
    policy.metadata.uid = Some("u".into());
    known.policies.insert("a".into(), policy);
    known
        .namespaces
        .entry("a".into())
        .and_modify(|seen| seen.0.clear());
    let gone = Step::Remove {
        namespace: "a".into(),
        uid: Some("u".into()),
    };
    assert_eq!(wanted(1).look(&known).steps, [gone]);
    // Of another gateway, and of somebody who has taken our name.
    let other = Wanted {
        instance: "other",
        ..wanted(1)
    };
    assert_eq!(other.look(&known).steps, []);
    known
        .policies
        .entry("a".into())
        .and_modify(|policy| policy.metadata.labels = None);
    assert_eq!(wanted(1).look(&known).steps, []);
}

#[test]
fn what_another_gateway_keeps_is_not_fought_over() {
    let mut known = known(&[("a", "enforced")]);
    let policy = written(&wanted(1).look(&known))[0].1.clone();
    known.policies.insert("a".into(), policy);
    let other = Wanted {
        instance: "other",
        ..wanted(2)
    };
    let look = other.look(&known);
    assert_eq!((look.steps, look.missing), (vec![], 1));
    assert_eq!(look.of_others, ["a"]);
    // What nobody keeps is taken over, as one whose labels were taken away.
    known
        .policies
        .entry("a".into())
        .and_modify(|policy| policy.metadata.labels = None);
    assert_eq!(written(&other.look(&known)).len(), 1);
}

#[test]
fn another_key_in_the_settings_opens_no_namespace() {
    let mut known = known(&[("a", "enforced")]);
    let policy = written(&wanted(1).look(&known))[0].1.clone();
    known.policies.insert("a".into(), policy);
    let renamed = Wanted {
        label: "other/egress",
        ..wanted(1)
    };
    let look = renamed.look(&known);
    assert_eq!(look.steps, []);
    assert_eq!(look.by_other_key, ["a"]);
    // Labelled anew it is there for that key, and goes with it.
    let label = |known: &mut Known, key: &str| {
        let labels = BTreeMap::from([(key.to_owned(), ENFORCED.to_owned())]);
        known.namespaces.insert("a".into(), (labels, false));
    };
    label(&mut known, "other/egress");
    let policy = written(&renamed.look(&known))[0].1.clone();
    known.policies.insert("a".into(), policy);
    assert_eq!(renamed.look(&known).kept, 1);
    label(&mut known, "nothing/egress");
    assert_eq!(renamed.look(&known).steps.len(), 1);
}

#[test]
fn the_proxy_is_let_out_where_it_has_come_to_be_in_a_namespace_that_was_shut_in() {
    let mut known = known(&[("a", "enforced")]);
    let policy = written(&wanted(1).look(&known))[0].1.clone();
    known.policies.insert("a".into(), policy);
    let mut moved = wanted(1);
    moved.way.proxy_namespace = "a".into();
    let look = moved.look(&known);
    assert_eq!(look.never, ["a"]);
    assert!(
        matches!(look.steps.as_slice(), [Step::Remove { namespace, .. }] if namespace == "a"),
        "{look:?}"
    );
}

#[test]
fn the_proxy_is_where_the_gateway_is_unless_the_settings_say_otherwise() {
    let mut settings = KeptNetworkPolicies {
        proxy_namespace: None,
        proxy_labels: BTreeMap::new(),
        ports: [1].into(),
        in_cluster: model::InCluster::Allow,
        allow_dns: true,
        dns_namespace: "dns".to_owned(),
        dns_labels: BTreeMap::new(),
        dns_port: 54,
    };
    assert_eq!(way(&settings, "gateway").proxy_namespace, "gateway");
    settings.proxy_namespace = Some("proxy".to_owned());
    let way = way(&settings, "gateway");
    assert_eq!(way.proxy_namespace, "proxy");
    assert_eq!((way.in_cluster, way.allow_dns), (InCluster::Allow, true));
    assert_eq!((way.dns.namespace.as_str(), way.dns.port), ("dns", 54));
}
