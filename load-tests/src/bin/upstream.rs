//! The upstream behind every peer: see [`portcullis_load_tests::upstream`].

use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use portcullis_load_tests::upstream;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A small HTTP/1.1 server that answers with the number of body bytes it received.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address and port to listen on.
    #[arg(long)]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let address = Arguments::parse().listen;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}"))?;
    upstream::serve(listener).await.context("accepting")
}
