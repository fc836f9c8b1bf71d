//! YAML text to [`Document`], with the place of everything in it.
//!
//! ```text
//! files --events--> Node tree with places --merge--> one tree --serde--> Document
//!                     |                                            \--> Origins
//!                     \--> problems: syntax, duplicate keys, unknown keys, types: every one
//! ```
//!
//! serde alone stops at its first error and knows no places. So the text becomes
//! a small tree first, and the tree is deserialized by a reader that notes what
//! is wrong and goes on with the next key or list item.

mod children;
mod de;
mod error;
mod hints;
mod merge;
mod node;
mod origins;
mod parse;
mod parts;
mod path;
mod policies;

pub use error::did_you_mean;
pub use origins::{ItemOrigin, Origins};
pub use policies::{PoliciesRead, read_policies};

use self::node::Node;
use crate::{document::Document, problem::Problem};

/// Problems that are told at once; nobody reads more.
const MAX_PROBLEMS: usize = 1000;

/// One configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, as shown in problems; relative paths inside are relative to its folder.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A document as read, with what was wrong while reading it.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The merged document; items that could not be read are left out.
    pub document: Document,
    /// Where everything came from.
    pub origins: Origins,
    /// Everything wrong: syntax, unknown and duplicate keys, types, duplicate names.
    pub problems: Vec<Problem>,
}

/// Reads and merges configuration files.
///
/// Lists concatenate; a section that is no list may stand in one file only; two
/// items of one list with the same name are a problem that names both places.
///
/// A file is one YAML document of at most 16 MiB, 1 000 000 nodes and 64 levels.
/// Aliases may repeat 100 000 nodes in all. Tags and the merge key `<<` are
/// refused by name, and so is a key without a value below the top level. Plain
/// text is taken as it is written where text is expected (`1.10`, `NO`); only
/// `true` and `false` are booleans; numbers are decimal, without leading zeros.
pub fn read(files: &[SourceFile]) -> Read {
    let mut problems = Vec::new();
    let merged = tree(files, &mut problems);
    let mut origins = Origins::default();
    let document = parts::document(merged, &mut origins, &mut problems);
    problems.sort_by(|a, b| a.origin.cmp(&b.origin));
    problems.truncate(MAX_PROBLEMS);
    Read {
        document,
        origins,
        problems,
    }
}

/// The merged tree of some files.
fn tree(files: &[SourceFile], problems: &mut Vec<Problem>) -> Node {
    let mut trees = Vec::new();
    for file in files {
        match parse::parse(file) {
            Ok(tree) => trees.extend(tree),
            Err(problem) => problems.push(*problem),
        }
    }
    merge::merge(trees, problems)
}

/// Writes a document as YAML.
pub fn to_yaml(document: &Document) -> String {
    // Every type of the document serializes to text, numbers, lists and maps with text keys.
    serde_saphyr::to_string(document).unwrap_or_else(|error| format!("# not printable: {error}\n"))
}

/// The JSON Schema of the document, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).into()
}

/// The JSON Schema of a policy of the egress proxy, for custom resources.
pub fn egress_policy_schema() -> serde_json::Value {
    schemars::schema_for!(crate::document::EgressPolicy).into()
}

#[cfg(test)]
mod tests;
