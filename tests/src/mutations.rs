//! The rules of the egress proxy that are taken out of the code, as `mutations/egress.yaml` has
//! them.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;

use crate::mutants::{Change, root};

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutations {
    /// Rules that nothing can be taken out for, each with the reason.
    pub without: BTreeMap<String, String>,
    /// The others.
    #[serde(rename = "mutations")]
    pub rules: Vec<Mutation>,
}

/// A rule, what takes it out, and the tests of which one must fail then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// The rule, in a few words that no other has.
    pub rule: String,
    /// Parts of it that are taken out one at a time; none where it is a single mutant.
    #[serde(default)]
    pub each: Vec<String>,
    /// Where it stands, from the root of the workspace.
    pub file: String,
    /// Text that is there just once.
    pub find: String,
    /// Rust that takes its place.
    pub replace: String,
    /// Its other places.
    #[serde(default)]
    pub also: Vec<Change>,
    /// A test program and filters, as `cargo test` takes them, parted by blanks.
    pub test: String,
}

impl Mutations {
    /// Reads the list as it is now.
    ///
    /// # Panics
    /// Where it is no such list.
    pub fn read() -> Self {
        let text = fs::read_to_string(root().join("tests/mutations/egress.yaml"));
        serde_saphyr::from_str(&text.expect("the list is there")).expect("it is a list")
    }
}

impl Mutation {
    /// All its places.
    pub fn changes(&self) -> Vec<Change> {
        let first = Change {
            file: self.file.clone(),
            find: self.find.clone(),
            replace: self.replace.clone(),
        };
        [&[first][..], &self.also].concat()
    }

    /// The names of its mutants.
    pub fn mutants(&self) -> Vec<String> {
        match self.each.as_slice() {
            [] => vec![self.rule.clone()],
            parts => {
                let name = |part| format!("{}: {part}", self.rule);
                parts.iter().map(name).collect()
            }
        }
    }

    /// What `cargo test` builds for its tests, and the filters of these.
    pub fn program(&self) -> (Vec<&str>, Vec<&str>) {
        let words: Vec<&str> = self.test.split_whitespace().collect();
        // `-p PACKAGE --lib`, or `-p PACKAGE --test NAME`.
        let length = if words.get(2) == Some(&"--lib") { 3 } else { 4 };
        let (program, filters) = words.split_at(length.min(words.len()));
        (program.to_vec(), filters.to_vec())
    }
}
