//! What a load reads from disk: that is what its files are compared with from then on.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sha2::{Digest, Sha256};

use super::content;

/// SHA-256 of what each file says.
pub(super) type ContentHashes = BTreeMap<PathBuf, [u8; 32]>;

/// What files on disk say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hashes {
    /// The files of the configuration itself.
    pub(super) config: ContentHashes,
    /// Files and folders that it names.
    pub(super) others: ContentHashes,
}

/// What one load reads from disk. Clones are of the same load.
///
/// Of several readings of a file the first counts, so that a change between them shows. One
/// that cannot be read says nothing, as it does to whoever watches it.
#[derive(Clone, Debug)]
pub struct DiskReads {
    began: Instant,
    hashes: Arc<Mutex<Hashes>>,
}

impl DiskReads {
    /// A load begins.
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            hashes: Arc::default(),
        }
    }

    /// When the load began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// What was read.
    pub(super) fn take(&self) -> Hashes {
        std::mem::take(&mut *self.lock())
    }

    /// Notes what a file of the configuration itself says.
    pub(super) fn note_config(&self, path: &Path, content: &[u8]) {
        let hash = Sha256::digest(content).into();
        let mut hashes = self.lock();
        hashes.config.entry(path.to_owned()).or_insert(hash);
    }

    /// Notes what a file or folder says that the configuration names.
    pub(super) fn note(&self, path: &Path, content: &[u8]) {
        self.note_hash(path, Sha256::digest(content).into());
    }

    /// Notes what a file says of which some is not read: it is hashed whole by whoever
    /// watches it.
    pub(super) fn note_file(&self, path: &Path, begin: &[u8], mut rest: File) {
        let mut hash = Sha256::new_with_prefix(begin);
        match io::copy(&mut rest, &mut hash) {
            Ok(_) => self.note_hash(path, hash.finalize().into()),
            Err(_) => self.note_unreadable(path),
        }
    }

    /// Notes that a path cannot be read as a file.
    pub(super) fn note_unreadable(&self, path: &Path) {
        match path.is_dir() {
            true => self.note(path, &content(path)),
            // And not what it says by now: the load did not see that.
            false => self.note(path, b""),
        }
    }

    fn note_hash(&self, path: &Path, hash: [u8; 32]) {
        let mut hashes = self.lock();
        hashes.others.entry(path.to_owned()).or_insert(hash);
    }

    fn lock(&self) -> MutexGuard<'_, Hashes> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
