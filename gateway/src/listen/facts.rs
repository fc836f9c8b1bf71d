//! What is known of a connection before its first request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use portcullis_config::model::{Listener, ListenerProtocol};

use super::Body;
use crate::{
    telemetry::TlsFacts,
    tls::{ClientCertificate, HostTls},
};

/// Facts of one connection; they travel with its stream.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// The peer of the socket.
    pub peer: SocketAddr,
    /// The client, from the PROXY header where there is one, else the peer.
    pub client: SocketAddr,
    /// The local end.
    pub local: SocketAddr,
    /// TLS facts; `None` in clear.
    pub tls: Option<TlsConnection>,
    /// Settings of the listener, as they are now.
    pub settings: Arc<ArcSwap<Listener>>,
    /// Whether a request head is awaited; the stream's deadline for it runs then.
    pub(super) awaiting_head: AtomicBool,
    /// Whether the head that is awaited is a new one, to be timed and counted anew.
    pub(super) new_head: AtomicBool,
    /// Whether the connection is to be reset rather than closed.
    pub(super) reset: AtomicBool,
    /// The status of a refusal of the head, where the stream found it wrong; else 0.
    pub(super) bad_head: AtomicU16,
    /// The body that follows the head, until the stream has taken note.
    pub(super) body: Mutex<Option<Body>>,
    /// The address of [`Self::client`], made once for the headers of all its requests.
    pub client_value: HeaderValue,
}

/// An address as a header value.
pub fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::from_maybe_shared(address.to_string())
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Facts of a TLS handshake.
#[derive(Debug)]
pub struct TlsConnection {
    /// Server name that the client asked for, lower case, without a trailing dot.
    pub sni: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Name of the cipher suite.
    pub cipher: &'static str,
    /// Whether HTTP/2 was agreed on.
    pub h2: bool,
    /// Whether a certificate was asked for.
    pub asks_for_certificate: bool,
    /// The certificate that the client has shown.
    pub client: Option<Box<ClientCertificate>>,
    /// What backends are told of it.
    pub client_headers: Vec<(HeaderName, Vec<u8>)>,
    /// What the connection is held to; replaced by what asks for the same.
    pub terms: ArcSwap<HostTls>,
    /// Number of the table of settings that it was last found to agree with.
    pub generation: AtomicU64,
}

impl ConnectionFacts {
    /// Whether the listener that took the connection is another by now: one of another
    /// name or protocol on the same address, by whose rules it was not made.
    pub fn is_of_another_listener(&self) -> bool {
        let settings = self.settings.load();
        let is_tls = settings.protocol == ListenerProtocol::Https;
        is_tls != self.tls.is_some() || *settings.name != *self.listener
    }

    /// What the access log tells of the handshake.
    pub fn tls_facts(&self) -> Option<TlsFacts<'_>> {
        self.tls.as_ref().map(|tls| TlsFacts {
            version: tls.version,
            sni: tls.sni.as_deref(),
            client: tls.client.as_deref(),
        })
    }

    /// The status for a head that the stream did not let pass: 431 where it was
    /// larger than the listener's `maxHeaderSize`, 400 where its request line is malformed.
    pub fn bad_head(&self) -> Option<u16> {
        Some(self.bad_head.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// Tells the stream of an HTTP/1 connection what body its request has; to be
    /// told before [`Self::head_complete`].
    pub fn body_follows(&self, body: Body) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Tells the stream that a request head is complete.
    pub fn head_complete(&self) {
        self.awaiting_head.store(false, Ordering::Relaxed);
    }

    /// Tells the stream of an HTTP/1 connection that the next head is awaited.
    pub fn awaits_head(&self) {
        self.new_head.store(true, Ordering::Relaxed);
        self.awaiting_head.store(true, Ordering::Relaxed);
    }

    /// Has the stream reset its connection where it would be closed.
    pub fn reset_on_close(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }
}
