//! The merged tree to a document, with every error of it.
//!
//! Nearly always there is none, and the tree is read in one go. serde stops at its
//! first error. So after one, each item of a section is read alone until nothing
//! more is found: what was wrong is told, cut out of the tree, and the item is read
//! again. An item that had an error is then left out.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashSet},
};

use serde::Deserialize;

use super::{
    Origins,
    de::Reader,
    error::ReadError,
    node::{Key, Node, Place, Value, join},
};
use crate::{document::Document, problem::Problem};

/// Errors of one item that are told; a bound on the work that a broken file makes.
const MAX_ERRORS: usize = 100;

/// Reads the merged tree.
pub(super) fn document(root: Node, origins: &mut Origins, problems: &mut Vec<Problem>) -> Document {
    if names_differ(&root)
        && let (Ok(document), notes) = deserialize(&root, 0)
        && notes.is_empty()
    {
        origins.tree = Some(root);
        return document;
    }
    let kept = readable(&root, origins, problems);
    let (document, _) = deserialize(&kept, 0);
    origins.tree = Some(kept);
    // Every part of it was read by itself just now.
    document.unwrap_or_default()
}

/// Whether no two items of a section have one name.
fn names_differ(root: &Node) -> bool {
    let Value::Mapping(sections) = &root.value else {
        return true;
    };
    sections.iter().all(|(_, section)| {
        let Value::Sequence(items) = &section.value else {
            return true;
        };
        let mut names = HashSet::with_capacity(items.len());
        items
            .iter()
            .filter_map(|item| item.field("name"))
            .all(|(name, _)| names.insert(name))
    })
}

/// What can be read of the merged tree, so that paths and origins count the items
/// that are in the document.
///
/// Each section, and each item of a section that is a list, is read by itself; what
/// cannot be read is told and left out.
fn readable(root: &Node, origins: &mut Origins, problems: &mut Vec<Problem>) -> Node {
    let sections: &[(Key, Node)] = match &root.value {
        Value::Mapping(sections) => sections,
        _ => &[],
    };
    let mut kept = Vec::new();
    for (key, node) in sections {
        let known = problems.len();
        let value = match &node.value {
            Value::Sequence(items) if !items.is_empty() => {
                // Whether this section is a list at all is told once, not for each item.
                let empty = part(key, Value::Sequence(Vec::new()), &node.place);
                if !is_readable(key, empty, 0, origins, problems) || problems.len() > known {
                    continue;
                }
                Value::Sequence(readable_items(key, items, &node.place, origins, problems))
            }
            value => {
                let whole = part(key, value.clone(), &node.place);
                if !is_readable(key, whole, 0, origins, problems) {
                    continue;
                }
                value.clone()
            }
        };
        let place = node.place.clone();
        kept.push((key.clone(), Node { value, place }));
    }
    Node {
        value: Value::Mapping(kept),
        place: Place::nowhere(),
    }
}

/// The items that can be read; of several with the same name the first.
fn readable_items(
    key: &Key,
    items: &[Node],
    place: &Place,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
) -> Vec<Node> {
    let mut names: BTreeMap<&str, &Place> = BTreeMap::new();
    let mut kept = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let alone = part(key, Value::Sequence(vec![item.clone()]), place);
        let readable = is_readable(key, alone, index, origins, problems);
        let taken = item
            .field("name")
            .and_then(|(name, place)| match names.get(name) {
                Some(first) => Some((name, place, *first)),
                None => {
                    names.insert(name, place);
                    None
                }
            });
        match taken {
            Some((name, place, first)) => problems.push(place.error(
                &format!("{}[{index}].name", key.text),
                format!("the name {name:?} is taken; first at {}", first.origin()),
                None,
            )),
            None if readable => kept.push(item.clone()),
            None => {}
        }
    }
    kept
}

/// A document with nothing but one value in one section.
fn part(key: &Key, value: Value, place: &Place) -> Node {
    let node = Node {
        value,
        place: place.clone(),
    };
    Node {
        value: Value::Mapping(vec![(key.clone(), node)]),
        place: Place::nowhere(),
    }
}

fn deserialize(root: &Node, offset: usize) -> (Result<Document, ReadError>, Vec<Problem>) {
    let notes = RefCell::default();
    let document = Document::deserialize(Reader::new(root, offset, &notes));
    (document, notes.into_inner())
}

/// Reads one part again and again until all that is wrong with it has been told.
fn is_readable(
    section: &Key,
    mut part: Node,
    offset: usize,
    origins: &mut Origins,
    problems: &mut Vec<Problem>,
) -> bool {
    let mut told = BTreeSet::new();
    let mut touched = BTreeSet::new();
    let mut readable = true;
    for _ in 0..MAX_ERRORS {
        let (result, notes) = deserialize(&part, offset);
        let new = |problem: &Problem| told.insert((problem.origin.clone(), problem.path.clone()));
        problems.extend(notes.into_iter().filter(new));
        let Err(error) = result else { break };
        readable = false;
        if let Some(problem) = cut_out(&error, section, &mut part, offset, &mut touched) {
            problems.push(problem);
        }
        if matches!(part.value, Value::Removed) {
            break;
        }
    }
    if !readable {
        origins.incomplete.insert(section.text.clone());
    }
    readable
}

/// Takes what an error is about out of the tree, and returns the problem unless
/// it only follows from what was taken out before.
fn cut_out(
    error: &ReadError,
    section: &Key,
    part: &mut Node,
    offset: usize,
    touched: &mut BTreeSet<String>,
) -> Option<Problem> {
    let (place, path) = match &error.place {
        Some((place, path)) => (place.clone(), path.clone()),
        None => (section.place.clone(), section.text.clone()),
    };
    let (target, replacement) = match error.missing {
        Some(field) => (join(&path, field), Value::Filler),
        None => (path.clone(), Value::Removed),
    };
    let follows = match error.missing {
        Some(_) => touched.contains(&target),
        None => touched.iter().any(|known| is_at_or_below(known, &target)),
    };
    let edited = touched.insert(target.clone()) && edit(part, "", &target, offset, &replacement);
    if !edited {
        // The replacement does not read either: give up the map or list around it.
        let end = target.rfind(['.', '[']).unwrap_or(0);
        let around = &target[..end];
        touched.insert(around.to_owned());
        if !edit(part, "", around, offset, &Value::Removed) {
            part.value = Value::Removed;
        }
    }
    (!follows).then(|| place.error(&path, error.reason.clone(), error.hint.as_deref()))
}

fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Replaces the value at a path; a key that is missing is added.
fn edit(node: &mut Node, path: &str, target: &str, offset: usize, replacement: &Value) -> bool {
    if path == target {
        node.value = replacement.clone();
        return true;
    }
    if !path.is_empty() && !is_at_or_below(target, path) {
        return false;
    }
    let place = node.place.clone();
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().enumerate().any(|(index, item)| {
            let path = format!("{path}[{}]", index + offset);
            edit(item, &path, target, 0, replacement)
        }),
        Value::Mapping(entries) => {
            let below = if path.is_empty() { offset } else { 0 };
            let found = entries
                .iter_mut()
                .any(|(key, node)| edit(node, &join(path, &key.text), target, below, replacement));
            let added = match target.strip_prefix(path) {
                Some(rest) if !found && matches!(replacement, Value::Filler) => rest
                    .strip_prefix('.')
                    .filter(|key| !key.contains(['.', '['])),
                _ => None,
            };
            if let Some(key) = added {
                let key = Key {
                    text: key.to_owned(),
                    place: place.clone(),
                };
                let value = replacement.clone();
                entries.push((key, Node { value, place }));
            }
            found || added.is_some()
        }
        Value::Scalar { .. } | Value::Removed | Value::Filler => false,
    }
}
