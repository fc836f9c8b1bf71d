//! Session tickets that are good only under the terms they were given under.

use std::sync::Arc;

use rustls::server::ProducesTickets;

/// Bytes of what a ticket is bound to.
const BINDING: usize = 32;

/// Binds tickets to terms: a session is taken up again only by a handshake that
/// asks for the same certificates of clients, and judges them by the same files.
#[derive(Debug)]
pub(super) struct BoundTickets {
    pub(super) inner: Arc<dyn ProducesTickets>,
    pub(super) binding: [u8; BINDING],
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut bound = Vec::with_capacity(BINDING + plain.len());
        bound.extend_from_slice(&self.binding);
        bound.extend_from_slice(plain);
        self.inner.encrypt(&bound)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.inner.decrypt(cipher)?;
        if !plain.starts_with(&self.binding) {
            return None;
        }
        Some(plain.split_off(BINDING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_of_other_terms_is_no_ticket() {
        let inner = rustls::crypto::aws_lc_rs::Ticketer::new().expect("randomness");
        let bound = |binding| BoundTickets {
            inner: Arc::clone(&inner),
            binding: [binding; BINDING],
        };
        let ticket = bound(1).encrypt(b"session").expect("a ticket");
        assert_eq!(bound(1).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(bound(2).decrypt(&ticket), None);
        assert_eq!(
            bound(1).decrypt(&inner.encrypt(b"short").expect("a ticket")),
            None
        );
        assert_eq!(bound(1).decrypt(b"garbage"), None);
    }
}
