//! Configuration changes while it serves: nothing fails, nothing is closed.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use portcullis_tests::{
    Authority, Backend, Client, Gateway, Raw, raw, sha256, status_of, swap_config_map, wait_for,
};
use tokio_tungstenite::tungstenite::Message;

fn config(backend: &Backend, version: u32) -> String {
    format!(
        r"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: https, protocol: https, address: '127.0.0.1:0'}}
certificates: [{{name: any, certificate: any.crt, key: any.key}}]
wafProfiles: [{{name: baseline, threshold: {}}}]
backends: [{{name: one, endpoints: [{{address: {}, weight: {}}}]}}]
routes:
- name: any
  hosts: [any.example]
  policies: {{waf: {{profile: baseline}}}}
  rules:
  - responseHeaders: {{set: {{X-Version: '{version}'}}}}
    backends: [{{name: one}}]
- {{name: other-{version}, hosts: [other.example], rules: [{{backends: [{{name: one}}]}}]}}
",
        5 + version % 3,
        backend.address,
        1 + version % 2,
    )
}

fn folder_with_certificate(authority: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "any", &["any.example"]);
    folder
}

/// Clients that send one request after another until they are stopped.
#[derive(Clone, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    failures: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn count(&self, what: &str, outcome: Result<(), String>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            let mut failures = self.failures.lock().expect("no panic");
            failures.push(format!("{what}: {error}"));
        }
    }

    /// One connection, kept to the end.
    async fn keepalive(self, what: &'static str, mut client: Client) {
        while self.goes_on() {
            let outcome = match client.get("any.example", "/x?y=1").await {
                Ok(response) if response.status() == 200 => Ok(()),
                Ok(response) => Err(response.status().to_string()),
                Err(error) => Err(error.to_string()),
            };
            let failed = outcome.is_err();
            self.count(what, outcome);
            if failed {
                return;
            }
        }
        if client.is_closed() {
            self.count(what, Err("the connection was closed".into()));
        }
    }

    async fn web_socket(self, gateway: std::net::SocketAddr) {
        // By hand, since no name leads to the gateway.
        let stream = tokio::net::TcpStream::connect(gateway)
            .await
            .expect("it listens");
        let (mut socket, _) = tokio_tungstenite::client_async("ws://any.example/chat", stream)
            .await
            .expect("an upgrade");
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            let message = Message::text(format!("message {n}"));
            let outcome = match socket.send(message.clone()).await {
                Err(error) => Err(error.to_string()),
                Ok(()) => match socket.next().await {
                    Some(Ok(echo)) if echo == message => Ok(()),
                    other => Err(format!("{other:?}")),
                },
            };
            let failed = outcome.is_err();
            self.count("web socket", outcome);
            if failed {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A new connection for each request.
    async fn fresh(self, gateway: std::net::SocketAddr, authority: Arc<Authority>) {
        while self.goes_on() {
            let outcome = match Client::tls(gateway, &authority, "any.example", true).await {
                Err(error) => Err(error.to_string()),
                Ok(mut client) => match client.get("any.example", "/").await {
                    Ok(response) if response.status() == 200 => Ok(()),
                    Ok(response) => Err(response.status().to_string()),
                    Err(error) => Err(error.to_string()),
                },
            };
            self.count("fresh", outcome);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn steady_load_feels_neither_twenty_reloads_nor_five_rotations() {
    let backend = Backend::start("one").await;
    let authority = Arc::new(Authority::new());
    let folder = folder_with_certificate(&authority);
    let gateway = Gateway::start_in(folder, &config(&backend, 0), &[]);
    let load = Load::default();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let h1 = Client::h1(gateway.http()).await;
        clients.push(tokio::spawn(load.clone().keepalive("h1", h1)));
        let tls = async |h2| {
            Client::tls(gateway.https(), &authority, "any.example", h2)
                .await
                .expect("TLS")
        };
        clients.push(tokio::spawn(
            load.clone().keepalive("h1 TLS", tls(false).await),
        ));
        clients.push(tokio::spawn(load.clone().keepalive("h2", tls(true).await)));
        clients.push(tokio::spawn(load.clone().web_socket(gateway.http())));
    }
    let fresh = load.clone().fresh(gateway.https(), Arc::clone(&authority));
    clients.push(tokio::spawn(fresh));

    for version in 1..=20 {
        let requests = load.requests.load(Ordering::Relaxed);
        gateway.reload(&config(&backend, version));
        if version % 4 == 0 {
            let before = rotations(&gateway);
            authority.write(gateway.folder(), "any", &["any.example"]);
            wait_for("the rotation", || rotations(&gateway) > before);
        }
        // Each configuration serves for a while.
        wait_for("requests", || {
            load.requests.load(Ordering::Relaxed) > requests + 20
        });
    }
    // What is served is the last one.
    let mut client = Client::h1(gateway.http()).await;
    let response = client.get("any.example", "/").await.expect("an answer");
    assert_eq!(response.headers()["x-version"], "20");

    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no panic");
    }
    let failures = load.failures.lock().expect("no panic");
    assert_eq!(*failures, Vec::<String>::new());
    let accepted = gateway.metric(r#"portcullis_reloads_total{outcome="accepted"}"#);
    assert!(accepted >= Some(20.0), "{accepted:?}");
    println!(
        "{} requests over 20 reloads and 5 rotations, none failed",
        load.requests.load(Ordering::Relaxed)
    );
}

fn rotations(gateway: &Gateway) -> f64 {
    gateway
        .metric(r#"portcullis_reloads_total{outcome="unchanged"}"#)
        .unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_crosses_a_reload() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let gateway = Gateway::start_in(
        folder_with_certificate(&authority),
        &config(&backend, 1),
        &[],
    );
    let mut upload = Raw::connect(gateway.http());
    upload.send(b"POST /upload HTTP/1.1\r\nHost: any.example\r\nContent-Type: text/plain\r\nContent-Length: 50000\r\n\r\n");
    wait_for("the request to begin", || {
        gateway.metric("portcullis_requests_in_flight") == Some(1.0)
    });
    let part = [b'a'; 5000];
    for n in 0..10 {
        upload.send(&part);
        if n == 3 || n == 6 {
            gateway.reload(&config(&backend, 10 + n));
        }
    }
    let answer = upload.response();
    assert_eq!(status_of(&answer), 200, "{answer}");
    // It ends on the configuration it began with.
    assert!(answer.contains("x-version: 1\r\n"), "{answer}");
    assert_eq!(backend.last().body_sha256, sha256(&[b'a'; 50_000]));
    // The next request of the same connection takes the new one.
    upload.send(b"GET / HTTP/1.1\r\nHost: any.example\r\n\r\n");
    let answer = upload.response();
    assert!(answer.contains("x-version: 16\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_under_load_is_refused_and_told_and_the_last_good_one_serves() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let gateway = Gateway::start_in(
        folder_with_certificate(&authority),
        &config(&backend, 1),
        &[],
    );
    let load = Load::default();
    let h1 = Client::h1(gateway.http()).await;
    let client = tokio::spawn(load.clone().keepalive("h1", h1));
    let refused = || {
        gateway
            .metric(r#"portcullis_reloads_total{outcome="refused"}"#)
            .unwrap_or(0.0)
    };
    let good = config(&backend, 2);
    for (bad, told) in [
        (good.replace("hosts:", "hots:"), "hots"),
        (
            good.replace("profile: baseline", "profile: basline"),
            "basline",
        ),
        (
            good.replace("listeners:", "listeners: ["),
            "portcullis.yaml",
        ),
        ("\u{0}\u{1}".to_owned(), "portcullis.yaml"),
        (String::new(), "listeners"),
        (
            good.replace("threshold: 7", "rules: [{inline: 'SecRule NOPE x'}]"),
            "NOPE",
        ),
    ] {
        let before = refused();
        gateway.write_config(&bad);
        wait_for(told, || refused() > before);
        let problems = || gateway.admin("/config/problems").1;
        wait_for(told, || problems().contains(told));
        let problems = problems();
        assert!(problems.contains("\"refused\": true"), "{problems}");
        wait_for(told, || gateway.log().contains(told));
        assert!(gateway.metric("portcullis_config_stale_since_timestamp_seconds") > Some(0.0));
        assert_eq!(gateway.management("/readyz").0, 200, "it serves");
        let mut client = Client::h1(gateway.http()).await;
        let response = client.get("any.example", "/").await.expect("an answer");
        assert_eq!(response.headers()["x-version"], "1", "{told}");
    }
    gateway.reload(&good);
    assert_eq!(
        gateway.metric("portcullis_config_stale_since_timestamp_seconds"),
        Some(0.0)
    );
    let errors = r#"portcullis_config_problems{severity="error"}"#;
    assert_eq!(
        gateway.metric(errors),
        Some(0.0),
        "as /config/problems says"
    );
    let before = refused();
    gateway.write_config("listeners: 1");
    wait_for("the refusal", || refused() > before);
    assert!(gateway.metric(errors) > Some(0.0));
    gateway.write_config(&good);
    wait_for("the last good one to be back", || {
        gateway.log().contains("configuration good again")
    });
    assert_eq!(gateway.metric(errors), Some(0.0));
    load.stop.store(true, Ordering::Relaxed);
    client.await.expect("no panic");
    assert_eq!(
        *load.failures.lock().expect("no panic"),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_config_map_is_served_within_two_seconds() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = folder_with_certificate(&authority);
    let mount = folder.path().join("mount");
    let yaml = |version: u32| {
        config(&backend, version)
            .replace("any.crt", "../any.crt")
            .replace("any.key", "../any.key")
            + "management: {address: '127.0.0.1:0'}\nadmin: {address: '127.0.0.1:0'}\n"
    };
    fs::create_dir(&mount).expect("writable");
    swap_config_map(
        &mount,
        1,
        &[("gateway.yaml", &yaml(1)), ("README", "no configuration")],
    );
    let gateway = Gateway::run(folder, mount.clone(), &[]);
    let version = || {
        let answer = raw(
            gateway.http(),
            b"GET / HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n",
        );
        let answer = answer
            .split_once("x-version: ")
            .expect("a version")
            .1
            .to_owned();
        answer
            .lines()
            .next()
            .expect("a line")
            .parse::<u32>()
            .expect("a number")
    };
    assert_eq!(version(), 1);
    for n in 2..=4 {
        swap_config_map(&mount, n, &[("gateway.yaml", &yaml(n))]);
        // A kubelet removes the old data at once.
        fs::remove_dir_all(mount.join(format!("..{}", n - 1))).expect("it was there");
        let swapped = Instant::now();
        wait_for("the new version", || version() == n);
        assert!(
            swapped.elapsed() < Duration::from_secs(2),
            "{:?}",
            swapped.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_folder_are_one_configuration() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = folder_with_certificate(&authority);
    let mount = folder.path().join("parts");
    fs::create_dir(&mount).expect("writable");
    let route = |name: &str| {
        format!(
            "routes: [{{name: {name}, hosts: [{name}.example], rules: [{{backends: [{{name: one}}]}}]}}]\n"
        )
    };
    fs::write(
        mount.join("base.yaml"),
        config(&backend, 1)
            .replace("any.crt", "../any.crt")
            .replace("any.key", "../any.key")
            + "management: {address: '127.0.0.1:0'}\nadmin: {address: '127.0.0.1:0'}\n",
    )
    .expect("writable");
    fs::write(mount.join("team-a.yaml"), route("team-a")).expect("writable");
    let gateway = Gateway::run(folder, mount.clone(), &[]);
    let status = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        status_of(&raw(gateway.http(), request.as_bytes()))
    };
    assert_eq!(
        (status("any.example"), status("team-a.example")),
        (200, 200)
    );
    assert_eq!(status("team-b.example"), 404);
    // A file that comes is taken up; one that goes takes its routes with it.
    fs::write(mount.join("team-b.yml"), route("team-b")).expect("writable");
    wait_for("the new file", || status("team-b.example") == 200);
    fs::remove_file(mount.join("team-a.yaml")).expect("it is there");
    wait_for("the file to go", || status("team-a.example") == 404);
    // The same name twice is an error that names both places.
    fs::write(mount.join("team-c.yaml"), route("team-b")).expect("writable");
    wait_for("the refusal", || {
        gateway.admin("/config/problems").1.contains("team-c.yaml")
    });
    assert!(gateway.log().contains("team-b.yml"), "{}", gateway.log());
    assert_eq!(status("team-b.example"), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_and_go_by_a_reload_and_open_connections_stay() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let gateway = Gateway::start_in(
        folder_with_certificate(&authority),
        &config(&backend, 1),
        &[],
    );
    let http = gateway.http();
    let mut open = Client::h1(http).await;
    assert_eq!(
        open.get("any.example", "/").await.expect("open").status(),
        200
    );

    let more = config(&backend, 2).replace(
        "listeners:",
        "listeners:\n- {name: extra, protocol: http, address: '127.0.0.1:0'}",
    );
    gateway.reload(&more);
    wait_for("the listener", || {
        gateway.try_at("listeners/extra").is_some()
    });
    let extra = gateway.at("listeners/extra");
    let mut on_extra = Client::h1(extra).await;
    assert_eq!(
        on_extra
            .get("any.example", "/")
            .await
            .expect("open")
            .status(),
        200
    );
    assert_eq!(gateway.http(), http, "the others keep their port");

    gateway.reload(&config(&backend, 3));
    wait_for("the listener to go", || {
        std::net::TcpStream::connect(extra).is_err()
    });
    // What is open finishes what it asked for and may ask again.
    assert_eq!(
        open.get("any.example", "/").await.expect("open").status(),
        200
    );

    // An address that is taken refuses the whole configuration.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    gateway.write_config(&config(&backend, 4).replace(
        "listeners:",
        &format!("listeners:\n- {{name: taken, protocol: http, address: '{address}'}}"),
    ));
    wait_for("the refusal", || {
        gateway.admin("/config/problems").1.contains(&address)
    });
    let response = open.get("any.example", "/").await.expect("open");
    assert_eq!(response.headers()["x-version"], "3");
}

/// A configuration with a listener on a port that another process has is served when that has
/// let go of it, from files alone as with objects beside them.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_port_is_served_when_the_port_is_free() {
    let backend = Backend::start("one").await;
    for objects in [false, true] {
        waits_for_a_port(&backend, objects).await;
    }
}

async fn waits_for_a_port(backend: &Backend, objects: bool) {
    let authority = Authority::new();
    let folder = folder_with_certificate(&authority);
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).expect("writable");
    let manifests = manifests.display().to_string();
    let arguments = ["--manifests", &manifests];
    let arguments = if objects { &arguments[..] } else { &[] };
    let gateway = Gateway::start_in(folder, &config(backend, 1), arguments);
    let mut client = Client::h1(gateway.http()).await;
    let mut version = async || {
        let response = client.get("any.example", "/").await.expect("open");
        response.headers()["x-version"].clone()
    };
    let refusals = || {
        gateway
            .metric(r#"portcullis_reloads_total{outcome="refused"}"#)
            .unwrap_or(0.0)
    };

    // What changed while it started is looked at once, and would be told of twice.
    wait_for("the first look at what changed", || {
        gateway
            .metric(r#"portcullis_reloads_total{outcome="unchanged"}"#)
            .is_some_and(|looks| looks > 0.0)
    });

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let wanted = config(backend, 2).replace(
        "listeners:",
        &format!("listeners:\n- {{name: wanted, protocol: http, address: '{address}'}}"),
    );
    gateway.write_config(&wanted);
    wait_for("the refusal", || refusals() == 1.0);
    let told = || gateway.log().matches(&address.to_string()).count();
    wait_for("it to be told", || told() > 0);
    let told_once = told();
    let (_, problems) = gateway.admin("/config/problems");
    assert!(problems.contains(&address.to_string()), "{problems}");
    assert!(gateway.management("/readyz").1.contains("is refused"));
    // It is tried again, and that is not told each time.
    let last_load = || gateway.metric("portcullis_config_load_seconds");
    let before = last_load();
    wait_for("an attempt", || last_load() != before);
    assert_eq!((refusals(), told()), (1.0, told_once), "{}", gateway.log());
    assert_eq!(version().await, "1");
    // Who asks gets an answer.
    gateway.signal("HUP");
    wait_for("an answer to the signal", || refusals() == 2.0);
    wait_for("it to be told again", || told() == 2 * told_once);
    assert_eq!(version().await, "1");

    drop(taken);
    wait_for("the listener", || {
        gateway.try_at("listeners/wanted") == Some(address)
    });
    assert_eq!(version().await, "2");
    wait_for("nothing to be wrong", || {
        !gateway
            .admin("/config/problems")
            .1
            .contains(&address.to_string())
    });
    assert_eq!(gateway.management("/readyz").1, "ready\n");
    assert_eq!(refusals(), 2.0);

    // A signal does not wait for the pause.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let wanted = config(backend, 3).replace(
        "listeners:",
        &format!("listeners:\n- {{name: later, protocol: http, address: '{address}'}}"),
    );
    gateway.write_config(&wanted);
    wait_for("the refusal", || refusals() == 3.0);
    drop(taken);
    let began = Instant::now();
    gateway.signal("HUP");
    wait_for("the listener", || {
        gateway.try_at("listeners/later") == Some(address)
    });
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reloads_too() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let gateway = Gateway::start_in(
        folder_with_certificate(&authority),
        &config(&backend, 1),
        &[],
    );
    let before = rotations(&gateway);
    gateway.signal("HUP");
    wait_for("the reload", || rotations(&gateway) > before);
    assert_eq!(gateway.management("/healthz").0, 200);
    let seconds = gateway.metric("portcullis_config_load_seconds");
    assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{seconds:?}");
}

/// A load that a signal asks for reads a file that is there for a moment. The watcher has not
/// seen it, and finds what it knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_taken_back_does_not_stay_in_force() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = folder_with_certificate(&authority);
    let gateway = Gateway::start_in(folder, &config(&backend, 1), &[]);
    let mut client = Client::h1(gateway.http()).await;
    wait_for("the first look at what changed", || {
        gateway
            .metric(r#"portcullis_reloads_total{outcome="unchanged"}"#)
            .is_some_and(|looks| looks > 0.0)
    });
    let mut serves = async |version: &str, pause| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let response = client.get("any.example", "/").await.expect("open");
            if response.headers()["x-version"] == version {
                return true;
            }
            tokio::time::sleep(pause).await;
        }
        false
    };
    gateway.write_config(&config(&backend, 2));
    gateway.signal("HUP");
    assert!(serves("2", Duration::from_millis(1)).await);
    gateway.write_config(&config(&backend, 1));
    assert!(
        serves("1", Duration::from_millis(50)).await,
        "{}",
        gateway.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_right_after_the_start_is_noticed() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    for _ in 0..5 {
        let folder = folder_with_certificate(&authority);
        let gateway = Gateway::start_in(folder, &config(&backend, 1), &[]);
        gateway.write_config(&config(&backend, 2));
        wait_for("the change", || {
            gateway.metric("portcullis_config_snapshot") >= Some(2.0)
        });
    }
}

/// A configuration of many hosts, each with a backend of its own, that says its version.
fn many_hosts(backend: &Backend, hosts: usize, version: u32) -> String {
    let address = backend.address;
    let mut yaml = String::from(
        "listeners:
- {name: http, protocol: http, address: '127.0.0.1:0'}
- {name: https, protocol: https, address: '127.0.0.1:0'}
certificates: [{name: any, certificate: any.crt, key: any.key}]
backends:
",
    );
    for n in 0..hosts {
        yaml.push_str(&format!(
            "- {{name: shop-{n}, endpoints: [{{address: {address}}}]}}\n"
        ));
    }
    yaml.push_str("routes:\n");
    for n in 0..hosts {
        let hosts = if n == 0 {
            "any.example".to_owned()
        } else {
            format!("shop-{n}.example")
        };
        yaml.push_str(&format!(
            "- {{name: shop-{n}, hosts: [{hosts}], rules: [{{backends: [{{name: shop-{n}}}], responseHeaders: {{set: {{X-Version: '{version}'}}}}}}]}}\n"
        ));
    }
    yaml
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_two_thousand_hosts_closes_nothing_and_serves_them_all() {
    const HOSTS: usize = 2000;
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let gateway = Gateway::start_in(
        folder_with_certificate(&authority),
        &many_hosts(&backend, HOSTS, 1),
        &[],
    );
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(match n % 2 {
            0 => Client::h1(gateway.http()).await,
            _ => Client::tls(gateway.https(), &authority, "any.example", true)
                .await
                .expect("TLS"),
        });
    }
    for version in 2..=4_u32 {
        gateway.write_config(&many_hosts(&backend, HOSTS, version));
        let expected = format!("x-version: {version}\r\n");
        let request = b"GET / HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n";
        // Reading so much takes a build without optimisation its time on a busy machine.
        let deadline = Instant::now() + Duration::from_secs(90);
        while !raw(gateway.http(), request)
            .to_lowercase()
            .contains(&expected)
        {
            assert!(Instant::now() < deadline, "version {version} is not served");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for client in &mut clients {
            let answer = client.get("any.example", "/").await.expect("it is open");
            assert_eq!(answer.headers()["x-version"], version.to_string());
        }
    }
    assert!(clients.iter().all(|client| !client.is_closed()));
    let client = &mut clients[0];
    for n in 1..HOSTS {
        let host = format!("shop-{n}.example");
        let answer = client.get(&host, "/").await.expect("an answer");
        assert_eq!(answer.headers()["x-version"], "4", "{host}");
    }
}
