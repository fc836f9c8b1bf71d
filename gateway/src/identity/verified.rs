//! The bearer of a good token.

use portcullis_config::egress::{Identity, TokenSettings, Validity};
use serde::Serialize;

/// The bearer of a good token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Who it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// When the token is good.
    #[serde(skip)]
    pub(super) validity: Validity,
    /// Who said that it is.
    #[serde(skip)]
    pub(super) by: VerifiedBy,
    /// What it was good for.
    #[serde(skip)]
    pub(super) settings: TokenSettings,
}

/// Who said that a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VerifiedBy {
    /// The key with this fingerprint.
    Key([u8; 32]),
    /// The API server.
    Review,
}

impl Verified {
    /// Whether it would be good by other settings as well; its time may be over.
    pub(super) fn is_for(&self, settings: &TokenSettings) -> bool {
        (&self.settings.issuer, &self.settings.audience) == (&settings.issuer, &settings.audience)
    }
}
