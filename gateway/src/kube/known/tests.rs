use k8s_openapi::api::{
    core::v1::Service, discovery::v1::EndpointSlice, networking::v1::IngressClass,
};
use serde_json::json;

use super::*;

fn service(namespace: &str, name: &str, port: u16) -> Change<Service> {
    let value = json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "ports": [{ "port": port }] },
    });
    Change::Applied(serde_json::from_value(value).expect("a Service"))
}

fn names(known: &Known) -> Vec<String> {
    let names = known.objects.services.keys();
    names.map(ToString::to_string).collect()
}

#[test]
fn a_list_replaces_its_scope_alone() {
    let mut known = Known::default();
    let all = vec![service("a", "one", 1), service("b", "two", 1)];
    assert!(known.replace(&Scope::Cluster, all));
    let scope = Scope::Namespace("a".into());
    let again = vec![service("a", "one", 1)];
    assert!(!known.replace(&scope, again), "nothing is new");
    assert!(known.replace(&scope, vec![service("a", "three", 1)]));
    assert_eq!(names(&known), ["a/three", "b/two"]);
    assert!(known.replace::<Service>(&Scope::Cluster, Vec::new()));
    assert!(names(&known).is_empty());
}

#[test]
fn of_services_that_nobody_names_nothing_is_news() {
    let mut known = Known::default();
    assert!(known.apply(vec![service("a", "one", 1)]), "who knows");
    known.services = Some(HashSet::from([ResourceName::new("a", "one")]));
    let slice = |service: &str, port: u16| {
        let value = json!({
            "metadata": {
                "namespace": "a", "name": "slice",
                "labels": { "kubernetes.io/service-name": service },
            },
            "addressType": "IPv4", "endpoints": [], "ports": [{ "port": port }],
        });
        let slice: EndpointSlice = serde_json::from_value(value).expect("a slice");
        Change::Applied(slice)
    };
    assert!(!known.apply(vec![service("a", "two", 1)]));
    assert!(!known.apply(vec![slice("two", 1)]));
    assert_eq!(
        names(&known),
        ["a/one", "a/two"],
        "kept for who will name it"
    );
    assert!(known.apply(vec![service("a", "one", 2)]));
    assert!(known.apply(vec![slice("one", 1)]), "it came to one");
    assert!(known.apply(vec![slice("two", 1)]), "and left it");
    assert!(!known.apply(vec![slice("two", 2)]));
    let gone = |name: &str| ResourceName::new("a", name);
    assert!(!known.apply(vec![Change::<Service>::Deleted(gone("two"))]));
    assert!(known.apply(vec![Change::<Service>::Deleted(gone("one"))]));
}

#[test]
fn objects_of_one_namespace_with_watches_of_their_own_do_not_disturb_each_other() {
    let mut known = Known::default();
    let scope = |name: &str| Scope::Object(ResourceName::new("a", name));
    assert!(known.replace(&scope("one"), vec![service("a", "one", 1)]));
    assert!(known.replace(&scope("two"), vec![service("a", "two", 1)]));
    assert_eq!(names(&known), ["a/one", "a/two"]);
    // One is gone, which the list of the other says nothing of.
    assert!(known.replace::<Service>(&scope("one"), Vec::new()));
    assert!(!known.replace(&scope("two"), vec![service("a", "two", 1)]));
    assert_eq!(names(&known), ["a/two"]);
}

#[test]
fn what_cannot_be_read_stays_as_it_was() {
    let mut known = Known::default();
    let name = ResourceName::new("a", "one");
    known.apply(vec![service("a", "one", 1)]);
    let broken = || Change::<Service>::Broken(name.clone(), "no port".into());
    assert!(known.apply(vec![broken()]));
    assert!(!known.apply(vec![broken()]), "it is told once");
    assert_eq!(names(&known), ["a/one"]);
    assert!(!known.replace(&Scope::Cluster, vec![broken()]));
    assert_eq!(names(&known), ["a/one"]);
    assert!(known.apply(vec![service("a", "one", 1)]), "mended");
    assert!(known.broken.is_empty());
    known.apply(vec![broken()]);
    assert!(known.apply(vec![Change::<Service>::Deleted(name.clone())]));
    assert!(known.broken.is_empty() && names(&known).is_empty());
}

#[test]
fn a_default_class_that_is_gone_is_remembered() {
    let class = |name: &str, mark: &str| {
        let value = json!({
            "metadata": {
                "name": name,
                "annotations": { "ingressclass.kubernetes.io/is-default-class": mark },
            },
            "spec": { "controller": "portcullis.dev/ingress-controller" },
        });
        let class: IngressClass = serde_json::from_value(value).expect("a class");
        Change::Applied(class)
    };
    let mut known = Known::default();
    known.apply(vec![class("marked", "true"), class("other", "false")]);
    assert!(known.objects.gone_defaults.is_empty());
    // A list that has them no more.
    assert!(known.replace::<IngressClass>(&Scope::Cluster, Vec::new()));
    let gone: Vec<_> = known.objects.gone_defaults.keys().collect();
    assert_eq!(gone, [&ResourceName::new("", "marked")]);
    // Also where its mark goes first.
    let mut known = Known::default();
    known.apply(vec![class("marked", "true"), class("marked", "false")]);
    known.apply(vec![Change::<IngressClass>::Deleted(ResourceName::new(
        "", "marked",
    ))]);
    let gone: Vec<_> = known.objects.gone_defaults.keys().collect();
    assert_eq!(gone, [&ResourceName::new("", "marked")]);
}

#[test]
fn whoever_translates_sees_one_time() {
    let mut known = Known::default();
    known.apply(vec![service("a", "one", 1)]);
    let before = Arc::clone(&known.objects);
    known.apply(vec![service("a", "two", 1)]);
    assert_eq!(before.services.len(), 1);
    assert_eq!(known.objects.services.len(), 2);
}

fn secret(value: &str) -> Change<Secret> {
    let value = json!({
        "metadata": { "namespace": "a", "name": "web" },
        "data": { "tls.crt": value },
    });
    Change::Applied(serde_json::from_value(value).expect("a Secret"))
}

fn value_of(known: &Known, name: &ResourceName) -> Vec<u8> {
    let data = known.objects.secrets[name].data.clone();
    data.expect("data")["tls.crt"].0.clone()
}

#[test]
fn a_watch_is_newer_than_an_answer_that_was_on_its_way() {
    let name = ResourceName::new("a", "web");
    let mut known = Known::default();
    known.secrets.wanted.insert(name.clone());
    let question = known.ask(&name);
    // As the feed of the watch does.
    known.secrets.asked.remove(&name);
    known.apply(vec![secret("bmV3")]);
    assert!(!known.answered((&name, question), Some(secret("b2xk"))));
    assert_eq!(value_of(&known, &name), b"new");
    known.keep_secrets(&HashSet::new());
    assert!(known.objects.secrets.is_empty() && known.secrets.wanted.is_empty());
}

#[test]
fn of_two_questions_the_answer_to_the_newer_counts() {
    let name = ResourceName::new("a", "web");
    let needed = HashSet::from([name.clone()]);
    for newer_comes_first in [true, false] {
        let mut known = Known::default();
        let older = known.ask(&name);
        // Nothing refers to it for a moment.
        known.keep_secrets(&HashSet::new());
        assert!(!known.is_asked(&name, older));
        let newer = known.ask(&name);
        known.keep_secrets(&needed);
        if newer_comes_first {
            assert!(known.answered((&name, newer), Some(secret("bmV3"))));
        }
        assert!(!known.answered((&name, older), Some(secret("b2xk"))));
        if !newer_comes_first {
            assert!(known.is_asked(&name, newer), "it is still on its way");
            assert!(known.answered((&name, newer), Some(secret("bmV3"))));
        }
        assert_eq!(value_of(&known, &name), b"new");
        assert!(known.secrets.asked.is_empty());
    }
}
