//! Where rule text comes from. The engine never opens a file itself.

use std::cell::RefCell;

use sha2::{Digest, Sha256};

/// One text of SecLang, with the name that errors and audit records use for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    /// Name for messages, usually a path.
    pub name: String,
    /// The SecLang text.
    pub text: String,
}

/// Reads the files that rules name: `Include` and `@pmFromFile`.
pub trait RuleSource {
    /// Reads a whole file.
    ///
    /// `path` is exactly what the rule says; what it is relative to, and
    /// whether a pattern such as `*.conf` is understood, is up to the source.
    ///
    /// # Errors
    ///
    /// A message for the author of the rule, which names the reason only; the
    /// engine adds the place and the path.
    fn read(&self, path: &str) -> Result<String, String>;

    /// Reads a whole file that a text names, where paths are relative to that text, as
    /// in ModSecurity: the word lists of CRS stand beside its rules.
    ///
    /// # Errors
    ///
    /// Those of [`RuleSource::read`], which this is where it is not overridden.
    fn read_beside(&self, path: &str, _text: &str) -> Result<String, String> {
        self.read(path)
    }

    /// Returns the files that `Include` means, in order: one, unless it is a pattern such
    /// as `rules/*.conf` or a folder, and the source understands it.
    ///
    /// Each is then read by the name that is returned, which errors and audit records use.
    ///
    /// # Errors
    ///
    /// A message, as [`RuleSource::read`].
    fn included(&self, path: &str, _text: &str) -> Result<Vec<String>, String> {
        Ok(vec![path.to_owned()])
    }
}

/// What one text may read.
pub(crate) struct Beside<'a> {
    pub(crate) source: &'a dyn RuleSource,
    pub(crate) text: &'a str,
    /// Takes in what is read.
    pub(crate) hash: &'a RefCell<Sha256>,
}

impl RuleSource for Beside<'_> {
    fn read(&self, path: &str) -> Result<String, String> {
        let text = self.source.read_beside(path, self.text)?;
        hash_text(self.hash, &text);
        Ok(text)
    }
}

/// Takes a text into a hash. Where it was read is not part of it: the same rules have the
/// same hash on every machine.
pub(crate) fn hash_text(hash: &RefCell<Sha256>, text: &str) {
    let mut hash = hash.borrow_mut();
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

/// A source that refuses every file.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl RuleSource for NoFiles {
    fn read(&self, _path: &str) -> Result<String, String> {
        Err("rules from this source may not read files".into())
    }
}
