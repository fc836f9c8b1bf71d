//! Connections to requests: pingora reads them, one after the other or, over
//! HTTP/2, side by side.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp},
    protocols::http::{ServerSession, v2::server::H2Options},
};
use tokio::sync::watch;

use super::Ingress;
use crate::listen::{ConnectionFacts, ConnectionHandler, Stream};

/// Largest decoded header list of HTTP/2, as announced to clients.
const MAX_HEADER_LIST: u32 = 64 << 10;

/// One connection of a client.
struct Connection {
    ingress: Ingress,
    facts: Arc<ConnectionFacts>,
    max_streams: u32,
    options: HttpServerOptions,
}

#[async_trait]
impl ConnectionHandler for Ingress {
    async fn handle(
        &self,
        stream: Stream,
        facts: Arc<ConnectionFacts>,
        drain: watch::Receiver<bool>,
    ) {
        // Copied: the settings must not be held for as long as the connection lasts.
        let (max_streams, idle) = {
            let settings = facts.settings.load();
            (settings.limits.max_streams, settings.limits.idle_timeout)
        };
        let connection = Arc::new(Connection {
            ingress: self.clone(),
            max_streams,
            options: options(idle),
            facts,
        });
        connection.process_new(Box::new(stream), &drain).await;
    }
}

#[async_trait]
impl HttpServerApp for Connection {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        drain: &watch::Receiver<bool>,
    ) -> Option<ReusedHttpStream> {
        self.ingress.serve(session, &self.facts, drain).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(h2_options(self.max_streams))
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
fn h2_options(max_streams: u32) -> H2Options {
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(max_streams)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_reset_streams(max_streams as usize)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(128))
        .initial_window_size(256 << 10)
        .initial_connection_window_size(1 << 20);
    options
}
