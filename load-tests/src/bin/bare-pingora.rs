//! The smallest honest reverse proxy on pingora: the floor under Portcullis.
//!
//! It forwards every request to one upstream over pooled connections, on one
//! worker thread, with pingora's own defaults: no routes, no policies, no log,
//! no metrics. It has the allocator and the build profile of Portcullis, so
//! what Portcullis costs above it is what Portcullis does.

use std::net::SocketAddr;

use async_trait::async_trait;
use clap::Parser;
use pingora::{
    listeners::tls::TlsSettings,
    prelude::{HttpPeer, Result, Server, Session, http_proxy_service},
    proxy::ProxyHttp,
    server::configuration::ServerConf,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A reverse proxy to one upstream, and nothing else.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address and port to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Address and port to listen on with TLS.
    #[arg(long)]
    listen_tls: SocketAddr,
    /// Certificate for it, in PEM.
    #[arg(long)]
    certificate: String,
    /// Its key, in PEM.
    #[arg(long)]
    key: String,
    /// Address and port of the upstream.
    #[arg(long)]
    upstream: SocketAddr,
}

struct Forward {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> Result<()> {
    let Arguments {
        listen,
        listen_tls,
        certificate,
        key,
        upstream,
    } = Arguments::parse();
    let settings = ServerConf {
        threads: 1,
        // Nothing is in flight when a comparison stops its peers.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward { upstream });
    service.add_tcp(&listen.to_string());
    let mut tls = TlsSettings::intermediate(&certificate, &key)?;
    tls.enable_h2();
    service.add_tls_with_settings(&listen_tls.to_string(), None, tls);
    server.add_service(service);
    server.run_forever();
}
