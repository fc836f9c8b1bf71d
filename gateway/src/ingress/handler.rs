//! Connections to requests: hands each stream to pingora.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ServerApp},
    protocols::http::v2::server::H2Options,
    proxy::HttpProxy,
    server::configuration::ServerConf,
};
use tokio::sync::watch;

use super::Ingress;
use crate::listen::{ConnectionFacts, ConnectionHandler, Stream};

/// Idle upstream connections kept for each worker pool.
const UPSTREAM_POOL: usize = 1024;

/// Attempts that pingora makes at most; the ingress itself stops earlier.
const MAX_ATTEMPTS: usize = 4;

/// Largest decoded header list of HTTP/2, as announced to clients.
const MAX_HEADER_LIST: u32 = 64 << 10;

/// Serves the connections of every ingress listener.
pub struct IngressHandler {
    ingress: Ingress,
    conf: Arc<ServerConf>,
    /// One proxy for each pair of HTTP/2 settings; nearly always one.
    proxies: Mutex<Proxies>,
}

/// By streams of a connection and its idle time.
type Proxies = BTreeMap<(u32, Duration), Arc<HttpProxy<Ingress>>>;

impl IngressHandler {
    /// Makes a handler; `threads` is the number of worker threads.
    pub fn new(ingress: Ingress, threads: usize) -> Self {
        let conf = ServerConf {
            threads,
            max_retries: MAX_ATTEMPTS,
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            ..ServerConf::default()
        };
        Self {
            ingress,
            conf: Arc::new(conf),
            proxies: Mutex::default(),
        }
    }

    /// Closes idle connections; requests in flight end by themselves.
    pub async fn close_idle(&self) {
        let proxies: Vec<_> = self.lock().values().cloned().collect();
        for proxy in proxies {
            proxy.http_cleanup().await;
        }
    }

    fn proxy(&self, max_streams: u32, idle: Duration) -> Arc<HttpProxy<Ingress>> {
        let mut proxies = self.lock();
        let proxy = proxies.entry((max_streams, idle)).or_insert_with(|| {
            let mut proxy = HttpProxy::new(self.ingress.clone(), Arc::clone(&self.conf));
            let mut options = HttpServerOptions::default();
            options.h2c = true;
            options.h2_idle_timeout = Some(idle);
            proxy.server_options = Some(options);
            proxy.h2_options = Some(h2_options(max_streams));
            proxy.handle_init_modules();
            Arc::new(proxy)
        });
        Arc::clone(proxy)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Proxies> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[async_trait]
impl ConnectionHandler for IngressHandler {
    async fn handle(
        self: Arc<Self>,
        stream: Stream,
        facts: Arc<ConnectionFacts>,
        drain: watch::Receiver<bool>,
    ) {
        let limits = facts.settings.load().limits.clone();
        let proxy = self.proxy(limits.max_streams, limits.idle_timeout);
        proxy.process_new(Box::new(stream), &drain).await;
    }

    fn refuse_head(&self, facts: &ConnectionFacts, status: u16) -> Bytes {
        self.ingress.refuse_head(facts, status)
    }
}
