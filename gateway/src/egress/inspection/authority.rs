//! The authority that signs what clients are shown in place of a destination's certificate.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use portcullis_config::{egress::Host, model::EgressInspection};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::leaves::Leaves;
use crate::snapshot::parse_certificates;

/// By how much a certificate begins before it is made: clocks of clients may be behind.
const BACKDATED: Duration = Duration::from_secs(3600);
/// Longest common name (RFC 5280 appendix A, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;
/// Bytes of a serial number, which is at most 20 (RFC 5280 section 4.1.2.2).
const SERIAL_BYTES: usize = 16;

/// Signs certificates of hosts, and remembers them.
pub struct SigningAuthority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate and those of its issuers, which go with each that it signs.
    chain: Vec<CertificateDer<'static>>,
    valid: Validity,
    lifetime: Duration,
    /// What it was made of.
    made_of: ([u8; 32], EgressInspection),
    leaves: Leaves,
}

/// The time of an authority.
#[derive(Debug)]
struct Validity {
    /// From when, in seconds since 1970, and as people read it.
    from: (i64, String),
    /// Until when, likewise.
    until: (i64, String),
}

/// A certificate of a host, with its key.
#[derive(Debug)]
pub(super) struct Leaf {
    /// The chain and the key.
    pub(super) pair: Arc<CertifiedKey>,
    /// From when another is signed.
    pub(super) renewed: SystemTime,
}

/// Why no certificate was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate for {host}: {reason}")]
pub(super) struct SigningError {
    host: String,
    reason: String,
}

/// The key is in none of it.
impl fmt::Debug for SigningAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningAuthority")
            .field("settings", &self.made_of.1)
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}

impl SigningAuthority {
    /// Makes one of the contents of its files. `hash` is that of both.
    ///
    /// # Errors
    /// The field of `egress.inspection` that is to blame, and why: what cannot be read, is no
    /// certificate of an authority that may sign, or a key that is another's. One whose time is over,
    /// or has not begun, is made: see [`Self::untimely`].
    pub(crate) fn new(
        settings: &EgressInspection,
        (certificate, key): (&[u8], &[u8]),
        hash: [u8; 32],
    ) -> Result<Self, (&'static str, String)> {
        let of_certificate = |reason| ("certificate", reason);
        let named = |path: &Path, reason: &str| format!("{}: {reason}", path.display());
        let bad = |reason: &str| of_certificate(named(&settings.certificate, reason));
        let bad_key = |reason: &str| ("key", named(&settings.key, reason));
        let chain =
            parse_certificates(&settings.certificate, certificate).map_err(of_certificate)?;
        let first = chain.first().ok_or_else(|| bad("holds no certificate"))?;
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| bad(&format!("no certificate: {error}")))?;
        let valid = may_sign(&parsed).map_err(|reason| bad(&reason))?;
        let key = std::str::from_utf8(key).map_err(|_| bad_key("no private key in PEM"))?;
        let key = KeyPair::from_pem(key)
            .map_err(|error| bad_key(&format!("no private key in PEM: {error}")))?;
        if key.subject_public_key_info() != parsed.public_key().raw {
            let certificate = settings.certificate.display();
            return Err(bad_key(&format!("not the key of {certificate}")));
        }
        let issuer = Issuer::from_ca_cert_der(first, key)
            .map_err(|error| bad(&format!("cannot sign: {error}")))?;
        let leaves = Leaves::new(settings.max_certificates);
        Ok(Self {
            issuer,
            chain,
            valid,
            lifetime: settings.certificate_lifetime,
            made_of: (hash, settings.clone()),
            leaves,
        })
    }

    /// Whether it was made of the same, so that what it remembers is good.
    pub(crate) fn is_of(&self, settings: &EgressInspection, hash: [u8; 32]) -> bool {
        self.made_of.0 == hash && self.made_of.1 == *settings
    }

    /// Why it signs nothing at a time, where that is not within its own; with the name of its file.
    pub(crate) fn untimely(&self, now: SystemTime) -> Option<String> {
        let Validity { from, until } = &self.valid;
        let reason = match seconds(now) {
            now if now < from.0 => format!("not valid before {}", from.1),
            now if now > until.0 => format!("ended at {}", until.1),
            _ => return None,
        };
        let file = self.made_of.1.certificate.display();
        Some(format!("{file}: {reason}"))
    }

    /// The certificate of a host: one that is remembered, or one that is signed now, beside the
    /// threads that serve.
    ///
    /// # Errors
    /// Where none can be signed: the authority has ended.
    pub(super) async fn certificate(
        self: &Arc<Self>,
        host: &Host,
    ) -> Result<Arc<Leaf>, SigningError> {
        let signing = || {
            let (authority, host) = (Arc::clone(self), host.clone());
            async move {
                let sign = tokio::task::spawn_blocking({
                    let host = host.clone();
                    move || authority.sign(&host, SystemTime::now())
                });
                sign.await
                    .unwrap_or_else(|error| Err(SigningError::new(&host, &error)))
            }
        };
        self.leaves.find(host, signing).await
    }

    /// Signs a certificate of a host.
    pub(super) fn sign(&self, host: &Host, now: SystemTime) -> Result<Arc<Leaf>, SigningError> {
        let failed = |error: &dyn fmt::Display| SigningError::new(host, error);
        if let Some(reason) = self.untimely(now) {
            return Err(failed(&reason));
        }
        let seconds = seconds(now);
        let (from, until) = (self.valid.from.0, self.valid.until.0);
        let text = match host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        };
        let mut params =
            CertificateParams::new(vec![text.clone()]).map_err(|error| failed(&error))?;
        params.distinguished_name = DistinguishedName::new();
        let common_name = match text.len() <= MAX_COMMON_NAME {
            true => text.as_str(),
            false => "portcullis",
        };
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let began = time(
            seconds
                .saturating_sub(to_i64(BACKDATED.as_secs()))
                .max(from),
        );
        let ends = time(
            seconds
                .saturating_add(to_i64(self.lifetime.as_secs()))
                .min(until),
        );
        (params.not_before, params.not_after) = (began.into(), ends.into());
        params.serial_number = Some(serial_number().map_err(|error| failed(&error))?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let signed = params
            .signed_by(&key, &self.issuer)
            .map_err(|error| failed(&error))?;
        let mut chain = vec![signed.der().clone()];
        chain.extend(self.chain.iter().cloned());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| failed(&error))?;
        let left = ends.duration_since(now).unwrap_or_default();
        Ok(Arc::new(Leaf {
            pair: Arc::new(CertifiedKey::new(chain, key)),
            renewed: now + left / 2,
        }))
    }
}

impl SigningError {
    pub(super) fn new(host: &Host, reason: &dyn fmt::Display) -> Self {
        Self {
            host: host.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// Judges whether a certificate is one of an authority that may sign those of servers (RFC 5280
/// sections 4.2.1.3, 4.2.1.9 and 4.2.1.12), and tells its time.
fn may_sign(parsed: &X509Certificate<'_>) -> Result<Validity, String> {
    if !parsed.is_ca() {
        return Err("not the certificate of an authority (basicConstraints CA)".into());
    }
    let broken = |error: x509_parser::error::X509Error| format!("no certificate: {error}");
    let usage = parsed.key_usage().map_err(broken)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err("it has no right to sign certificates (keyUsage keyCertSign)".into());
    }
    let purposes = parsed.extended_key_usage().map_err(broken)?;
    if purposes.is_some_and(|purposes| !purposes.value.any && !purposes.value.server_auth) {
        return Err("it may not sign certificates of servers (extendedKeyUsage)".into());
    }
    let validity = parsed.validity();
    let told = |time: ASN1Time| (time.timestamp(), time.to_string());
    Ok(Validity {
        from: told(validity.not_before),
        until: told(validity.not_after),
    })
}

/// A number that no other certificate has.
fn serial_number() -> Result<SerialNumber, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut bytes)?;
    // A positive number without a leading zero, in DER.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    to_i64(since.as_secs())
}

fn to_i64(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
pub(super) mod tests;
