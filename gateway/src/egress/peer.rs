//! Who is at the other end of a connection, by what it has shown in its handshake.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use portcullis_config::{egress::CertificateIdentity, model::EgressListener};
use rustls_pki_types::CertificateDer;
use serde::{Serialize, Serializer};

use crate::tls::{Tls, certificate_identity};

/// A client, for as long as its connection is open.
#[derive(Debug)]
pub(super) struct Peer {
    listener: Arc<EgressListener>,
    /// Its certificate and what came along; empty where it showed none.
    chain: Vec<CertificateDer<'static>>,
    identity: Option<CertificateIdentity>,
    /// Number of the table of TLS that it was admitted by.
    admitted: AtomicU64,
}

impl Peer {
    /// A client that has shown this chain, which was verified, under a table of this number.
    ///
    /// # Errors
    /// A certificate that names its holder in two ways.
    pub(super) fn new(
        listener: Arc<EgressListener>,
        chain: Vec<CertificateDer<'static>>,
        generation: u64,
    ) -> Result<Self, String> {
        let identity = match chain.first() {
            Some(leaf) => certificate_identity(leaf)?,
            None => None,
        };
        Ok(Self {
            listener,
            chain,
            identity,
            admitted: AtomicU64::new(generation),
        })
    }

    /// Who it is by its certificate, where that says so.
    pub(super) fn identity(&self) -> Option<&CertificateIdentity> {
        self.identity.as_ref()
    }

    /// Whether it would be let in now as it is: by the authorities and lists of now, and with
    /// what the listener asks for now.
    pub(super) fn is_admitted(&self, tls: &Tls) -> bool {
        let table = tls.table();
        if self.admitted.load(Ordering::Relaxed) == table.generation {
            return true;
        }
        let admitted = match table.egress(&self.listener.name) {
            // Where nobody is asked for a certificate any more none is judged, and none counts.
            Some(terms) if terms.asks_for_certificates() => terms.admits(&self.chain).is_ok(),
            _ => self.chain.is_empty(),
        };
        // One that is not admitted is judged each time: a list may be mended.
        if admitted {
            self.admitted.store(table.generation, Ordering::Relaxed);
        }
        admitted
    }
}

/// By who it is.
impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.identity.serialize(serializer)
    }
}
