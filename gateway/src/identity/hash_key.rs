//! Hashes that nobody outside the process can compute.

use std::fmt;

use aws_lc_rs::{hmac, rand::SystemRandom};

/// A key of this process. What is remembered of a secret is remembered as its hash
/// under such a key, so that memory holds no secret and no guess can be tried on it.
pub(crate) struct HashKey(hmac::Key);

impl HashKey {
    /// Draws a key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn random() -> Result<Self, String> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map(Self)
            .map_err(|_| "the system gives no random numbers".to_owned())
    }

    /// Hashes parts; where one ends and the next begins matters.
    pub(crate) fn hash<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart_and_keys_too() {
        let (key, other) = (HashKey::random().unwrap(), HashKey::random().unwrap());
        let hash = |key: &HashKey, parts: &[&str]| key.hash(parts.iter().map(|p| p.as_bytes()));
        assert_eq!(hash(&key, &["ab", "c"]), hash(&key, &["ab", "c"]));
        assert_ne!(hash(&key, &["ab", "c"]), hash(&key, &["a", "bc"]));
        assert_ne!(hash(&key, &["ab"]), hash(&key, &["ab", ""]));
        assert_ne!(hash(&key, &["ab"]), hash(&other, &["ab"]));
    }
}
