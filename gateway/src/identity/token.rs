//! Tokens of ServiceAccounts: JSON Web Tokens (RFC 7519), verified with the keys of a cluster.
//!
//! ```text
//! token -> hash -> remembered? -> its time
//!             \--> header -> key by its id -> signature -> claims -> Identity
//! ```
//!
//! A key is chosen by the id in the token, and signs with its own algorithms alone: what the
//! token says of that decides nothing (RFC 8725 section 3.1). Nobody is asked: whether its pod is
//! still there is told by [`Pods`](super::Pods).

use std::{fmt, sync::Arc, time::SystemTime};

use jsonwebtoken::{Validation, errors::ErrorKind};
use portcullis_config::egress::{Claims, TokenError, TokenSettings};
use quick_cache::sync::Cache;

use super::{
    hash_key::HashKey,
    jwks::{self, Keys},
    token_parts::header,
    verified::{Verified, VerifiedBy},
};

/// Tokens that are remembered as good at once: those of so many pods.
const MAX_VERIFIED: usize = 10_000;

/// Verifies tokens, and remembers those that are good.
pub struct TokenVerifier {
    settings: TokenSettings,
    /// Hash of the file that the keys are of.
    file: [u8; 32],
    keys: Keys,
    /// What of the file is left out, and why.
    pub(crate) left_out: Vec<String>,
    key: HashKey,
    /// Good tokens by their keyed hash. They are forgotten with the keys.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

impl TokenVerifier {
    /// Makes one from the text of a key set.
    ///
    /// # Errors
    /// All that is wrong with the keys.
    pub(crate) fn new(
        settings: TokenSettings,
        file: [u8; 32],
        text: &str,
    ) -> Result<Self, Vec<String>> {
        let (keys, left_out) = jwks::read(text)?;
        Ok(Self {
            settings,
            file,
            keys,
            left_out,
            key: HashKey::random().map_err(|error| vec![error])?,
            verified: Cache::new(MAX_VERIFIED),
        })
    }

    /// Whether it is of these settings and this file.
    pub(crate) fn is_of(&self, settings: &TokenSettings, file: [u8; 32]) -> bool {
        self.settings == *settings && self.file == file
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn verify(&self, token: &[u8], now: SystemTime) -> Result<Arc<Verified>, TokenError> {
        let hash = self.key.hash([token]);
        if let Some(known) = self.verified.get(&hash) {
            let judged = known.validity.judge(now, self.settings.clock_skew);
            return judged.map(|()| known);
        }
        let (claims, key) = self.claims(token)?;
        let (identity, validity) = claims.judge(&self.settings, now)?;
        let verified = Arc::new(Verified {
            identity,
            validity,
            by: VerifiedBy::Key(key),
            settings: self.settings.clone(),
        });
        self.verified.insert(hash, Arc::clone(&verified));
        Ok(verified)
    }

    /// Whether the keys and settings that a token was good by still hold; its time may be over.
    pub fn trusts(&self, verified: &Verified) -> bool {
        let VerifiedBy::Key(of_token) = verified.by else {
            return false;
        };
        let mut keys = self.keys.values();
        verified.is_for(&self.settings) && keys.any(|key| key.fingerprint == of_token)
    }

    /// The claims of a token that one of the keys has signed, and the fingerprint of that.
    fn claims(&self, token: &[u8]) -> Result<(Claims, [u8; 32]), TokenError> {
        let header = header(token)?;
        let id = header.kid.ok_or(TokenError::UnknownKey)?;
        let key = self.keys.get(&id).ok_or(TokenError::UnknownKey)?;
        let algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
        if !key.algorithms.contains(&algorithm) {
            return Err(TokenError::Algorithm);
        }
        let mut signature_alone = Validation::new(algorithm);
        // The claims are judged by `Claims`: each has a reason of its own, and a clock is given.
        signature_alone.required_spec_claims.clear();
        signature_alone.validate_exp = false;
        signature_alone.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &signature_alone);
        let decoded = decoded.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            _ => TokenError::Malformed,
        })?;
        Ok((decoded.claims, key.fingerprint))
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
