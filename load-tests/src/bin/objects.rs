//! `objects`: what it costs to serve many objects of Kubernetes.
//!
//! Makes Ingresses, each with a host, a Secret with a certificate, and a Service with some
//! endpoints; has the gateway's own code make a configuration of them; and tells the CPU time of the
//! first time, and of each time after one Ingress has changed. Nothing is served.

use std::{fmt::Write as _, fs, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, ensure};
use clap::Parser;
use portcullis::{
    files::ConfigFiles,
    kube::{Manifests, Options},
    load::{Loaded, Serving, load},
    snapshot::Live,
    source::Source,
    telemetry::Metrics,
    tls::install_provider,
};
use portcullis_load_tests::{cpu, stats::Spread};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What serving many objects costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Ingresses, each with a Secret and a Service.
    #[arg(long, default_value_t = 5000)]
    ingresses: usize,
    /// Endpoints of each Service.
    #[arg(long, default_value_t = 4)]
    endpoints: usize,
    /// Changes of one Ingress that are measured.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Exit with 1 when the median of the changes is above this many ms of CPU time.
    #[arg(long)]
    check: Option<f64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    install_provider();
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("all.yaml"), manifests(&arguments)?)?;
    let sets = [0, 1].map(|version| set(folder.path(), version));
    let [first, second] = sets;
    let sources = [first?, second?];
    let objects = resident()?;
    let (live, metrics) = (Live::default(), Metrics::new());
    let mut previous: Option<Loaded> = None;
    let mut times = Vec::new();
    for round in 0..=arguments.rounds {
        let before = cpu::own()?;
        let serving = previous.as_ref().map(|loaded| Serving {
            snapshot: &loaded.snapshot,
            tls_files: &loaded.tls_files,
        });
        let loaded = load(&sources[round % 2], &live, &metrics, serving);
        let took = cpu::own()? - before;
        let loaded = loaded.map_err(|refused| anyhow::anyhow!("{:?}", refused.problems))?;
        ensure!(
            loaded.snapshot.model.routes.len() == arguments.ingresses + 1,
            "{} routes; {:?}",
            loaded.snapshot.model.routes.len(),
            loaded.problems.first()
        );
        live.adopt(&loaded.snapshot, &metrics);
        times.push(took.as_secs_f64() * 1e3);
        previous = Some(loaded);
    }
    let again = Spread::of(&times[1..]).context("no round was run")?;
    println!(
        "{} Ingresses with a Secret and {} endpoints each",
        arguments.ingresses, arguments.endpoints
    );
    println!("| what | |\n| --- | --- |");
    println!("| first configuration, ms of CPU time | {:.0} |", times[0]);
    println!(
        "| after a change of one Ingress, ms of CPU time | {:.0} ({:.0}-{:.0}) |",
        again.median, again.min, again.max
    );
    println!("| resident, MiB: twice the objects | {} |", objects >> 20);
    println!(
        "| with two configurations besides | {} |",
        resident()? >> 20
    );
    Ok(match arguments.check {
        Some(most) if again.median > most => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// The objects, and one Ingress that tells the versions apart.
fn set(folder: &Path, version: usize) -> anyhow::Result<Source> {
    let changed = folder.join(format!("changed-{version}"));
    let text = ingress("changed", &format!("changed-{version}.test"), "web-0");
    fs::write(&changed, text)?;
    let paths = [folder.join("all.yaml"), changed];
    let manifests = Manifests::read(&paths, Options::default())?;
    Ok(Source::new(
        ConfigFiles::default(),
        Some(Arc::new(manifests)),
    ))
}

fn manifests(arguments: &Arguments) -> anyhow::Result<String> {
    let mut text = String::new();
    let key = KeyPair::generate()?;
    let issuer = CertifiedIssuer::self_signed(CertificateParams::new(Vec::new())?, key)?;
    for number in 0..arguments.ingresses {
        let (name, host) = (format!("web-{number}"), format!("web-{number}.shop.test"));
        text.push_str(&ingress(&name, &host, &name));
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![host])?.signed_by(&key, &issuer)?;
        let addresses: Vec<String> = (0..arguments.endpoints)
            .map(|at| {
                let pod = number * arguments.endpoints + at;
                format!(
                    "{{addresses: [10.{}.{}.{}]}}",
                    pod >> 16,
                    pod >> 8 & 255,
                    pod & 255
                )
            })
            .collect();
        write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints: [{}]
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: shop}}
type: kubernetes.io/tls
stringData:
  tls.crt: {:?}
  tls.key: {:?}
",
            addresses.join(", "),
            certificate.pem(),
            key.serialize_pem()
        )?;
    }
    Ok(text)
}

fn ingress(name: &str, host: &str, service: &str) -> String {
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: shop}}
spec:
  tls: [{{hosts: [{host}], secretName: {name}}}]
  rules:
  - host: {host}
    http:
      paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]
"
    )
}

fn resident() -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    Ok(kilobytes.context("no VmRSS")?.parse::<usize>()? << 10)
}
