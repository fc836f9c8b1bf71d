//! Long sessions, and what a reload does to them.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use portcullis_tests::{
    Authority, Backend, Client, Line, Scripted,
    egress_site::{PUBLIC, Site, allow, config, reason},
    installed, status_of, tls_stream_through, wait_for,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

const ENTRY: &str = "{host: kube.test, ports: [6443, 7443]}";

/// As much of an API server as `kubectl logs --follow` needs: the log has a line each 100 ms.
async fn api_server(authority: &Authority) -> Scripted {
    let acceptor = TlsAcceptor::from(authority.server(&["kube.test"], &["http/1.1"]));
    Scripted::start(move |line: Line| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(line.stream).await else {
                return;
            };
            while let Some(target) = target(&mut stream).await {
                let is_log = target.contains("/log?");
                let body = match target.split('?').next().unwrap_or_default() {
                    "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
                    "/apis" => r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#,
                    "/api/v1" => r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get"]},{"name":"pods/log","namespaced":true,"kind":"Pod","verbs":["get"]}]}"#,
                    _ => r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default"},"spec":{"containers":[{"name":"web"}]}}"#,
                };
                let head = match is_log {
                    true => "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                    false => format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                };
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
                if !is_log {
                    continue;
                }
                loop {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    if stream.write_all(b"5\r\nline\n\r\n").await.is_err() {
                        return;
                    }
                }
            }
        }
    })
    .await
}

/// The target of a request; `None` at the end of the connection.
async fn target(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    text.split(' ').nth(1).map(str::to_owned)
}

/// `kubectl logs --follow` through a proxy, and how many lines it has printed.
struct Logs {
    child: Child,
    lines: Arc<AtomicUsize>,
}

impl Logs {
    fn start(site: &Site, authority: &Authority) -> Option<Self> {
        let Some(kubectl) = installed("kubectl") else {
            println!("skipped: kubectl is not installed");
            return None;
        };
        let folder = site.gateway.folder();
        let ca = folder.join("ca.crt");
        std::fs::write(&ca, authority.pem()).expect("writable");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": "https://kube.test:7443", "certificate-authority": ca,
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {"token": "test"}}],
        });
        std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string()).expect("writable");
        let mut child = Command::new(kubectl)
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .arg("--cache-dir")
            .arg(folder.join("kubectl"))
            .args(["--namespace=default", "logs", "--follow", "web"])
            .env("HTTPS_PROXY", format!("http://{}", site.proxy()))
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("an installed program starts");
        let lines = Arc::new(AtomicUsize::new(0));
        let (printed, counted) = (
            child.stdout.take().expect("it is piped"),
            Arc::clone(&lines),
        );
        std::thread::spawn(move || {
            for _ in BufReader::new(printed).lines().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Some(Self { child, lines })
    }

    fn goes_on(&self) {
        let before = self.lines.load(Ordering::Relaxed);
        wait_for("more of the log", || {
            self.lines.load(Ordering::Relaxed) > before + 3
        });
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Idle gaps of minutes are in `tunnels`: the default is longer than those of the case.
#[tokio::test(flavor = "multi_thread")]
async fn egr_26_sessions_outlive_a_reload_that_allows_them_and_are_cut_with_a_reason_by_one_that_does_not()
 {
    let authority = Authority::new();
    let server = authority.server(&["kube.test"], &["h2", "http/1.1"]);
    let backend = Backend::start_tls("one", server).await;
    let kube = api_server(&authority).await;
    let site = Site::start(
        &allow(&format!("[{ENTRY}]")),
        &[&format!("kube.test={PUBLIC}")],
        &[
            (&format!("{PUBLIC}:6443"), backend.address),
            (&format!("{PUBLIC}:7443"), kube.address),
        ],
    );
    let target = "kube.test:6443";
    let logs = Logs::start(&site, &authority);
    if let Some(logs) = &logs {
        logs.goes_on();
    }
    let tls = authority.client(&["http/1.1"]);
    let tunnel = tls_stream_through(site.proxy(), target, tls)
        .await
        .expect("a tunnel");
    let (mut socket, _) = tokio_tungstenite::client_async("ws://kube.test/echo", tunnel)
        .await
        .expect("a WebSocket");
    // gRPC is HTTP/2 with trailers.
    let tls = authority.client(&["h2"]);
    let mut grpc = Client::tls_through(site.proxy(), target, tls, true)
        .await
        .expect("a tunnel");
    for more in ["", ", unrelated.test", ", other.test"] {
        if !more.is_empty() {
            site.gateway
                .reload(&config("", &allow(&format!("[{ENTRY}{more}]"))));
            // What is open is judged again within a second.
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        socket
            .send(Message::text("hello"))
            .await
            .expect("it is open");
        let echoed = socket.next().await.expect("it is open").expect("a message");
        assert!(echoed.to_string().contains("hello"), "{echoed}");
        let answer = grpc
            .get("kube.test", "/trailers")
            .await
            .expect("it is open");
        assert_eq!(answer.status(), 200);
        if let Some(logs) = &logs {
            logs.goes_on();
        }
    }
    let sessions = 2 + usize::from(logs.is_some());
    site.gateway.reload(&config("", &allow("[unrelated.test]")));
    let ended = tokio::time::timeout(Duration::from_secs(5), socket.next()).await;
    assert!(matches!(ended, Ok(None | Some(Err(_)))), "{ended:?}");
    wait_for("the end of the others", || grpc.is_closed());
    if let Some(mut logs) = logs {
        wait_for("the end of kubectl", || {
            logs.child.try_wait().is_ok_and(|ended| ended.is_some())
        });
    }
    // Each has a line that says why.
    wait_for("the records", || {
        let lines = site.gateway.audit_lines().into_iter();
        lines
            .filter(|line| line["ended"] == "policy_changed")
            .count()
            >= sessions
    });
    let (_, answer) = site.connect(target);
    assert_eq!(
        (status_of(&answer), reason(&answer)),
        (403, "egress/not_allowed")
    );
}
