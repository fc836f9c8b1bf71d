//! The collection of cases from public reports: every case has a test named by its id, or
//! waits for something that is named.
//!
//! The cases lie beside the clone; `PORTCULLIS_CASES` says where.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use portcullis_tests::sha256;
use serde_json::Value;

const KNOWN: &str = include_str!("../corpus/field-cases.yaml");

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// Ids of the tests of a folder: `ing_01_…` is ING-01.
fn tested(folder: &Path, ids: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the tests are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tested(&path, ids);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a test is text");
        for line in text.lines() {
            let name = line
                .strip_prefix("async fn ")
                .or_else(|| line.strip_prefix("fn "));
            let mut parts = name.unwrap_or_default().splitn(3, '_');
            if let (Some(kind @ ("ing" | "lim" | "cfg" | "waf" | "egr")), Some(number)) =
                (parts.next(), parts.next())
            {
                // Other tests of the WAF have names that begin alike.
                if number.parse::<u32>().is_ok() {
                    ids.insert(format!("{}-{number}", kind.to_uppercase()));
                }
            }
        }
    }
}

#[test]
fn every_case_is_tested_or_waits_for_something() {
    let mut ids = BTreeSet::new();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // What is about rules alone is tested in the engine.
    for tests in ["tests", "../waf-rules/tests"] {
        tested(&package.join(tests), &mut ids);
    }
    let known = yaml(KNOWN);
    let mut named = BTreeSet::new();
    for (file, cases) in known.as_object().expect("files") {
        for (id, case) in cases.as_object().expect("cases") {
            let waits = case["waits"].as_str();
            assert_ne!(
                ids.contains(id),
                waits.is_some(),
                "{id} of {file} is tested, or it waits: {waits:?}"
            );
            named.insert(id.clone());
        }
    }
    let strangers: Vec<_> = ids.difference(&named).collect();
    assert!(strangers.is_empty(), "no case is named {strangers:?}");
}

#[test]
fn the_collection_has_no_case_that_nobody_knows() {
    let Some(folder) = std::env::var_os("PORTCULLIS_CASES").map(PathBuf::from) else {
        println!("skipped: PORTCULLIS_CASES is not set");
        return;
    };
    for (file, cases) in yaml(KNOWN).as_object().expect("files") {
        let text = fs::read_to_string(folder.join(file)).expect("the collection has the file");
        let given: BTreeMap<String, String> = yaml(&text)
            .as_array()
            .expect("cases")
            .iter()
            .map(|case| {
                let text = |name: &str| case[name].as_str().expect("text").to_owned();
                (text("id"), sha256(text("title").as_bytes())[..8].to_owned())
            })
            .collect();
        let known: BTreeMap<String, String> = cases
            .as_object()
            .expect("cases")
            .iter()
            .map(|(id, case)| (id.clone(), case["title"].as_str().expect("text").to_owned()))
            .collect();
        assert_eq!(given, known, "{file}");
    }
}
