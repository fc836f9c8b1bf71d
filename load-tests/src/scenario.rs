//! Scenarios: the traffic that a round sends.

use clap::ValueEnum;
use serde::Serialize;

use crate::backend::Connect;

/// Bytes of the request body in [`Scenario::Post`].
pub const POST_BODY_BYTES: usize = 8192;

/// Bytes of the request body in [`Scenario::Upload`].
pub const UPLOAD_BODY_BYTES: usize = 1 << 20;

/// Bytes of the request body in [`Scenario::Form`].
pub const FORM_BODY_BYTES: usize = 347;

/// One kind of request, sent again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// `GET /` with wrk's own headers and a small response.
    Get,
    /// `GET /` with the headers and cookies of a browser.
    BrowserGet,
    /// `POST /` with a form of [`FORM_BODY_BYTES`] bytes, by a browser.
    Form,
    /// `POST /` with a body of [`POST_BODY_BYTES`] bytes and a small response.
    Post,
    /// `POST /upload` with a body of [`UPLOAD_BODY_BYTES`] bytes, streamed.
    Upload,
    /// `GET /` over TLS, each on a connection of its own with a whole handshake.
    Handshake,
    /// `GET /` over HTTP/2 and TLS, with many streams on each connection.
    H2,
    /// `GET /` to a backend over TLS, connections kept on both sides.
    BackendTls,
    /// `GET /` to a backend over TLS that closes each connection: a handshake each,
    /// which may take up the session of another.
    BackendHandshake,
    /// The same, where the backend takes up no session.
    BackendWholeHandshake,
}

/// What connections a scenario opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Open at once, all busy.
    pub count: u32,
    /// Requests at once on each.
    pub streams: u32,
}

impl Scenario {
    /// Every scenario, in the order they run.
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::BrowserGet,
        Self::Form,
        Self::Post,
        Self::Upload,
        Self::Handshake,
        Self::H2,
        Self::BackendTls,
        Self::BackendHandshake,
        Self::BackendWholeHandshake,
    ];

    /// Returns the title used in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Get => "GET, keepalive, small response",
            Self::BrowserGet => "GET of a browser, keepalive, small response",
            Self::Form => "POST of a form by a browser, keepalive, small response",
            Self::Post => "POST of 8 KiB, keepalive, small response",
            Self::Upload => "POST of 1 MiB, keepalive, small response",
            Self::Handshake => "TLS handshake and GET, a connection each",
            Self::H2 => "GET over HTTP/2 and TLS, small response",
            Self::BackendTls => "GET to a backend over TLS, keepalive, small response",
            Self::BackendHandshake => "GET to a backend over TLS, a connection to it each",
            Self::BackendWholeHandshake => "the same, no session taken up",
        }
    }

    /// Returns the word used on the command line and in file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::BrowserGet => "browser-get",
            Self::Form => "form",
            Self::Post => "post",
            Self::Upload => "upload",
            Self::Handshake => "handshake",
            Self::H2 => "h2",
            Self::BackendTls => "backend-tls",
            Self::BackendHandshake => "backend-handshake",
            Self::BackendWholeHandshake => "backend-whole-handshake",
        }
    }

    /// Returns the size of the request body in bytes.
    pub fn body_bytes(self) -> usize {
        match self {
            Self::Form => FORM_BODY_BYTES,
            Self::Post => POST_BODY_BYTES,
            Self::Upload => UPLOAD_BODY_BYTES,
            _ => 0,
        }
    }

    /// Returns the path that is asked for.
    pub fn path(self) -> &'static str {
        match self {
            Self::Upload => "/upload",
            _ => "/",
        }
    }

    /// Tells whether it comes over TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Handshake | Self::H2)
    }

    /// Returns what its backend does with connections, where that is over TLS. The same
    /// request to the same backend in clear is measured beside it.
    pub fn backend_tls(self) -> Option<Connect> {
        match self {
            Self::BackendTls => Some(Connect::Kept),
            Self::BackendHandshake => Some(Connect::Each),
            Self::BackendWholeHandshake => Some(Connect::EachUnresumed),
            _ => None,
        }
    }

    /// Returns the connections that it opens.
    pub fn connections(self) -> Connections {
        let (count, streams) = match self {
            Self::Upload => (8, 1),
            Self::H2 => (8, 16),
            _ => (32, 1),
        };
        Connections { count, streams }
    }
}
