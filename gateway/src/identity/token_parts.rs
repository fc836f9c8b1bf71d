//! The parts of a JSON Web Token (RFC 7519), before anybody has verified it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_config::egress::{Claims, TokenError};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// What of the header of a token decides.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    crit: Option<Value>,
    b64: Option<Value>,
}

/// Reads the header of a token that has three parts.
///
/// # Errors
/// [`TokenError::Malformed`].
pub(super) fn header(token: &[u8]) -> Result<Header, TokenError> {
    let [header, _, _] = parts(token)?;
    let header: Header = part(header)?;
    // Who does not understand what is critical must refuse it (RFC 7515 section 4.1.11).
    match header.crit.is_some() || header.b64.is_some() {
        true => Err(TokenError::Malformed),
        false => Ok(header),
    }
}

/// What a token says. Nothing tells yet that it is true.
///
/// # Errors
/// [`TokenError::Malformed`].
pub(super) fn unverified_claims(token: &[u8]) -> Result<Claims, TokenError> {
    header(token)?;
    let [_, claims, signature] = parts(token)?;
    let is_signature = BASE64_URL_SAFE_NO_PAD
        .decode(signature)
        .is_ok_and(|signature| !signature.is_empty());
    match is_signature {
        true => part(claims),
        false => Err(TokenError::Malformed),
    }
}

fn parts(token: &[u8]) -> Result<[&[u8]; 3], TokenError> {
    let mut parts = token.split(|&byte| byte == b'.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(claims), Some(signature), None) => Ok([header, claims, signature]),
        _ => Err(TokenError::Malformed),
    }
}

fn part<T: DeserializeOwned>(part: &[u8]) -> Result<T, TokenError> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part);
    let json = json.map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}
