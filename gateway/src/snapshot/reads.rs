//! The files that a configuration names, each as it was read.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::files::{self, Contents, is_of_cluster};

/// Largest rule file or CA bundle that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// SHA-256 of a content.
pub type ContentHash = [u8; 32];

/// Reads the files of one configuration, and remembers what they said.
///
/// Whether a configuration changed is decided by what it was compiled from, not
/// by what its files say a moment later: a file that changes between the two
/// would leave a snapshot that is old and counts as current.
#[derive(Debug, Default)]
pub struct Reads {
    contents: Contents,
    seen: RefCell<BTreeMap<PathBuf, ContentHash>>,
}

impl Reads {
    /// Reads from these contents.
    pub fn of(contents: Contents) -> Self {
        Self {
            contents,
            seen: RefCell::default(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read or is larger than 16 MiB, by its path.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let read = self.contents.read(path, MAX_FILE_BYTES);
        // One that cannot be read is remembered too: mending it is a change. And
        // the first of two readings counts, so that a change between them shows.
        self.seen
            .borrow_mut()
            .entry(path.to_path_buf())
            .or_insert_with(|| content_hash(read.as_deref().unwrap_or_default()));
        read
    }

    /// Reads a file as text.
    ///
    /// # Errors
    /// As [`Self::read`], and content that is not UTF-8.
    pub(super) fn read_text(&self, path: &Path) -> Result<String, String> {
        String::from_utf8(self.read(path)?).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("{}: not UTF-8 text at byte {at}", path.display())
        })
    }

    /// The rule files of a folder, `*.conf` by name. Which there are is remembered, as
    /// what a file says.
    ///
    /// # Errors
    /// A folder that cannot be read, or has none, by its path.
    pub(super) fn rule_files(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        if is_of_cluster(folder) {
            return Err(format!(
                "{}: it is no folder; name each of its keys",
                folder.display()
            ));
        }
        let files = files::rule_files(folder);
        let listing = files::content(folder);
        self.contents.note_folder(folder, &listing);
        self.seen
            .borrow_mut()
            .entry(folder.to_path_buf())
            .or_insert_with(|| content_hash(&listing));
        let files = files.map_err(|error| format!("{}: {error}", folder.display()))?;
        match files.is_empty() {
            true => Err(format!(
                "{}: the folder holds no .conf file",
                folder.display()
            )),
            false => Ok(files),
        }
    }

    /// Every file read so far and the hash of its content.
    pub fn seen(&self) -> BTreeMap<PathBuf, ContentHash> {
        self.seen.borrow().clone()
    }
}

pub(super) fn content_hash(content: &[u8]) -> ContentHash {
    Sha256::digest(content).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reading_counts_and_a_missing_file_is_remembered() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.conf");
        let reads = Reads::default();
        assert!(reads.read(&path).is_err());
        std::fs::write(&path, "one").expect("writable");
        assert_eq!(reads.read(&path).as_deref(), Ok(b"one".as_slice()));
        assert_eq!(reads.seen().get(&path), Some(&content_hash(b"")));

        let reads = Reads::default();
        assert_eq!(reads.read_text(&path).as_deref(), Ok("one"));
        std::fs::write(&path, b"two\xff").expect("writable");
        let refused = reads.read_text(&path).expect_err("not text");
        assert!(
            refused.ends_with("a.conf: not UTF-8 text at byte 3"),
            "{refused}"
        );
        assert_eq!(reads.seen().get(&path), Some(&content_hash(b"one")));
    }
}
