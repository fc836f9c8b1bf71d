//! What is wrong with a configuration, and where.
//!
//! Reading and validation return every [`Problem`], not the first, so that one
//! edit can mend a whole file. A problem names its place twice: by [`Origin`]
//! (where a person looks) and by document path (what a program reads).

use std::fmt;

/// Where a piece of configuration came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// A place in a file. Lines and columns count from 1; 0 means the whole file.
    File {
        /// The file as it was named on the command line or found in a directory.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// A Kubernetes object.
    Object {
        /// Kind, such as `Ingress`.
        kind: String,
        /// Namespace; empty for a cluster-scoped object.
        namespace: String,
        /// Name.
        name: String,
        /// The field, as `spec.rules[0].http.paths[1]`; empty for the whole object.
        #[serde(skip_serializing_if = "String::is_empty")]
        field: String,
    },
    /// Built by the program itself.
    Internal,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line: 0, .. } => write!(f, "{file}"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Object {
                kind,
                namespace,
                name,
                field,
            } => {
                f.write_str(kind)?;
                for part in [namespace, name] {
                    if !part.is_empty() {
                        write!(f, "/{part}")?;
                    }
                }
                if !field.is_empty() {
                    write!(f, " {field}")?;
                }
                Ok(())
            }
            Self::Internal => f.write_str("built-in"),
        }
    }
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The configuration means something, but perhaps not what was meant.
    Warning,
    /// The item cannot be used; a file that has one is refused whole.
    Error,
}

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where a person looks.
    pub origin: Origin,
    /// The document path, as `routes[3].rules[0].matches[0].path`.
    pub path: String,
    /// What is wrong, naming the value.
    pub reason: String,
    /// What to do about it, where that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Error or warning.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: ", self.origin)?;
        // The document that was made of an object is not what its author has before them.
        if !self.path.is_empty() && !matches!(self.origin, Origin::Object { .. }) {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
