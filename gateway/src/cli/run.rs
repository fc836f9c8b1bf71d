//! `portcullis run`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;

use super::{
    RunArgs, config_paths,
    signals::{Asked, Signals},
};
use crate::{
    egress::TestAnswers,
    gateway::{Gateway, GatewayOptions},
    kube::Cluster,
    source::Objects,
};

/// Runs the gateway until SIGTERM or SIGINT.
pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let threads = worker_threads(args.threads)?;
    let test = TestAnswers::parse(
        &args.egress_test.test_dns,
        &args.egress_test.test_address_map,
    )
    .map_err(anyhow::Error::msg)?;
    let runtime = runtime(threads)?;
    let code = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let cluster = tokio::select! {
            cluster = cluster(&args) => cluster?,
            _ = signals.next() => return Ok(ExitCode::SUCCESS),
        };
        let objects = match &cluster {
            Some(cluster) => Some(Arc::clone(cluster) as Arc<dyn Objects>),
            None => args.manifests.objects()?,
        };
        let options = GatewayOptions {
            config: config_paths(&args.paths, &args.config),
            objects,
            bound_file: args.bound_file,
            egress_test: test,
        };
        let gateway = match Gateway::start(options) {
            Ok(gateway) => gateway,
            Err(refused) => {
                eprintln!("portcullis: the configuration is refused");
                for problem in &refused.problems {
                    eprintln!("{problem}");
                }
                return Ok::<_, anyhow::Error>(ExitCode::FAILURE);
            }
        };
        serve_until_signal(&gateway, &mut signals).await;
        let end = async {
            if let Some(cluster) = &cluster {
                cluster.end().await;
            }
        };
        // What is written is another's from now on; connections may take long.
        let (cut, ()) = tokio::join!(gateway.drain(), end);
        Ok(if cut == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(3)
        })
    })?;
    // Connections cut at the deadline are not waited for again.
    runtime.shutdown_background();
    Ok(code)
}

/// The cluster that is watched, where one is. Nothing of it need be known yet: until it is, the
/// gateway only answers those who ask how it is.
async fn cluster(args: &RunArgs) -> anyhow::Result<Option<Arc<Cluster>>> {
    let Some(options) = args.cluster.options(&args.manifests.objects)? else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Cluster::watch(options).await?)))
}

/// The number of worker threads: as asked for, or one for each CPU.
fn worker_threads(asked: Option<usize>) -> anyhow::Result<usize> {
    match asked {
        Some(0) => anyhow::bail!("--threads must be at least 1"),
        Some(threads) => Ok(threads),
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// The one runtime of the process.
pub(super) fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("portcullis")
        .enable_all()
        .build()
        .context("starting the runtime")
}

async fn serve_until_signal(gateway: &Gateway, signals: &mut Signals) {
    loop {
        match signals.next().await {
            Asked::Hangup => {
                tracing::info!("SIGHUP: reloading");
                gateway.reopen_logs();
                gateway.reload().await;
            }
            Asked::Terminate => break tracing::info!("SIGTERM: draining"),
            Asked::Interrupt => break tracing::info!("SIGINT: draining"),
        }
    }
}
