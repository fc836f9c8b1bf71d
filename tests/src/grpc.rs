//! A gRPC server that says whether it is well.

use std::net::SocketAddr;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};

/// A server with `grpc.health.v1.Health` alone.
pub struct GrpcHealth {
    /// Where it listens.
    pub address: SocketAddr,
    reporter: HealthReporter,
}

impl GrpcHealth {
    /// Starts one that is well as a whole, and knows no service.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (reporter, health) = health_reporter();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(health.clone());
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new()).http2_only();
                    // Whoever asks may go when it likes.
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, reporter }
    }

    /// Says of a service whether it is well; the empty name is the server.
    pub async fn set(&self, service: &str, well: bool) {
        let status = match well {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        self.reporter.set_service_status(service, status).await;
    }
}
