//! The certificate of the peers and of backends over TLS: ECDSA with P-256, issued by an
//! authority of its own, which peers trust.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The name in the certificate.
pub const NAME: &str = "load.example.com";

/// A certificate as files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one file.
    pub pair: PathBuf,
    /// The certificate of its authority.
    pub authority: PathBuf,
}

impl CertificateFiles {
    /// The files in a folder, whether they are there or not.
    pub(crate) fn of(folder: &Path) -> Self {
        Self {
            chain: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            pair: folder.join("tls.pem"),
            authority: folder.join("ca.crt"),
        }
    }

    /// Makes a certificate, and its files in a folder.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let files = Self::of(folder);
        let (chain, key, authority) = issue().context("making a certificate")?;
        for (file, text) in [
            (&files.chain, &chain),
            (&files.key, &key),
            (&files.pair, &format!("{chain}{key}")),
            (&files.authority, &authority),
        ] {
            fs::write(file, text).with_context(|| format!("writing {file:?}"))?;
        }
        Ok(files)
    }
}

/// A certificate, its key, and the certificate of its authority.
fn issue() -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Two certificates without a name of their own look as if they had issued themselves.
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "load test authority");
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, &issuer)?;
    Ok((certificate.pem(), key.serialize_pem(), authority.pem()))
}
