//! A certificate authority for one test.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// Signs certificates that its clients trust.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes an authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Not the name of the leaves, or OpenSSL takes those for self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key is made");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate is made"),
        }
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn leaf(&self, hosts: &[&str]) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key is made");
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let params = CertificateParams::new(names).expect("hosts are names");
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate is signed");
        (leaf, key)
    }

    /// Signs a certificate: chain and key in PEM.
    pub fn sign(&self, hosts: &[&str]) -> (String, String) {
        let (leaf, key) = self.leaf(hosts);
        (leaf.pem(), key.serialize_pem())
    }

    /// Signs a certificate into `NAME.crt` and `NAME.key`, each replaced whole.
    pub fn write(&self, folder: &Path, name: &str, hosts: &[&str]) {
        let (certificate, key) = self.sign(hosts);
        for (ending, text) in [("key", key), ("crt", certificate)] {
            let part = folder.join(format!("{name}.{ending}.part"));
            fs::write(&part, text).expect("the folder is writable");
            fs::rename(&part, folder.join(format!("{name}.{ending}")))
                .expect("the folder is writable");
        }
    }

    /// A server configuration with a certificate for these hosts.
    pub fn server(&self, hosts: &[&str], alpn: &[&str]) -> Arc<rustls::ServerConfig> {
        let (leaf, key) = self.leaf(hosts);
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("the key is the certificate's");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A client configuration that trusts this authority alone.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.issuer.der().to_vec()))
            .expect("a good authority");
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
