//! MD5-crypt, as `htpasswd -m` (`$apr1$`) and old systems (`$1$`) write it.
//!
//! It is weak, and files full of it are moved to the gateway all the same.

use md5::{Digest, Md5};

/// Most bytes of a salt that count.
pub(super) const MAX_SALT: usize = 8;

/// Rounds of the algorithm; a constant of it.
const ROUNDS: usize = 1000;

/// Computes the digest of a password; `magic` is `$apr1$` or `$1$`.
pub(super) fn md5_crypt(password: &[u8], magic: &str, salt: &[u8]) -> [u8; 16] {
    let salt = &salt[..salt.len().min(MAX_SALT)];
    let inner: [u8; 16] = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut outer = Md5::new()
        .chain_update(password)
        .chain_update(magic)
        .chain_update(salt);
    for part in password.chunks(16) {
        outer.update(&inner[..part.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        match bits & 1 {
            1 => outer.update([0]),
            _ => outer.update(&password[..1]),
        }
        bits >>= 1;
    }
    let mut digest: [u8; 16] = outer.finalize().into();
    for round in 0..ROUNDS {
        let mut next = Md5::new();
        match round & 1 {
            1 => next.update(password),
            _ => next.update(digest),
        }
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        match round & 1 {
            1 => next.update(digest),
            _ => next.update(password),
        }
        digest = next.finalize().into();
    }
    digest
}

/// Writes a digest in the alphabet and the order of crypt.
pub(super) fn encode(digest: &[u8; 16]) -> [u8; 22] {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut out = [0; 22];
    let mut put = |at: usize, count: usize, mut bits: u32| {
        for place in &mut out[at..at + count] {
            *place = ALPHABET[(bits & 0x3f) as usize];
            bits >>= 6;
        }
    };
    for (index, order) in ORDER.iter().enumerate() {
        let [a, b, c] = order.map(|at| u32::from(digest[at]));
        put(index * 4, 4, a << 16 | b << 8 | c);
    }
    put(20, 2, digest[11].into());
    out
}
