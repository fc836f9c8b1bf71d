//! The users of a file as `htpasswd` writes it.
//!
//! ```text
//! # a comment
//! anna:$2y$10$...
//! bert:$apr1$...:a comment, as nginx has it
//! ```

use std::collections::HashMap;

use super::{hash_key::HashKey, password_hash::PasswordHash};

/// Problems of one file that are told.
const MAX_TOLD: usize = 20;

/// Longest name of a user, in bytes.
const MAX_NAME: usize = 255;

/// Names and the hashes of their passwords.
#[derive(Default)]
pub(super) struct Users {
    hashes: Vec<PasswordHash>,
    by_name: HashMap<String, usize>,
}

/// A hash to check a password against.
pub(super) struct Candidate<'a> {
    /// The hash.
    pub(super) hash: &'a PasswordHash,
    /// Whether it is that of the user; else the user is unknown and the check
    /// only takes its time.
    pub(super) known: bool,
}

impl Users {
    /// Reads a file.
    ///
    /// # Errors
    /// Every line that is wrong, by its number.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut users = Self::default();
        let mut lines = HashMap::new();
        let mut wrong = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Ok((name, hash)) => {
                    if let Some(first) = lines.insert(name, number) {
                        wrong.push(format!(
                            "line {number}: {name:?} stands on line {first} already"
                        ));
                    }
                    users.by_name.insert(name.to_owned(), users.hashes.len());
                    users.hashes.push(hash);
                }
                Err(reason) => wrong.push(format!("line {number}: {reason}")),
            }
        }
        if wrong.is_empty() {
            return Ok(users);
        }
        let more = wrong.len().saturating_sub(MAX_TOLD);
        wrong.truncate(MAX_TOLD);
        if more > 0 {
            wrong.push(format!("{more} more lines are wrong"));
        }
        Err(wrong)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The hash of a user. For one that is not there it is that of another, always
    /// the same one: what a check costs must not tell who is there.
    pub(super) fn find(&self, name: &str, key: &HashKey) -> Option<Candidate<'_>> {
        let found = self.by_name.get(name).copied();
        let index = match found {
            Some(index) => index,
            None => {
                let drawn = u64::from_le_bytes(*key.hash([name.as_bytes()]).first_chunk()?);
                usize::try_from(drawn % self.hashes.len().max(1) as u64).ok()?
            }
        };
        Some(Candidate {
            hash: self.hashes.get(index)?,
            known: found.is_some(),
        })
    }
}

fn entry(line: &str) -> Result<(&str, PasswordHash), String> {
    let (name, rest) = line.split_once(':').ok_or("not a line of `name:hash`")?;
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!(
            "a name must have 1 to {MAX_NAME} bytes and no control characters"
        ));
    }
    let hash = rest.split(':').next().unwrap_or_default();
    let hash = PasswordHash::parse(hash).map_err(|what| {
        format!("{name:?} has {what}; `htpasswd -B FILE {name}` writes a bcrypt hash")
    })?;
    Ok((name, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    #[test]
    fn lines_comments_and_endings_are_read() {
        let text = format!("\u{feff}# staff\r\n\r\nanna:{HASH}\r\nbert é:{HASH}:of the shop\n\n");
        let users = Users::parse(&text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let key = HashKey::random().unwrap();
        for (name, known) in [
            ("anna", true),
            ("bert é", true),
            ("Anna", false),
            ("", false),
        ] {
            let found = users.find(name, &key).unwrap();
            assert_eq!(found.known, known, "{name}");
        }
        assert!(Users::parse("# nobody\n").is_ok_and(|users| users.is_empty()));
        assert!(Users::default().find("anna", &key).is_none());
    }

    #[test]
    fn every_wrong_line_is_named_and_no_password_shown() {
        let text = format!("anna\nanna:{HASH}\n:x\nbert:hunter2\nanna:{HASH}\nb\tx:{HASH}\n");
        let wrong = Users::parse(&text).err().unwrap();
        assert_eq!(
            wrong,
            [
                "line 1: not a line of `name:hash`",
                "line 3: a name must have 1 to 255 bytes and no control characters",
                "line 4: \"bert\" has a password in plain text; `htpasswd -B FILE bert` writes a bcrypt hash",
                "line 5: \"anna\" stands on line 2 already",
                "line 6: a name must have 1 to 255 bytes and no control characters",
            ]
        );
        let many = "hunter2\n".repeat(50);
        let wrong = Users::parse(&many).err().unwrap();
        assert_eq!(wrong.len(), MAX_TOLD + 1);
        assert!(!format!("{wrong:?}").contains("hunter2"));
    }
}
