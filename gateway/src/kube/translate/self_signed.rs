//! A certificate for whoever asks for no host that has one.

use std::sync::LazyLock;

use crate::files::Keys;

/// The names in it: it is there for the handshake, and nobody is to trust it.
const NAMES: [&str; 1] = ["portcullis-default.invalid"];

/// A certificate and its key, as a Secret has them.
#[derive(Clone, Debug)]
pub(super) struct SelfSigned {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// That of this process.
pub(super) fn keys() -> SelfSigned {
    static MADE: LazyLock<SelfSigned> = LazyLock::new(|| {
        let names = NAMES.map(str::to_owned).to_vec();
        match rcgen::generate_simple_self_signed(names) {
            Ok(made) => SelfSigned {
                certificate: made.cert.pem().into_bytes(),
                key: made.signing_key.serialize_pem().into_bytes(),
            },
            // Without randomness nothing of TLS works, and the problem names this certificate.
            Err(error) => {
                tracing::error!(%error, "no certificate could be made");
                SelfSigned {
                    certificate: Vec::new(),
                    key: Vec::new(),
                }
            }
        }
    });
    MADE.clone()
}

impl Keys for SelfSigned {
    fn get(&self, key: &str) -> Option<&[u8]> {
        match key {
            "tls.crt" => Some(&self.certificate),
            "tls.key" => Some(&self.key),
            _ => None,
        }
    }
}
