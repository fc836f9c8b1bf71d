//! The configuration as it is in effect, for people.
//!
//! ```text
//! Document + Model --defaults--> every value said --secrets--> values hidden --> YAML
//! ```

mod defaults;
mod secrets;
mod waf;
mod workloads;

use crate::{document::Document, model::Model, read::to_yaml};

/// Writes the configuration that is in effect as YAML: every default filled in,
/// each rule with the policies it inherits, secrets replaced by `***`.
///
/// It is a document again, apart from those. Empty lists and switches that are
/// off are left out, and paths stand as they were written.
pub fn dump(document: &Document, model: &Model) -> String {
    let mut document = document.clone();
    defaults::fill(&mut document, model);
    secrets::mask(&mut document);
    to_yaml(&document)
}

#[cfg(test)]
mod tests;
