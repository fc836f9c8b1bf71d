//! `portcullis egress relay`.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use portcullis_config::{document, egress::ProxyUrl};

use crate::{
    cli::signals::Signals,
    descriptors,
    egress::relay::{Relay, RelaySettings, RelayedLimits},
};

/// Time that a relay has to answer a probe.
const PROBE: Duration = Duration::from_secs(2);

/// Threads that look the proxy up. Such a look-up blocks, and one is made for each connection.
const LOOK_UP_THREADS: usize = 4;

#[derive(Args, Debug)]
pub(super) struct RelayArgs {
    /// Where clients reach it, with HTTP and SOCKS5 on one port. An address of loopback.
    #[arg(long, default_value = "127.0.0.1:3128", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Listen on an address that others can reach. Whoever does then speaks with the token of this pod.
    #[arg(long)]
    any_address: bool,
    /// The egress proxy: `http://HOST:PORT`, or `https://HOST:PORT` where it speaks TLS.
    #[arg(long, required_unless_present = "probe", value_name = "URL")]
    proxy: Option<ProxyUrl>,
    /// PEM file with the authorities of the proxy's certificate; read again when it changes. Default: those of the system.
    #[arg(long, value_name = "FILE")]
    proxy_ca: Option<PathBuf>,
    /// File with the token that the proxy is shown; read for each request.
    #[arg(
        long,
        default_value = "/var/run/secrets/portcullis/token",
        value_name = "FILE"
    )]
    token_file: PathBuf,
    /// Ask the relay on `--listen` whether it serves, and exit with 0 where it does; for probes.
    #[arg(long)]
    probe: bool,
    /// Write the address to this file once it listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Time after SIGTERM in which clients are served on, also new ones; it ends sooner when none is left.
    #[arg(long, default_value = "25s", value_name = "TIME")]
    drain: document::Duration,
    /// Clients at once; a further one is closed.
    #[arg(long, default_value_t = RelayedLimits::default().max_connections, value_name = "COUNT")]
    max_connections: u32,
    /// Size of a request head.
    #[arg(long, default_value = "32KiB", value_name = "SIZE")]
    max_head_size: document::ByteSize,
    /// Time for a whole request head, and idle time between requests.
    #[arg(long, default_value = "15s", value_name = "TIME")]
    head_timeout: document::Duration,
    /// Time to look the proxy up and connect to it, and for the TLS handshake with it.
    #[arg(long, default_value = "5s", value_name = "TIME")]
    connect_timeout: document::Duration,
    /// Time for the proxy's answer to CONNECT.
    #[arg(long, default_value = "1m", value_name = "TIME")]
    answer_timeout: document::Duration,
    /// Time in which nothing passes before a connection is closed.
    #[arg(long, default_value = "1h", value_name = "TIME")]
    idle_timeout: document::Duration,
}

/// Runs a relay until SIGTERM or SIGINT, or probes one.
pub(super) fn relay(args: RelayArgs) -> anyhow::Result<ExitCode> {
    if args.probe {
        return probe(args.listen);
    }
    let (drain, ready_file) = (args.drain.0, args.ready_file.clone());
    let settings = settings(args)?;
    descriptors::raise();
    // One thread: a relay is in each pod, and waits nearly always.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(LOOK_UP_THREADS)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let left = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let proxy = settings.proxy.clone();
        let relay = Relay::bind(settings)?;
        tracing::info!(address = %relay.address(), %proxy, "relaying");
        if let Some(file) = &ready_file {
            write_ready(file, relay.address())?;
        }
        let until_end = async {
            signals.next().await;
            tracing::info!("draining");
            tokio::select! {
                left = relay.wait_idle(drain) => left,
                // Asked again: at once.
                _ = signals.next() => relay.wait_idle(Duration::ZERO).await,
            }
        };
        tokio::select! {
            left = until_end => Ok::<_, anyhow::Error>(left),
            // What still runs in the pod may need the network to come to its end.
            () = relay.serve() => Ok(0),
        }
    })?;
    runtime.shutdown_background();
    Ok(if left == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

/// What the arguments mean.
fn settings(args: RelayArgs) -> anyhow::Result<RelaySettings> {
    let Some(proxy) = args.proxy else {
        bail!("--proxy is missing");
    };
    if !args.listen.ip().to_canonical().is_loopback() && !args.any_address {
        bail!(
            "--listen {}: others can reach this address, and would speak with the token of this pod; take one of loopback, or say --any-address",
            args.listen
        );
    }
    if args.proxy_ca.is_some() && !proxy.is_tls() {
        bail!("--proxy-ca: {proxy} does not speak TLS; did you mean https://?");
    }
    for (name, time) in [
        ("head-timeout", args.head_timeout),
        ("connect-timeout", args.connect_timeout),
        ("answer-timeout", args.answer_timeout),
        ("idle-timeout", args.idle_timeout),
    ] {
        if time.0.is_zero() {
            bail!("--{name} must be more than 0");
        }
    }
    if args.max_connections == 0 {
        bail!("--max-connections must be more than 0");
    }
    Ok(RelaySettings {
        listen: args.listen,
        proxy,
        proxy_ca: args.proxy_ca,
        token_file: args.token_file,
        limits: RelayedLimits {
            max_connections: args.max_connections,
            max_head_size: usize::try_from(args.max_head_size.0).context("--max-head-size")?,
            head_timeout: args.head_timeout.0,
            connect_timeout: args.connect_timeout.0,
            answer_timeout: args.answer_timeout.0,
            idle_timeout: args.idle_timeout.0,
        },
    })
}

/// Writes the address whole: nobody sees a half of it.
fn write_ready(file: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let part = file.with_extension("part");
    fs::write(&part, address.to_string())
        .and_then(|()| fs::rename(&part, file))
        .with_context(|| format!("--ready-file {}", file.display()))
}

fn probe(address: SocketAddr) -> anyhow::Result<ExitCode> {
    let mut connection = TcpStream::connect_timeout(&address, PROBE)
        .with_context(|| format!("no relay on {address}"))?;
    connection.set_read_timeout(Some(PROBE))?;
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")?;
    let mut answer = String::new();
    connection.take(4096).read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(ExitCode::SUCCESS);
    }
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    bail!("the relay on {address} does not serve: {}", body.trim())
}
