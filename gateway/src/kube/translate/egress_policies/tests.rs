use portcullis_config::read::{SourceFile, read};
use serde_json::json;

use super::*;
use crate::kube::{
    ObjectSet, Options,
    translate::{MadeItems, translate_again},
};

const PODS: &str = "identity: {level: address, pods: {}}";
/// Settings by which namespaces are known, and no labels of pods.
const TOKENS: &str = "identity: {serviceAccountTokens: {audience: portcullis, tokenReview: {}}}";

/// A gateway whose objects and settings change.
struct Gateway {
    objects: ObjectSet,
    made: MadeItems,
    generation: i64,
    uid: &'static str,
}

impl Gateway {
    fn new() -> Self {
        Self {
            objects: ObjectSet::default(),
            made: MadeItems::default(),
            generation: 0,
            uid: "1",
        }
    }

    fn name() -> ResourceName {
        ResourceName::new("ci", "builds")
    }

    /// Has the object say something.
    fn edit(&mut self, spec: &str) {
        self.generation += 1;
        let spec: serde_json::Value = serde_saphyr::from_str(spec).expect("YAML");
        let value = json!({
            "metadata": { "namespace": "ci", "name": "builds", "generation": self.generation, "uid": self.uid },
            "spec": spec,
        });
        let object = serde_json::from_value(value).expect("a policy");
        let policies = &mut self.objects.egress_policies;
        policies.insert(Self::name(), Arc::new(object));
    }

    /// What the policy of the object allows with these settings, and what its status tells.
    fn served(&mut self, settings: &str) -> (String, String) {
        let mut read = read(&[SourceFile {
            name: "a.yaml".into(),
            text: format!("egress: {{listeners: [{{name: proxy}}], {settings}}}"),
        }]);
        translate_again(
            &self.objects,
            &Options::default(),
            &mut self.made,
            &mut read,
        );
        let section = read.document.egress.expect("the section");
        let policies = section.policies.iter().map(|policy| match policy.closed {
            true => "closed".to_owned(),
            false => serde_json::to_string(&policy.allow).expect("JSON"),
        });
        let verdicts = self.made.verdicts();
        let told = match verdicts.policies.get(&Self::name()) {
            Some((_, Verdict::Accepted)) => "accepted".to_owned(),
            Some((_, Verdict::LastGood { generation, .. })) => format!("good {generation:?}"),
            Some((
                _,
                Verdict::Closed {
                    errors,
                    for_any_labels,
                },
            )) => {
                assert!(!errors.is_empty());
                let to = if *for_any_labels { " to more" } else { "" };
                format!("closed{to}")
            }
            Some((_, Verdict::NotServed)) | None => "unknown".to_owned(),
        };
        (policies.collect(), told)
    }
}

fn is(found: (String, String), policy: &str, told: &str) {
    assert_eq!((found.0.as_str(), found.1.as_str()), (policy, told));
}

#[test]
fn k18_a_bad_edit_leaves_the_last_good_version_in_force() {
    let mut gateway = Gateway::new();
    gateway.edit("{allow: [{host: '*'}]}");
    is(gateway.served(PODS), "closed", "closed");
    gateway.edit("{allow: [{host: a.test}]}");
    let a = r#"[{"host":"a.test"}]"#;
    is(gateway.served(PODS), a, "accepted");
    for wrong in ["{allow: [{host: '*'}]}", "null", "{mode: shut}"] {
        gateway.edit(wrong);
        is(gateway.served(PODS), a, "good Some(2)");
        is(gateway.served(PODS), a, "good Some(2)");
    }
    gateway.edit("{allow: [{host: b.test}]}");
    is(gateway.served(PODS), r#"[{"host":"b.test"}]"#, "accepted");
    // One that is made again knows nothing of the one before.
    gateway.edit("null");
    gateway.objects.egress_policies.clear();
    is(gateway.served(PODS), "", "unknown");
    gateway.edit("null");
    is(gateway.served(PODS), "closed", "closed");
}

#[test]
fn policies_are_judged_again_when_the_settings_change() {
    let mut gateway = Gateway::new();
    gateway.edit("{subjects: [{podLabels: {a: b}}], allow: [{host: a.test}]}");
    let a = r#"[{"host":"a.test"}]"#;
    is(gateway.served(PODS), a, "accepted");
    // Without pods there are no labels, and no clients of a namespace: nobody is to be closed to.
    is(gateway.served("resolver: {timeout: 1s}"), "", "closed");
    // With tokens there are clients, and nobody knows which of them have the labels.
    is(gateway.served(TOKENS), "closed", "closed to more");
    is(gateway.served(PODS), a, "accepted");
    gateway.edit("{subjects: [{podLabels: {a: b}}], allow: [{host: '*'}]}");
    is(gateway.served(PODS), a, "good Some(1)");
    is(gateway.served("resolver: {timeout: 1s}"), "", "closed");
    // Those settings may have been refused: what was good is known on.
    is(gateway.served(PODS), a, "good Some(1)");
    let mut none = read(&[]);
    translate_again(
        &gateway.objects,
        &Options::default(),
        &mut gateway.made,
        &mut none,
    );
    is(gateway.served(PODS), a, "good Some(1)");
}

#[test]
fn what_one_was_allowed_another_of_its_name_is_not() {
    let mut gateway = Gateway::new();
    gateway.edit("{allow: [{host: a.test}]}");
    is(gateway.served(PODS), r#"[{"host":"a.test"}]"#, "accepted");
    gateway.uid = "2";
    gateway.edit("{allow: [{host: '*'}]}");
    is(gateway.served(PODS), "closed", "closed");
}

#[test]
fn settings_that_a_floor_cannot_do_with_are_refused_and_those_without_it_are_not() {
    let floor = |spec: &str| {
        let spec: serde_json::Value = serde_saphyr::from_str(spec).expect("YAML");
        let value = json!({ "metadata": { "name": "floor", "uid": "1" }, "spec": spec });
        serde_json::from_value::<ClusterEgressPolicyObject>(value).expect("a floor")
    };
    let name = ResourceName::new("", "floor");
    let mut gateway = Gateway::new();
    // Each is another value, as after an event that tells of the status alone.
    let mut errors = |floor: &ClusterEgressPolicyObject, settings: &str| -> Vec<String> {
        let floors = &mut gateway.objects.cluster_egress_policies;
        floors.insert(name.clone(), Arc::new(floor.clone()));
        let mut read = read(&[SourceFile {
            name: "a.yaml".into(),
            text: format!("egress: {{listeners: [{{name: proxy}}], {settings}}}"),
        }]);
        let (objects, made) = (&gateway.objects, &mut gateway.made);
        translate_again(objects, &Options::default(), made, &mut read);
        let of_settings = read.problems.iter().filter(|problem| {
            matches!(problem.origin, Origin::File { .. }) && problem.path == "egress"
        });
        of_settings.map(ToString::to_string).collect()
    };
    let good = floor("{subjects: [{namespace: ci}], deny: [{host: a.test}]}");
    let bare = "resolver: {timeout: 1s}";
    assert_eq!(errors(&good, PODS), [""; 0]);
    for _ in 0..2 {
        let told = errors(&good, bare);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("a.yaml:1:"), "{told:?}");
        assert!(
            told[0].contains("ClusterEgressPolicy floor has errors"),
            "{told:?}"
        );
        // Those that served go on.
        assert_eq!(errors(&good, PODS), [""; 0]);
    }
    // What is another object, or says something else, was not in force.
    let mut other = good.clone();
    other.metadata.uid = Some("2".into());
    assert_eq!(errors(&other, bare), [""; 0]);
    assert_eq!(errors(&good, PODS), [""; 0]);
    let other = floor("{subjects: [{namespace: ci}], deny: [{host: b.test}]}");
    assert_eq!(errors(&other, bare), [""; 0]);
    // One with errors of its own keeps no settings from being taken.
    let wrong = floor("{subjects: [{namespace: ci}], deny: [{host: '*'}]}");
    assert_eq!(errors(&wrong, PODS), [""; 0]);
    assert_eq!(errors(&wrong, bare), [""; 0]);
}

#[test]
fn without_an_egress_proxy_there_is_nothing_to_tell() {
    let mut gateway = Gateway::new();
    gateway.edit("{allow: [{host: a.test}]}");
    is(gateway.served(PODS), r#"[{"host":"a.test"}]"#, "accepted");
    let mut read = read(&[SourceFile {
        name: "a.yaml".into(),
        text: "listeners: []".into(),
    }]);
    translate_again(
        &gateway.objects,
        &Options::default(),
        &mut gateway.made,
        &mut read,
    );
    assert_eq!(read.document.egress, None);
    assert_eq!(gateway.made.verdicts(), Verdicts::default());
}
