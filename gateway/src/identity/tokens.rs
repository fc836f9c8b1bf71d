//! Who says whether a token is good: the keys of a cluster, or its API server.

use std::sync::Arc;

use super::{TokenReviews, TokenVerifier, Verified};

/// What verifies tokens.
#[derive(Clone, Debug)]
pub enum Tokens {
    /// Public keys; nobody is asked.
    Keys(Arc<TokenVerifier>),
    /// The API server.
    Review(Arc<TokenReviews>),
}

impl Tokens {
    /// Whether what a token was good by still holds; its time may be over.
    pub fn trusts(&self, verified: &Verified) -> bool {
        match self {
            Self::Keys(keys) => keys.trusts(verified),
            Self::Review(reviews) => reviews.trusts(verified),
        }
    }
}
