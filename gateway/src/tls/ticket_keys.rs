//! Keys of session tickets from files, so that several gateways take up each
//! other's sessions (RFC 5077, RFC 8446 section 4.6.1).
//!
//! ```text
//! ticket = name of the key (16) | nonce (12) | AES-256-GCM-SIV of (time of issue (8) | session)
//! ```

use std::path::{Path, PathBuf};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use rustls::server::ProducesTickets;

use super::{files::unix_seconds, read::hash_of};
use crate::files::Contents;

/// Seconds for which a ticket is good, whatever becomes of its key.
const LIFETIME: u32 = 12 * 3600;

/// Bytes of a key's name.
const NAME: usize = 16;
/// Bytes of a key file: those of nginx's `ssl_session_ticket_key`.
const LENGTHS: [usize; 2] = [48, 80];
/// What keys are derived with, so that no other program's tickets are ours.
const SALT: &[u8] = b"portcullis session ticket 1";

/// The keys of one list of files; the first encrypts, all decrypt.
#[derive(Debug)]
pub(super) struct TicketKeys {
    keys: Vec<TicketKey>,
    content: [u8; 32],
}

#[derive(Debug)]
struct TicketKey {
    name: [u8; NAME],
    key: RandomizedNonceKey,
}

impl TicketKeys {
    /// Reads the files.
    ///
    /// # Errors
    /// The position of the file that cannot be used, and why.
    pub(super) fn load(files: &[PathBuf], contents: &Contents) -> Result<Self, (usize, String)> {
        let mut said = Vec::new();
        let mut keys: Vec<TicketKey> = Vec::new();
        for (index, path) in files.iter().enumerate() {
            let content = contents
                .read(path, 1 << 10)
                .map_err(|reason| (index, reason))?;
            let key = TicketKey::read(path, &content).map_err(|reason| (index, reason))?;
            // While keys rotate one may stand in two files.
            if !keys.iter().any(|known| known.name == key.name) {
                keys.push(key);
            }
            said.push(content);
        }
        Ok(Self {
            keys,
            content: hash_of(said.iter().map(Vec::as_slice)),
        })
    }

    /// Whether the files say the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.content == other.content
    }

    fn seal(&self, plain: &[u8], now: i64) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.keys.first()?;
        let mut sealed = now.to_be_bytes().to_vec();
        sealed.extend_from_slice(plain);
        let nonce = key
            .seal_in_place_append_tag(Aad::from(name), &mut sealed)
            .ok()?;
        Some([name.as_slice(), nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: i64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = &self.keys.iter().find(|key| key.name == *name)?.key;
        let mut sealed = sealed.to_vec();
        let plain = key
            .open_in_place(Nonce::from(nonce), Aad::from(name), &mut sealed)
            .ok()?;
        let (issued, session) = plain.split_first_chunk::<8>()?;
        let age = now.checked_sub(i64::from_be_bytes(*issued))?;
        // The clock of the gateway that gave it may be ahead.
        (-i64::from(LIFETIME)..=i64::from(LIFETIME))
            .contains(&age)
            .then(|| session.to_vec())
    }
}

impl TicketKey {
    fn read(path: &Path, content: &[u8]) -> Result<Self, String> {
        let place = path.display();
        if !LENGTHS.contains(&content.len()) {
            return Err(format!(
                "{place} has {} bytes, and a ticket key has 48 or 80 (`openssl rand 80 > FILE` makes one)",
                content.len()
            ));
        }
        if content.iter().all(|byte| *byte == content[0]) {
            return Err(format!("{place} is not random"));
        }
        let (name, secret) = content
            .split_first_chunk::<NAME>()
            .ok_or_else(|| format!("{place} is too short"))?;
        let mut bytes = [0; 32];
        let derived = Salt::new(HKDF_SHA256, SALT)
            .extract(secret)
            .expand(&[name], Length)
            .and_then(|derived| derived.fill(&mut bytes))
            .and_then(|()| RandomizedNonceKey::new(&AES_256_GCM_SIV, &bytes));
        Ok(Self {
            name: *name,
            key: derived.map_err(|_| format!("{place}: no key can be derived"))?,
        })
    }
}

/// Bytes of a derived key.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, unix_seconds())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, unix_seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(contents: &[&[u8]]) -> TicketKeys {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files: Vec<PathBuf> = contents
            .iter()
            .enumerate()
            .map(|(index, content)| {
                let path = folder.path().join(index.to_string());
                std::fs::write(&path, content).expect("writable");
                path
            })
            .collect();
        TicketKeys::load(&files, &Contents::default()).expect("good keys")
    }

    fn content(seed: u8, length: u8) -> Vec<u8> {
        (0..length)
            .map(|byte| byte.wrapping_mul(7) ^ seed)
            .collect()
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let (one, two, three) = (content(1, 80), content(2, 48), content(3, 80));
        let ticket = keys(&[&one]).seal(b"session", 1000).expect("a ticket");
        let open = |files: &[&[u8]], now| keys(files).open(&ticket, now);
        assert_eq!(open(&[&one], 1000).as_deref(), Some(&b"session"[..]));
        assert_eq!(open(&[&two, &one], 1000).as_deref(), Some(&b"session"[..]));
        assert_eq!(open(&[&two, &three], 1000), None);
        let other = keys(&[&two, &one])
            .seal(b"session", 1000)
            .expect("a ticket");
        assert_eq!(keys(&[&one]).open(&other, 1000), None);
        // A key of the same name with another secret.
        let mut forged = one.clone();
        forged[79] ^= 1;
        assert_eq!(open(&[&forged], 1000), None);
        let life = i64::from(LIFETIME);
        assert!(open(&[&one], 1000 + life).is_some());
        assert!(open(&[&one], 1001 + life).is_none());
        assert!(keys(&[&one]).is_same(&keys(&[&one])));
        assert!(!keys(&[&one]).is_same(&keys(&[&one, &two])));
    }

    #[test]
    fn a_ticket_that_was_touched_is_none() {
        let keys = keys(&[&content(1, 80)]);
        let ticket = keys.seal(b"session", 1000).expect("a ticket");
        assert_ne!(keys.seal(b"session", 1000), Some(ticket.clone()));
        for at in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[at] ^= 1;
            assert_eq!(keys.open(&touched, 1000), None, "{at}");
            assert_eq!(keys.open(&ticket[..at], 1000), None, "{at}");
        }
    }
}
