//! The token that is shown for every client.

use std::{
    fs::File,
    io::Read,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::egress::{answer::Refusal, credentials::MAX_TOKEN};

/// A file that somebody else keeps up to date, as a kubelet does.
///
/// It is read for each request: in memory, as projected volumes are, that takes microseconds, and
/// no token that was replaced is ever shown.
pub(super) struct TokenFile {
    path: PathBuf,
    /// Whether it was told that there is none.
    told: AtomicBool,
}

impl TokenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            told: AtomicBool::new(false),
        }
    }

    /// The token of now.
    ///
    /// # Errors
    /// 503 where there is none that could be sent; the log says why, once.
    pub(super) fn read(&self) -> Result<String, Refusal> {
        match self.try_read() {
            Ok(token) => {
                if self.told.swap(false, Ordering::Relaxed) {
                    tracing::info!(file = %self.path.display(), "the token can be read again");
                }
                Ok(token)
            }
            Err(reason) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::error!(file = %self.path.display(), %reason, "the token cannot be read: clients are refused");
                }
                Err(Refusal::new(503, "relay_token_unreadable"))
            }
        }
    }

    fn try_read(&self) -> Result<String, String> {
        let file = File::open(&self.path).map_err(|error| error.to_string())?;
        let facts = file.metadata().map_err(|error| error.to_string())?;
        if !facts.is_file() {
            return Err("it is no file".into());
        }
        let mut bytes = Vec::new();
        // One more than may be, and a line feed.
        file.take(MAX_TOKEN as u64 + 2)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        let token = bytes.trim_ascii();
        match token.len() {
            0 => return Err("it is empty".into()),
            1..=MAX_TOKEN => {}
            _ => return Err(format!("it has more than {MAX_TOKEN} bytes")),
        }
        match std::str::from_utf8(token) {
            // Anything else would be another field of the head, or another token.
            Ok(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
            _ => Err("it holds what is no token".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_a_token_is_taken_and_always_the_one_of_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(path.clone());
        assert!(file.try_read().is_err(), "it is missing");
        let longest = "t".repeat(MAX_TOKEN);
        for (text, expected) in [
            ("a.b.c", Some("a.b.c")),
            ("d.e.f\n", Some("d.e.f")),
            (&format!("{longest}\n"), Some(longest.as_str())),
            ("", None),
            ("\n", None),
            ("a b", None),
            ("a\r\nX: y", None),
            ("a\nb", None),
            ("\u{e9}", None),
            (&format!("{longest}t"), None),
            (&"t".repeat(1 << 20), None),
            ("g", Some("g")),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = file.try_read().ok();
            assert_eq!(read.as_deref(), expected, "{:.20}", text);
        }
        let refused = TokenFile::new(folder.path().to_owned()).read().unwrap_err();
        assert_eq!(
            (refused.status, refused.reason),
            (503, "relay_token_unreadable")
        );
    }
}
