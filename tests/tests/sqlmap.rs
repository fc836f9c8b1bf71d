//! sqlmap against a shop whose every parameter goes into SQL: it finds them all without the
//! WAF, and none behind the baseline.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use portcullis_tests::{Gateway, installed};

/// Longest run of sqlmap. One takes some 5 seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// The name that sqlmap gives itself would be refused as that of a scanner.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// The places of the shop that can be injected: path, more arguments of sqlmap.
const PLACES: [(&str, &[&str]); 5] = [
    ("/number?id=1", &[]),
    ("/text?name=mug", &[]),
    ("/form", &["--data", "name=mug"]),
    ("/json", &["--data", r#"{"name":"mug"}"#]),
    (
        "/cookie",
        &["--cookie", "item=1", "-p", "item", "--level", "2"],
    ),
];

/// Disguises that sqlmap has for its payloads.
const DISGUISES: [&str; 5] = [
    "space2comment,randomcase",
    "equaltolike,space2dash",
    "between,space2mssqlblank",
    "space2morehash,commentbeforeparentheses",
    "charunicodeencode",
];

/// The shop; it ends when dropped.
struct Shop {
    child: Child,
    address: SocketAddr,
}

impl Shop {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sqlmap/vulnerable.py");
        let mut child = Command::new("python3")
            .arg(program)
            .arg("0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the shop starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the shop tells its port");
        let port = line.trim().parse().expect("a port");
        Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gateway(shop: &Shop, defaults: &str) -> Gateway {
    let address = shop.address;
    Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles: [{{name: baseline}}]
backends: [{{name: shop, endpoints: [{{address: {address}}}]}}]
defaults: {{{defaults}}}
routes: [{{name: any, rules: [{{backends: [{{name: shop}}]}}]}}]
"
    ))
}

/// Runs sqlmap; returns whether it found an injection.
fn finds(gateway: &Gateway, path: &str, arguments: &[&str]) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = folder.path().join("said");
    let output = std::fs::File::create(&said).expect("the folder is writable");
    let mut child = Command::new("sqlmap")
        .args(["-u", &format!("http://{}{path}", gateway.http())])
        .args(["--batch", "--disable-coloring", "--dbms", "sqlite"])
        .args(["--threads", "4", "--ignore-code", "400,403,500"])
        .args(["--skip-waf", "--user-agent", BROWSER])
        .arg("--output-dir")
        .arg(folder.path())
        .args(arguments)
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .expect("sqlmap starts");
    let end = Instant::now() + PATIENCE;
    while child.try_wait().expect("it can be waited for").is_none() {
        if Instant::now() > end {
            child.kill().expect("it can be ended");
            child.wait().expect("it ends");
            panic!("{path}: sqlmap did not end");
        }
        thread::sleep(Duration::from_millis(50));
    }
    let said = std::fs::read_to_string(&said).expect("sqlmap says something");
    let found = said.contains("identified the following injection point");
    let none = said.contains("do not appear to be injectable");
    assert!(found != none, "{path}: sqlmap says neither: {said}");
    found
}

#[test]
fn sqlmap_finds_nothing_behind_the_baseline() {
    for program in ["sqlmap", "python3"] {
        if installed(program).is_none() {
            println!("skipped: {program} is not installed");
            return;
        }
    }
    let shop = Shop::start();
    let open = gateway(&shop, "");
    for (path, arguments) in PLACES {
        let arguments = [arguments, &["--technique", "BU"]].concat();
        assert!(
            finds(&open, path, &arguments),
            "{path} is injected without a WAF"
        );
    }
    drop(open);
    let guarded = gateway(&shop, "waf: {profile: baseline}");
    for (path, arguments) in PLACES {
        let arguments = [arguments, &["--level", "2", "--risk", "2"]].concat();
        assert!(!finds(&guarded, path, &arguments), "{path} is injected");
    }
    for disguise in DISGUISES {
        let arguments = ["--tamper", disguise, "--level", "2", "--risk", "3"];
        for path in ["/number?id=1", "/text?name=mug"] {
            assert!(
                !finds(&guarded, path, &arguments),
                "{path} is injected by {disguise}"
            );
        }
    }
    let lines = guarded.access_lines();
    let refused = lines.iter().filter(|line| line["status"] == 403).count();
    println!(
        "sqlmap: {refused} of {} requests refused, no injection found",
        lines.len()
    );
    // What passes is what sqlmap asks for to learn the page: other numbers and words.
    assert!(
        refused * 100 >= lines.len() * 95,
        "{refused} of {}",
        lines.len()
    );
}
