//! What the files of a configuration say, wherever it is kept: on disk, in Secrets, or in the
//! ConfigMaps that the configuration comes from.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use portcullis_config::document::{CONFIG_MAP_SCHEME, SECRET_SCHEME};

use super::{DiskReads, unpack};

/// The keys of one Secret.
pub trait Keys: fmt::Debug + Send + Sync {
    /// What a key holds.
    fn get(&self, key: &str) -> Option<&[u8]>;
}

/// ConfigMaps by namespace and name, and what their keys hold.
pub type ConfigMaps = BTreeMap<(String, String), BTreeMap<String, Vec<u8>>>;

/// Where contents are looked up; clones share them.
///
/// A path such as `secret:shop/web-tls/tls.crt` is a key of a Secret, by its namespace and
/// name, and one such as `configmap:edge/rules/shop.conf` a key of a ConfigMap, unpacked where
/// it ends in `.gz`. Every other path is one on disk.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    secrets: BTreeMap<(String, String), Arc<dyn Keys>>,
    /// Secrets that are there perhaps, and are not to be had: why.
    refused: BTreeMap<(String, String), String>,
    config_maps: Arc<ConfigMaps>,
    /// Where it is noted what files on disk say.
    reads: Option<DiskReads>,
}

/// A path that no file system has, without its scheme.
enum OfCluster<'p> {
    Secret(&'p str),
    ConfigMap(&'p str),
}

impl Contents {
    /// The path of a key of a Secret.
    pub fn path(namespace: &str, name: &str, key: &str) -> String {
        format!("{SECRET_SCHEME}{namespace}/{name}/{key}")
    }

    /// Adds a Secret.
    pub fn insert(&mut self, namespace: &str, name: &str, keys: Arc<dyn Keys>) {
        let key = (namespace.to_owned(), name.to_owned());
        self.secrets.insert(key, keys);
    }

    /// Says why a Secret is not to be had, unless it is there all the same.
    pub fn refuse(&mut self, namespace: &str, name: &str, reason: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.refused.insert(key, reason.to_owned());
    }

    /// Says which ConfigMaps there are: those with the settings, and no other, so that nobody
    /// else's are read.
    pub fn set_config_maps(&mut self, config_maps: Arc<ConfigMaps>) {
        self.config_maps = config_maps;
    }

    /// Has it noted what files on disk say, as a load reads them.
    pub fn note_in(&mut self, reads: DiskReads) {
        self.reads = Some(reads);
    }

    /// Notes which rule files a folder has.
    pub(crate) fn note_folder(&self, folder: &Path, listing: &[u8]) {
        if let Some(reads) = &self.reads {
            reads.note(folder, listing);
        }
    }

    /// Reads what a path says, at most so many bytes.
    ///
    /// # Errors
    /// What is not there, cannot be read or is larger, by its path.
    pub(crate) fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, String> {
        let bytes = match of_cluster(path) {
            Some(OfCluster::Secret(key)) => self.key_of_secret(key)?.to_vec(),
            Some(OfCluster::ConfigMap(key)) => match self.key_of_config_map(key)? {
                packed if key.ends_with(".gz") => {
                    unpack(packed, max).map_err(|reason| format!("{}: {reason}", path.display()))?
                }
                plain => plain.to_vec(),
            },
            None => self
                .read_disk(path, max)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        };
        if bytes.len() as u64 > max {
            return Err(format!("{}: larger than {}", path.display(), size(max)));
        }
        Ok(bytes)
    }

    /// The Secret that a path is a key of, where it is there: as long as it is the same in
    /// memory, it says the same.
    pub(crate) fn secret(&self, path: &Path) -> Option<&Arc<dyn Keys>> {
        let OfCluster::Secret(path) = of_cluster(path)? else {
            return None;
        };
        let [namespace, name, _] = parts(SECRET_SCHEME, path).ok()?;
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Reads a file on disk, at most one byte more than so many, and notes what it says.
    fn read_disk(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| {
            let mut file = file.take(max + 1);
            file.read_to_end(&mut bytes)?;
            Ok(file.into_inner())
        });
        match (read, &self.reads) {
            (Ok(rest), Some(reads)) => reads.note_file(path, &bytes, rest),
            (Ok(_), None) => {}
            (Err(error), reads) => {
                if let Some(reads) = reads {
                    reads.note_unreadable(path);
                }
                return Err(error);
            }
        }
        Ok(bytes)
    }

    fn key_of_secret(&self, path: &str) -> Result<&[u8], String> {
        let [namespace, name, key] = parts(SECRET_SCHEME, path)?;
        let place = (namespace.to_owned(), name.to_owned());
        let secret = self.secrets.get(&place);
        let secret = secret.ok_or_else(|| match self.refused.get(&place) {
            Some(reason) => format!("Secret {namespace}/{name} cannot be read: {reason}"),
            None => format!("there is no Secret {namespace}/{name}"),
        })?;
        let content = secret.get(key);
        content.ok_or_else(|| format!("Secret {namespace}/{name} has no key {key}"))
    }

    fn key_of_config_map(&self, path: &str) -> Result<&[u8], String> {
        let [namespace, name, key] = parts(CONFIG_MAP_SCHEME, path)?;
        let config_map = self
            .config_maps
            .get(&(namespace.to_owned(), name.to_owned()));
        let config_map = config_map.ok_or_else(|| {
            format!("ConfigMap {namespace}/{name} is not read: no --configmap names it")
        })?;
        let content = config_map.get(key).map(Vec::as_slice);
        content.ok_or_else(|| format!("ConfigMap {namespace}/{name} has no key {key}"))
    }
}

/// Namespace, name and key.
fn parts<'p>(scheme: &str, path: &'p str) -> Result<[&'p str; 3], String> {
    let mut parts = path.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(name), Some(key)) => Ok([namespace, name, key]),
        _ => Err(format!("{scheme}{path} is not {scheme}NAMESPACE/NAME/KEY")),
    }
}

/// A number of bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

/// Whether a path is a key of a Secret or a ConfigMap, which no file system has.
pub(crate) fn is_of_cluster(path: &Path) -> bool {
    of_cluster(path).is_some()
}

fn of_cluster(path: &Path) -> Option<OfCluster<'_>> {
    let path = path.to_str()?;
    let secret = path.strip_prefix(SECRET_SCHEME).map(OfCluster::Secret);
    secret.or_else(|| {
        path.strip_prefix(CONFIG_MAP_SCHEME)
            .map(OfCluster::ConfigMap)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[derive(Debug)]
    struct One(&'static [u8]);

    impl Keys for One {
        fn get(&self, key: &str) -> Option<&[u8]> {
            (key == "tls.crt").then_some(self.0)
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut contents = Contents::default();
        contents.insert("shop", "web", Arc::new(One(b"text")));
        let read = |path: &str| contents.read(Path::new(path), 4);
        assert_eq!(
            read(&Contents::path("shop", "web", "tls.crt")).as_deref(),
            Ok(&b"text"[..])
        );
        for (path, expected) in [
            (
                "secret:shop/web/tls.key",
                "Secret shop/web has no key tls.key",
            ),
            ("secret:shop/other/tls.crt", "there is no Secret shop/other"),
            ("secret:web", "secret:web is not secret:NAMESPACE/NAME/KEY"),
        ] {
            assert_eq!(read(path), Err(expected.to_owned()));
        }
        contents.refuse("shop", "other", "forbidden");
        let read = |path: &str| contents.read(Path::new(path), 4);
        assert_eq!(
            read("secret:shop/other/tls.crt"),
            Err("Secret shop/other cannot be read: forbidden".to_owned())
        );
        let large = contents.read(Path::new("secret:shop/web/tls.crt"), 3);
        assert_eq!(
            large,
            Err("secret:shop/web/tls.crt: larger than 0 KiB".into())
        );
        assert!(read("/does/not/exist").is_err());
    }

    #[test]
    fn keys_of_config_maps_with_settings_are_read_and_of_no_other() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[b'a'; 9]).expect("memory");
        let packed = encoder.finish().expect("memory");
        let keys = [
            ("a.conf", b"text".to_vec()),
            ("b.conf.gz", packed),
            ("c.conf.gz", b"text".to_vec()),
        ];
        let keys = keys.map(|(key, content)| (key.to_owned(), content));
        let mut contents = Contents::default();
        contents.set_config_maps(Arc::new(
            [(("gw".to_owned(), "rules".to_owned()), keys.into())].into(),
        ));
        let read = |path: &str| contents.read(Path::new(path), 9);
        assert_eq!(
            read("configmap:gw/rules/a.conf").as_deref(),
            Ok(&b"text"[..])
        );
        assert_eq!(
            read("configmap:gw/rules/b.conf.gz").as_deref(),
            Ok(&b"aaaaaaaaa"[..])
        );
        for (path, expected) in [
            (
                "configmap:gw/rules/b.conf",
                "ConfigMap gw/rules has no key b.conf",
            ),
            (
                "configmap:shop/rules/a.conf",
                "ConfigMap shop/rules is not read: no --configmap names it",
            ),
            (
                "configmap:gw/rules",
                "configmap:gw/rules is not configmap:NAMESPACE/NAME/KEY",
            ),
            ("secret:gw/rules/a.conf", "there is no Secret gw/rules"),
        ] {
            assert_eq!(read(path), Err(expected.to_owned()));
        }
        let no_gzip = read("configmap:gw/rules/c.conf.gz").expect_err("text");
        let expected = "configmap:gw/rules/c.conf.gz: cannot be unpacked as gzip";
        assert!(no_gzip.starts_with(expected), "{no_gzip}");
        let large = contents.read(Path::new("configmap:gw/rules/b.conf.gz"), 8);
        let expected = "configmap:gw/rules/b.conf.gz: unpacks to more than 0 KiB";
        assert_eq!(large, Err(expected.to_owned()));
    }
}
