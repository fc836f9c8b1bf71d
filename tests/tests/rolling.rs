//! Backends that come and go under load, as in a rolling update.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_tests::{Client, Gateway};

/// Requests a second, over all clients.
const RATE: u64 = 500;
const CLIENTS: u64 = 10;

/// A real nginx on a port that stays its own.
struct Nginx {
    program: PathBuf,
    folder: tempfile::TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Nginx {
    fn start(program: &Path) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
  uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
  server {{ listen {address} reuseport; location / {{ return 200 ok; }} }}
}}"
        );
        std::fs::write(folder.path().join("nginx.conf"), config).expect("writable");
        let mut nginx = Self {
            program: program.to_owned(),
            folder,
            address,
            child: None,
        };
        nginx.run();
        nginx
    }

    fn run(&mut self) {
        let child = Command::new(&self.program)
            .arg("-p")
            .arg(self.folder.path())
            .arg("-c")
            .arg(self.folder.path().join("nginx.conf"))
            .spawn()
            .expect("nginx starts");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it with this signal, and waits until it is gone.
    fn end(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        let _ = child.wait();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.end("KILL");
    }
}

fn nginx() -> Option<PathBuf> {
    let found = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: nginx is not installed");
    }
    found
}

struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(gateway: SocketAddr) -> Self {
        let (stop, sent, failed) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let tasks = (0..CLIENTS)
            .map(|_| {
                let (stop, sent, failed) =
                    (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failed));
                tokio::spawn(async move {
                    let mut client = Client::h1(gateway).await;
                    let mut tick =
                        tokio::time::interval(Duration::from_millis(1000 * CLIENTS / RATE));
                    while !stop.load(Ordering::Relaxed) {
                        tick.tick().await;
                        sent.fetch_add(1, Ordering::Relaxed);
                        let answer = client.get("a.example", "/").await;
                        if !answer.as_ref().is_ok_and(|answer| answer.status() == 200) {
                            eprintln!("failed: {answer:?}");
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                        if client.is_closed() {
                            client = Client::h1(gateway).await;
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            sent,
            failed,
            tasks,
        }
    }

    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        (
            self.sent.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        )
    }
}

fn gateway(backends: &[Nginx]) -> Gateway {
    let endpoints: Vec<_> = backends
        .iter()
        .map(|nginx| format!("{{address: {}}}", nginx.address))
        .collect();
    Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
backends: [{{name: one, keepalive: 60s, ejection: {{time: 200ms}}, endpoints: [{}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        endpoints.join(", ")
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    let Some(program) = nginx() else { return };
    let mut backends: Vec<Nginx> = (0..3).map(|_| Nginx::start(&program)).collect();
    let gateway = gateway(&backends);
    let load = Load::start(gateway.http());
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..2 {
        for nginx in &mut backends {
            tokio::task::block_in_place(|| {
                nginx.end("QUIT");
                std::thread::sleep(Duration::from_millis(200));
                nginx.run();
            });
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    let (sent, failed) = load.stop().await;
    assert!(sent > 1000, "{sent}");
    assert_eq!(failed, 0, "of {sent}: {:?}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backend_costs_at_most_what_was_inside_it() {
    let Some(program) = nginx() else { return };
    let mut backends: Vec<Nginx> = (0..3).map(|_| Nginx::start(&program)).collect();
    let gateway = gateway(&backends);
    let load = Load::start(gateway.http());
    tokio::time::sleep(Duration::from_millis(500)).await;
    for nginx in &mut backends {
        tokio::task::block_in_place(|| {
            nginx.end("KILL");
            std::thread::sleep(Duration::from_millis(500));
            nginx.run();
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (sent, failed) = load.stop().await;
    // Each client has one request under way; a GET that a pooled connection took
    // with it is sent again, so hardly one is lost.
    assert!(failed <= 3 * CLIENTS, "{failed} of {sent}");
}
