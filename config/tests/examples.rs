//! The examples: right, complete, and the same after printing.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::collections::BTreeSet;

use portcullis_config::{
    document::Document,
    read::{SourceFile, read, schema, to_yaml},
    validate::validate,
};
use serde_json::Value;

/// Reads an example that must have no problem at all.
fn example(name: &str) -> Document {
    let path = format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    clean(name, text)
}

fn clean(name: &str, text: String) -> Document {
    let name = name.to_owned();
    let read = read(&[SourceFile { name, text }]);
    assert!(read.problems.is_empty(), "{:#?}", read.problems);
    let validated = validate(&read.document, &read.origins);
    assert!(validated.problems.is_empty(), "{:#?}", validated.problems);
    read.document
}

#[test]
fn examples_have_no_problems_and_survive_printing() {
    let folder = format!("{}/examples", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // Rules of the WAF have tests of their own.
        if !name.ends_with(".yaml") {
            continue;
        }
        let document = example(&name);
        assert_eq!(clean(&name, to_yaml(&document)), document, "{name}");
    }
}

#[test]
fn files_are_found_beside_the_configuration_that_names_them() {
    let read = read(&[SourceFile {
        name: "/etc/portcullis/shop.yaml".into(),
        text: "certificates: [{name: a, certificate: certs/tls.crt, key: /keys/tls.key}]\n".into(),
    }]);
    let model = validate(&read.document, &read.origins).model;
    let pair = &model.certificates[0];
    assert_eq!(
        pair.certificate.to_str(),
        Some("/etc/portcullis/certs/tls.crt")
    );
    assert_eq!(pair.key.to_str(), Some("/keys/tls.key"));
}

#[test]
fn the_full_example_has_every_key() {
    let schema = schema();
    let mut used = BTreeSet::new();
    // The second has what cannot stand beside something in the first.
    for name in ["full.yaml", "token-review.yaml"] {
        let document = serde_json::to_value(example(name)).unwrap();
        collect_used(&schema, "Document", &schema, &document, &mut used);
    }
    let mut known = BTreeSet::new();
    collect_known("Document", &schema, &mut known);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        collect_known(name, definition, &mut known);
    }
    assert!(known.len() > 100, "{known:#?}");
    let missing: Vec<_> = known.difference(&used).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The keys of one definition, those of its alternatives included.
fn collect_known(name: &str, schema: &Value, known: &mut BTreeSet<(String, String)>) {
    for key in schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
    {
        known.insert((name.to_owned(), key.clone()));
    }
    for inline in schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.values())
    {
        collect_known(name, inline, known);
    }
    for alternative in alternatives(schema) {
        collect_known(name, alternative, known);
    }
}

/// The keys that a value uses, each with the definition it belongs to.
fn collect_used(
    root: &Value,
    name: &str,
    schema: &Value,
    value: &Value,
    used: &mut BTreeSet<(String, String)>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        collect_used(root, name, &root["$defs"][name], value, used);
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(key) {
            used.insert((name.to_owned(), key.clone()));
            collect_used(root, name, property, value, used);
        }
    }
    for item in value.as_array().into_iter().flatten() {
        collect_used(root, name, &schema["items"], item, used);
    }
    for alternative in alternatives(schema) {
        collect_used(root, name, alternative, value, used);
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .flat_map(|word| schema[word].as_array().into_iter().flatten())
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Lines left out, moved and indented otherwise: never a panic, and no
    /// document that prints as something else.
    #[test]
    fn a_damaged_example_is_judged_without_a_panic(
        edits in proptest::collection::vec((0usize..400, 0usize..400, 0usize..6), 1..8),
    ) {
        let path = format!("{}/examples/full.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (from, to, indent) in edits {
            let line = lines.remove(from % lines.len());
            if indent > 0 {
                let at = to % lines.len();
                lines.insert(at, format!("{}{}", "  ".repeat(indent), line.trim_start()));
            }
        }
        let read = read(&[SourceFile { name: "full.yaml".into(), text: lines.join("\n") }]);
        let _ = validate(&read.document, &read.origins);
        let again = portcullis_config::read::read(&[SourceFile {
            name: "again.yaml".into(),
            text: to_yaml(&read.document),
        }]);
        proptest::prop_assert!(again.problems.is_empty(), "{:#?}", again.problems);
        proptest::prop_assert_eq!(again.document, read.document);
    }
}
