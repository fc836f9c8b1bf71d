//! The certificate of the peers: ECDSA with P-256, signed by itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// A certificate as files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one file.
    pub pair: PathBuf,
}

impl CertificateFiles {
    /// The files in a folder, whether they are there or not.
    pub(crate) fn of(folder: &Path) -> Self {
        Self {
            chain: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            pair: folder.join("tls.pem"),
        }
    }

    /// Makes a certificate, and its files in a folder.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let files = Self::of(folder);
        let made = rcgen::generate_simple_self_signed(["load.example.com".to_owned()])
            .context("making a certificate")?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        for (file, text) in [
            (&files.chain, &chain),
            (&files.key, &key),
            (&files.pair, &format!("{chain}{key}")),
        ] {
            fs::write(file, text).with_context(|| format!("writing {file:?}"))?;
        }
        Ok(files)
    }
}
