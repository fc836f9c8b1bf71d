//! A problem as an Event of its object.
//!
//! The name of an Event is made of the object and the message, so that replicas, and a process
//! that starts again, tell one Event and not one each.

use k8s_openapi::{
    Resource,
    api::{
        core::v1::{ConfigMap, ObjectReference, Secret, Service},
        discovery::v1::EndpointSlice,
        events::v1::Event,
        networking::v1::{Ingress, IngressClass},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use portcullis_config::problem::{Origin, Problem};
use sha2::{Digest, Sha256};

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject, ObjectSet, ResourceName,
    watched::{Listed, Watched},
};

/// What says that it was us.
const REPORTER: &str = "portcullis.dev/ingress-controller";
/// Longest note (EventSpec.note, events.k8s.io/v1).
const NOTE_BYTES: usize = 1024;
/// Longest name of an object.
const NAME_BYTES: usize = 253;
/// Where Events of objects without a namespace are.
const DEFAULT_NAMESPACE: &str = "default";

/// The Event of a problem: none, where the object that has it is not there.
pub(super) fn of_problem(problem: &Problem, objects: &ObjectSet, instance: &str) -> Option<Event> {
    let (kind, name) = object_of(&problem.origin)?;
    let (api_version, metadata) = find(objects, &kind, &name)?;
    let note = shortened(problem.to_string());
    let namespace = match name.namespace.as_str() {
        "" => DEFAULT_NAMESPACE.to_owned(),
        namespace => namespace.to_owned(),
    };
    Some(Event {
        metadata: ObjectMeta {
            name: Some(event_name(&name, metadata.uid.as_deref(), &note)),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some("Translating".to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(note),
        reason: Some(problem.category.as_str().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind),
            name: Some(name.name.clone()),
            namespace: Some(name.namespace).filter(|namespace| !namespace.is_empty()),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(instance.chars().take(128).collect()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    })
}

/// The object that has a problem; the file of a ConfigMap is a key of it.
fn object_of(origin: &Origin) -> Option<(String, ResourceName)> {
    match origin {
        Origin::Object {
            kind,
            namespace,
            name,
            ..
        } => Some((kind.clone(), ResourceName::new(namespace, name))),
        Origin::File { file, .. } => {
            let mut parts = file.strip_prefix("ConfigMap/")?.splitn(3, '/');
            let name = ResourceName::new(parts.next()?, parts.next()?);
            Some((ConfigMap::NAME.to_owned(), name))
        }
        Origin::Internal => None,
    }
}

fn find<'o>(
    objects: &'o ObjectSet,
    kind: &str,
    name: &ResourceName,
) -> Option<(&'static str, &'o ObjectMeta)> {
    fn of<'o, K: Watched>(
        objects: &'o ObjectSet,
        name: &ResourceName,
    ) -> Option<(&'static str, &'o ObjectMeta)> {
        let object = K::of(objects).get(name)?;
        Some((<K as Resource>::API_VERSION, object.metadata()))
    }
    match kind {
        Ingress::NAME => of::<Ingress>(objects, name),
        IngressClass::NAME => of::<IngressClass>(objects, name),
        Service::NAME => of::<Service>(objects, name),
        EndpointSlice::NAME => of::<EndpointSlice>(objects, name),
        EgressPolicyObject::NAME => of::<EgressPolicyObject>(objects, name),
        ClusterEgressPolicyObject::NAME => of::<ClusterEgressPolicyObject>(objects, name),
        Secret::NAME => of::<Secret>(objects, name),
        ConfigMap::NAME => of::<ConfigMap>(objects, name),
        _ => None,
    }
}

fn event_name(object: &ResourceName, uid: Option<&str>, note: &str) -> String {
    let mut hash = Sha256::new();
    for part in [
        &object.namespace,
        &object.name,
        uid.unwrap_or_default(),
        note,
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let room = NAME_BYTES - hash.len() - 1;
    let name: String = object.name.chars().take(room).collect();
    format!("{name}.{hash}")
}

fn shortened(mut note: String) -> String {
    const MARK: &str = "...";
    if note.len() > NOTE_BYTES {
        let mut end = NOTE_BYTES - MARK.len();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(MARK);
    }
    note
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_config::read::read;
    use serde_json::json;

    use super::*;
    use crate::kube::{Options, translate::translate};

    fn objects(values: serde_json::Value) -> ObjectSet {
        let mut objects = ObjectSet::default();
        for value in values.as_array().into_iter().flatten() {
            let ingress: Ingress = serde_json::from_value(value.clone()).expect("an Ingress");
            let name = ResourceName::of(&ingress.metadata);
            objects.ingresses.insert(name, Arc::new(ingress));
        }
        objects
    }

    fn ingress(name: &str, created: &str) -> serde_json::Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": name, "uid": format!("uid-{name}"), "creationTimestamp": created,
            },
            "spec": { "rules": [{ "host": "a.test", "http": { "paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": { "service": { "name": "none", "port": { "number": 80 } } },
            }] } }] },
        })
    }

    #[test]
    fn problems_of_the_translation_are_told_with_their_objects_and_reasons() {
        let mut objects = objects(json!([
            ingress("old", "2026-01-01T00:00:00Z"),
            ingress("new", "2026-01-02T00:00:00Z"),
            {
                "metadata": {
                    "namespace": "shop", "name": "odd", "uid": "uid-odd",
                    "creationTimestamp": "2026-01-03T00:00:00Z",
                },
                "spec": {
                    "tls": [{ "hosts": ["a host"] }],
                    "rules": [{ "host": "b.test", "http": { "paths": [
                        { "path": "/", "pathType": "Prefix", "backend": { "resource": { "kind": "Bucket", "name": "b" } } },
                        { "path": "/(.*)", "pathType": "ImplementationSpecific", "backend": { "service": {
                            "name": "idle", "port": { "number": 80 },
                        } } },
                    ] } }],
                },
            },
        ]));
        let idle: Service = serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": "idle", "uid": "uid-idle" },
            "spec": { "ports": [{ "port": 80 }] },
        }))
        .expect("a Service");
        let name = ResourceName::of(&idle.metadata);
        objects.services.insert(name, Arc::new(idle));
        let options = Options {
            any_class: true,
            ..Options::default()
        };
        let mut found = read(&[]);
        translate(&objects, &options, &mut found);
        let events: Vec<Event> = found
            .problems
            .iter()
            .filter_map(|problem| of_problem(problem, &objects, "pod-1"))
            .collect();
        let shown: Vec<(&str, &str)> = events
            .iter()
            .map(|event| {
                let regarding = event.regarding.as_ref().expect("an object");
                assert!(regarding.uid.is_some());
                let version = match regarding.kind.as_deref() {
                    Some("Service") => "v1",
                    _ => "networking.k8s.io/v1",
                };
                assert_eq!(regarding.api_version.as_deref(), Some(version));
                (
                    regarding.name.as_deref().unwrap_or_default(),
                    event.reason.as_deref().unwrap_or_default(),
                )
            })
            .collect();
        let expected = [
            ("odd", "CertificateInvalid"),
            ("new", "Conflict"),
            ("old", "ServiceNotFound"),
            ("odd", "Invalid"),
            ("odd", "Questionable"),
            ("idle", "NoEndpoints"),
        ];
        assert_eq!(shown, expected);
        let again = of_problem(&found.problems[0], &objects, "pod-2").expect("an Event");
        assert_eq!(
            again.metadata.name, events[0].metadata.name,
            "of another replica"
        );
        assert_ne!(events[0].metadata.name, events[1].metadata.name);
    }

    #[test]
    fn a_key_of_a_config_map_is_its_object_and_what_is_not_there_has_no_event() {
        let mut objects = ObjectSet::default();
        let name = ResourceName::new("gw", "settings");
        let mut config_map = ConfigMap::default();
        config_map.metadata.uid = Some("uid".into());
        objects.config_maps.insert(name, Arc::new(config_map));
        let problem = |file: &str| {
            let origin = Origin::File {
                file: file.to_owned(),
                line: 3,
                column: 1,
            };
            Problem::error(origin, "listeners", "é".repeat(600))
        };
        let told = of_problem(&problem("ConfigMap/gw/settings/a.yaml"), &objects, "pod");
        let told = told.expect("an Event");
        let note = told.note.expect("a note");
        assert!(note.starts_with("ConfigMap/gw/settings/a.yaml:3:1: error: listeners: é"));
        assert!(note.len() <= NOTE_BYTES && note.ends_with("..."));
        assert_eq!(told.reason.as_deref(), Some("Invalid"));
        for other in [
            "ConfigMap/gw/other/a.yaml",
            "/etc/gateway.yaml",
            "ConfigMap/gw",
        ] {
            assert!(
                of_problem(&problem(other), &objects, "pod").is_none(),
                "{other}"
            );
        }
    }
}
