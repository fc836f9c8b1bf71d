//! Problems as they are found.

use std::collections::BTreeSet;

use crate::{
    problem::{Origin, Problem, Severity},
    read::{Origins, did_you_mean},
};

/// Collects problems with their places.
pub(super) struct Report<'a> {
    origins: &'a Origins,
    problems: Vec<Problem>,
    errors: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(origins: &'a Origins) -> Self {
        Self {
            origins,
            problems: Vec::new(),
            errors: 0,
        }
    }

    /// The problems in the order of their places. What stands at one place for many routes, as
    /// policies of a class of Ingresses do, is told once.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        let mut told = BTreeSet::new();
        self.problems.retain(|problem| {
            matches!(problem.origin, Origin::Internal)
                || told.insert((problem.origin.clone(), problem.reason.clone()))
        });
        self.problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        self.problems
    }

    pub(super) fn origins(&self) -> &Origins {
        self.origins
    }

    /// Whether a part of the document was made of an object: what its author can do is said
    /// where that is done.
    pub(super) fn is_of_object(&self, path: &str) -> bool {
        self.origins.is_of_object(path)
    }

    /// Notes an error.
    pub(super) fn error(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.note(path.into(), reason.into(), None, Severity::Error);
    }

    /// Notes an error and what to do about it.
    pub(super) fn error_hint(
        &mut self,
        path: impl Into<String>,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(
            path.into(),
            reason.into(),
            Some(hint.into()),
            Severity::Error,
        );
    }

    /// Notes something that may not be what was meant.
    pub(super) fn warn(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.note(path.into(), reason.into(), None, Severity::Warning);
    }

    /// Notes something that may not be what was meant, and what to do about it.
    pub(super) fn warn_hint(
        &mut self,
        path: impl Into<String>,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(
            path.into(),
            reason.into(),
            Some(hint.into()),
            Severity::Warning,
        );
    }

    /// Leaves out what is being built, for an error that was noted elsewhere.
    pub(super) fn give_up(&mut self) {
        self.errors += 1;
    }

    /// Does something, and tells whether no error was noted meanwhile.
    pub(super) fn counted<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        let before = self.errors;
        let built = build(self);
        (built, self.errors == before)
    }

    /// Builds something; nothing comes out where an error was noted.
    pub(super) fn clean<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let (built, clean) = self.counted(build);
        clean.then_some(built)
    }

    /// Does something, and tells whether nothing at all was noted meanwhile.
    pub(super) fn quiet<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        let (before, errors) = (self.problems.len(), self.errors);
        let built = build(self);
        let is_quiet = self.problems.len() == before && self.errors == errors;
        (built, is_quiet)
    }

    /// Unwraps a result, noting its error.
    pub(super) fn ok<T>(&mut self, path: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.error(path, reason)).ok()
    }

    /// Notes a name that nothing has. Where items of that list could not be
    /// read, the name may be among them, and nothing is noted.
    pub(super) fn unknown<'k>(
        &mut self,
        path: &str,
        list: &str,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        if self.origins.is_incomplete(list) {
            return;
        }
        let known: Vec<&str> = known.into_iter().collect();
        let hint = did_you_mean(name, known.iter().copied()).or_else(|| match known.is_empty() {
            true => Some(format!("add one under `{list}:`")),
            false => Some(format!("there are: {}", known.join(", "))),
        });
        self.note(
            path.to_owned(),
            format!("there is no {what} {name:?}"),
            hint,
            Severity::Error,
        );
    }

    fn note(&mut self, path: String, reason: String, hint: Option<String>, severity: Severity) {
        self.errors += usize::from(severity == Severity::Error);
        let origin = self.origins.locate(&path);
        self.problems
            .push(Problem::new(severity, origin, path, reason).with_hint(hint));
    }
}
