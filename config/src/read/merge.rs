//! Several trees to one.

use std::collections::{HashMap, HashSet};

use super::{
    node::{Key, Node, Place, Value},
    parse::Tree,
    path::Path,
};
use crate::problem::Problem;

/// Merges the roots of all files: lists concatenate, anything else may stand
/// once. Of a key that stands twice in one map the first one counts.
pub(super) fn merge(trees: Vec<Tree>, problems: &mut Vec<Problem>) -> Node {
    let has_duplicates = trees.iter().any(|tree| tree.has_duplicates);
    let mut merged: Vec<(Key, Node)> = Vec::new();
    for Tree { root, .. } in trees {
        let kind = root.kind();
        let Value::Mapping(mut entries) = root.value else {
            problems.push(root.place.error(
                "",
                format!("a map is expected here, not {kind}"),
                Some("the top level holds sections, such as `routes:`"),
            ));
            continue;
        };
        remove_duplicates(&mut entries, &Path::ROOT, problems);
        for (key, node) in entries {
            let Some(at) = merged.iter().position(|(known, _)| known.text == key.text) else {
                merged.push((key, node));
                continue;
            };
            let (first, known) = &mut merged[at];
            match (&mut known.value, node.value) {
                (Value::Sequence(items), Value::Sequence(more)) => items.extend(more),
                _ => problems.push(key.place.error(
                    &key.text,
                    format!(
                        "the section {:?} stands in two files; first at {}",
                        key.text,
                        first.place.origin()
                    ),
                    Some("only lists are merged"),
                )),
            }
        }
    }
    for (key, node) in merged.iter_mut().filter(|_| has_duplicates) {
        refuse_duplicate_keys(node, &Path::ROOT.key(&key.text), problems);
    }
    Node {
        value: Value::Mapping(merged),
        place: Place::nowhere(),
    }
}

fn refuse_duplicate_keys(node: &mut Node, path: &Path<'_>, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                refuse_duplicate_keys(item, &path.item(index), problems);
            }
        }
        Value::Mapping(entries) => {
            remove_duplicates(entries, path, problems);
            for (key, node) in entries {
                refuse_duplicate_keys(node, &path.key(&key.text), problems);
            }
        }
        Value::Scalar { .. } | Value::Removed | Value::Filler => {}
    }
}

fn remove_duplicates(entries: &mut Vec<(Key, Node)>, path: &Path<'_>, problems: &mut Vec<Problem>) {
    if all_differ(entries) {
        return;
    }
    let mut seen: HashMap<String, Place> = HashMap::new();
    entries.retain(|(key, _)| match seen.get(&key.text) {
        None => {
            seen.insert(key.text.clone(), key.place.clone());
            true
        }
        Some(first) => {
            problems.push(key.place.error(
                &path.key(&key.text).to_string(),
                format!(
                    "the key {:?} stands twice; first at {}",
                    key.text,
                    first.origin()
                ),
                None,
            ));
            false
        }
    });
}

/// Whether no key stands twice. Most maps are so small that comparing each key
/// with each is quicker than any table.
pub(super) fn all_differ(entries: &[(Key, Node)]) -> bool {
    const SMALL: usize = 12;
    if entries.len() > SMALL {
        let mut seen = HashSet::with_capacity(entries.len());
        return entries
            .iter()
            .all(|(key, _)| seen.insert(key.text.as_str()));
    }
    entries.iter().enumerate().all(|(index, (key, _))| {
        let before = &entries[..index];
        before.iter().all(|(other, _)| other.text != key.text)
    })
}
