//! Authentications.

use std::path::{Path, PathBuf};

use http::HeaderName;

pub use crate::document::{Preflight, Satisfy};

/// A way to find out who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Unique name.
    pub name: String,
    /// How.
    pub method: AuthenticationMethod,
    /// What becomes of a CORS preflight.
    pub preflight: Preflight,
}

/// How a client is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationMethod {
    /// By name and password.
    Basic(Basic),
}

/// Names and passwords of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basic {
    /// The file.
    pub users: PathBuf,
    /// What the password is for; visible ASCII and blanks.
    pub realm: String,
    /// Header that tells the backend the name.
    pub user_header: Option<HeaderName>,
    /// Whether the backend gets the credentials.
    pub forward_credentials: bool,
}

impl Authentication {
    /// The headers by which a backend is told who the client is: never taken from
    /// a client.
    pub fn identity_headers(&self) -> impl Iterator<Item = &HeaderName> {
        match &self.method {
            AuthenticationMethod::Basic(basic) => basic.user_header.iter(),
        }
    }
    /// The file of its users, where it has one.
    pub fn users_file(&self) -> Option<&Path> {
        match &self.method {
            AuthenticationMethod::Basic(basic) => Some(&basic.users),
        }
    }

    /// Whether the backend gets the client's `Authorization`.
    pub fn forwards_credentials(&self) -> bool {
        match &self.method {
            AuthenticationMethod::Basic(basic) => basic.forward_credentials,
        }
    }
}
