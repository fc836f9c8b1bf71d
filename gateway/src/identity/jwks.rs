//! The public keys that tokens are signed with, from a JSON Web Key Set (RFC 7517).

use std::collections::HashMap;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Sizes of RSA keys that are verified with, in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key, and what it signs with.
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
    /// What tells it from every other key.
    pub(super) fingerprint: [u8; 32],
}

/// Keys by their ids.
pub(super) type Keys = HashMap<String, Key>;

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Reads the keys. What cannot be used is left out and told (section 5), as long as there is
/// another.
///
/// # Errors
/// A text that is no set of keys, one with secrets in it, one without a key that can be used.
pub(super) fn read(text: &str) -> Result<(Keys, Vec<String>), Vec<String>> {
    let set: KeySet = serde_json::from_str(text)
        .map_err(|error| vec![format!("it is no JSON Web Key Set: {error}")])?;
    let (mut keys, mut left_out, mut errors) = (Keys::new(), Vec::new(), Vec::new());
    for (index, value) in set.keys.into_iter().enumerate() {
        let place = format!("keys[{index}]");
        if value["kty"] == "oct" || !value["d"].is_null() {
            let reason = "it is a secret, and only public keys belong here";
            errors.push(format!("{place}: {reason}"));
            continue;
        }
        match key(&value) {
            Ok((id, key)) => {
                if keys.insert(id.clone(), key).is_some() {
                    errors.push(format!("{place}: the id {id:?} is taken"));
                }
            }
            Err(reason) => left_out.push(format!("{place} is left out: {reason}")),
        }
    }
    if keys.is_empty() && errors.is_empty() {
        errors.push("it has no key that can be used: no token would be good".into());
        errors.append(&mut left_out);
    }
    match errors.is_empty() {
        true => Ok((keys, left_out)),
        false => Err(errors),
    }
}

fn key(value: &Value) -> Result<(String, Key), String> {
    let jwk = Jwk::deserialize(value).map_err(|error| error.to_string())?;
    let id = jwk.common.key_id.clone().filter(|id| !id.is_empty());
    let id = id.ok_or("it has no id (`kid`), which a token would name it by")?;
    if !matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    ) {
        return Err("it is not for signatures (`use`)".into());
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
    let mut algorithms = algorithms(&jwk, &key)?;
    if let Some(only) = jwk.common.key_algorithm {
        algorithms.retain(|algorithm| is_same(*algorithm, only));
    }
    if algorithms.is_empty() {
        return Err("its `alg` is not one of its kind of key".into());
    }
    let fingerprint = fingerprint(&key);
    let key = Key {
        key,
        algorithms,
        fingerprint,
    };
    Ok((id, key))
}

/// What a key can sign with. One that could never verify is told here, and not as a wrong
/// signature of each token.
fn algorithms(jwk: &Jwk, key: &DecodingKey) -> Result<Vec<Algorithm>, String> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match &jwk.algorithm {
        AlgorithmParameters::RSA(parameters) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(&parameters.n);
            let length = modulus.map_or(0, |modulus| modulus.len());
            match RSA_BYTES.contains(&length) {
                true => Ok(vec![RS256, RS384, RS512, PS256, PS384, PS512]),
                false => Err("RSA keys have 2048 to 8192 bits".into()),
            }
        }
        AlgorithmParameters::EllipticCurve(parameters) => {
            let (algorithm, name) = match parameters.curve {
                EllipticCurve::P256 => (&ECDSA_P256_SHA256_FIXED, ES256),
                EllipticCurve::P384 => (&ECDSA_P384_SHA384_FIXED, ES384),
                _ => return Err("its curve is none of P-256, P-384 and Ed25519".into()),
            };
            match ParsedPublicKey::new(algorithm, key.as_bytes()) {
                Ok(_) => Ok(vec![name]),
                Err(_) => Err("it is no point of its curve".into()),
            }
        }
        AlgorithmParameters::OctetKeyPair(parameters) => {
            let is_whole = key.as_bytes().len() == 32;
            match parameters.curve == EllipticCurve::Ed25519 && is_whole {
                true => Ok(vec![EdDSA]),
                false => Err("its curve is none of P-256, P-384 and Ed25519".into()),
            }
        }
        AlgorithmParameters::OctetKey(_) => Err("it is a secret".into()),
    }
}

/// What a key is, however it is written.
fn fingerprint(key: &DecodingKey) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(format!("{:?}", key.family()));
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => add(bytes),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            add(n);
            add(e);
        }
    }
    hash.finalize().into()
}

fn is_same(algorithm: Algorithm, of_key: KeyAlgorithm) -> bool {
    // Both are written as RFC 7518 section 3.1 has them.
    format!("{algorithm:?}") == of_key.to_string()
}
