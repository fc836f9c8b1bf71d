//! What an entry asks for whose requests are looked into.

use std::path::PathBuf;

use http::HeaderName;

pub use crate::document::ClientCredential;

/// What becomes of the requests that an entry allows, inside TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The WAF profile that they are inspected by.
    pub waf: Option<String>,
    /// The credential that they are given.
    pub inject: Option<Injection>,
}

/// A credential that is added to requests, by where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// The header that carries it.
    pub header: HeaderName,
    /// File with the credential.
    pub value: PathBuf,
    /// What stands before it in the header.
    pub prefix: String,
    /// What is done with a credential of the client's own in that header.
    pub client_credential: ClientCredential,
}

/// A request that can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRequest<'a> {
    /// Method.
    pub method: &'a str,
    /// Canonical path.
    pub path: &'a str,
    /// Whether it came inside TLS that was looked into.
    pub tls: bool,
}
