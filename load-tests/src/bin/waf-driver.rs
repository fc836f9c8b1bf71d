//! `waf-driver`: runs a workload through our engine and tells the CPU time of each scenario.
//!
//! ```text
//! waf-driver RULES WORKLOAD SECONDS
//! ```
//!
//! As the drivers of the other engines in `peers/`, and with the same answer: a line of
//! JSON for each scenario.

use std::{
    env, fs,
    io::{BufRead, Read},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use nix::time::{ClockId, clock_gettime};
use portcullis_load_tests::waf::{engine::Told, workload::Request};
use portcullis_waf::{
    Connection, EngineMode, Limits, RuleSet, RuleSource, RuleText, Transaction, TransactionOptions,
    Verdict,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, rules, workload, seconds] = arguments.as_slice() else {
        bail!("usage: waf-driver RULES WORKLOAD SECONDS");
    };
    let seconds = Duration::from_secs_f64(seconds.parse().context("SECONDS")?);
    let before = cpu()?;
    let rules = Arc::new(load(Path::new(rules))?);
    let load = cpu()? - before;
    let mut file: &[u8] = &fs::read(workload).context("reading the workload")?;
    while let Some(head) = line(&mut file)? {
        let mut words = head.split(' ');
        ensure!(words.next() == Some("scenario"), "a scenario is expected");
        let name = words.next().unwrap_or_default();
        let count: usize = number(words.next())?;
        let requests = (0..count).map(|_| request(&mut file));
        let requests = requests.collect::<anyhow::Result<Vec<_>>>()?;
        let stopped = requests.iter().filter(|request| serve(&rules, request));
        let stopped = stopped.count();
        let (began, mut served) = (cpu()?, 0);
        let spent = loop {
            for request in &requests {
                serve(&rules, request);
            }
            served += requests.len();
            let spent = cpu()? - began;
            if spent >= seconds {
                break spent;
            }
        };
        let told = Told {
            scenario: name.to_owned(),
            requests: served as u64,
            cpu_seconds: spent.as_secs_f64(),
            stopped: stopped as u32,
            of: count as u32,
            load_seconds: load.as_secs_f64(),
        };
        println!("{}", serde_json::to_string(&told)?);
    }
    Ok(())
}

fn cpu() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn load(main: &Path) -> anyhow::Result<RuleSet> {
    let text = RuleText {
        name: main.display().to_string(),
        text: fs::read_to_string(main).context("reading the rules")?,
    };
    RuleSet::compile(&[text], &Files).map_err(|errors| {
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", told.join("\n"))
    })
}

struct Files;

impl RuleSource for Files {
    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn read_beside(&self, path: &str, text: &str) -> Result<String, String> {
        let folder = Path::new(text).parent().unwrap_or(Path::new("."));
        self.read(&folder.join(path).to_string_lossy())
    }
}

/// One request through all phases, or as far as it gets.
fn serve(rules: &Arc<RuleSet>, request: &Request) -> bool {
    let mut options =
        TransactionOptions::new(EngineMode::On, "7f3a0b1c".into(), SystemTime::UNIX_EPOCH);
    // The rules say what is too much, as for the other engines.
    options.limits = Limits {
        max_request_body_bytes: 16 << 20,
        max_request_text_bytes: 16 << 20,
        max_arguments: 20_000,
        max_work: u64::MAX,
        ..options.limits
    };
    let mut transaction = Transaction::begin(Arc::clone(rules), options);
    let stopped = phases(&mut transaction, request);
    std::hint::black_box(transaction.finish());
    stopped
}

fn phases(transaction: &mut Transaction, request: &Request) -> bool {
    let refused = |verdict| matches!(verdict, Verdict::Interrupt(_));
    transaction.connection(Connection {
        client: IpAddr::from(Ipv4Addr::new(192, 0, 2, 7)),
        client_port: 40000,
        server: IpAddr::from(Ipv4Addr::LOCALHOST),
        server_port: 80,
    });
    let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
    transaction.request_line(method, uri, "HTTP/1.1");
    for (name, value) in &request.headers {
        transaction.request_header(name.as_bytes(), value.as_bytes());
    }
    if refused(transaction.request_headers_end()) {
        return true;
    }
    if !request.body.is_empty() {
        transaction.request_body(&request.body);
    }
    if refused(transaction.request_body_end()) {
        return true;
    }
    transaction.response_head(200, "HTTP/1.1");
    transaction.response_header(b"Content-Type", b"text/plain");
    refused(transaction.response_headers_end()) || refused(transaction.response_body_end())
}

fn request(file: &mut &[u8]) -> anyhow::Result<Request> {
    let head = line(file)?.context("a request is expected")?;
    let mut words = head.split(' ').skip(1);
    let method = words.next().context("a method is expected")?.to_owned();
    let (headers, body) = (number(words.nth(1))?, number(words.next())?);
    let uri = line(file)?.context("a target is expected")?;
    let fields = (0..headers).map(|_| {
        let field = line(file)?.context("a header is expected")?;
        let (name, value) = field.split_once(": ").context("a header is cut")?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let headers = fields.collect::<anyhow::Result<Vec<_>>>()?;
    let mut content = vec![0; body];
    file.read_exact(&mut content).context("a body is cut")?;
    ensure!(
        line(file)?.is_some_and(|rest| rest.is_empty()),
        "a body has no end"
    );
    Ok(Request {
        method,
        uri,
        headers,
        body: content,
    })
}

fn number(word: Option<&str>) -> anyhow::Result<usize> {
    word.context("a number is missing")?
        .parse()
        .context("a number is expected")
}

fn line(file: &mut &[u8]) -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    let read = file.read_line(&mut line).context("reading the workload")?;
    Ok((read > 0).then(|| line.trim_end_matches('\n').to_owned()))
}
