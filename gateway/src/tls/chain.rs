//! The chain of a certificate in the order that clients want (RFC 5246 section
//! 7.4.2), from a file in any order.

use std::sync::Arc;

use rustls::{
    Error, InconsistentKeys,
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A chain that was put in order.
#[derive(Debug)]
pub(super) struct Chain {
    /// The certificate of the key, and its issuers as far as the file has them.
    pub(super) pair: CertifiedKey,
    /// Certificates of the file that are not of the chain, and are not sent.
    pub(super) left_out: usize,
    /// Whether the certificate is that of an authority, which has signed itself.
    pub(super) is_authority: bool,
}

/// Finds the certificate of the key, and its issuers in their order.
///
/// # Errors
/// Where no certificate is the key's, one cannot be read, or the key is that of
/// an authority which signs others.
pub(super) fn chain(
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<Chain, String> {
    let mut pair = CertifiedKey::new(certificates, key);
    let leaf = leaf(&mut pair)?;
    let mut rest = std::mem::take(&mut pair.cert);
    let count = rest.len();
    let mut ordered = vec![rest.remove(leaf)];
    let first = Names::read(&ordered[0])?;
    if first.is_authority && (!first.is_root() || count > 1) {
        return Err("the key is that of an authority, not of a server's certificate".into());
    }
    let mut names = rest
        .iter()
        .map(Names::read)
        .collect::<Result<Vec<_>, _>>()?;
    let is_authority = first.is_authority;
    let mut last = first;
    while !last.is_root()
        && let Some(at) = names.iter().position(|next| next.subject == last.issuer)
    {
        ordered.push(rest.remove(at));
        last = names.remove(at);
    }
    pair.cert = ordered;
    Ok(Chain {
        left_out: rest.len(),
        is_authority,
        pair,
    })
}

/// What the order goes by.
struct Names {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    is_authority: bool,
}

impl Names {
    fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        Ok(Self {
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            is_authority: parsed.is_ca(),
        })
    }

    fn is_root(&self) -> bool {
        self.subject == self.issuer
    }
}

/// Finds the position of the certificate of the key.
fn leaf(pair: &mut CertifiedKey) -> Result<usize, String> {
    for index in 0..pair.cert.len() {
        pair.cert.swap(0, index);
        let judged = pair.keys_match();
        pair.cert.swap(0, index);
        match judged {
            Ok(()) => return Ok(index),
            // The library cannot tell for this kind of key: the file's order counts.
            Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => return Ok(0),
            Err(Error::InconsistentKeys(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("no certificate in it is that of the key".into())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls_pki_types::PrivatePkcs8KeyDer;

    use super::*;

    fn params(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    fn key(pair: &KeyPair) -> Arc<dyn SigningKey> {
        any_supported_type(&PrivatePkcs8KeyDer::from(pair.serialize_der()).into()).expect("a key")
    }

    #[test]
    fn ing_16_whatever_the_order_of_the_file_the_leaf_goes_first_and_issuers_follow() {
        let new_key = || KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(params("root", true), new_key()).expect("root");
        let middle =
            CertifiedIssuer::signed_by(params("middle", true), new_key(), &root).expect("middle");
        let leaf_key = new_key();
        let leaf = params("a.test", false)
            .signed_by(&leaf_key, &middle)
            .expect("leaf");
        let other = params("other", false)
            .self_signed(&new_key())
            .expect("other");
        let [root_der, middle_der, leaf_der, other_der] =
            [root.der(), middle.der(), leaf.der(), other.der()].map(|der| der.clone());
        let whole = [&leaf_der, &middle_der, &root_der];
        for (file, expected, left_out) in [
            (
                [&leaf_der, &middle_der, &root_der].as_slice(),
                &whole[..],
                0,
            ),
            (&[&root_der, &middle_der, &leaf_der], &whole, 0),
            (&[&middle_der, &root_der, &leaf_der], &whole, 0),
            (&[&other_der, &root_der, &leaf_der, &middle_der], &whole, 1),
            (&[&middle_der, &leaf_der], &whole[..2], 0),
            (&[&root_der, &leaf_der], &whole[..1], 1),
            (&[&leaf_der, &leaf_der, &middle_der], &whole[..2], 1),
            (&[&leaf_der], &whole[..1], 0),
        ] {
            let file = file.iter().map(|der| (*der).clone()).collect();
            let found = chain(file, key(&leaf_key)).expect("a chain");
            assert_eq!(found.pair.cert.iter().collect::<Vec<_>>(), expected);
            assert_eq!((found.left_out, found.is_authority), (left_out, false));
        }
        let wrong = |file: Vec<CertificateDer<'static>>, key| chain(file, key).expect_err("wrong");
        let none = wrong(vec![root_der.clone(), middle_der.clone()], key(&leaf_key));
        assert!(none.contains("no certificate"), "{none}");
        for file in [
            vec![middle_der.clone()],
            vec![leaf_der.clone(), middle_der.clone(), root_der.clone()],
        ] {
            let authority = wrong(file, key(middle.key()));
            assert!(authority.contains("authority"), "{authority}");
        }
        let authority = wrong(vec![root_der.clone(), leaf_der], key(root.key()));
        assert!(authority.contains("authority"), "{authority}");
        // What `openssl req -x509` makes is served, and told.
        let alone = chain(vec![root_der], key(root.key())).expect("a chain");
        assert!(alone.is_authority);
    }
}
