//! What the files of a configuration say, wherever it is kept: on disk, or in Secrets.

use std::{collections::BTreeMap, fmt, fs::File, io::Read, path::Path, sync::Arc};

use portcullis_config::document::SECRET_SCHEME;

/// The keys of one Secret.
pub trait Keys: fmt::Debug + Send + Sync {
    /// What a key holds.
    fn get(&self, key: &str) -> Option<&[u8]>;
}

/// Where contents are looked up; clones share them.
///
/// A path such as `secret:shop/web-tls/tls.crt` is a key of a Secret, by its namespace and
/// name. Every other path is one on disk.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    secrets: BTreeMap<(String, String), Arc<dyn Keys>>,
    /// Secrets that are there perhaps, and are not to be had: why.
    refused: BTreeMap<(String, String), String>,
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

    /// Reads what a path says, at most so many bytes.
    ///
    /// # Errors
    /// What is not there, cannot be read or is larger, by its path.
    pub(crate) fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, String> {
        let bytes = match in_secret(path) {
            Some(secret) => self.key(secret)?.to_vec(),
            None => {
                let mut bytes = Vec::new();
                File::open(path)
                    .and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                bytes
            }
        };
        if bytes.len() as u64 > max {
            let size = match max >> 20 {
                0 => format!("{} KiB", max >> 10),
                mebibytes => format!("{mebibytes} MiB"),
            };
            return Err(format!("{}: larger than {size}", path.display()));
        }
        Ok(bytes)
    }

    fn key(&self, path: &str) -> Result<&[u8], String> {
        let mut parts = path.splitn(3, '/');
        let (Some(namespace), Some(name), Some(key)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(format!(
                "{SECRET_SCHEME}{path} is not {SECRET_SCHEME}NAMESPACE/NAME/KEY"
            ));
        };
        let place = (namespace.to_owned(), name.to_owned());
        let secret = self.secrets.get(&place);
        let secret = secret.ok_or_else(|| match self.refused.get(&place) {
            Some(reason) => format!("Secret {namespace}/{name} cannot be read: {reason}"),
            None => format!("there is no Secret {namespace}/{name}"),
        })?;
        let content = secret.get(key);
        content.ok_or_else(|| format!("Secret {namespace}/{name} has no key {key}"))
    }
}

/// Whether a path is a key of a Secret, which no file system has.
pub(crate) fn is_in_secret(path: &Path) -> bool {
    in_secret(path).is_some()
}

fn in_secret(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix(SECRET_SCHEME)
}

#[cfg(test)]
mod tests {
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
}
