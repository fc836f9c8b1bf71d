//! Clients that people use, in front of servers that people use: curl, nghttp, h2load and
//! openssl, through the gateway to nginx, Node and Python.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use portcullis_tests::{Authority, Backend, Gateway, Peer, PeerSeen, installed, sha256, wait_for};

const MIB: usize = 1 << 20;

struct Site {
    gateway: Gateway,
    backend: Backend,
    peers: Vec<Peer>,
}

impl Site {
    /// A gateway with a route for each server by its name, `nginx.test`, and `one.test`.
    async fn start() -> Self {
        let backend = Backend::start("one").await;
        let peers = tokio::task::block_in_place(Peer::start_all);
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let servers: Vec<_> = peers
            .iter()
            .map(|peer| (peer.name, peer.address))
            .chain([("one", backend.address)])
            .collect();
        let hosts: Vec<_> = servers
            .iter()
            .map(|(name, _)| format!("{name}.test"))
            .collect();
        let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
        authority.write(folder.path(), "any", &hosts);
        fs::write(folder.path().join("ca.crt"), authority.pem()).expect("writable");
        fs::write(folder.path().join("body"), body(MIB + 1)).expect("writable");
        let backends: String = servers
            .iter()
            .map(|(name, address)| {
                format!("- {{name: {name}, endpoints: [{{address: {address}}}]}}\n")
            })
            .collect();
        let routes: String = servers
            .iter()
            .map(|(name, _)| {
                format!("- {{name: {name}, hosts: [{name}.test], rules: [{{backends: [{{name: {name}}}]}}]}}\n")
            })
            .collect();
        let yaml = format!(
            r#"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: https, protocol: https, address: '127.0.0.1:0'}}
certificates: [{{name: any, certificate: any.crt, key: any.key}}]
wafProfiles:
- {{name: own, bodyLimit: 2MiB, rules: [{{inline: 'SecRule ARGS|REQUEST_URI "@contains evil" "id:10001,phase:2,deny,status:403"'}}]}}
defaults: {{waf: {{profile: own}}}}
backends:
{backends}routes:
{routes}"#
        );
        Self {
            gateway: Gateway::start_in(folder, &yaml, &[]),
            backend,
            peers,
        }
    }

    fn url(&self, scheme: &str, host: &str, path: &str) -> String {
        let address = match scheme {
            "https" => self.gateway.https(),
            _ => self.gateway.http(),
        };
        format!("{scheme}://{host}:{}{path}", address.port())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.gateway.folder().join(name)
    }

    /// Runs curl; what it prints, its lines of `status version connections` at the end.
    fn curl(&self, scheme: &str, host: &str, arguments: &[&str], stdin: &[u8]) -> String {
        let port = match scheme {
            "https" => self.gateway.https().port(),
            _ => self.gateway.http().port(),
        };
        let mut command = Command::new("curl");
        command
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--noproxy",
                "*",
            ])
            .arg("--cacert")
            .arg(self.file("ca.crt"))
            .arg("--resolve")
            .arg(format!("{host}:{port}:127.0.0.1"))
            .args([
                "--write-out",
                "\n%{http_code} %{http_version} %{num_connects}\n",
            ])
            .args(arguments);
        run(command, stdin)
    }
}

/// A form without two places alike.
fn body(length: usize) -> String {
    let mut text = String::from("f=");
    for n in 0.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&format!("word{n}+"));
    }
    text.truncate(length);
    text
}

/// Runs a program to its end: all that it prints.
fn run(mut command: Command, stdin: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("an installed program starts");
    let mut input = child.stdin.take().expect("it is piped");
    let stdin = stdin.to_vec();
    // It may end without having read everything.
    let writer = std::thread::spawn(move || input.write_all(&stdin));
    let output = child.wait_with_output().expect("it ends");
    let _ = writer.join();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn program(name: &str) -> Option<PathBuf> {
    let found = installed(name);
    if found.is_none() {
        println!("skipped: {name} is not installed");
    }
    found
}

/// A way in which curl asks.
struct Curl {
    flag: &'static str,
    scheme: &'static str,
    /// The version of the answer.
    version: &'static str,
    /// Whether the requests of one run share a connection.
    shares: bool,
}

const fn curl(flag: &'static str, scheme: &'static str, version: &'static str) -> Curl {
    Curl {
        flag,
        scheme,
        version,
        shares: true,
    }
}

const CURL: [Curl; 6] = [
    Curl {
        shares: false,
        ..curl("--http1.0", "http", "1.1")
    },
    curl("--http1.1", "http", "1.1"),
    // curl 7.88 breaks its second request with HTTP/2 in clear, whoever serves.
    Curl {
        shares: false,
        ..curl("--http2-prior-knowledge", "http", "2")
    },
    // Asks for an upgrade, which is not taken.
    curl("--http2", "http", "1.1"),
    curl("--http1.1", "https", "1.1"),
    curl("--http2", "https", "2"),
];

#[tokio::test(flavor = "multi_thread")]
async fn curl_reaches_every_server_over_every_version() {
    if program("curl").is_none() {
        return;
    }
    let site = Site::start().await;
    for way in CURL {
        for peer in &site.peers {
            let host = format!("{}.test", peer.name);
            let what = format!("{} {} to {}", way.flag, way.scheme, peer.name);
            let url = site.url(way.scheme, &host, "/a/b?c=d");
            let id = what.replace([' ', '-'], "");
            let field = format!("X-Id: {id}");
            let ask = |arguments: &[&str]| {
                let arguments = [&[way.flag], arguments].concat();
                site.curl(way.scheme, &host, &arguments, b"")
            };
            let answers = |told: &str, status: u16| {
                let line = format!("{status} {} ", way.version);
                let lines = told.lines().filter_map(|told| told.strip_prefix(&line));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let (urls, connects) = if way.shares {
                (vec![url.as_str(); 3], vec!["1", "0", "0"])
            } else {
                (vec![url.as_str()], vec!["1"])
            };
            let told = ask(&[&["-H", &field], &urls[..]].concat());
            assert_eq!(answers(&told, 200), connects, "{what}: {told}");
            let seen = || {
                let seen = peer.seen().into_iter();
                seen.filter(|seen| seen.id == id).collect::<Vec<_>>()
            };
            // nginx writes a request down when it is over.
            wait_for("the requests", || seen().len() == urls.len());
            let target = |seen: &PeerSeen| seen.target == "/a/b?c=d" && seen.whole;
            assert!(seen().iter().all(target), "{what}: {:?}", seen());
            // A form, one that a rule denies, and a head without a body.
            let told = ask(&["-H", &field, "--data", "a=1&b=2", &url]);
            assert_eq!(answers(&told, 200), ["1"], "{what}: {told}");
            wait_for("the form", || seen().len() == urls.len() + 1);
            assert_eq!(
                seen().last().map(|seen| seen.body_length),
                Some(7),
                "{what}"
            );
            let told = ask(&["-H", &field, "--data", "a=evil", &url]);
            assert_eq!(answers(&told, 403), ["1"], "{what}: {told}");
            let told = ask(&["-H", &field, "--head", &url]);
            assert_eq!(answers(&told, 200), ["1"], "{what}: {told}");
            wait_for("the last", || seen().len() == urls.len() + 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uploads_arrive_byte_for_byte() {
    if program("curl").is_none() {
        return;
    }
    let site = Site::start().await;
    let bytes = body(MIB + 1);
    let hash = sha256(bytes.as_bytes());
    let file = site.file("body");
    let (from_file, plain) = (
        format!("@{}", file.display()),
        file.to_str().expect("a plain path").to_owned(),
    );
    for Curl {
        flag,
        scheme,
        version,
        ..
    } in CURL
    {
        let url = site.url(scheme, "one.test", "/upload");
        let uploads: [(&str, Vec<&str>); 4] = [
            // Above 1 MiB curl waits for a 100.
            ("a form", vec!["--data-binary", &from_file]),
            ("a file", vec!["--upload-file", &plain]),
            ("without a length", vec!["--upload-file", "-"]),
            (
                "with an expectation",
                vec!["-H", "Expect: 100-continue", "--upload-file", "-"],
            ),
        ];
        for (how, arguments) in uploads {
            // HTTP/1.0 has no way to say it.
            if flag == "--http1.0" && arguments.contains(&"-") {
                continue;
            }
            let what = format!("{flag} {scheme}: {how}");
            let mut all = vec![flag];
            all.extend(&arguments);
            all.push(&url);
            let stdin = if arguments.contains(&"-") {
                bytes.as_bytes()
            } else {
                b""
            };
            let before = site.backend.requests();
            let told = site.curl(scheme, "one.test", &all, stdin);
            let status = told.lines().last().unwrap_or_default();
            assert!(
                status.starts_with(&format!("200 {version} ")),
                "{what}: {told}"
            );
            assert_eq!(site.backend.requests(), before + 1, "{what}");
            assert_eq!(site.backend.last().body_sha256, hash, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nghttp_sends_many_requests_over_one_connection() {
    let Some(nghttp) = program("nghttp") else {
        return;
    };
    let site = Site::start().await;
    let hash = sha256(body(MIB + 1).as_bytes());
    for scheme in ["http", "https"] {
        // The name must be found by the client itself: the address, and Host beside it.
        let url = site.url(scheme, "127.0.0.1", "/x");
        for (what, arguments, requests) in [
            ("gets", vec!["-m", "50"], 50),
            ("padding", vec!["-m", "20", "-b", "200"], 20),
            ("a head in two frames", vec!["-m", "5", "--continuation"], 5),
            ("uploads", vec!["-m", "4", "-d", "body"], 4),
            (
                "no length",
                vec!["-m", "4", "-d", "body", "--no-content-length"],
                4,
            ),
            ("an expectation", vec!["-d", "body", "--expect-continue"], 1),
            ("trailers", vec!["-d", "body", "--trailer", "x-sum: 1"], 1),
        ] {
            let mut command = Command::new(&nghttp);
            command
                .current_dir(site.gateway.folder())
                .args(["-n", "-v", "--no-verify-peer", "-t", "20"])
                .args(["-H", ":authority: one.test"])
                .args(&arguments)
                .arg(&url);
            let before = (site.backend.requests(), site.gateway.access_lines().len());
            let told = run(command, b"");
            let answered = told.matches(":status: 200").count();
            assert_eq!(answered, requests, "{scheme} {what}: {told}");
            assert_eq!(
                site.backend.requests(),
                before.0 + requests,
                "{scheme} {what}"
            );
            if arguments.contains(&"-d") {
                let seen = site.backend.seen();
                let arrived = seen[before.0..].iter().all(|seen| seen.body_sha256 == hash);
                assert!(arrived, "{scheme} {what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_loses_no_request() {
    let Some(h2load) = program("h2load") else {
        return;
    };
    let site = Site::start().await;
    for scheme in ["http", "https"] {
        let url = site.url(scheme, "one.test", "/x");
        for (what, arguments, requests) in [
            ("gets", vec!["-n", "2000", "-c", "10", "-m", "20"], 2000),
            (
                "connections",
                vec!["-n", "100", "-c", "100", "-m", "1"],
                100,
            ),
            (
                "uploads",
                vec!["-n", "20", "-c", "4", "-m", "4", "-d", "body"],
                20,
            ),
        ] {
            let mut command = Command::new(&h2load);
            command
                .current_dir(site.gateway.folder())
                .args(["--connect-to", "127.0.0.1", "-T", "20", "-N", "20"])
                .args(&arguments)
                .arg(&url);
            let told = run(command, b"");
            let good =
                format!("{requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout");
            assert!(told.contains(&good), "{scheme} {what}: {told}");
            let all = format!("status codes: {requests} 2xx");
            assert!(told.contains(&all), "{scheme} {what}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_is_answered_and_takes_up_its_session_again() {
    let Some(openssl) = program("openssl") else {
        return;
    };
    let site = Site::start().await;
    let requests = b"GET /1 HTTP/1.1\r\nHost: one.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let session = site.file(&format!("session{version}"));
        for (turn, word) in [("-sess_out", "New, "), ("-sess_in", "Reused, ")] {
            let mut command = Command::new(&openssl);
            command
                .args(["s_client", "-ign_eof", "-verify_return_error", version])
                .args(["-servername", "one.test", "-verify_hostname", "one.test"])
                .arg("-CAfile")
                .arg(site.file("ca.crt"))
                .arg("-connect")
                .arg(site.gateway.https().to_string())
                .arg(turn)
                .arg(&session);
            let told = run(command, requests);
            let answered = told.contains("one /1") && told.contains("one /2");
            assert!(answered && told.contains(word), "{version} {turn}: {told}");
        }
    }
}
