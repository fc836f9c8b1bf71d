//! A certificate authority for one test.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, client::WantsClientCert};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

/// Signs certificates that its clients trust.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate of a client says.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a> {
    /// Common name of its subject.
    pub name: &'a str,
    /// Serial number.
    pub serial: u64,
    /// Whether its time is over.
    pub expired: bool,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Makes an authority.
    pub fn new() -> Self {
        // Not the name of the leaves, or OpenSSL takes those for self-signed.
        Self::named("test authority")
    }

    /// Makes an authority with a name.
    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key is made");
        Self {
            issuer: CertifiedIssuer::self_signed(authority(name), key)
                .expect("a certificate is made"),
        }
    }

    /// Makes an authority that this one has signed.
    pub fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key is made");
        Self {
            issuer: CertifiedIssuer::signed_by(authority(name), key, &self.issuer)
                .expect("a certificate is signed"),
        }
    }

    /// Signs a certificate of a client: certificate and key in PEM.
    pub fn sign_client(&self, client: ClientCertificate<'_>) -> (String, String) {
        let key = KeyPair::generate().expect("a key is made");
        let mut params =
            CertificateParams::new(vec![format!("{}.client.test", client.serial)]).expect("a name");
        params
            .distinguished_name
            .push(DnType::CommonName, client.name);
        params.serial_number = Some(SerialNumber::from(client.serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if client.expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate is signed");
        (leaf.pem(), key.serialize_pem())
    }

    /// Signs a certificate of a client into `NAME.crt` and `NAME.key`.
    pub fn write_client(&self, folder: &Path, name: &str, client: ClientCertificate<'_>) {
        let (certificate, key) = self.sign_client(client);
        replace(&folder.join(format!("{name}.key")), &key);
        replace(&folder.join(format!("{name}.crt")), &certificate);
    }

    /// A list of revoked serial numbers in PEM; the next one is due in this year.
    pub fn revoke(&self, serials: &[u64], next_year: i32) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list is signed");
        list.pem().expect("a list is text")
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its key in PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
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

    /// Signs a certificate that is good until a time: chain and key in PEM.
    pub fn sign_until(&self, hosts: &[&str], until: SystemTime) -> (String, String) {
        let key = KeyPair::generate().expect("a key is made");
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts are names");
        params.not_after = until.into();
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate is signed");
        (leaf.pem(), key.serialize_pem())
    }

    /// Signs a certificate into `NAME.crt` and `NAME.key`, each replaced whole.
    pub fn write(&self, folder: &Path, name: &str, hosts: &[&str]) {
        let (certificate, key) = self.sign(hosts);
        replace(&folder.join(format!("{name}.key")), &key);
        replace(&folder.join(format!("{name}.crt")), &certificate);
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
        self.client_builder(alpn, |builder| builder.with_no_client_auth())
    }

    /// The same, with a certificate that `signer` signs, for whoever asks for one.
    pub fn client_showing(
        &self,
        alpn: &[&str],
        signer: &Self,
        client: ClientCertificate<'_>,
    ) -> Arc<ClientConfig> {
        let (certificate, key) = signer.sign_client(client);
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .expect("it is PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is PEM");
        self.client_builder(alpn, |builder| {
            builder
                .with_client_auth_cert(chain, key)
                .expect("the key is the certificate's")
        })
    }

    /// The same, with a certificate of a workload that has these URIs and this common name.
    pub fn client_of_workload(
        &self,
        signer: &Self,
        uris: &[&str],
        name: Option<&str>,
        serial: u64,
    ) -> Arc<ClientConfig> {
        let key = KeyPair::generate().expect("a key is made");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for uri in uris {
            let uri = (*uri).try_into().expect("a URI is in ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &signer.issuer);
        let chain = vec![leaf.expect("a certificate is signed").der().clone()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        self.client_builder(&[], |builder| {
            builder
                .with_client_auth_cert(chain, key)
                .expect("the key is the certificate's")
        })
    }

    fn client_builder(
        &self,
        alpn: &[&str],
        show: impl FnOnce(ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig,
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions")
            .with_root_certificates(self.roots());
        let mut config = show(builder);
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

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Writes a file whole: nobody sees a half of it.
pub fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let part = path.with_extension("part");
    fs::write(&part, text).expect("the folder is writable");
    fs::rename(&part, path).expect("the folder is writable");
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
