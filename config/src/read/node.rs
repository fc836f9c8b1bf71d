//! The tree between YAML events and serde.

use std::sync::Arc;

use crate::problem::{Origin, Problem};

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A plain or quoted scalar.
    Scalar {
        /// Its text.
        text: String,
        /// Whether it was written without quotes, so that it may be a number, a boolean or null.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A map, in the order it was written.
    Mapping(Vec<(Key, Node)>),
    /// Was wrong, has been told, and is skipped from now on.
    Removed,
    /// Stands for a required value that is missing and has been told; reads as anything.
    Filler,
}

/// A key with its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

/// A place in a file. Small, because every node has one.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: Option<Arc<str>>,
    line: u32,
    column: u32,
}

impl Place {
    /// A place by line and column, both from 1; 0 means the whole file.
    pub(super) fn new(file: &Arc<str>, line: usize, column: usize) -> Self {
        Self {
            file: Some(Arc::clone(file)),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    /// The place of the tree that all files are merged into.
    pub(super) fn nowhere() -> Self {
        Self {
            file: None,
            line: 0,
            column: 0,
        }
    }

    /// The place as problems tell it.
    pub(super) fn origin(&self) -> Origin {
        match &self.file {
            None => Origin::Internal,
            Some(file) => Origin::File {
                file: file.to_string(),
                line: self.line as usize,
                column: self.column as usize,
            },
        }
    }

    /// An error at this place.
    pub(super) fn error(&self, path: &str, reason: String, hint: Option<&str>) -> Problem {
        Problem::error(self.origin(), path, reason).with_hint(hint)
    }
}

impl Node {
    /// Whether it is written as nothing, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The kind in words.
    pub(super) fn kind(&self) -> String {
        match &self.value {
            _ if self.is_null() => "nothing".into(),
            Value::Scalar { text, plain: false } => format!("the text {text:?}"),
            Value::Scalar { text, plain: true } => format!("`{text}`"),
            Value::Sequence(_) => "a list".into(),
            Value::Mapping(_) => "a map".into(),
            Value::Removed | Value::Filler => "nothing".into(),
        }
    }

    /// The text of the scalar under a key of a map.
    pub(super) fn field(&self, name: &str) -> Option<(&str, &Place)> {
        let Value::Mapping(entries) = &self.value else {
            return None;
        };
        let (_, node) = entries.iter().find(|(key, _)| key.text == name)?;
        match &node.value {
            Value::Scalar { text, .. } => Some((text, &node.place)),
            _ => None,
        }
    }

    /// The place of what a document path leads to, or of the last thing on its way.
    pub(super) fn place_of(&self, path: &str) -> &Place {
        self.walk(path).1
    }

    /// How many bytes of a path lead somewhere, and the place there. A key may have
    /// dots and brackets of its own, as a header's name or a host.
    fn walk(&self, path: &str) -> (usize, &Place) {
        let below = match &self.value {
            Value::Sequence(items) => item(items, path),
            Value::Mapping(entries) => {
                let dot = usize::from(path.starts_with('.'));
                let found = entries.iter().filter_map(|(key, node)| {
                    let rest = path[dot..].strip_prefix(key.text.as_str())?;
                    (rest.is_empty() || rest.starts_with(['.', '[']))
                        .then(|| step(node, path, rest))
                });
                found.max_by_key(|(used, _)| *used)
            }
            Value::Scalar { .. } | Value::Removed | Value::Filler => None,
        };
        below.unwrap_or((0, &self.place))
    }

    /// How many nodes it is, and how many levels.
    pub(super) fn size(&self) -> (usize, usize) {
        let add = |(nodes, levels): (usize, usize), child: &Self| {
            let (more, below) = child.size();
            (nodes + more, levels.max(below + 1))
        };
        match &self.value {
            Value::Sequence(items) => items.iter().fold((1, 1), add),
            Value::Mapping(entries) => entries.iter().map(|(_, node)| node).fold((1, 1), add),
            Value::Scalar { .. } | Value::Removed | Value::Filler => (1, 1),
        }
    }
}

/// Follows the number of an item, as `[3].name`.
fn item<'n>(items: &'n [Node], path: &str) -> Option<(usize, &'n Place)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some(step(items.get(index.parse::<usize>().ok()?)?, path, rest))
}

/// Goes on at a node with the rest of a path.
fn step<'n>(node: &'n Node, path: &str, rest: &str) -> (usize, &'n Place) {
    let (used, place) = node.walk(rest);
    (path.len() - rest.len() + used, place)
}

/// The path of a key below another path.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
