//! `ingresses`: how long an Ingress takes from being accepted to being served, while thousands are
//! added one by one.
//!
//! Starts the cluster of the tests, runs the release binary on one of its nodes, and adds Ingresses
//! through the API server. Each is asked for from the moment the API server has accepted it; and with
//! each, an earlier one, which must be served all the time.
//!
//!     cargo build --release -p portcullis -p portcullis-load-tests --bins
//!     PORTCULLIS_CLUSTER=1 PORTCULLIS_BIN=target/release/portcullis target/release/ingresses

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Parser;
use portcullis_load_tests::{cpu, programs, stats::Spread};
use portcullis_tests::{Cluster, cluster};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The node that the gateway runs on.
const NODE: &str = "10.90.0.11";
/// The longest that one Ingress is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// How long Ingresses take to be served.
#[derive(Debug, Parser)]
struct Arguments {
    /// Ingresses that are added, one by one.
    #[arg(long, default_value_t = 3000)]
    ingresses: usize,
    /// Ingresses that are there before.
    #[arg(long, default_value_t = 0)]
    before: usize,
    /// Exit with 1 when the median is above this many milliseconds.
    #[arg(long)]
    check: Option<f64>,
}

/// What was measured.
struct Measured {
    milliseconds: Vec<f64>,
    wrong: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let Some(cluster) = cluster() else {
        bail!("no cluster");
    };
    let folder = tempfile::tempdir()?;
    let settings = folder.path().join("settings.yaml");
    fs::write(&settings, "listeners: [{name: http, protocol: http}]\n")?;
    let mut gateway = start(cluster, &settings)?;
    let before = cpu::of_tree(gateway.id())?;
    let measured = cluster.within("node-a", {
        let api = Api::read(cluster)?;
        let (count, before) = (arguments.ingresses, arguments.before);
        move || async move { measure(&api, before, count).await }
    });
    let spent = cpu::of_tree(gateway.id())? - before;
    let resident = resident(gateway.id())?;
    gateway.kill()?;
    gateway.wait()?;
    let measured = measured?;
    let spread = Spread::of(&measured.milliseconds).context("nothing was measured")?;
    let mut sorted = measured.milliseconds.clone();
    sorted.sort_by(f64::total_cmp);
    let late = sorted[sorted.len() * 99 / 100];
    println!("| Ingresses added one by one | {} |", arguments.ingresses);
    println!("| --- | --- |");
    println!("| there before | {} |", arguments.before);
    println!(
        "| from accepted to served, ms, median | {:.1} |",
        spread.median
    );
    println!("| 99 of 100 | {late:.1} |");
    println!("| longest | {:.1} |", spread.max);
    println!("| wrong answers meanwhile | {} |", measured.wrong);
    println!(
        "| CPU time of the gateway for each, ms | {:.1} |",
        spent.as_secs_f64() * 1e3 / arguments.ingresses as f64
    );
    println!("| resident at the end, MiB | {} |", resident >> 20);
    let is_late = arguments.check.is_some_and(|most| spread.median > most);
    Ok(match is_late || measured.wrong > 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn start(cluster: &Cluster, settings: &std::path::Path) -> anyhow::Result<Child> {
    let child = Command::new("nsenter")
        .arg(format!("--net={}", cluster.namespace("node-a")))
        .arg(programs::built("portcullis", "portcullis")?)
        .args([
            "run",
            "--kubernetes",
            "--update-status=false",
            "--events=false",
        ])
        .arg(format!("--kubeconfig={}", cluster.kubeconfig_inside()))
        .arg("--config")
        .arg(settings)
        .stdout(Stdio::null())
        .spawn()
        .context("nsenter")?;
    Ok(child)
}

/// The API server, for the administrator.
struct Api {
    client: reqwest::Client,
    server: String,
}

impl Api {
    fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let text = fs::read_to_string(PathBuf::from(cluster.kubeconfig_inside()))?;
        let config: Value = serde_saphyr::from_str(&text)?;
        let decoded = |value: &Value| -> anyhow::Result<Vec<u8>> {
            Ok(BASE64_STANDARD.decode(value.as_str().context("no data")?)?)
        };
        let (known, user) = (
            &config["clusters"][0]["cluster"],
            &config["users"][0]["user"],
        );
        let identity = [
            decoded(&user["client-certificate-data"])?,
            decoded(&user["client-key-data"])?,
        ];
        let authority = decoded(&known["certificate-authority-data"])?;
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
            .identity(reqwest::Identity::from_pem(&identity.concat())?)
            .no_proxy()
            .build()?;
        let server = known["server"].as_str().context("no server")?.to_owned();
        Ok(Self { client, server })
    }

    async fn create(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.server);
        let response = self.client.post(url).json(object).send().await?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            response.text().await?
        );
        Ok(())
    }
}

async fn measure(api: &Api, before: usize, count: usize) -> anyhow::Result<Measured> {
    let backend = TcpListener::bind((NODE, 0)).await?;
    let port = backend.local_addr()?.port();
    tokio::spawn(answer(backend));
    let namespace = "/api/v1/namespaces";
    api.create(namespace, &json!({"metadata": {"name": "many"}}))
        .await?;
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    api.create("/api/v1/namespaces/many/services", &service)
        .await?;
    let slice = json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"port": port}], "endpoints": [{"addresses": [NODE]}],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/many/endpointslices";
    api.create(slices, &slice).await?;
    let class = json!({
        "metadata": {"name": "portcullis"},
        "spec": {"controller": "portcullis.dev/ingress-controller"},
    });
    api.create("/apis/networking.k8s.io/v1/ingressclasses", &class)
        .await?;
    let mut measured = Measured {
        milliseconds: Vec::new(),
        wrong: 0,
    };
    for number in 0..before + count {
        let ingresses = "/apis/networking.k8s.io/v1/namespaces/many/ingresses";
        api.create(ingresses, &ingress(number)).await?;
        let accepted = Instant::now();
        if number + 1 < before {
            continue;
        }
        while ask(number).await != Some(200) {
            ensure!(
                accepted.elapsed() < PATIENCE,
                "Ingress {number} is not served"
            );
            tokio::time::sleep(PAUSE).await;
        }
        if number >= before {
            let took = accepted.elapsed();
            measured.milliseconds.push(took.as_secs_f64() * 1e3);
            // An earlier one, another each time.
            let earlier = number * 7919 % (number + 1);
            measured.wrong += usize::from(ask(earlier).await != Some(200));
        }
    }
    Ok(measured)
}

fn ingress(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("web-{number}")},
        "spec": {"ingressClassName": "portcullis", "rules": [{
            "host": format!("web-{number}.test"),
            "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}},
            }]},
        }]},
    })
}

/// The status of an answer for the host of an Ingress; none where nobody listens yet.
async fn ask(number: usize) -> Option<u16> {
    let mut stream = TcpStream::connect((NODE, 8080)).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: web-{number}.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let status = answer.get(9..12)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// A backend that answers every request alike.
async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(read) = stream.read(&mut buffer).await
                && read > 0
                && stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await
                    .is_ok()
            {}
        });
    }
}

fn resident(process: u32) -> anyhow::Result<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    Ok(kilobytes.context("no VmRSS")?.parse::<usize>()? << 10)
}
