//! Hashes of passwords, as `htpasswd` and `crypt` write them.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha_crypt::{PasswordHashRef, PasswordVerifier, ShaCrypt};

use super::md5_crypt::{self, md5_crypt};

/// Costliest bcrypt that is taken: some five seconds for each login.
const MAX_BCRYPT_COST: u32 = 16;

/// Most rounds of SHA-crypt that are taken.
const MAX_SHA_ROUNDS: u32 = 1_000_000;

/// Least rounds that SHA-crypt knows.
const MIN_SHA_ROUNDS: u32 = 1000;

/// Bytes of a SHA-1 digest.
const SHA1_BYTES: usize = 20;

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum PasswordHash {
    /// `$2y$`, `$2b$` or `$2a$`.
    Bcrypt(String),
    /// `$5$` or `$6$`.
    ShaCrypt(String),
    /// `$apr1$` or `$1$`.
    Md5Crypt {
        /// The prefix.
        magic: &'static str,
        /// The salt.
        salt: String,
        /// The hash, as written.
        hash: String,
    },
    /// `{SHA}`, and `{SSHA}` with its salt.
    Sha1 {
        /// The digest.
        digest: [u8; SHA1_BYTES],
        /// What was hashed behind the password.
        salt: Vec<u8>,
    },
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// What it is, where it cannot be used; never the hash itself.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            return sha1(encoded, "{SHA}");
        }
        if let Some(encoded) = text.strip_prefix("{SSHA}") {
            return sha1(encoded, "{SSHA}");
        }
        if ["$2y$", "$2b$", "$2a$"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            return bcrypt(text);
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return sha_crypt(text);
        }
        for magic in ["$apr1$", "$1$"] {
            if let Some(rest) = text.strip_prefix(magic) {
                return md5(magic, rest);
            }
        }
        Err(unknown(text).into())
    }

    /// Whether this is the hash of a password. Takes as long for a wrong one as for
    /// the right one.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => PasswordHashRef::new(hash)
                .is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok()),
            Self::Md5Crypt { magic, salt, hash } => {
                let found = md5_crypt::encode(&md5_crypt(password, magic, salt.as_bytes()));
                verify_slices_are_equal(&found, hash.as_bytes()).is_ok()
            }
            Self::Sha1 { digest, salt } => {
                let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
                hash.update(password);
                hash.update(salt);
                verify_slices_are_equal(hash.finish().as_ref(), digest).is_ok()
            }
        }
    }
}

fn bcrypt(text: &str) -> Result<PasswordHash, String> {
    let parts: bcrypt::HashParts = text
        .parse()
        .map_err(|_| "a bcrypt hash that is cut or damaged".to_owned())?;
    match parts.get_cost() {
        4..=MAX_BCRYPT_COST => Ok(PasswordHash::Bcrypt(text.to_owned())),
        cost => Err(format!(
            "a bcrypt hash of cost {cost}; 4 to {MAX_BCRYPT_COST} are taken"
        )),
    }
}

fn sha_crypt(text: &str) -> Result<PasswordHash, String> {
    let damaged = || "a SHA-crypt hash that is cut or damaged".to_owned();
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    let mut parts = text[3..].split('$');
    let mut salt = parts.next().ok_or_else(damaged)?;
    if let Some(rounds) = salt.strip_prefix("rounds=") {
        let rounds: u32 = rounds.parse().map_err(|_| damaged())?;
        if !(MIN_SHA_ROUNDS..=MAX_SHA_ROUNDS).contains(&rounds) {
            return Err(format!(
                "a SHA-crypt hash of {rounds} rounds; {MIN_SHA_ROUNDS} to {MAX_SHA_ROUNDS} are taken"
            ));
        }
        salt = parts.next().ok_or_else(damaged)?;
    }
    let hash = parts.next().ok_or_else(damaged)?;
    let whole = parts.next().is_none()
        && salt.len() <= 16
        && is_crypt_text(salt)
        && hash.len() == length
        && is_crypt_text(hash)
        && PasswordHashRef::new(text).is_ok();
    whole
        .then(|| PasswordHash::ShaCrypt(text.to_owned()))
        .ok_or_else(damaged)
}

fn md5(magic: &'static str, rest: &str) -> Result<PasswordHash, String> {
    let (salt, hash) = rest
        .split_once('$')
        .filter(|(salt, hash)| {
            salt.len() <= md5_crypt::MAX_SALT && hash.len() == 22 && is_crypt_text(hash)
        })
        .ok_or_else(|| format!("a {magic} hash that is cut or damaged"))?;
    Ok(PasswordHash::Md5Crypt {
        magic,
        salt: salt.to_owned(),
        hash: hash.to_owned(),
    })
}

fn sha1(encoded: &str, scheme: &str) -> Result<PasswordHash, String> {
    let damaged = || format!("a {scheme} hash that is cut or damaged");
    let bytes = STANDARD.decode(encoded).map_err(|_| damaged())?;
    let (digest, salt) = bytes.split_first_chunk().ok_or_else(damaged)?;
    if salt.is_empty() == (scheme == "{SSHA}") {
        return Err(damaged());
    }
    Ok(PasswordHash::Sha1 {
        digest: *digest,
        salt: salt.to_vec(),
    })
}

fn is_crypt_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}

/// What a text is that is none of the hashes.
fn unknown(text: &str) -> &'static str {
    if text.is_empty() {
        "no hash"
    } else if text.starts_with("{PLAIN}") {
        "a password in plain text"
    } else if text.starts_with('$') {
        "a hash of a kind that is not known"
    } else if text.len() == 13 && is_crypt_text(text) {
        "a password in plain text, or a hash of the old crypt, which is no longer safe"
    } else {
        "a password in plain text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of `secret`, made by openssl and libxcrypt.
    const OF_SECRET: [&str; 10] = [
        "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
        "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
        "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
        "$5$rounds=1500$abc$j9w6LBQPE6AGku.HVeWrSe6UrEwQo9.381p/0OfNtN0",
        "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SSHA}1G904nLkTkGWjKNnQuB/hpWXC/hzYWx0c2FsdA==",
    ];

    #[test]
    fn every_kind_takes_its_password_and_no_other() {
        for text in OF_SECRET {
            let hash = PasswordHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(hash.verify(b"secret"), "{text}");
            for wrong in [&b"Secret"[..], b"secre", b"secrets", b"secret\n", b""] {
                assert!(!hash.verify(wrong), "{text} took {wrong:?}");
            }
        }
    }

    #[test]
    fn long_and_empty_passwords_are_hashed_as_elsewhere() {
        const LONG: &str = "a password of more than sixteen bytes, with Ümlaut";
        for (text, password) in [
            ("$apr1$xyz$b39BPC1w.H.YmUVY1209o1", LONG),
            ("$apr1$xyz$Pix4eE3fQHxJjb6LqtyMK1", ""),
            ("$5$abc$7WO9s753UKdwIjCvffMvVTVbnKwwKi/.gomA8oVNlk3", LONG),
        ] {
            let hash = PasswordHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(hash.verify(password.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_or_too_costly_is_refused_and_never_shown() {
        const OLD: &str =
            "a password in plain text, or a hash of the old crypt, which is no longer safe";
        const BCRYPT: &str = "a bcrypt hash that is cut or damaged";
        const SHA_CRYPT: &str = "a SHA-crypt hash that is cut or damaged";
        const APR1: &str = "a $apr1$ hash that is cut or damaged";
        for (text, reason) in [
            ("", "no hash"),
            ("secret", "a password in plain text"),
            ("{PLAIN}secret", "a password in plain text"),
            ("rqXexS6ZhobKA", OLD),
            (
                "$argon2id$v=19$m=65536",
                "a hash of a kind that is not known",
            ),
            (
                "$2y$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                "a bcrypt hash of cost 31; 4 to 16 are taken",
            ),
            ("$2y$04$abcdefghijklmnop", BCRYPT),
            (
                "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WI\u{fc}",
                BCRYPT,
            ),
            ("$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ", APR1),
            ("$apr1$", APR1),
            (
                "$6$rounds=999999999$abc$x",
                "a SHA-crypt hash of 999999999 rounds; 1000 to 1000000 are taken",
            ),
            (
                "$6$rounds=10$abc$x",
                "a SHA-crypt hash of 10 rounds; 1000 to 1000000 are taken",
            ),
            ("$5$abc$short", SHA_CRYPT),
            ("$5$", SHA_CRYPT),
            ("{SHA}c2hvcnQ=", "a {SHA} hash that is cut or damaged"),
            (
                "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
                "a {SSHA} hash that is cut or damaged",
            ),
        ] {
            let found = PasswordHash::parse(text).err();
            assert_eq!(found.as_deref(), Some(reason), "{text}");
        }
    }
}
