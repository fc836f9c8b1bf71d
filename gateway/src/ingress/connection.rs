//! Connections to requests: pingora reads them, one after the other or, over
//! HTTP/2, side by side.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp},
    protocols::http::{ServerSession, v2::server::H2Options},
};
use portcullis_config::model::ListenerLimits;
use tokio::sync::watch;

use super::{Ingress, client, lifetime::Lifetime, serve::Next};
use crate::listen::{ConnectionFacts, ConnectionHandler, Stream};

/// Decoded header lists of HTTP/2 that are read, at least: one above the limit of its
/// listener is refused here, and told, where it is not far above it.
const MIN_HEADER_LIST: u64 = 64 << 10;

/// One connection of a client.
struct Connection {
    ingress: Ingress,
    facts: Arc<ConnectionFacts>,
    h2_options: H2Options,
    options: HttpServerOptions,
    lifetime: Lifetime,
    /// Becomes true when the listener is removed or the process drains.
    drain: watch::Receiver<bool>,
}

#[async_trait]
impl ConnectionHandler for Ingress {
    async fn handle(
        &self,
        stream: Stream,
        facts: Arc<ConnectionFacts>,
        drain: watch::Receiver<bool>,
    ) {
        // What ends an HTTP/2 connection by itself; in clear it may turn out to be one.
        let (end, ending) = match &facts.tls {
            Some(tls) if !tls.h2 => (None, drain.clone()),
            _ => {
                let (end, ending) = watch::channel(false);
                (Some(end), ending)
            }
        };
        // Copied: the settings must not be held for as long as the connection lasts.
        let (h2_options, options, lifetime) = {
            let limits = &facts.settings.load().limits;
            (
                h2_options(limits),
                options(limits.idle_timeout),
                Lifetime::new(limits, end),
            )
        };
        let connection = Arc::new(Connection {
            ingress: self.clone(),
            h2_options,
            options,
            lifetime,
            drain,
            facts,
        });
        connection.process_new(Box::new(stream), &ending).await;
    }
}

#[async_trait]
impl HttpServerApp for Connection {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &watch::Receiver<bool>,
    ) -> Option<ReusedHttpStream> {
        let (ingress, facts) = (&self.ingress, &self.facts);
        // The session is large: only what needs it whole is given it.
        let next = ingress.serve(&mut session, facts, &self.lifetime, &self.drain);
        match next.await {
            Next::Close => {}
            Next::Another => return client::give_back(session).await,
            Next::BadHead(status) => {
                Box::pin(ingress.refuse_head(session, facts, status)).await;
            }
            Next::Upgraded(upgraded) => Box::pin(ingress.upgrade(session, upgraded)).await,
        }
        None
    }

    /// Asked for once, when a connection turns out to speak HTTP/2.
    fn h2_options(&self) -> Option<H2Options> {
        self.lifetime.end_with(self.drain.clone());
        Some(self.h2_options.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

fn options(idle: Duration) -> HttpServerOptions {
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(idle);
    options
}

/// HTTP/2 settings that bound what one connection may cost: streams, header
/// lists, and resets that never became requests (CVE-2023-44487, CVE-2025-8671).
fn h2_options(limits: &ListenerLimits) -> H2Options {
    let max_streams = limits.max_streams;
    let max_list = limits
        .max_header_size
        .saturating_mul(2)
        .max(MIN_HEADER_LIST);
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(max_streams)
        .max_header_list_size(u32::try_from(max_list).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(max_streams as usize)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(128))
        .initial_window_size(256 << 10)
        .initial_connection_window_size(1 << 20);
    options
}
