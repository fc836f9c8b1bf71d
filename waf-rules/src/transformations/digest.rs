//! `t:md5` and `t:sha1`: the raw digest, which rules usually make readable with
//! `t:hexEncode`. They name things here and protect nothing.

use sha1::Digest;

/// Returns the 16 bytes of MD5 (RFC 1321).
pub(super) fn md5(input: &[u8]) -> Vec<u8> {
    md5::Md5::digest(input).to_vec()
}

/// Returns the 20 bytes of SHA-1 (RFC 3174).
pub(super) fn sha1(input: &[u8]) -> Vec<u8> {
    sha1::Sha1::digest(input).to_vec()
}
