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
    /// Authority of the upstream, in PEM, where it speaks TLS. It is that of the whole
    /// process: with one for each peer pingora makes its settings anew for each
    /// connection, which takes up no session.
    #[arg(long, requires = "upstream_name")]
    upstream_authority: Option<String>,
    /// Name that the certificate of the upstream must have.
    #[arg(long, requires = "upstream_authority")]
    upstream_name: Option<String>,
}

struct Forward {
    upstream: SocketAddr,
    /// Its name, where it speaks TLS.
    name: Option<String>,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let name = self.name.clone().unwrap_or_default();
        let tls = self.name.is_some();
        Ok(Box::new(HttpPeer::new(self.upstream, tls, name)))
    }
}

fn main() -> Result<()> {
    let Arguments {
        listen,
        listen_tls,
        certificate,
        key,
        upstream,
        upstream_authority,
        upstream_name,
    } = Arguments::parse();
    let settings = ServerConf {
        threads: 1,
        // Nothing is in flight when a comparison stops its peers.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ca_file: upstream_authority,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let forward = Forward {
        upstream,
        name: upstream_name,
    };
    let mut service = http_proxy_service(&server.configuration, forward);
    service.add_tcp(&listen.to_string());
    let mut tls = TlsSettings::intermediate(&certificate, &key)?;
    tls.enable_h2();
    service.add_tls_with_settings(&listen_tls.to_string(), None, tls);
    server.add_service(service);
    server.run_forever();
}
