//! Certificates of clients: who comes in, what backends are told, and what
//! happens when the files change.

use std::{fs, path::Path, process::Command};

use portcullis_tests::{
    Authority, Backend, Client, ClientCertificate, Gateway, portcullis, replace, wait_for,
};

/// Clients' authority, its certificates and lists, beside a site's certificate.
struct Files {
    site: Authority,
    clients: Authority,
    folder: tempfile::TempDir,
}

const GOOD: ClientCertificate<'static> = ClientCertificate {
    name: "good, client",
    serial: 7,
    expired: false,
};

impl Files {
    fn new() -> Self {
        let files = Self {
            site: Authority::new(),
            clients: Authority::named("clients"),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let folder = files.folder.path();
        let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        replace(&folder.join("request"), request);
        files.site.write(folder, "site", &["a.test", "b.test"]);
        replace(&folder.join("ca.pem"), files.clients.pem());
        replace(&folder.join("crl.pem"), files.clients.revoke(&[66], 2090));
        replace(&folder.join("site-ca.pem"), files.site.pem());
        files.clients.write_client(folder, "good", GOOD);
        let other = |serial, expired| ClientCertificate {
            name: "other",
            serial,
            expired,
        };
        files
            .clients
            .write_client(folder, "revoked", other(66, false));
        files
            .clients
            .write_client(folder, "expired", other(8, true));
        // Another authority of the same name is not the one that is trusted.
        Authority::named("clients").write_client(folder, "stranger", other(9, false));
        Authority::named("elsewhere").write_client(folder, "unknown", other(10, false));
        let middle = files.clients.intermediate("middle");
        middle.write_client(folder, "deep", other(11, false));
        let chain = fs::read_to_string(folder.join("deep.crt")).expect("a certificate");
        replace(&folder.join("deep.crt"), chain + &middle.pem());
        files
    }

    fn start(self, client_certificates: &str, backend: &Backend) -> Site {
        let yaml = yaml(client_certificates, backend);
        Site {
            gateway: Gateway::start_in(self.folder, &yaml, &[]),
            site: self.site,
            clients: self.clients,
        }
    }
}

fn yaml(client_certificates: &str, backend: &Backend) -> String {
    format!(
        "listeners: [{{name: https, protocol: https, address: '127.0.0.1:0', tls: {{defaultCertificate: site}}}}]
certificates: [{{name: site, certificate: site.crt, key: site.key}}]
clientAddress: {{trustedProxies: [127.0.0.1]}}
tlsPolicies:
- name: partners
  hosts: [a.test]
  clientCertificates: {client_certificates}
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    )
}

struct Site {
    gateway: Gateway,
    site: Authority,
    clients: Authority,
}

impl Site {
    fn folder(&self) -> &Path {
        self.gateway.folder()
    }

    /// Asks a host with curl, showing a certificate; the status, 0 where there was no answer.
    fn curl(&self, host: &str, shown: Option<&str>, more: &[&str]) -> u16 {
        let port = self.gateway.https().port();
        let mut command = Command::new("curl");
        command
            .args([
                "-s",
                "--max-time",
                "10",
                "-o",
                "answer",
                "-w",
                "%{http_code}",
            ])
            .args(["--cacert", "site-ca.pem"])
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
            .args(more)
            .arg(format!("https://{host}:{port}/"))
            .current_dir(self.folder());
        if let Some(shown) = shown {
            command.args([
                "--cert",
                &format!("{shown}.crt"),
                "--key",
                &format!("{shown}.key"),
            ]);
        }
        let output = command.output().expect("curl runs");
        let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        code.parse().expect("a status")
    }

    fn refusals(&self, reason: &str) -> f64 {
        let series = format!("portcullis_refusals_total{{reason=\"{reason}\",stage=\"tls\"}}");
        self.gateway.metric(&series).unwrap_or(0.0)
    }

    fn openssl(&self, shown: &str, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.gateway.https().to_string()])
            .args(["-servername", "a.test", "-ign_eof"])
            .args([
                "-cert",
                &format!("{shown}.crt"),
                "-key",
                &format!("{shown}.key"),
            ])
            .args(arguments)
            .current_dir(self.folder())
            .stdin(fs::File::open(self.folder().join("request")).expect("a request"))
            .output()
            .expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_certificate_is_told_as_such_and_opens_nothing() {
    let backend = Backend::start("one").await;
    let files = Files::new();
    let policy = "{mode: unverified}
- {name: strict, hosts: [b.test], clientCertificates: {mode: required, ca: ca.pem}}";
    let mut site = files.start(policy, &backend);
    for version in [["--tls-max", "1.2"], ["--tlsv1.3", "--http1.1"]] {
        for shown in ["good", "expired", "revoked", "stranger", "unknown", "deep"] {
            let before = backend.requests();
            // What a client says of itself is never passed on.
            let forged = ["-H", "ssl-client-verify: SUCCESS"];
            let more = [&version[..], &forged].concat();
            assert_eq!(site.curl("a.test", Some(shown), &more), 200, "{shown}");
            assert_eq!(backend.requests(), before + 1);
            let seen = backend.last();
            let told = |name: &str| seen.headers.get_all(name).iter().collect::<Vec<_>>();
            assert_eq!(told("ssl-client-verify"), ["FAILED:unverified"], "{shown}");
            assert_eq!(told("ssl-client-subject-dn").len(), 1, "{shown}");
        }
        // Who shows none is told as before, and none is needed.
        assert_eq!(site.curl("a.test", None, &version), 200);
        assert_eq!(backend.last().header("ssl-client-verify"), "NONE");
        // The host whose clients must show one has only good ones, whatever the other takes.
        assert_eq!(site.curl("b.test", Some("good"), &version), 200);
        assert_eq!(backend.last().header("ssl-client-verify"), "SUCCESS");
        let before = backend.requests();
        assert_eq!(site.curl("b.test", Some("expired"), &version), 0);
        assert_eq!(site.curl("b.test", None, &version), 0);
        // Nor by a request on the connection of the other host.
        let forged = [&version[..], &["-H", "Host: b.test"]].concat();
        assert_eq!(site.curl("a.test", Some("good"), &forged), 421);
        assert_eq!(site.curl("a.test", Some("expired"), &forged), 421);
        assert_eq!(backend.requests(), before);
    }
    let lines = site.gateway.access_lines();
    let of = |host: &str| {
        let mut lines = lines
            .iter()
            .filter(|line| line["host"] == host && line["status"] == 200);
        lines
            .find(|line| line["tls"]["client"].is_object())
            .cloned()
    };
    let (a, b) = (of("a.test").expect("a line"), of("b.test").expect("a line"));
    assert_eq!(a["tls"]["client"]["verified"], false);
    assert!(b["tls"]["client"]["verified"].is_null());
    // A session of before does not outlive a policy that asks for more.
    for version in ["-tls1_2", "-tls1_3"] {
        let out = [version, "-sess_out", "session"];
        let into = [version, "-sess_in", "session"];
        assert!(site.openssl("expired", &out).contains("200 OK"));
        let resumed = site.openssl("expired", &into);
        assert!(
            resumed.contains("Reused,") && resumed.contains("200 OK"),
            "{resumed}"
        );
        site.gateway
            .reload(&yaml("{mode: optional, ca: ca.pem}", &backend));
        let after = site.openssl("expired", &into);
        assert!(
            !after.contains("Reused,") && !after.contains("200 OK"),
            "{after}"
        );
        site.gateway.reload(&yaml(policy, &backend));
    }
    site.gateway.signal("TERM");
    assert!(site.gateway.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_certificate_comes_in_and_each_other_has_its_reason() {
    let backend = Backend::start("one").await;
    let site = Files::new().start(
        "{mode: required, ca: ca.pem, crl: crl.pem, maxDepth: 0}",
        &backend,
    );
    for version in [["--tls-max", "1.2"], ["--tlsv1.3", "--http1.1"]] {
        assert_eq!(site.curl("a.test", Some("good"), &version), 200);
        let seen = backend.requests();
        for (shown, reason) in [
            (None, "client-certificate-missing"),
            (Some("revoked"), "client-certificate-revoked"),
            (Some("expired"), "client-certificate-expired"),
            (Some("stranger"), "client-certificate-bad-signature"),
            (Some("unknown"), "client-certificate-unknown-issuer"),
            (Some("deep"), "client-chain-too-long"),
        ] {
            let before = site.refusals(reason);
            // curl leaves a certificate out whose issuer the server does not name.
            let status = site.curl("a.test", shown, &version);
            assert_eq!(status, 0, "{shown:?} {version:?}");
            let told = if site.refusals(reason) > before {
                reason
            } else {
                "another"
            };
            let left_out = shown == Some("unknown") && told == "another";
            assert!(told == reason || left_out, "{shown:?} {version:?}");
        }
        assert_eq!(backend.requests(), seen, "no backend saw any of them");
    }
    let lines = site.gateway.access_lines();
    let line = lines
        .iter()
        .find(|line| line["reason"] == "client-certificate-revoked")
        .expect("a line");
    assert_eq!(line["refusedBy"], "tls");
    assert_eq!(line["sni"], "a.test");
    assert_eq!(line["client"], "127.0.0.1");
    assert!(line["connectionId"].is_string(), "{line}");
    let refused = site.gateway.metric(
        "portcullis_connections_total{listener=\"https\",outcome=\"client_certificate_refused\"}",
    );
    assert!(refused >= Some(12.0), "{refused:?}");
    // Other hosts ask for nothing.
    assert_eq!(site.curl("b.test", None, &[]), 200);
    assert_eq!(backend.last().header("ssl-client-verify"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_is_told_and_no_client_can_say_it_itself() {
    let backend = Backend::start("one").await;
    let all = "[ssl-client-verify, ssl-client-subject-dn, ssl-client-issuer-dn, ssl-client-serial, \
               ssl-client-fingerprint, ssl-client-cert, x-forwarded-client-cert]";
    let site = Files::new().start(
        &format!("{{mode: optional, ca: ca.pem, crl: crl.pem, headers: {all}}}"),
        &backend,
    );
    let forged = [
        "-H",
        "ssl-client-verify: SUCCESS",
        "-H",
        "SSL_CLIENT_VERIFY: SUCCESS",
        "-H",
        "Ssl-Client-Subject-DN: CN=admin",
        "-H",
        "ssl-client-cert: x",
        "-H",
        "X-Forwarded-Client-Cert: Hash=0",
        "-H",
        "X-SSL-Client-S-DN: CN=admin",
        "-H",
        "X-Client-Cert: x",
    ];
    for protocol in ["--http1.1", "--http2"] {
        let forged = [&forged[..], &[protocol]].concat();
        assert_eq!(site.curl("a.test", Some("good"), &forged), 200);
        let seen = backend.last();
        let count = |name: &str| {
            let alike = |known: &&http::HeaderName| known.as_str().replace('_', "-") == name;
            seen.headers.keys().filter(alike).count()
        };
        for (name, value) in [
            ("ssl-client-verify", "SUCCESS"),
            ("ssl-client-subject-dn", "CN=good\\, client"),
            ("ssl-client-issuer-dn", "CN=clients"),
            ("ssl-client-serial", "07"),
        ] {
            assert_eq!(seen.header(name), value, "{name}");
            assert_eq!(seen.headers.get_all(name).iter().count(), 1, "{name}");
            assert_eq!(count(name), 1, "{name}");
        }
        let pem = fs::read_to_string(site.folder().join("good.crt")).expect("a certificate");
        let escaped = pem
            .replace("\r\n", "\n")
            .replace('\n', "%0A")
            .replace(' ', "%20")
            .replace('/', "%2F")
            .replace('+', "%2B")
            .replace('=', "%3D");
        assert_eq!(seen.header("ssl-client-cert"), escaped);
        let fingerprint = seen.header("ssl-client-fingerprint");
        assert_eq!(fingerprint.len(), 64);
        assert_eq!(
            seen.header("x-forwarded-client-cert"),
            format!("Hash={fingerprint};Subject=\"CN=good\\\\, client\";DNS=7.client.test")
        );
        assert_eq!(seen.header("x-ssl-client-s-dn"), "");
        assert_eq!(seen.header("x-client-cert"), "");
        let line = site.gateway.access_line(seen.header("x-request-id"));
        assert_eq!(line["tls"]["client"]["subject"], "CN=good\\, client");
        assert_eq!(line["tls"]["client"]["fingerprint"], fingerprint);
        assert_eq!(line["tls"]["client"]["names"], "DNS:7.client.test");

        // Without a certificate the backend is told that there is none, and nothing else.
        assert_eq!(site.curl("a.test", None, &forged), 200);
        let seen = backend.last();
        assert_eq!(seen.header("ssl-client-verify"), "NONE");
        for name in [
            "ssl-client-subject-dn",
            "ssl-client-cert",
            "x-forwarded-client-cert",
        ] {
            assert_eq!(seen.header(name), "", "{name}");
        }
        // One that is shown must be good.
        assert_eq!(site.curl("a.test", Some("revoked"), &[protocol]), 0);
        // Where nothing is asked for, a proxy that is trusted may tell.
        assert_eq!(site.curl("b.test", None, &forged), 200);
        assert_eq!(backend.last().header("ssl-client-subject-dn"), "CN=admin");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_list_counts_for_handshakes_sessions_and_open_connections() {
    let backend = Backend::start("one").await;
    let site = Files::new().start("{mode: required, ca: ca.pem, crl: crl.pem}", &backend);
    let open = |h2: bool| {
        let alpn: &[&str] = if h2 { &["h2"] } else { &["http/1.1"] };
        let config = site.site.client_showing(alpn, &site.clients, GOOD);
        Client::tls_with(site.gateway.https(), config, "a.test", h2)
    };
    let mut connections = vec![
        open(false).await.expect("a handshake"),
        open(true).await.expect("a handshake"),
    ];
    for connection in &mut connections {
        assert_eq!(
            connection.get("a.test", "/").await.expect("open").status(),
            200
        );
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let file = format!("session{version}");
        let first = site.openssl("good", &[version, "-sess_out", &file]);
        assert!(first.contains("HTTP/1.1 200"), "{first}");
        let again = site.openssl("good", &[version, "-sess_in", &file]);
        assert!(
            again.contains("Reused") && again.contains("HTTP/1.1 200"),
            "{again}"
        );
    }
    // A list that revokes another leaves everything as it is, but for sessions.
    let file = site.folder().join("crl.pem");
    let expiry = |year: i32| {
        let series = "portcullis_crl_expiry_timestamp_seconds";
        let (_, text) = site.gateway.management("/metrics");
        let seconds = f64::from(year - 1970) * 365.25 * 86_400.0;
        text.lines()
            .find(|line| line.starts_with(series))
            .and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .is_some_and(|told| (told - seconds).abs() < 3.0 * 86_400.0)
    };
    replace(&file, site.clients.revoke(&[5], 2080));
    wait_for("another list", || expiry(2080));
    for connection in &mut connections {
        assert_eq!(
            connection.get("a.test", "/").await.expect("open").status(),
            200
        );
    }
    replace(&file, site.clients.revoke(&[5, 7], 2081));
    wait_for("the list that revokes it", || expiry(2081));
    for connection in &mut connections {
        let answer = connection.get("a.test", "/").await.expect("open");
        assert_eq!(answer.status(), 421);
        let reason = &answer.headers()["x-portcullis-reason"];
        assert_eq!(reason, "tls/client-certificate-revoked");
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let file = format!("session{version}");
        let resumed = site.openssl("good", &[version, "-sess_in", &file]);
        assert!(!resumed.contains("HTTP/1.1 200"), "{resumed}");
        assert!(!resumed.contains("Reused,"), "{resumed}");
    }
    assert_eq!(site.curl("a.test", Some("good"), &[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_past_its_time_refuses_everybody_and_is_told() {
    let backend = Backend::start("one").await;
    let files = Files::new();
    replace(
        &files.folder.path().join("crl.pem"),
        files.clients.revoke(&[], 2022),
    );
    let site = files.start("{mode: required, ca: ca.pem, crl: crl.pem}", &backend);
    assert_eq!(site.curl("a.test", Some("good"), &[]), 0);
    assert_eq!(site.refusals("client-crl-expired"), 1.0);
    let (_, problems) = site.gateway.admin("/config/problems");
    assert!(problems.contains("past its next update"), "{problems}");
    // A list of another authority says nothing of these clients.
    let other = Authority::named("elsewhere").revoke(&[], 2090);
    replace(&site.folder().join("crl.pem"), other);
    wait_for("the other list", || {
        !site
            .gateway
            .admin("/config/problems")
            .1
            .contains("past its next update")
    });
    assert_eq!(site.curl("a.test", Some("good"), &[]), 0);
    assert_eq!(site.refusals("client-crl-missing"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_later_leaves_its_last_good_version_in_force() {
    let backend = Backend::start("one").await;
    let site = Files::new().start("{mode: required, ca: ca.pem, crl: crl.pem}", &backend);
    let holds = || {
        assert_eq!(site.curl("a.test", Some("good"), &[]), 200);
        assert_eq!(site.curl("a.test", Some("revoked"), &[]), 0);
        assert_eq!(site.curl("a.test", Some("stranger"), &[]), 0);
        assert_eq!(site.curl("a.test", None, &[]), 0);
    };
    for (file, broken) in [
        ("crl.pem", Some("garbage")),
        ("crl.pem", None),
        ("ca.pem", Some("")),
        ("ca.pem", None),
    ] {
        let path = site.folder().join(file);
        let good = fs::read(&path).expect("it is there");
        match broken {
            Some(text) => replace(&path, text),
            None => fs::remove_file(&path).expect("it is there"),
        }
        wait_for("the problem", || {
            site.gateway
                .admin("/config/problems")
                .1
                .contains("last good version")
        });
        // Counted after it can be seen.
        wait_for("its count", || {
            let name = "portcullis_config_problems{severity=\"error\"}";
            site.gateway.metric(name) == Some(1.0)
        });
        holds();
        // A change of the configuration is taken over all the same.
        let changed = yaml("{mode: required, ca: ca.pem, crl: crl.pem}", &backend);
        site.gateway
            .reload(&format!("# {file} {broken:?}\n{changed}"));
        holds();
        replace(&path, good);
        wait_for("mending", || {
            !site
                .gateway
                .admin("/config/problems")
                .1
                .contains("last good version")
        });
        holds();
    }
}

#[test]
fn without_the_files_nothing_starts() {
    let files = Files::new();
    let folder = files.folder.path();
    fs::write(folder.join("garbage"), "garbage").expect("writable");
    let listener = "listeners: [{name: https, protocol: https, address: '127.0.0.1:0', tls: {clientCertificates: CLIENTS}}]
certificates: [{name: site, certificate: site.crt, key: site.key}]
";
    for (clients, place) in [
        ("{mode: required, ca: none.pem}", "clientCertificates.ca"),
        ("{mode: optional, ca: garbage}", "clientCertificates.ca"),
        (
            "{mode: required, ca: ca.pem, crl: none.pem}",
            "clientCertificates.crl",
        ),
        (
            "{mode: required, ca: ca.pem, crl: ca.pem}",
            "clientCertificates.crl",
        ),
    ] {
        let yaml = listener.replace("CLIENTS", clients);
        fs::write(folder.join("a.yaml"), yaml).expect("writable");
        let output = Command::new(portcullis())
            .args(["check", "a.yaml"])
            .current_dir(folder)
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{clients}: {text}");
        assert!(
            text.contains("a.yaml:1:") && text.contains(place),
            "{clients}: {text}"
        );
    }
}
