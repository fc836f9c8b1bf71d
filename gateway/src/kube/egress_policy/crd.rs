//! The CustomResourceDefinitions, made of what describes the document.
//!
//! A schema of the API server is structural: no references, no `anyOf` of types. So an entry is a
//! map here, where files may have a name alone. Fields that are not in it are kept, for [`judge`]
//! to refuse.
//!
//! [`judge`]: super::judge

use k8s_openapi::Resource;
use portcullis_config::read::egress_policy_schema;
use serde_json::{Map, Value, json};

use super::{
    ClusterEgressPolicyObject, EgressPolicyObject,
    judge::{MAX_ENTRIES, MAX_REGEX_BYTES, MAX_SUBJECTS, OF_CLUSTER, OF_FILES},
};

/// The definitions of all kinds that are ours.
pub fn definitions() -> Vec<Value> {
    vec![
        definition::<ClusterEgressPolicyObject>(
            "Cluster",
            "what no namespace can loosen: who may reach what through the egress proxy",
            of_cluster(),
        ),
        definition::<EgressPolicyObject>(
            "Namespaced",
            "who of a namespace may reach what through the egress proxy",
            of_namespace(),
        ),
    ]
}

fn definition<K: Resource>(scope: &str, what: &str, spec: Value) -> Value {
    let (group, plural, kind) = (K::GROUP, K::URL_PATH_SEGMENT, K::KIND);
    let condition = |name: &str| format!(".status.conditions[?(@.type==\"{name}\")].status");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": kind.to_lowercase(),
                "categories": ["portcullis"],
            },
            "versions": [{
                "name": K::VERSION,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "Mode", "type": "string", "jsonPath": ".spec.mode" },
                    { "name": "Accepted", "type": "string", "jsonPath": condition("Accepted") },
                    { "name": "Programmed", "type": "string", "jsonPath": condition("Programmed") },
                    { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    // What stands beside `spec` may be meant to stand in it.
                    "x-kubernetes-preserve-unknown-fields": true,
                    "description": format!("{kind}: {what}."),
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": { "type": "string" },
                        "kind": { "type": "string" },
                        "metadata": { "type": "object" },
                        "spec": spec,
                        "status": status(),
                    },
                } },
            }],
        },
    })
}

/// `status`, as other kinds have it.
fn status() -> Value {
    let text = |most: u32| json!({ "type": "string", "maxLength": most });
    json!({
        "type": "object",
        "description": "What of it is in force.",
        "properties": { "conditions": {
            "type": "array",
            "description": "`Accepted`: whether it has no errors. `Programmed`: whether this version is in force.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["lastTransitionTime", "message", "reason", "status", "type"],
                "properties": {
                    "type": text(316),
                    "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                    "reason": text(1024),
                    "message": text(32_768),
                    "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
                    "lastTransitionTime": { "type": "string", "format": "date-time" },
                },
            },
        } },
    })
}

/// `spec` of a policy of the cluster.
fn of_cluster() -> Value {
    let mut spec = structural(&egress_policy_schema());
    remove(&mut spec, &["name"]);
    let lists = [
        "/properties/allow",
        "/properties/deny",
        "/properties/delegate/properties/allow",
    ];
    for list in lists {
        if let Some(list) = spec.pointer_mut(list) {
            list["maxItems"] = MAX_ENTRIES.into();
        }
        if let Some(entry) = spec.pointer_mut(&format!("{list}/items")) {
            remove(entry, &OF_FILES);
            entry["properties"]["regex"]["maxLength"] = MAX_REGEX_BYTES.into();
        }
    }
    if let Some(subjects) = spec.pointer_mut("/properties/subjects") {
        subjects["maxItems"] = MAX_SUBJECTS.into();
    }
    spec
}

/// `spec` of a policy of a namespace.
fn of_namespace() -> Value {
    let mut spec = of_cluster();
    remove(&mut spec, &["delegate"]);
    if let Some(subjects) = spec.pointer_mut("/properties/subjects") {
        if let Some(subject) = subjects.get_mut("items") {
            remove(subject, &OF_CLUSTER);
        }
        let told =
            "Whom of its namespace it is about; a client is selected by any of them. Default: all.";
        subjects["description"] = told.into();
    }
    if let Some(required) = spec.as_object_mut() {
        required.remove("required");
    }
    spec
}

/// Takes properties away.
fn remove(schema: &mut Value, fields: &[&str]) {
    let is_kept = |field: &str| !fields.contains(&field);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|field, _| is_kept(field));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field.as_str().is_some_and(is_kept));
    }
}

/// A JSON Schema with references as one without, of what the API server takes.
fn structural(schema: &Value) -> Value {
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    resolved(schema, &definitions)
}

fn resolved(schema: &Value, definitions: &Value) -> Value {
    let Value::Object(map) = schema else {
        return json!({});
    };
    let mut made = Map::new();
    if let Some(name) = map.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap_or_default();
        let of = definitions.get(name).unwrap_or(&Value::Null);
        if let Value::Object(target) = resolved(of, definitions) {
            made = target;
        }
    }
    if let Some(one) = one_of(map)
        && let Value::Object(target) = resolved(&one, definitions)
    {
        made.extend(target);
    }
    for (key, value) in map {
        match key.as_str() {
            "description" | "required" | "enum" | "pattern" | "minLength" | "maxLength" => {
                made.insert(key.clone(), value.clone());
            }
            // Formats of Rust's own are none of the API server's.
            "minimum" | "maximum" => {
                made.insert(key.clone(), value.clone());
            }
            "type" => {
                let plain = value.as_str().or_else(|| {
                    let types = value.as_array()?.iter().filter_map(Value::as_str);
                    types.into_iter().find(|name| *name != "null")
                });
                made.extend(plain.map(|name| (key.clone(), name.into())));
            }
            "items" => {
                made.insert(key.clone(), resolved(value, definitions));
            }
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let properties: Map<String, Value> = properties
                    .map(|(name, property)| (name.clone(), resolved(property, definitions)))
                    .collect();
                made.insert(key.clone(), properties.into());
                // Where the API server took away what is not named here, a mistake would not be
                // seen by whoever refuses it, and what is left of an entry may be wider.
                made.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
            }
            "additionalProperties" if value.is_object() => {
                made.insert(key.clone(), resolved(value, definitions));
            }
            _ => {}
        }
    }
    made.into()
}

/// Of several shapes the one that is served: texts that are each written out are one of them,
/// null is what is left out, and where a name alone would do a map is expected.
fn one_of(map: &Map<String, Value>) -> Option<Value> {
    let shapes = map.get("anyOf").or_else(|| map.get("oneOf"))?.as_array()?;
    let constants: Vec<&Value> = shapes
        .iter()
        .filter_map(|shape| shape.get("const"))
        .collect();
    if constants.len() == shapes.len() {
        return Some(json!({ "type": "string", "enum": constants }));
    }
    let is_map = |shape: &&Value| shape.get("$ref").is_some() || shape["type"] == "object";
    shapes
        .iter()
        .find(is_map)
        .or_else(|| shapes.first())
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_are_what_is_printed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds");
        for definition in definitions() {
            let name = definition["metadata"]["name"].as_str().expect("a name");
            let (plural, group) = name.split_once('.').expect("a group");
            let file = format!("{folder}/{group}_{plural}.yaml");
            let known = std::fs::read_to_string(&file).unwrap_or_default();
            let known: Value = serde_saphyr::from_str(&known).unwrap_or_default();
            assert_eq!(known, definition, "portcullis crds > {file}");
        }
    }

    #[test]
    fn the_api_server_takes_no_field_away() {
        fn objects_without(schema: &Value, path: &str, found: &mut Vec<String>) {
            let keeps = &schema["x-kubernetes-preserve-unknown-fields"];
            let properties = schema["properties"].as_object();
            if properties.is_some() && *keeps != json!(true) {
                found.push(path.to_owned());
            }
            for (name, property) in properties.into_iter().flatten() {
                objects_without(property, &format!("{path}.{name}"), found);
            }
            if !schema["items"].is_null() {
                objects_without(&schema["items"], &format!("{path}[]"), found);
            }
        }
        for spec in [of_cluster(), of_namespace()] {
            let mut found = Vec::new();
            objects_without(&spec, "spec", &mut found);
            assert_eq!(found, [""; 0]);
            let entry = &spec["properties"]["allow"]["items"];
            assert!(entry["properties"].is_object() && entry["properties"]["inject"].is_null());
        }
    }

    #[test]
    fn a_policy_of_a_namespace_is_about_no_other() {
        let [cluster, namespace] = [of_cluster(), of_namespace()];
        let subject = |spec: &Value, field: &str| {
            !spec["properties"]["subjects"]["items"]["properties"][field].is_null()
        };
        for field in OF_CLUSTER {
            assert!(subject(&cluster, field), "{field}");
            assert!(!subject(&namespace, field), "{field}");
        }
        assert!(subject(&namespace, "podLabels"));
        assert!(namespace["properties"]["delegate"].is_null());
        let mode = &cluster["properties"]["mode"]["enum"];
        assert_eq!(*mode, json!(["enforce", "report", "open"]));
        let entry = &namespace["properties"]["allow"]["items"];
        assert_eq!(entry["type"], "object");
        assert_eq!(entry["properties"]["ports"]["items"]["type"], "integer");
    }
}
