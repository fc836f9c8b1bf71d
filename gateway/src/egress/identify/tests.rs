//! What pods say of a client. Tokens are verified elsewhere; the whole proxy is tested with them.

use std::time::Duration;

use portcullis_config::{
    read::{SourceFile, read},
    validate::validate,
};

use super::*;
use crate::identity::verified;

const HERE: &str = "10.1.2.3";
const ELSEWHERE: &str = "10.9.9.9";
const NODE: &str = "192.0.2.1";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A pod at `HERE`.
fn pod(name: &str, uid: &str) -> Pod {
    Pod {
        identity: Identity {
            namespace: "ci".into(),
            service_account: "builder".into(),
            pod: Some(name.into()),
            pod_uid: Some(uid.into()),
        },
        labels: BTreeMap::new(),
        addresses: vec![address(HERE)],
        on_host_network: false,
        node: vec![address(NODE)],
        is_done: false,
    }
}

fn pods(all: &[Pod]) -> Pods {
    let pods = Pods::default();
    pods.replace(all.iter().cloned());
    pods.fresh();
    pods
}

/// A proxy that knows pods and no tokens.
fn egress(level: &str) -> CompiledEgress {
    let read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: format!(
            "egress: {{listeners: [{{name: p}}], identity: {{level: {level}, pods: {{}}}}}}"
        ),
    }]);
    let validated = validate(&read.document, &read.origins);
    assert!(validated.problems.is_empty(), "{:?}", validated.problems);
    CompiledEgress::of(validated.model.egress.expect("the section"))
}

/// Who it is that shows nothing.
fn asked(
    egress: &CompiledEgress,
    pods: Option<&Pods>,
    from: (IpAddr, bool),
) -> Result<Option<Known>, Refusal> {
    let identity = egress.identity.as_ref().expect("it is set");
    let pods = known_pods(identity, pods)?;
    without_token(identity.level, pods, from, &Credentials::Missing)
}

fn told(known: Result<Option<Known>, Refusal>) -> String {
    match known {
        Ok(None) => "nobody".into(),
        Ok(Some(Known::Token(..))) => "token".into(),
        Ok(Some(Known::Address(pod))) => pod.identity.pod_uid.clone().unwrap_or_default(),
        Err(refusal) => format!("{} {}", refusal.status, refusal.reason),
    }
}

#[test]
fn a_token_is_good_while_its_pod_is_there_and_from_its_address_where_it_is_bound() {
    use EgressIdentityLevel::{BindToAddress, Required};
    let pods = pods(&[pod("a", "1")]);
    for (level, uid, from, expected) in [
        (Required, Some("1"), HERE, "token"),
        (Required, Some("1"), ELSEWHERE, "token"),
        (Required, Some("2"), HERE, "407 pod_gone"),
        (Required, None, HERE, "407 token_without_pod"),
        (BindToAddress, Some("1"), HERE, "token"),
        (BindToAddress, Some("1"), "::ffff:10.1.2.3", "token"),
        (BindToAddress, Some("1"), ELSEWHERE, "403 identity_mismatch"),
    ] {
        let known = of_token(level, Some(&pods), address(from), verified(uid));
        let found = told(known.map(Some));
        assert_eq!(found, expected, "{level:?} {uid:?} {from}");
    }
    let without_pods = of_token(Required, None, address(HERE), verified(None));
    assert_eq!(told(without_pods.map(Some)), "token");
}

#[test]
fn a_certificate_stands_for_a_token_where_that_is_not_bound_to_an_address() {
    use EgressIdentityLevel::{Address, BindToAddress, None, Required};
    for (level, certified, expected) in [
        (BindToAddress, false, true),
        (BindToAddress, true, true),
        (Required, false, true),
        (Required, true, false),
        (Address, false, false),
        (None, false, false),
    ] {
        assert_eq!(
            needs_token(level, certified),
            expected,
            "{level:?} {certified}"
        );
    }
}

#[test]
fn an_address_that_is_no_pods_is_nobody_or_refused() {
    let pods = pods(&[pod("a", "1")]);
    for (level, from, certified, expected) in [
        ("address", HERE, false, "1"),
        ("address", ELSEWHERE, false, "403 identity_unknown"),
        ("address", NODE, false, "403 node_address"),
        ("address", ELSEWHERE, true, "nobody"),
        ("none", HERE, false, "1"),
        ("none", ELSEWHERE, false, "nobody"),
        ("none", NODE, false, "nobody"),
    ] {
        let egress = egress(level);
        let from_there = (address(from), certified);
        let known = asked(&egress, Some(&pods), from_there);
        assert_eq!(told(known), expected, "{level} {from} {certified}");
    }
}

#[test]
fn nobody_is_let_in_before_pods_are_known_or_when_they_are_not_any_more() {
    let egress = egress("address");
    let ask = |pods: Option<&Pods>| {
        let from = (address(HERE), false);
        told(asked(&egress, pods, from))
    };
    let pods = Pods::default();
    pods.replace([pod("a", "1")]);
    assert_eq!(ask(None), "503 pods_unknown");
    assert_eq!(ask(Some(&pods)), "503 pods_unknown");
    pods.fresh();
    assert_eq!(ask(Some(&pods)), "1");
    let mut short = egress.identity.clone().expect("it is there");
    short.pods_max_stale = Some(Duration::ZERO);
    pods.stale();
    std::thread::sleep(Duration::from_millis(2));
    let known = known_pods(&short, Some(&pods));
    assert_eq!(
        known.err().map(|refusal| refusal.reason),
        Some("pods_unknown")
    );
}

#[test]
fn what_is_open_by_an_address_ends_with_its_pod() {
    let egress = egress("none");
    let pods = pods(&[pod("a", "1")]);
    let from = (address(HERE), false);
    let known = asked(&egress, Some(&pods), from);
    let known = known.expect("it is let in");
    let again = |pods: &Pods| {
        let again = identify_again(&egress, Some(pods), from, known.as_ref());
        again.map(|known| told(Ok(known)))
    };
    assert!(!has_changed(Some(&pods), known.as_ref()));
    assert_eq!(again(&pods), Ok("1".into()));
    let mut labelled = pod("a", "1");
    labelled.labels.insert("app".into(), "x".into());
    pods.apply(labelled);
    assert!(has_changed(Some(&pods), known.as_ref()), "its labels");
    assert_eq!(again(&pods), Ok("1".into()));
    // The next one with this address is another, and nobody is none.
    pods.apply(pod("b", "2"));
    pods.remove("ci", "a");
    assert!(has_changed(Some(&pods), known.as_ref()), "it is gone");
    assert_eq!(again(&pods), Err("pod_gone"));
    pods.remove("ci", "b");
    assert_eq!(again(&pods), Err("pod_gone"));
}
