//! TLS with clients: certificates, settings by host, certificates of clients.
//!
//! ```text
//! files --load--> TlsFiles: certificates, client CAs and CRLs, each in its last good version
//!                    |
//! Model --plan-------+--> TlsTable --ArcSwap--> HostTls by listener and SNI --> handshake
//!                                          \--> what a request's host is held against
//! ```
//!
//! The table is replaced whole when the configuration or a file changes. What
//! is the same in both stays the same value, so that a connection knows at the
//! cost of one comparison that nothing has changed for it.

mod bound_tickets;
mod chain;
mod client_certificate;
mod client_headers;
mod client_hello;
mod client_verifier;
mod distinguished_name;
mod files;
mod host;
mod hosts;
mod ocsp;
mod read;
mod store;
mod table;
mod ticket_keys;

pub use client_certificate::ClientCertificate;
pub(crate) use client_certificate::certificate_identity;
pub use client_headers::client_headers;
pub(crate) use client_hello::{FirstBytes, HelloReader};
pub use client_verifier::{ClientVerifier, refusal_reason};
pub(crate) use files::named_files;
pub use files::{FileProblem, TlsFiles};
pub use host::HostTls;
pub use store::{CertificateFacts, CertificateProblem, CertificateStore};
pub use table::{Governed, Tls, TlsTable};

/// Makes aws-lc-rs the provider of every TLS connection of the process.
///
/// To be called before anything makes a TLS configuration: pingora would install
/// ring. A provider that is installed already stays.
pub fn install_provider() {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider was installed already");
    }
}
