//! TLS with a client, in the name of the destination.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use rustls::{
    AlertDescription, ServerConfig,
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use super::{
    super::{client::ClientStream, prefixed::Prefixed},
    Protocol,
};

/// A client in clear, with the bytes that were read of it.
pub(super) type Outer = Prefixed<ClientStream>;

/// A client whose ClientHello was read.
pub(super) struct Hello {
    start: StartHandshake<Outer>,
    /// What it offers that is spoken here.
    pub(super) offered: Vec<Protocol>,
    /// Whether it offers anything.
    offers: bool,
}

/// A certificate, whatever is asked for: what may be asked for was judged before.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl Hello {
    /// Takes the ClientHello, which is in the buffer.
    ///
    /// # Errors
    /// The reason code of what is none.
    pub(super) async fn read(
        client: ClientStream,
        buffer: BytesMut,
        limit: Duration,
    ) -> Result<Self, &'static str> {
        let outer = Prefixed {
            prefix: buffer,
            stream: client,
        };
        let accepting = LazyConfigAcceptor::new(Acceptor::default(), outer);
        let start = within(limit, accepting).await?;
        let (offered, offers) = match start.client_hello().alpn() {
            Some(names) => (Protocol::of(names), true),
            None => (Vec::new(), false),
        };
        Ok(Self {
            start,
            offered,
            offers,
        })
    }

    /// Goes on with a certificate and a protocol.
    ///
    /// # Errors
    /// The reason code: a client that does not take the certificate, or breaks off.
    pub(super) async fn finish(
        self,
        pair: &Arc<CertifiedKey>,
        protocol: Protocol,
        limit: Duration,
    ) -> Result<TlsStream<Outer>, &'static str> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = versions
            .map_err(|_| "inspection_failed")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(One(Arc::clone(pair))));
        // A tunnel is one connection: nothing of it is resumed, also not under another authority.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if self.offers {
            config.alpn_protocols = vec![protocol.alpn().to_vec()];
        }
        within(limit, self.start.into_stream(Arc::new(config))).await
    }
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, &'static str> {
    match tokio::time::timeout(limit, step).await {
        Err(_) => Err("client_handshake_failed"),
        Ok(done) => done.map_err(|error| {
            tracing::debug!(%error, "TLS of a client inside a tunnel failed");
            reason(&error)
        }),
    }
}

/// What a handshake failed with: clients that do not trust the authority say so in an alert (RFC
/// 8446 section 6.2), each in its own words.
fn reason(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
        )) => "client_rejected_ca",
        _ => "client_handshake_failed",
    }
}
