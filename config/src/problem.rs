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

/// What a problem is, in one word, for those who count problems or look for some. It is the
/// reason of the Event of an object, and `category` at `/config/problems`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Category {
    /// A Service is not there, or has no such port: it ends when that comes.
    ServiceNotFound,
    /// Nothing of a Service is ready.
    NoEndpoints,
    /// A certificate, or what says whose it is.
    CertificateInvalid,
    /// Somebody else has it.
    Conflict,
    /// Any other error.
    Invalid,
    /// Any other warning.
    Questionable,
}

impl Category {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceNotFound => "ServiceNotFound",
            Self::NoEndpoints => "NoEndpoints",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::Conflict => "Conflict",
            Self::Invalid => "Invalid",
            Self::Questionable => "Questionable",
        }
    }
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
    /// What it is, in one word.
    pub category: Category,
}

impl Problem {
    /// A problem at a place, of the category that every other one of its severity has.
    pub fn new(
        severity: Severity,
        origin: Origin,
        path: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            origin,
            path: path.into(),
            reason: reason.into(),
            hint: None,
            severity,
            category: match severity {
                Severity::Error => Category::Invalid,
                Severity::Warning => Category::Questionable,
            },
        }
    }

    /// An error at a place.
    pub fn error(origin: Origin, path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(Severity::Error, origin, path, reason)
    }

    /// A warning at a place.
    pub fn warning(origin: Origin, path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(Severity::Warning, origin, path, reason)
    }

    /// The same with what to do about it, where that can be said.
    #[must_use]
    pub fn with_hint(self, hint: Option<impl Into<String>>) -> Self {
        Self {
            hint: hint.map(Into::into),
            ..self
        }
    }

    /// The same of another category.
    #[must_use]
    pub fn with_category(self, category: Category) -> Self {
        Self { category, ..self }
    }
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
