//! Several trees to one.

use super::node::{Key, Node, Value};
use crate::problem::{Origin, Problem, Severity};

/// Merges the roots of all files: lists concatenate, anything else may stand
/// once. Items of a list with the same name are told; the first one counts.
pub(super) fn merge(roots: Vec<Node>, problems: &mut Vec<Problem>) -> Node {
    let mut merged: Vec<(Key, Node)> = Vec::new();
    for root in roots {
        let kind = root.kind();
        let Value::Mapping(entries) = root.value else {
            let hint = "the top level holds sections, such as `routes:`";
            problems.push(error(
                root.origin,
                "",
                format!("a map is expected here, not {kind}"),
                Some(hint),
            ));
            continue;
        };
        for (key, node) in entries {
            let Some(at) = merged.iter().position(|(known, _)| known.text == key.text) else {
                merged.push((key, node));
                continue;
            };
            let (first, known) = &mut merged[at];
            match (&mut known.value, node.value) {
                (Value::Sequence(items), Value::Sequence(more)) => items.extend(more),
                _ => problems.push(error(
                    key.origin,
                    &key.text,
                    format!(
                        "the section {:?} stands in two files; first at {}",
                        key.text, first.origin
                    ),
                    Some("only lists are merged"),
                )),
            }
        }
    }
    for (key, node) in &mut merged {
        refuse_duplicate_names(&key.text, node, problems);
    }
    Node {
        value: Value::Mapping(merged),
        origin: Origin::Internal,
    }
}

fn refuse_duplicate_names(section: &str, node: &mut Node, problems: &mut Vec<Problem>) {
    let Value::Sequence(items) = &mut node.value else {
        return;
    };
    let mut seen: Vec<(String, Origin)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some((name, origin)) = item.field("name") else {
            continue;
        };
        match seen.iter().find(|(known, _)| known == name) {
            Some((_, first)) => problems.push(error(
                origin.clone(),
                &format!("{section}[{index}].name"),
                format!("the name {name:?} is taken; first at {first}"),
                None,
            )),
            None => seen.push((name.to_owned(), origin.clone())),
        }
    }
}

fn error(origin: Origin, path: &str, reason: String, hint: Option<&str>) -> Problem {
    Problem {
        origin,
        path: path.to_owned(),
        reason,
        hint: hint.map(str::to_owned),
        severity: Severity::Error,
    }
}
