use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn way(allow_dns: bool, in_cluster: InCluster) -> OnlyWay {
    OnlyWay {
        proxy_namespace: "portcullis-egress".into(),
        proxy_labels: labels(&[("app", "portcullis")]),
        ports: [1080, 3128].into(),
        dns: Dns {
            namespace: "kube-system".into(),
            labels: labels(&[("k8s-app", "kube-dns")]),
            port: 53,
        },
        allow_dns,
        in_cluster,
    }
}

fn cluster(tier: Tier) -> ClusterSubject {
    ClusterSubject {
        namespace_labels: labels(&[("egress", "proxy")]),
        tier,
        priority: 100,
    }
}

fn objects(text: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    objects.into_iter().filter(|one| !one.is_null()).collect()
}

fn named(namespace: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})
}

#[test]
fn a_namespace_reaches_the_proxy_and_nothing_else() {
    let proxy = json!({
        "to": [{
            "namespaceSelector": named("portcullis-egress"),
            "podSelector": {"matchLabels": {"app": "portcullis"}},
        }],
        "ports": [{"protocol": "TCP", "port": 1080}, {"protocol": "TCP", "port": 3128}],
    });
    let dns = json!({
        "to": [{
            "namespaceSelector": named("kube-system"),
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    });
    let others = json!({
        "to": [{"namespaceSelector": {"matchExpressions": [{
            "key": "kubernetes.io/metadata.name", "operator": "NotIn",
            "values": ["kube-system", "portcullis-egress"],
        }]}}],
    });
    for (allow_dns, in_cluster, rules) in [
        (false, InCluster::Deny, vec![&proxy]),
        (true, InCluster::Deny, vec![&proxy, &dns]),
        (false, InCluster::Allow, vec![&proxy, &others]),
        (true, InCluster::Allow, vec![&proxy, &dns, &others]),
    ] {
        let namespaces = ["b", "a"].map(str::to_owned).into();
        let text = way(allow_dns, in_cluster).manifests(&namespaces, None);
        let text = text.expect("manifests");
        let policy = |namespace: &str| {
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": NAME, "namespace": namespace},
                "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules},
            })
        };
        let written = objects(&text);
        assert_eq!(written, [policy("a"), policy("b")], "{text}");
        // What the types of the API do not know would be lost on the way.
        for object in written {
            let typed: NetworkPolicy = serde_json::from_value(object.clone()).expect("its type");
            assert_eq!(serde_json::to_value(typed).expect("JSON"), object);
        }
        assert_eq!(text.contains("DNS is open"), allow_dns, "{text}");
        assert!(text.contains("hostNetwork"), "{text}");
    }
}

#[test]
fn a_cluster_policy_lets_pods_stay_open_before_it_denies_everything() {
    let rule =
        |name: &str, action: &str, to: Value| json!({"name": name, "action": action, "to": to});
    let pods = |namespace: &str, key: &str, value: &str| {
        json!({"pods": {
            "namespaceSelector": named(namespace),
            "podSelector": {"matchLabels": {key: value}},
        }})
    };
    let tcp = |number: u16| json!({"tcp": {"destinationPort": {"number": number}}});
    let to_proxy = pods("portcullis-egress", "app", "portcullis");
    let to_dns = pods("kube-system", "k8s-app", "kube-dns");
    let mut proxy = rule("the-proxy", "Accept", json!([to_proxy]));
    proxy["protocols"] = json!([tcp(1080), tcp(3128)]);
    let mut dns = rule("dns", "Accept", json!([to_dns]));
    dns["protocols"] = json!([{"udp": {"destinationPort": {"number": 53}}}, tcp(53)]);
    let closed = rule(
        "not-dns-nor-the-rest-of-the-proxy",
        "Deny",
        json!([to_dns, to_proxy]),
    );
    let others = rule("other-pods", "Pass", json!([{"namespaces": {}}]));
    let all = rule(
        "nothing-else",
        "Deny",
        json!([{"networks": ["0.0.0.0/0", "::/0"]}]),
    );
    for (allow_dns, in_cluster, rules) in [
        (false, InCluster::Deny, vec![&proxy, &all]),
        (true, InCluster::Deny, vec![&proxy, &dns, &all]),
        (
            false,
            InCluster::Allow,
            vec![&proxy, &closed, &others, &all],
        ),
        (
            true,
            InCluster::Allow,
            vec![&proxy, &dns, &closed, &others, &all],
        ),
    ] {
        let text = way(allow_dns, in_cluster)
            .manifests(&BTreeSet::new(), Some(&cluster(Tier::Admin)))
            .expect("manifests");
        assert_eq!(
            objects(&text),
            [json!({
                "apiVersion": "policy.networking.k8s.io/v1alpha2",
                "kind": "ClusterNetworkPolicy",
                "metadata": {"name": NAME},
                "spec": {
                    "tier": "Admin",
                    "priority": 100,
                    "subject": {"namespaces": {
                        "matchLabels": {"egress": "proxy"},
                        "matchExpressions": [{
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": ["portcullis-egress"],
                        }],
                    }},
                    "egress": rules,
                }
            })],
            "{text}"
        );
    }
    let text = way(false, InCluster::Deny)
        .manifests(&BTreeSet::new(), Some(&cluster(Tier::Baseline)))
        .expect("manifests");
    assert_eq!(objects(&text)[0]["spec"]["tier"], "Baseline");
    assert!(text.contains("does not hold for pods that a NetworkPolicy selects"));
}

#[test]
fn the_proxy_is_not_cut_off() {
    let namespaces = ["portcullis-egress".to_owned()].into();
    let error = way(false, InCluster::Deny).manifests(&namespaces, None);
    let error = error.expect_err("a refusal").to_string();
    assert!(
        error.contains("\"portcullis-egress\" is the proxy's own"),
        "{error}"
    );
}
