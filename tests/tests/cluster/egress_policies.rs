//! Policies of the egress proxy as custom resources: of namespaces, and of the cluster.

use portcullis_tests::Cluster;
use serde_json::{Value, json};

use crate::{edge::edge, egress_bed::Bed};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-policies";

const CRDS: [&str; 2] = [
    include_str!("../../../deploy/crds/portcullis.dev_clusteregresspolicies.yaml"),
    include_str!("../../../deploy/crds/portcullis.dev_egresspolicies.yaml"),
];

fn policy(namespace: &str, name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": { "namespace": namespace, "name": name }, "spec": spec,
    });
    object.to_string()
}

fn floor(spec: &Value) -> String {
    let object = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "ClusterEgressPolicy",
        "metadata": { "name": "floor" }, "spec": spec,
    });
    object.to_string()
}

/// Waits for the conditions of an object: status and reason of `Accepted` and `Programmed`, for
/// the version that is there.
fn told(cluster: &Cluster, object: &[&str], expected: &str) {
    let mut last = String::new();
    cluster.wait(&format!("{object:?} tells {expected}"), || {
        let of = |kind: &str, field: &str| {
            let path = format!("{{.status.conditions[?(@.type==\"{kind}\")].{field}}}");
            cluster.field(object, &path)
        };
        let generation = cluster.field(object, "{.metadata.generation}");
        let is_of_now = of("Accepted", "observedGeneration") == generation;
        let kinds = ["Accepted", "Programmed"];
        let now = kinds.map(|kind| format!("{} {}", of(kind, "status"), of(kind, "reason")));
        let now = format!("{} {is_of_now}", now.join(", "));
        if now != last {
            eprintln!("{object:?}: {now}");
        }
        last = now;
        last == format!("{expected} true")
    });
}

#[test]
fn policies_are_custom_resources_and_no_namespace_loosens_a_floor() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let mut bed = Bed::install(
        cluster,
        SYSTEM,
        &["--egress-policies", "--pod-namespace=egress-policies"],
    );
    bed.configure(
        &json!({ "identity": { "level": "address", "pods": {} } }),
        &json!({}),
    );
    bed.pod("builder", "builder", "app: client");
    bed.pod("other", "default", "app: client");
    // Without their definitions policies are not known, and nothing is served.
    bed.find_proxy();
    cluster.wait("the kinds are missing", || {
        let told = bed.says("/readyz");
        told.contains("EgressPolicy is not known yet") && told.contains("ClusterEgressPolicy")
    });
    CRDS.iter().for_each(|definition| cluster.apply(definition));
    bed.ready();
    let [builder, other] = ["builder", "other"].map(|pod| bed.uid(pod));
    bed.wait(&builder, "", "403 no_policy");

    // A namespace says what its own may reach.
    let entry = json!({ "cidr": bed.destination, "ports": [8080], "private": true, "raw": true });
    let builds = json!({ "subjects": [{ "serviceAccount": "builder" }], "allow": [entry] });
    let elsewhere = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: egress-elsewhere}}}}\n---\n{}",
        policy(
            "egress-elsewhere",
            "all",
            &json!({ "mode": "open", "allow": [entry] })
        )
    );
    cluster.apply(&elsewhere);
    let of_elsewhere = ["egresspolicy", "all", "-n", "egress-elsewhere"];
    told(cluster, &of_elsewhere, "True Accepted, True Programmed");
    assert_eq!(bed.ask(&builder, ""), "403 no_policy");
    cluster.apply(&policy(SYSTEM, "builds", &builds));
    let of_builds = ["egresspolicy", "builds", "-n", SYSTEM];
    told(cluster, &of_builds, "True Accepted, True Programmed");
    assert_eq!(bed.ask(&builder, ""), "200 -");
    assert_eq!(bed.ask(&other, ""), "403 no_policy");

    // K18: a bad edit changes nothing but the status, and one that the schema knows is not taken.
    let bad = json!({ "allow": [{ "cidr": "127.0.0.0/8" }] });
    cluster.apply(&policy(SYSTEM, "builds", &bad));
    told(cluster, &of_builds, "False Invalid, False LastGoodVersion");
    let message = cluster.field(&of_builds, "{.status.conditions[0].message}");
    assert!(
        message.contains("spec.allow[0]: error: 127.0.0.0/8 can never"),
        "{message}"
    );
    assert_eq!(bed.ask(&builder, ""), "200 -");
    let shape = policy(SYSTEM, "builds", &json!({ "mode": "shut" }));
    let refused = cluster.try_kubectl(
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &shape,
    );
    assert!(refused.is_err_and(|told| told.contains("spec.mode")));
    // What no schema knows is kept, however deep, and refused: without it the policy would be wider.
    let mut deep = json!(1);
    for _ in 0..400 {
        deep = json!({ "a": deep });
    }
    for (field, value) in [("serviceAcount", json!("builder")), ("deep", deep)] {
        let unknown = json!({ "subjects": [{ field: value }], "allow": [entry] });
        let apply = ["apply", "--server-side", "--force-conflicts"];
        let unseen = ["--validate=false", "-f", "-"];
        let object = policy(SYSTEM, "builds", &unknown);
        let taken = cluster.try_kubectl(&[&apply[..], &unseen].concat(), &object);
        assert!(taken.is_ok(), "{taken:?}");
        told(cluster, &of_builds, "False Invalid, False LastGoodVersion");
        let message = cluster.field(&of_builds, "{.status.conditions[0].message}");
        assert!(message.contains(field), "{message}");
        assert_eq!(bed.ask(&other, ""), "403 no_policy");
    }
    cluster.apply(&policy(SYSTEM, "builds", &builds));
    told(cluster, &of_builds, "True Accepted, True Programmed");

    // Changes under load: of this policy, and of others.
    let asking = bed.keep_asking(&builder);
    for number in 0..20 {
        let mut changed = builds.clone();
        changed["allow"]
            .as_array_mut()
            .expect("entries")
            .push(json!({ "host": format!("h{number}.test") }));
        cluster.apply(&policy(SYSTEM, "builds", &changed));
        let name = format!("extra-{}", number % 3);
        cluster.apply(&policy(
            SYSTEM,
            &name,
            &json!({ "subjects": builds["subjects"], "allow": [{ "host": "extra.test" }] }),
        ));
        if number % 4 == 3 {
            let delete = ["delete", "egresspolicy", &name, "-n", SYSTEM];
            cluster.kubectl(&delete);
        }
    }
    let extras = ["extra-0", "extra-1", "extra-2", "--ignore-not-found"];
    cluster.kubectl(&[&["delete", "egresspolicy", "-n", SYSTEM], &extras[..]].concat());
    told(cluster, &of_builds, "True Accepted, True Programmed");
    let asked = asking.end();
    assert!(
        asked.count > 100 && asked.others.is_empty() && asked.is_held,
        "{asked:?}"
    );

    // A floor is not loosened, and cuts what is open.
    let asking = bed.keep_asking(&builder);
    let subjects = json!([{ "namespace": SYSTEM }]);
    cluster.apply(&floor(&json!({
        "subjects": subjects, "delegate": { "allow": [{ "host": "*.example.com" }], "modes": ["enforce"] },
    })));
    let of_floor = ["clusteregresspolicy", "floor"];
    told(cluster, &of_floor, "True Accepted, True Programmed");
    assert_eq!(bed.ask(&builder, ""), "403 not_delegated");
    let asked = asking.end();
    assert!(!asked.is_held, "{asked:?}");
    let mut open = builds.clone();
    open["mode"] = json!("open");
    cluster.apply(&policy(SYSTEM, "builds", &open));
    told(cluster, &of_builds, "True Accepted, True Programmed");
    assert_eq!(bed.ask(&builder, ""), "403 not_delegated");
    cluster.kubectl(&["delete", "clusteregresspolicy", "floor"]);
    bed.wait(&builder, "", "200 -");

    // What was never good closes its clients, and no others.
    let wrong =
        json!({ "subjects": [{ "serviceAccount": "default" }], "allow": [{ "host": "*" }] });
    cluster.apply(&policy(SYSTEM, "wrong", &wrong));
    let of_wrong = ["egresspolicy", "wrong", "-n", SYSTEM];
    told(cluster, &of_wrong, "False Invalid, False Closed");
    assert_eq!(bed.ask(&other, ""), "403 policy_closed");
    assert_eq!(bed.ask(&builder, ""), "200 -");
    cluster.kubectl(&["delete", "egresspolicy", "wrong", "-n", SYSTEM]);
    bed.wait(&other, "", "403 no_policy");
    cluster.kubectl(&["delete", "egresspolicy", "builds", "-n", SYSTEM]);
    bed.wait(&builder, "", "403 no_policy");
}
