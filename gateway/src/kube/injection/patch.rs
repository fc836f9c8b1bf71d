//! A JSON Patch (RFC 6902) of additions. What is there already is not touched, nor are fields that
//! nobody here knows.

use serde_json::{Value, json};

/// Additions, in the order in which they are made.
#[derive(Debug, Default)]
pub(super) struct Patch(Vec<Value>);

impl Patch {
    /// Adds items to the end of a list, with how many it has: one without any may not be there.
    pub(super) fn append(&mut self, list: &str, has: usize, items: Vec<Value>) {
        match (items.is_empty(), has) {
            (true, _) => {}
            (false, 0) => self.add(list.to_owned(), Value::Array(items)),
            (false, _) => {
                for item in items {
                    self.add(format!("{list}/-"), item);
                }
            }
        }
    }

    /// Puts an item before all of a list, with how many it has.
    pub(super) fn prepend(&mut self, list: &str, has: usize, item: Value) {
        match has {
            0 => self.add(list.to_owned(), Value::Array(vec![item])),
            _ => self.add(format!("{list}/0"), item),
        }
    }

    /// Sets members of a map of texts, which may not be there.
    pub(super) fn set(&mut self, map: &str, is_there: bool, members: &[(&str, String)]) {
        if members.is_empty() {
            return;
        }
        if !is_there {
            self.add(map.to_owned(), json!({}));
        }
        for (key, value) in members {
            self.add(format!("{map}/{}", escaped(key)), json!(value));
        }
    }

    /// The operations.
    pub(super) fn into_operations(self) -> Vec<Value> {
        self.0
    }

    fn add(&mut self, path: String, value: Value) {
        self.0
            .push(json!({ "op": "add", "path": path, "value": value }));
    }
}

/// A key as a part of a JSON Pointer (RFC 6901 section 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
