//! Names of endpoints and backends for a cookie, which tell nobody what they are.

use std::{fmt::Display, path::Path, sync::OnceLock};

use aws_lc_rs::{hmac, rand};

use super::Reads;

/// Shortest key that is taken.
const MIN_KEY: usize = 16;

/// Bytes of a name: enough that nobody guesses one.
const NAME: usize = 16;

/// The key of names, and what they are names in: a backend for its endpoints.
#[derive(Clone, Debug)]
pub(super) struct Namer {
    key: hmac::Key,
    scope: String,
}

/// The key of this process, for backends that name none.
#[derive(Debug, Default)]
pub(super) struct ProcessKey(OnceLock<[u8; 32]>);

impl ProcessKey {
    fn key(&self) -> Result<&[u8], String> {
        if self.0.get().is_none() {
            let mut key = [0; 32];
            rand::fill(&mut key).map_err(|_| "the system gives no randomness")?;
            // Another thread may have been quicker; then its key counts.
            let _ = self.0.set(key);
        }
        Ok(self.0.get().map_or(&[], <[u8; 32]>::as_slice))
    }
}

impl Namer {
    /// Takes the key from a file, or that of the process.
    ///
    /// # Errors
    /// A file that cannot be read, or is too short for a secret.
    pub(super) fn new(
        scope: &str,
        secret: Option<&Path>,
        process: &ProcessKey,
        reads: &Reads,
    ) -> Result<Self, String> {
        let file;
        let key = match secret {
            None => process.key()?,
            Some(path) => {
                file = reads.read(path)?;
                // Editors and `echo` end a file with a line break.
                let key = file.trim_ascii_end();
                if key.len() < MIN_KEY {
                    return Err(format!(
                        "{}: {} bytes are too few for a secret; {MIN_KEY} are needed, as from `openssl rand -hex 32`",
                        path.display(),
                        key.len()
                    ));
                }
                key
            }
        };
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            scope: scope.to_owned(),
        })
    }

    /// The name of an endpoint or a backend, in hex.
    pub(super) fn name(&self, of: impl Display) -> String {
        let text = format!("{}\n{of}", self.scope);
        let tag = hmac::sign(&self.key, text.as_bytes());
        tag.as_ref()
            .iter()
            .take(NAME)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn namer(backend: &str, key: Option<&str>, process: &ProcessKey) -> Result<Namer, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        if let Some(key) = key {
            std::fs::write(&path, key).expect("writable");
        }
        let path = key.map(|_| path.as_path());
        Namer::new(backend, path, process, &Reads::default())
    }

    #[test]
    fn names_differ_by_endpoint_backend_and_key_and_by_nothing_else() {
        let process = ProcessKey::default();
        let endpoint = SocketAddr::from(([10, 0, 0, 1], 8080));
        let name = |backend, key| {
            let namer = namer(backend, key, &process).expect("a good key");
            namer.name(endpoint)
        };
        let key = Some("0123456789abcdef");
        assert_eq!(name("a", key), name("a", Some("0123456789abcdef\n")));
        assert_eq!(name("a", None), name("a", None));
        let names = [
            name("a", key),
            name("b", key),
            name("a", Some("0123456789abcdeg")),
            name("a", None),
            namer("a", None, &ProcessKey::default())
                .expect("randomness")
                .name(endpoint),
        ];
        for (index, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 2 * NAME);
            assert!(!names[..index].contains(name), "{names:?}");
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        let refused = namer("a", Some("hunter2\n"), &ProcessKey::default());
        assert!(
            refused
                .expect_err("too short")
                .contains("7 bytes are too few")
        );
    }
}
