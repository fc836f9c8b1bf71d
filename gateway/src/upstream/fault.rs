//! What goes wrong with an endpoint.

use std::error::Error;

use pingora::ErrorType;

/// A failure of an endpoint, or of the way to it.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
pub(crate) struct Fault {
    /// What kind it is.
    pub kind: FaultKind,
    /// The endpoint cannot have acted on the request, so that any may be sent again.
    pub untouched: bool,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

/// Kinds of failure, as far as they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FaultKind {
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// Its backend has as many connections as it may have.
    #[error("no connection may be made")]
    Overloaded,
    /// No connection.
    #[error("no connection")]
    Connect,
    /// No TLS, or a certificate that is not right.
    #[error("no TLS")]
    Tls,
    /// Silence for too long.
    #[error("silent for too long")]
    Timeout,
    /// The attempt took longer than it may.
    #[error("not done in its time")]
    Late,
    /// The connection ended.
    #[error("closed before its answer was whole")]
    Closed,
    /// It does not speak HTTP as it should.
    #[error("not HTTP as it should be")]
    Malformed,
    /// Its answer has more than is wanted of it.
    #[error("an answer larger than may be")]
    TooLarge,
    /// It says of itself that it is not well.
    #[error("not well")]
    Unwell,
    /// The request cannot be said in its protocol.
    #[error("the request cannot be sent to it")]
    Unsendable,
}

impl Fault {
    /// Makes a fault.
    pub(crate) fn new(kind: FaultKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            untouched: false,
            source: source.into(),
        }
    }

    /// A connection that was not made.
    pub(crate) fn connecting(error: &pingora::Error) -> Self {
        let kind = match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
                FaultKind::ConnectTimeout
            }
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => FaultKind::Tls,
            _ => FaultKind::Connect,
        };
        Self {
            kind,
            untouched: true,
            // pingora's own text has the address three times; the cause is what matters.
            source: error.root_cause().to_string().into(),
        }
    }

    /// Says that the endpoint has not acted.
    #[must_use]
    pub(crate) fn untouched(mut self) -> Self {
        self.untouched = true;
        self
    }
}
