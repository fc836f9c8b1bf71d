//! The TLS handshake with a client.

use std::{io, time::Duration};

use rustls::{HandshakeKind, server::Acceptor};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use crate::tls::{ClientCertificate, HostTls, Tls, refusal_reason};

/// A fatal `unrecognized_name` alert (RFC 6066 section 3), as a TLS record.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A client that has said hello and waits for an answer.
pub(crate) struct Hello<S> {
    start: StartHandshake<S>,
    /// The name that it asks for, as hosts are compared.
    pub(crate) server_name: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Hello<S> {
    /// Reads the ClientHello.
    ///
    /// # Errors
    /// Those of the socket, and what is no ClientHello.
    pub(crate) async fn read(stream: S) -> io::Result<Self> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let server_name = start.client_hello().server_name().map(canonical_name);
        Ok(Self { start, server_name })
    }

    /// Shakes hands: the stream, and the certificate that the client has shown.
    ///
    /// # Errors
    /// No certificate for its name, which it is told; a handshake that fails; a client that must
    /// not pass.
    pub(crate) async fn answer(
        mut self,
        tls: &Tls,
        terms: &HostTls,
    ) -> io::Result<(TlsStream<S>, Option<Box<ClientCertificate>>)> {
        let sni = self.server_name.as_deref();
        if !tls.serves(sni, terms.default_certificate.as_deref()) {
            self.start.io.write_all(&UNRECOGNIZED_NAME).await?;
            return Err(io::Error::other(format!(
                "no certificate for {}",
                sni.unwrap_or("a client without SNI")
            )));
        }
        let stream = self.start.into_stream(terms.config()).await?;
        let client = shown(stream.get_ref().1, terms)?;
        Ok((stream, client))
    }
}

/// The certificate that a client has shown; judged again where its session is an old one.
fn shown(
    session: &rustls::ServerConnection,
    terms: &HostTls,
) -> io::Result<Option<Box<ClientCertificate>>> {
    let Some(wanted) = &terms.settings.client_certificates else {
        return Ok(None);
    };
    let chain = session.peer_certificates().unwrap_or_default();
    if session.handshake_kind() == Some(HandshakeKind::Resumed) {
        terms.admits(chain).map_err(io::Error::other)?;
    }
    if chain.is_empty() {
        return Ok(None);
    }
    let read = ClientCertificate::read(chain, wanted.trust.is_some()).map_err(|reason| {
        tracing::debug!(%reason, "client certificate not read");
        io::Error::other(rustls::Error::InvalidCertificate(
            rustls::CertificateError::BadEncoding,
        ))
    })?;
    Ok(Some(Box::new(read)))
}

/// The reason code, where a handshake failed for the certificate of its client.
pub(crate) fn refused_for(error: &io::Error) -> Option<&'static str> {
    refusal_reason(error.get_ref()?.downcast_ref::<rustls::Error>()?)
}

/// A name of SNI as hosts are compared; it may have a dot at its end in spite of
/// RFC 6066 section 3.
pub(super) fn canonical_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Work with the time that it may take.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
