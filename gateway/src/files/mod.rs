//! Configuration files on disk, and their changes.
//!
//! ```text
//! paths --load--> SourceFile...        notify + a hash poll --debounce--> "something changed"
//!            \--> DiskReads, what the files are compared with --^
//! ```

mod contents;
mod disk_reads;
mod gzip;
mod own_mount;
mod watch;

pub(crate) use contents::is_of_cluster;
pub use contents::{ConfigMaps, Contents, Keys};
pub use disk_reads::DiskReads;
pub(crate) use gzip::unpack;
pub use own_mount::own_mounts;
pub use watch::{Change, Watcher};

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use disk_reads::Hashes;
use portcullis_config::read::SourceFile;
use sha2::{Digest, Sha256};

/// The files and folders that a configuration is read from. Clones share what was read
/// of them.
#[derive(Clone, Debug, Default)]
pub struct ConfigFiles {
    paths: Vec<PathBuf>,
    /// What loads have read, until a watcher asks for it.
    read: Arc<Mutex<Vec<DiskReads>>>,
}

impl ConfigFiles {
    /// Names files and folders.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            read: Arc::default(),
        }
    }

    /// The files and folders.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads every file; of a folder those that end in `.yaml` or `.yml`, sorted,
    /// without hidden files and subfolders. What they say is noted.
    ///
    /// # Errors
    /// A missing or unreadable file, a folder without any, text that is not UTF-8.
    pub fn load(&self, reads: &DiskReads) -> io::Result<Vec<SourceFile>> {
        let files = self.files()?;
        // Those behind an unreadable one too, or it would not be known that they changed.
        let texts: Vec<_> = files.iter().map(|path| text(path, reads)).collect();
        texts.into_iter().collect()
    }

    /// Notes what a load has read that is over, however it went: a watcher compares the files
    /// with that.
    pub fn add_read(&self, reads: DiskReads) {
        self.lock().push(reads);
    }

    /// What loads have read since this was asked last.
    fn take_read(&self) -> Vec<DiskReads> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<DiskReads>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files, those of folders among them.
    ///
    /// # Errors
    /// A missing or unreadable one, a folder without any.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.paths {
            if !fs::metadata(path)
                .map_err(|error| named(path, &error))?
                .is_dir()
            {
                files.push(path.clone());
                continue;
            }
            let mut found = Vec::new();
            for entry in fs::read_dir(path).map_err(|error| named(path, &error))? {
                let entry = entry.map_err(|error| named(path, &error))?.path();
                let name = entry
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                if !name.starts_with('.')
                    && (name.ends_with(".yaml") || name.ends_with(".yml"))
                    && entry.is_file()
                {
                    found.push(entry);
                }
            }
            if found.is_empty() {
                return Err(io::Error::other(format!(
                    "{}: the folder holds no .yaml file",
                    path.display()
                )));
            }
            found.sort();
            files.extend(found);
        }
        Ok(files)
    }

    /// Hashes what each of these files says, and each of others.
    fn hashes(&self, others: &[PathBuf]) -> Hashes {
        let hash = |path: &PathBuf| (path.clone(), Sha256::digest(content(path)).into());
        let files = self.files().unwrap_or_default();
        Hashes {
            config: files.iter().map(hash).collect(),
            others: others.iter().map(hash).collect(),
        }
    }
}

/// Reads a file of a configuration, and notes what it says.
fn text(path: &Path, reads: &DiskReads) -> io::Result<SourceFile> {
    let bytes = fs::read(path);
    reads.note_config(path, bytes.as_deref().unwrap_or_default());
    let bytes = bytes.map_err(|error| named(path, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("{}: not UTF-8 at byte {at}", path.display()))
    })?;
    Ok(SourceFile {
        name: path.display().to_string(),
        text,
    })
}

/// What a file says, or which rule files a folder has. One that is missing for a moment,
/// in the middle of a swap, says nothing.
pub(crate) fn content(path: &Path) -> Vec<u8> {
    if !path.is_dir() {
        return fs::read(path).unwrap_or_default();
    }
    let files = rule_files(path).unwrap_or_default();
    let names = files.iter().map(|file| file.as_os_str().as_encoded_bytes());
    names.collect::<Vec<_>>().join(&b'\0')
}

/// The rule files of a folder: `*.conf` by name, without those that are hidden.
pub(crate) fn rule_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".conf") && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let load = |path: PathBuf| {
            ConfigFiles::new(vec![path])
                .load(&DiskReads::begin())
                .unwrap_err()
                .to_string()
        };
        assert!(load(folder.path().join("none.yaml")).contains("none.yaml"));
        assert!(load(folder.path().to_owned()).contains("holds no .yaml file"));
        fs::write(folder.path().join("a.yaml"), b"a: \xff").unwrap();
        assert!(load(folder.path().to_owned()).contains("not UTF-8 at byte 3"));
    }
}
