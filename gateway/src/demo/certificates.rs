//! A certificate authority of the demo's own, and what it signs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Self-made certificates in a folder.
pub struct DemoCertificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl DemoCertificates {
    /// Makes the authority and writes it to `ca.crt` in the folder.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Portcullis demo CA");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(folder.join("ca.crt"), issuer.pem())?;
        Ok(Self {
            issuer,
            folder: folder.to_owned(),
        })
    }

    /// The authority's certificate file.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Signs a certificate for these names and writes `NAME.crt` and `NAME.key`.
    pub fn write(&self, name: &str, hosts: &[&str]) -> anyhow::Result<()> {
        let (certificate, key) = self.sign(hosts)?;
        fs::write(self.folder.join(format!("{name}.crt")), certificate.pem())?;
        fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// Signs a certificate for these names, for a server in this process.
    pub fn server(
        &self,
        hosts: &[&str],
    ) -> anyhow::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let (certificate, key) = self.sign(hosts)?;
        Ok((
            certificate.der().clone(),
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        ))
    }

    fn sign(&self, hosts: &[&str]) -> anyhow::Result<(rcgen::Certificate, KeyPair)> {
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        Ok((certificate, key))
    }
}
