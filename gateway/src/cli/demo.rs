//! `portcullis demo`.

use std::{fs, io::IsTerminal, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::{DemoArgs, run::runtime, signals::Signals};
use crate::{
    demo::{Addresses, Backends, DEMO_DESTINATION, DEMO_HOST, DemoCertificates, guide, render},
    egress::TestAnswers,
    gateway::{Gateway, GatewayOptions},
    telemetry::{Decision, Decisions},
};

/// An address on the internet that stands for the demo's destination; it is
/// judged like any other, and only then is the connection led to this machine.
const DESTINATION_ADDRESS: &str = "93.184.215.14";

/// How long a demo without an end lasts.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Starts the gateway on free ports with everything it needs, prints what to
/// try, and shows each decision as it is made.
pub(super) fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let folder = std::env::temp_dir().join(format!("portcullis-demo-{}", std::process::id()));
    let result = runtime(threads)?.block_on(async {
        let mut signals = Signals::listen()?;
        let certificates = DemoCertificates::make(&folder.join("certs"))?;
        certificates.write("shop", &[DEMO_HOST, "localhost"])?;
        let backends = Backends::start(&certificates, DEMO_DESTINATION).await?;
        let config = folder.join("portcullis.yaml");
        fs::write(&config, render(backends.site))?;
        let test = TestAnswers::parse(
            &[format!("{DEMO_DESTINATION}={DESTINATION_ADDRESS}")],
            &[format!(
                "{DESTINATION_ADDRESS}:443={}",
                backends.destination
            )],
        )
        .map_err(anyhow::Error::msg)?;
        let options = GatewayOptions {
            objects: None,
            config: vec![config.clone()],
            bound_file: None,
            egress_test: test,
        };
        let gateway = Gateway::start(options).map_err(|refused| {
            anyhow::anyhow!(
                "{}",
                refused
                    .problems
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            )
        })?;
        let watching = tokio::spawn(show(gateway.decisions().clone()));
        let addresses = addresses(&gateway.bound())?;
        println!("Portcullis is running. Open another terminal and try:\n");
        println!("{}", guide(&addresses, &certificates.authority(), &config));
        println!("Each decision shows below. Ctrl-C ends the demo.\n");
        let time = args.seconds.map_or(FOREVER, Duration::from_secs);
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            // Whichever it is, also a terminal that is closed: the end.
            _ = signals.next() => {}
        }
        watching.abort();
        gateway.drain().await;
        Ok(ExitCode::SUCCESS)
    });
    // The folder held only what the demo made.
    let _ = fs::remove_dir_all(&folder);
    result
}

fn addresses(bound: &Value) -> anyhow::Result<Addresses> {
    let at = |pointer: &str| -> anyhow::Result<SocketAddr> {
        let text = bound
            .pointer(pointer)
            .and_then(Value::as_str)
            .with_context(|| format!("{pointer} is not bound"))?;
        Ok(text.parse()?)
    };
    Ok(Addresses {
        http: at("/listeners/http")?,
        https: at("/listeners/https")?,
        egress: at("/egress/egress")?,
        management: at("/management")?,
        admin: at("/admin")?,
    })
}

async fn show(decisions: Decisions) {
    let mut decisions = decisions.watch();
    let colour = std::io::stdout().is_terminal();
    loop {
        match decisions.recv().await {
            Ok(decision) => println!("{}", line(&decision, colour)),
            Err(RecvError::Lagged(missed)) => println!("... {missed} more"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn line(decision: &Decision, colour: bool) -> String {
    let direction = if decision.inbound { "in " } else { "out" };
    let word = if decision.allowed { "pass  " } else { "refuse" };
    let word = match (colour, decision.allowed) {
        (false, _) => word.to_owned(),
        (true, true) => format!("\x1b[32m{word}\x1b[0m"),
        (true, false) => format!("\x1b[31m{word}\x1b[0m"),
    };
    let Decision {
        status,
        subject,
        reason,
        request_id,
        ..
    } = decision;
    // What a client sent must not write to the terminal.
    let subject: String = subject
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    format!("{direction}  {word}  {status}  {subject}  {reason}  {request_id}")
}
