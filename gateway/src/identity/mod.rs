//! Finding out who a client is.
//!
//! ```text
//! users file -> BasicCheck     headers of a request --check--> a user, or why not
//! server     -> ExternalCheck  a question --place, recall--> an answer that is remembered
//! key set    -> TokenVerifier  a token --verify--> a ServiceAccount and its pod, or why not
//! API server -> TokenReviews   the same, by asking it
//! pods       -> Pods           an address, a UID --> the pod that has it
//! ```
//!
//! Nothing here knows of connections. What is remembered of a secret is a hash
//! under a key of the process.

mod basic;
mod external;
mod hash_key;
mod jwks;
mod md5_crypt;
mod password_checks;
mod password_hash;
mod pods;
mod token;
mod token_parts;
mod token_reviews;
mod tokens;
mod user_pass;
mod users;
mod verified;

pub use basic::{BasicCheck, BasicVerdict, challenge};
pub use external::{Answer, ExternalCheck, Question};
pub(crate) use password_checks::PasswordChecks;
pub use pods::{Owner, Pod, Pods};
pub use token::TokenVerifier;
#[cfg(test)]
pub(crate) use token::tests::verified;
pub use token_reviews::{ReviewTokens, TokenReviews, Unverified};
pub use tokens::Tokens;
pub(crate) use user_pass::name_and_password;
pub use verified::Verified;

use std::sync::Arc;

use portcullis_config::model::{Authentication, External};

/// An authentication at work; it outlives a reload that does not change it.
#[derive(Debug)]
pub struct Authenticator {
    settings: Arc<Authentication>,
    /// What its file said.
    file: Option<[u8; 32]>,
    check: Check,
}

/// How an authentication works.
#[derive(Debug)]
pub enum Check {
    /// By name and password.
    Basic(BasicCheck),
    /// By asking a server.
    External(Box<ExternalCheck>),
}

impl Authenticator {
    /// Puts an authentication to work; `users` is the text of its file.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub(crate) fn basic(
        settings: Arc<Authentication>,
        file: [u8; 32],
        users: &str,
        checks: &Arc<PasswordChecks>,
    ) -> Result<Self, Vec<String>> {
        Ok(Self {
            check: Check::Basic(BasicCheck::new(users, checks)?),
            file: Some(file),
            settings,
        })
    }

    /// Puts an authentication by a server to work.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn external(
        settings: &Arc<Authentication>,
        external: &External,
    ) -> Result<Self, String> {
        Ok(Self {
            check: Check::External(Box::new(ExternalCheck::new(external)?)),
            file: None,
            settings: Arc::clone(settings),
        })
    }

    /// Whether this is what these settings and this file would make.
    pub(crate) fn is_of(&self, settings: &Authentication, file: Option<[u8; 32]>) -> bool {
        *self.settings == *settings && self.file == file
    }

    /// The settings.
    pub fn settings(&self) -> &Authentication {
        &self.settings
    }

    /// How it works.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// Whether nobody can pass.
    pub(crate) fn is_of_nobody(&self) -> bool {
        match &self.check {
            Check::Basic(basic) => basic.is_empty(),
            Check::External(_) => false,
        }
    }
}
