//! A certificate authority for one test.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
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

    /// A name with `://` is a URI.
    fn leaf(&self, names: &[&str]) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key is made");
        let (uris, hosts): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.contains("://"));
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts are names");
        for uri in uris {
            let uri = uri.try_into().expect("a URI is in ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
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
        self.server_config(
            hosts,
            alpn,
            rustls::server::WebPkiClientVerifier::no_client_auth(),
        )
    }

    /// The same, and clients must show a certificate of this authority too.
    pub fn server_for_known_clients(
        &self,
        hosts: &[&str],
        alpn: &[&str],
    ) -> Arc<rustls::ServerConfig> {
        let roots = Arc::new(self.roots());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .expect("there is an authority");
        self.server_config(hosts, alpn, verifier)
    }

    fn server_config(
        &self,
        hosts: &[&str],
        alpn: &[&str],
        clients: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    ) -> Arc<rustls::ServerConfig> {
        let (leaf, key) = self.leaf(hosts);
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions")
            .with_client_cert_verifier(clients)
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
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.issuer.der().to_vec()))
            .expect("a good authority");
        roots
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
