//! OCSP responses from files, for stapling (RFC 6066 section 8, RFC 6960).

use std::path::Path;

use aws_lc_rs::digest::{self, Algorithm};
use der::{Decode, asn1::ObjectIdentifier};
use x509_ocsp::{BasicOcspResponse, CertId, CertStatus, OcspResponse, OcspResponseStatus};
use x509_parser::certificate::X509Certificate;

use crate::files::Contents;

/// Largest response that is read; one is two or three KiB.
const MAX_BYTES: u64 = 64 << 10;
/// A clock that is ahead of the responder's is no reason to leave a response out.
const MAX_SKEW: i64 = 300;

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// A response that says of a certificate that it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    /// The response, in DER.
    pub(super) response: Vec<u8>,
    /// When it is too old, in seconds since 1970; `None` where it does not say.
    pub(super) until: Option<i64>,
}

/// Why a response is not stapled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It says nothing of the certificate; what was said before still holds.
    Silent(String),
    /// It says that the certificate is not good.
    NotGood(&'static str),
}

/// Reads a file.
pub(super) fn read(path: &Path, contents: &Contents) -> Result<Vec<u8>, String> {
    contents.read(path, MAX_BYTES)
}

/// Judges a response for a certificate, as of `now` in seconds since 1970.
///
/// Its signature is for clients to verify: they know whom they trust.
///
/// # Errors
/// Why it must not be stapled.
pub(super) fn staple(
    response: Vec<u8>,
    leaf: &X509Certificate<'_>,
    issuer: Option<&X509Certificate<'_>>,
    now: i64,
) -> Result<Staple, Unfit> {
    let silent = |reason: &str| Unfit::Silent(reason.to_owned());
    let malformed =
        |error: der::Error| Unfit::Silent(format!("is no OCSP response in DER: {error}"));
    let parsed = OcspResponse::from_der(&response).map_err(malformed)?;
    if parsed.response_status != OcspResponseStatus::Successful {
        return Err(Unfit::Silent(format!(
            "is an error of the responder: {:?}",
            parsed.response_status
        )));
    }
    let basic = match parsed.response_bytes {
        Some(bytes) if bytes.response_type == BASIC => {
            BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(malformed)?
        }
        _ => return Err(silent("is not a basic OCSP response")),
    };
    let about = basic
        .tbs_response_data
        .responses
        .iter()
        .find(|about| is_of(&about.cert_id, leaf, issuer))
        .ok_or_else(|| silent("is not about this certificate"))?;
    match about.cert_status {
        CertStatus::Good(_) => {}
        CertStatus::Revoked(_) => {
            return Err(Unfit::NotGood("says that the certificate is revoked"));
        }
        CertStatus::Unknown(_) => {
            return Err(Unfit::NotGood("says that the responder does not know it"));
        }
    }
    let seconds = |time: &x509_ocsp::OcspGeneralizedTime| {
        i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
    };
    if seconds(&about.this_update) > now + MAX_SKEW {
        return Err(silent("is of the future"));
    }
    Ok(Staple {
        until: about.next_update.as_ref().map(seconds),
        response,
    })
}

fn is_of(id: &CertId, leaf: &X509Certificate<'_>, issuer: Option<&X509Certificate<'_>>) -> bool {
    let hash = |algorithm: &'static Algorithm| move |bytes: &[u8]| digest::digest(algorithm, bytes);
    let hash = match id.hash_algorithm.oid {
        SHA1 => hash(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        SHA256 => hash(&digest::SHA256),
        _ => return false,
    };
    let same_key = issuer.is_none_or(|issuer| {
        let key = &issuer.public_key().subject_public_key.data;
        hash(key).as_ref() == id.issuer_key_hash.as_bytes()
    });
    same_key
        && number(id.serial_number.as_bytes()) == number(leaf.raw_serial())
        && hash(leaf.issuer().as_raw()).as_ref() == id.issuer_name_hash.as_bytes()
}

/// A serial number without the zeros before it.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::*;

    #[test]
    fn what_is_no_response_is_told_and_never_stapled() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let leaf = rcgen::CertificateParams::new(vec!["a.test".into()])
            .and_then(|params| params.self_signed(&key))
            .expect("a certificate");
        let (_, leaf) = X509Certificate::from_der(leaf.der()).expect("a certificate");
        for (bytes, reason) in [
            (&b""[..], "is no OCSP response in DER"),
            (b"garbage", "is no OCSP response in DER"),
            (
                &[0x30, 3, 0x0a, 1, 6],
                "is an error of the responder: Unauthorized",
            ),
            (&[0x30, 3, 0x0a, 1, 0], "is not a basic OCSP response"),
            (
                &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
                "is no OCSP response in DER",
            ),
        ] {
            match staple(bytes.to_vec(), &leaf, None, 0) {
                Err(Unfit::Silent(told)) => assert!(told.starts_with(reason), "{told}"),
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
    }
}
