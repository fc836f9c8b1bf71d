//! Configuration files on disk, and their changes.
//!
//! ```text
//! paths --load--> SourceFile...        notify + a hash poll --debounce--> "something changed"
//! ```
//!
//! A mounted ConfigMap is a folder of symlinks through `..data`, which the
//! kubelet swaps; inotify alone misses it on some mounts, so the content is also
//! hashed once a second.

mod contents;
mod gzip;
mod own_mount;

pub(crate) use contents::is_of_cluster;
pub use contents::{ConfigMaps, Contents, Keys};
pub(crate) use gzip::unpack;
pub use own_mount::own_mounts;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{RecursiveMode, Watcher as _};
use portcullis_config::read::SourceFile;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// How often the content is hashed.
const POLL: Duration = Duration::from_secs(1);
/// Quiet time after a change before it is told: an editor writes more than once.
const QUIET: Duration = Duration::from_millis(100);

/// The files and folders that a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct ConfigFiles {
    paths: Vec<PathBuf>,
}

impl ConfigFiles {
    /// Names files and folders.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    /// The files and folders.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads every file; of a folder those that end in `.yaml` or `.yml`, sorted,
    /// without hidden files and subfolders.
    ///
    /// # Errors
    /// A missing or unreadable file, a folder without any, text that is not UTF-8.
    pub fn load(&self) -> io::Result<Vec<SourceFile>> {
        let mut sources = Vec::new();
        for path in self.files()? {
            let bytes = fs::read(&path).map_err(|error| named(&path, &error))?;
            let text = String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                io::Error::other(format!("{}: not UTF-8 at byte {at}", path.display()))
            })?;
            sources.push(SourceFile {
                name: path.display().to_string(),
                text,
            });
        }
        Ok(sources)
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

    /// A hash of what each of these files says, and each of others.
    fn content_hashes(&self, others: &[PathBuf]) -> ContentHashes {
        let files = self.files().unwrap_or_default();
        let paths = files.iter().chain(others);
        paths
            .map(|path| (path.clone(), Sha256::digest(content(path)).into()))
            .collect()
    }
}

type ContentHashes = BTreeMap<PathBuf, [u8; 32]>;

/// What a [`Watcher`] noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A file says something else, or is new or gone.
    Content,
    /// Other files are watched than before ([`Watcher::set_others`]), and the rest is as it
    /// was: what the new ones said when they were read is not known here.
    Watched,
}

/// Watches configuration files and the files that they name.
#[derive(Debug)]
pub struct Watcher {
    others: Arc<Mutex<Vec<PathBuf>>>,
    changes: mpsc::Receiver<Change>,
    _notify: Option<notify::RecommendedWatcher>,
}

impl Watcher {
    /// Starts watching; to be called on the runtime. What changed before this
    /// returns is not noticed: whoever read the files earlier reads them again.
    pub fn start(files: ConfigFiles, others: Vec<PathBuf>) -> Self {
        let (wake, mut woken) = mpsc::channel::<()>(1);
        let notify = notify::recommended_watcher(move |_| {
            // A wake-up that is already waiting stands for this one too.
            let _ = wake.try_send(());
        });
        let notify = match notify {
            Ok(mut notify) => {
                for path in files.paths() {
                    let folder = if path.is_dir() {
                        path.as_path()
                    } else {
                        path.parent().unwrap_or(path)
                    };
                    let folder = if folder.as_os_str().is_empty() {
                        Path::new(".")
                    } else {
                        folder
                    };
                    if let Err(error) = notify.watch(folder, RecursiveMode::NonRecursive) {
                        tracing::debug!(path = %folder.display(), %error, "not watched by inotify, only polled");
                    }
                }
                Some(notify)
            }
            Err(error) => {
                tracing::debug!(%error, "inotify not available, files are polled");
                None
            }
        };
        let (tell, changes) = mpsc::channel(1);
        let others = Arc::new(Mutex::new(others));
        let watched = Arc::clone(&others);
        let hash = move || {
            let others = watched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            (files.content_hashes(&others), others)
        };
        let (mut known, mut known_others) = hash();
        // Megabytes of configuration take their time, and requests must not wait for that.
        let hash = move || tokio::task::spawn_blocking(hash.clone());
        tokio::spawn(async move {
            loop {
                let notified = tokio::select! {
                    woken = woken.recv() => woken.is_some(),
                    () = tokio::time::sleep(POLL) => false,
                };
                if notified {
                    tokio::time::sleep(QUIET).await;
                }
                let Ok((now, _)) = hash().await else { return };
                if now == known {
                    continue;
                }
                // Half a change, such as a file written in two steps, is not a change yet.
                tokio::time::sleep(QUIET).await;
                let Ok((now, others)) = hash().await else {
                    return;
                };
                let change = difference(&known, &now, &known_others, &others);
                (known, known_others) = (now, others);
                if tell.send(change).await.is_err() {
                    return;
                }
            }
        });
        Self {
            others,
            changes,
            _notify: notify,
        }
    }

    /// Replaces the files that are watched beside the configuration.
    pub fn set_others(&self, others: Vec<PathBuf>) {
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = others;
    }

    /// Waits for a change.
    pub async fn changed(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }
}

/// What became different: a path that is known on one side only counts as content, unless
/// it is only watched, or no longer watched, because a configuration names other files.
fn difference(
    before: &ContentHashes,
    after: &ContentHashes,
    others_before: &[PathBuf],
    others_after: &[PathBuf],
) -> Change {
    let only_watched = |path: &PathBuf| others_before.contains(path) != others_after.contains(path);
    let mut paths = before.keys().chain(after.keys());
    match paths.all(|path| before.get(path) == after.get(path) || only_watched(path)) {
        true => Change::Watched,
        false => Change::Content,
    }
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

    async fn notices(watcher: &mut Watcher) -> bool {
        tokio::time::timeout(Duration::from_secs(3), watcher.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_data_swap_is_noticed_and_a_touch_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (version, text) in [("..1", "admin: {}"), ("..2", "management: {}")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("a.yaml"), text).unwrap();
        }
        std::os::unix::fs::symlink("..1", root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let files = ConfigFiles::new(vec![root.to_owned()]);
        assert_eq!(files.load().unwrap().len(), 1);
        let mut watcher = Watcher::start(files.clone(), Vec::new());
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::write(root.join("..1").join("a.yaml"), "admin: {}").unwrap();
        std::os::unix::fs::symlink("..2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert!(notices(&mut watcher).await);
        assert_eq!(files.load().unwrap()[0].text, "management: {}");
        fs::write(root.join("..2").join("a.yaml"), "management: {}").unwrap();
        assert!(
            tokio::time::timeout(Duration::from_millis(1500), watcher.changed())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn what_is_only_watched_from_now_on_is_told_apart_from_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let config = file("a.yaml", "admin: {}");
        let (one, two) = (file("one.pem", "1"), file("two.pem", "2"));
        let mut watcher = Watcher::start(ConfigFiles::new(vec![config]), vec![one.clone()]);
        watcher.set_others(vec![two.clone()]);
        assert_eq!(watcher.changed().await, Change::Watched);
        file("two.pem", "3");
        assert_eq!(watcher.changed().await, Change::Content);
        watcher.set_others(vec![one, two]);
        file("a.yaml", "management: {}");
        assert_eq!(watcher.changed().await, Change::Content);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let load = |path: PathBuf| ConfigFiles::new(vec![path]).load().unwrap_err().to_string();
        assert!(load(folder.path().join("none.yaml")).contains("none.yaml"));
        assert!(load(folder.path().to_owned()).contains("holds no .yaml file"));
        fs::write(folder.path().join("a.yaml"), b"a: \xff").unwrap();
        assert!(load(folder.path().to_owned()).contains("not UTF-8 at byte 3"));
    }
}
