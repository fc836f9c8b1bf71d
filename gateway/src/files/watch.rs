//! Changes of files: what they say now, beside what the last load read.
//!
//! A mounted ConfigMap is a folder of symlinks through `..data`, which the
//! kubelet swaps; inotify alone misses it on some mounts, so the content is also
//! hashed once a second.
//!
//! What is compared with is what was loaded, and not what was seen here last: a load may come
//! for a reason of its own and read what is gone a moment later. A file that is then what it
//! was before would not be different from what was seen, and what it said in between would
//! serve on.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::{ConfigFiles, DiskReads, disk_reads::Hashes};

/// How often the content is hashed.
const POLL: Duration = Duration::from_secs(1);
/// Quiet time after a change before it is told: an editor writes more than once.
const QUIET: Duration = Duration::from_millis(100);

/// What a [`Watcher`] noticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A file says something else than was loaded, or is new or gone.
    Content,
    /// More files are watched than before ([`Watcher::set_others`]) that no load has read, and
    /// the rest is as it was.
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
        let notify = notify_of(&files, wake);
        let (tell, changes) = mpsc::channel(1);
        let others = Arc::new(Mutex::new(others));
        let watched = Arc::clone(&others);
        let (read, files) = (files.clone(), Arc::new(files));
        let hash = move || {
            let watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
            let watched = watched.clone();
            files.hashes(&watched)
        };
        let told = Instant::now();
        let mut known = Known {
            hashes: hash(),
            told,
        };
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
                let Ok(now) = hash().await else { return };
                known.learn(read.take_read(), &now);
                if known.difference(&now).is_none() {
                    continue;
                }
                // Half a change, such as a file written in two steps, is not a change yet.
                tokio::time::sleep(QUIET).await;
                let Ok(now) = hash().await else { return };
                known.learn(read.take_read(), &now);
                let Some(change) = known.difference(&now) else {
                    continue;
                };
                known = Known {
                    hashes: now,
                    told: Instant::now(),
                };
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

/// Has the system wake the watcher where it can tell of changes.
fn notify_of(files: &ConfigFiles, wake: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let notify = notify::recommended_watcher(move |_| {
        // A wake-up that is already waiting stands for this one too.
        let _ = wake.try_send(());
    });
    let mut notify = match notify {
        Ok(notify) => notify,
        Err(error) => {
            tracing::debug!(%error, "inotify not available, files are polled");
            return None;
        }
    };
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

/// What the files are compared with.
struct Known {
    hashes: Hashes,
    /// When a change was told last.
    told: Instant,
}

impl Known {
    /// Takes over what loads have read. One that began before a change was told is followed by
    /// another one.
    fn learn(&mut self, read: Vec<DiskReads>, now: &Hashes) {
        if read.is_empty() {
            return;
        }
        // What the loads have not come to is as it was; and what they name may be watched later.
        let others = &mut self.hashes.others;
        others.retain(|path, _| now.others.contains_key(path));
        for read in read.iter().filter(|read| read.began() >= self.told) {
            let read = read.take();
            self.hashes.config = read.config;
            self.hashes.others.extend(read.others);
        }
    }

    /// What is different.
    fn difference(&self, now: &Hashes) -> Option<Change> {
        if self.hashes.config != now.config {
            return Some(Change::Content);
        }
        let known = |path| self.hashes.others.get(path);
        let mut others = now.others.iter();
        if others.any(|(path, hash)| known(path).is_some_and(|known| known != hash)) {
            return Some(Change::Content);
        }
        let is_new = now.others.keys().any(|path| known(path).is_none());
        is_new.then_some(Change::Watched)
    }
}

#[cfg(test)]
mod tests;
