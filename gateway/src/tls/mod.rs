//! Certificates, and the TLS settings made of them.
//!
//! ```text
//! files --load--> CertificateStore --ArcSwap--> resolver by SNI inside ServerConfigs --> handshake
//! ```
//!
//! The store is replaced whole when a file changes; the settings, the ticket
//! keys and every open connection stay.

mod configs;
mod store;

pub use configs::ServerConfigs;
pub use store::{CertificateFacts, CertificateProblem, CertificateStore};

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
