//! Authentications.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};

use crate::access::SignIn;

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
    /// By asking a server.
    External(Box<External>),
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

/// A server that is asked about each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Name of the backend that is asked.
    pub backend: String,
    /// Path that is asked for, with its query.
    pub path: String,
    /// Host that is asked for; `None` means the client's.
    pub host: Option<HeaderValue>,
    /// Method of the question.
    pub method: Method,
    /// Headers of the client that are sent; `None` means all that may be.
    pub request_headers: Option<Vec<HeaderName>>,
    /// Headers of the answer that the backend gets.
    pub response_headers: Vec<HeaderName>,
    /// Header of the answer with the client's name.
    pub user_header: Option<HeaderName>,
    /// Where a browser is sent on 401.
    pub sign_in: Option<SignIn>,
    /// Time for the whole answer.
    pub timeout: Duration,
    /// Which answers are remembered.
    pub cache: Option<AnswerCache>,
}

/// Answers that are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerCache {
    /// How long a 2xx counts.
    pub time: Duration,
    /// How long a 401 counts; 0 is not at all.
    pub refused_time: Duration,
    /// For whom an answer counts.
    pub key: AnswerKey,
    /// Answers remembered at once.
    pub max_entries: u32,
}

/// What two requests must have in common to get one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerKey {
    /// Headers; `None` means all that are sent.
    pub headers: Option<Vec<HeaderName>>,
    /// The method.
    pub method: bool,
    /// Scheme, host and port.
    pub host: bool,
    /// The path with its query.
    pub path: bool,
    /// The client address.
    pub client: bool,
}

impl Authentication {
    /// The headers by which a backend is told who the client is: never taken from
    /// a client.
    pub fn identity_headers(&self) -> impl Iterator<Item = &HeaderName> {
        match &self.method {
            AuthenticationMethod::Basic(basic) => basic.user_header.as_slice(),
            AuthenticationMethod::External(external) => &external.response_headers,
        }
        .iter()
    }
    /// The file of its users, where it has one.
    pub fn users_file(&self) -> Option<&Path> {
        match &self.method {
            AuthenticationMethod::Basic(basic) => Some(&basic.users),
            AuthenticationMethod::External(_) => None,
        }
    }

    /// Whether the backend gets the client's `Authorization`.
    pub fn forwards_credentials(&self) -> bool {
        match &self.method {
            AuthenticationMethod::Basic(basic) => basic.forward_credentials,
            AuthenticationMethod::External(_) => true,
        }
    }
}
