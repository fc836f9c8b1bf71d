//! TLS to the destinations of clients: those that are looked into, and those that plain requests are
//! sent to over TLS.

use std::{path::Path, sync::Arc};

use rustls::ClientConfig;

use super::{Reads, reads::content_hash, upstream_tls};

/// TLS to whichever destination, which must show a certificate for its name.
#[derive(Clone, Debug)]
pub struct DestinationTls {
    /// Without protocols and sessions.
    pub client: Arc<ClientConfig>,
    /// Hash of the file with the authorities that it trusts beside those of the system.
    trusted: Option<[u8; 32]>,
}

impl DestinationTls {
    /// Trusts the authorities of a file as well, if there is one. What runs is kept where it trusts
    /// the same: a connection keeps what it began with, and one copy serves all.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub(super) fn compile(
        trust: Option<&Path>,
        running: Option<&Self>,
        reads: &Reads,
    ) -> Result<Self, upstream_tls::Broken> {
        let read = trust.map(|path| reads.read(path)).transpose();
        let read = read.map_err(|why| ("trust", why))?;
        let trusted = read.map(|bytes| content_hash(&bytes));
        let client = match running.filter(|running| running.trusted == trusted) {
            Some(running) => Arc::clone(&running.client),
            None => upstream_tls::to_anybody(trust, reads)?,
        };
        Ok(Self { client, trusted })
    }

    /// Whether it trusts the same destinations.
    pub fn trusts_as(&self, other: &Self) -> bool {
        self.trusted == other.trusted
    }
}
