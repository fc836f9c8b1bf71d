use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;
use crate::files::Contents;

/// Longer than a poll and both pauses.
const LONG: Duration = Duration::from_secs(3);

/// Files of a configuration, and what it names.
struct Site {
    folder: TempDir,
    files: ConfigFiles,
    others: Vec<PathBuf>,
}

impl Site {
    /// A configuration that names a file, one larger than may be read, and a folder.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("rules")).unwrap();
        fs::create_dir(root.join("config")).unwrap();
        let others = ["web.pem", "large.pem", "rules"].map(|name| root.join(name));
        let site = Self {
            files: ConfigFiles::new(vec![root.join("config")]),
            others: others.into(),
            folder,
        };
        for name in ["config/a.yaml", "web.pem", "rules/a.conf"] {
            site.write(name, "first");
        }
        site.write("large.pem", "larger than it may be");
        site
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    fn watch(&self) -> Watcher {
        Watcher::start(self.files.clone(), self.others.clone())
    }

    /// Reads everything as a load does.
    fn load(&self) {
        let reads = DiskReads::begin();
        self.read(&reads);
        self.files.add_read(reads);
    }

    fn read(&self, reads: &DiskReads) {
        // Whether it is good has nothing to do with what it says.
        let _ = self.files.load(reads);
        let mut contents = Contents::default();
        contents.note_in(reads.clone());
        for path in &self.others {
            match path.is_dir() {
                true => contents.note_folder(path, &crate::files::content(path)),
                false => drop(contents.read(path, 10)),
            }
        }
    }
}

async fn change(watcher: &mut Watcher) -> Option<Change> {
    tokio::time::timeout(LONG, watcher.changed()).await.ok()
}

/// Changes something, loads, and changes it back before anybody has looked.
async fn comes_back(there: impl Fn(&Site), back: impl Fn(&Site)) {
    let site = Site::new();
    let mut watcher = site.watch();
    site.load();
    tokio::time::sleep(Duration::from_millis(50)).await;
    there(&site);
    site.load();
    back(&site);
    assert_eq!(change(&mut watcher).await, Some(Change::Content));
    site.load();
    assert_eq!(change(&mut watcher).await, None, "what is there is loaded");
}

#[tokio::test]
async fn a_configuration_that_came_back_is_told_when_a_load_has_read_the_other() {
    let name = "config/a.yaml";
    comes_back(
        |site| site.write(name, "other"),
        |site| site.write(name, "first"),
    )
    .await;
}

#[tokio::test]
async fn so_is_one_that_could_not_be_loaded_meanwhile() {
    let broken = |site: &Site| {
        let path = site.folder.path().join("config/a.yaml");
        fs::write(path, b"\xff").unwrap();
    };
    comes_back(broken, |site| site.write("config/a.yaml", "first")).await;
    let name = "config/a.yaml";
    comes_back(|site| site.remove(name), |site| site.write(name, "first")).await;
}

#[tokio::test]
async fn so_is_a_file_of_a_folder_that_was_gone_meanwhile_or_there() {
    let there = |site: &Site| site.write("config/b.yaml", "second");
    let gone = |site: &Site| site.remove("config/b.yaml");
    comes_back(there, gone).await;
    let there = |site: &Site| site.write("rules/b.conf", "second");
    let gone = |site: &Site| site.remove("rules/b.conf");
    comes_back(there, gone).await;
}

#[tokio::test]
async fn so_is_a_file_that_the_configuration_names() {
    let name = "web.pem";
    comes_back(
        |site| site.write(name, "other"),
        |site| site.write(name, "first"),
    )
    .await;
    comes_back(|site| site.remove(name), |site| site.write(name, "first")).await;
    let first = "larger than it may be";
    let there = |site: &Site| site.write("large.pem", "larger than it may or");
    comes_back(there, |site| site.write("large.pem", first)).await;
}

/// A folder as the kubelet mounts a ConfigMap.
fn config_map(root: &Path) {
    for (version, text) in [("..1", "admin: {}"), ("..2", "management: {}")] {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("a.yaml"), text).unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
}

fn swap(root: &Path, version: &str) {
    symlink(version, root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
}

#[tokio::test]
async fn a_data_swap_is_noticed_and_a_touch_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    config_map(root);
    let files = ConfigFiles::new(vec![root.to_owned()]);
    let load = || {
        let reads = DiskReads::begin();
        let texts = files.load(&reads).unwrap();
        files.add_read(reads);
        texts[0].text.clone()
    };
    assert_eq!(load(), "admin: {}");
    let mut watcher = Watcher::start(files.clone(), Vec::new());
    tokio::time::sleep(Duration::from_millis(50)).await;
    fs::write(root.join("..1").join("a.yaml"), "admin: {}").unwrap();
    swap(root, "..2");
    assert_eq!(change(&mut watcher).await, Some(Change::Content));
    assert_eq!(load(), "management: {}");
    fs::write(root.join("..2").join("a.yaml"), "management: {}").unwrap();
    assert_eq!(change(&mut watcher).await, None);
    // There and back, with a load between.
    swap(root, "..1");
    load();
    swap(root, "..2");
    assert_eq!(change(&mut watcher).await, Some(Change::Content));
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

#[tokio::test]
async fn what_a_load_has_read_is_known_when_it_is_watched_later() {
    let site = Site::new();
    let mut watcher = Watcher::start(site.files.clone(), Vec::new());
    site.load();
    watcher.set_others(site.others.clone());
    assert_eq!(change(&mut watcher).await, None);
    site.write("web.pem", "other");
    assert_eq!(change(&mut watcher).await, Some(Change::Content));
}

#[tokio::test]
async fn a_load_that_was_under_way_when_a_change_was_told_does_not_tell_it_again() {
    let site = Site::new();
    let mut watcher = site.watch();
    let reads = DiskReads::begin();
    site.read(&reads);
    site.write("config/a.yaml", "other");
    assert_eq!(change(&mut watcher).await, Some(Change::Content));
    site.files.add_read(reads);
    assert_eq!(change(&mut watcher).await, None, "the next load reads it");
}
