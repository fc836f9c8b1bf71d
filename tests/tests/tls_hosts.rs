//! TLS settings by host: versions, suites, protocols, and requests for a host on
//! a connection that was made for another.

use std::{process::Command, sync::Arc};

use portcullis_tests::{Authority, Backend, Client, ClientCertificate, Gateway, wait_for};

const HOSTS: [&str; 8] = [
    "open.test",
    "same.test",
    "strict.test",
    "old.test",
    "mtls.test",
    "a.mtls.test",
    "open.mtls.test",
    "x.y.mtls.test",
];

const POLICIES: &str = "
- {name: same, hosts: [same.test]}
- {name: strict, hosts: [strict.test], minVersion: '1.3'}
- name: old
  hosts: [old.test]
  maxVersion: '1.2'
  cipherSuites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]
  alpn: [http/1.1]
- {name: mtls, hosts: [mtls.test, '*.mtls.test'], clientCertificates: {mode: required, ca: ca.pem}}
- {name: excepted, hosts: [open.mtls.test], clientCertificates: {mode: none}}
";

struct Site {
    authority: Authority,
    clients: Authority,
    backend: Backend,
    gateway: Gateway,
}

fn yaml(backend: &Backend, policies: &str) -> String {
    format!(
        "listeners:
- {{name: https, protocol: https, address: '127.0.0.1:0', tls: {{defaultCertificate: site}}}}
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
certificates: [{{name: site, certificate: site.crt, key: site.key}}]
tlsPolicies: {policies}
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- {{name: any, rules: [{{backends: [{{name: one}}]}}]}}
- name: moved
  listeners: [http]
  hosts: [a.mtls.test]
  rules: [{{redirect: {{scheme: https}}}}]
- name: fixed
  hosts: [b.mtls.test]
  rules: [{{respond: {{status: 200, body: secret}}}}]
",
        backend.address
    )
}

async fn site() -> Site {
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "site", &HOSTS);
    portcullis_tests::replace(&folder.path().join("ca.pem"), clients.pem());
    let backend = Backend::start("one").await;
    Site {
        gateway: Gateway::start_in(folder, &yaml(&backend, POLICIES), &[]),
        authority,
        clients,
        backend,
    }
}

impl Site {
    /// A connection with this SNI, or none, and with a certificate where it needs one.
    async fn connect(&self, sni: Option<&str>, h2: bool) -> anyhow::Result<Client> {
        let alpn: &[&str] = if h2 { &["h2"] } else { &["http/1.1"] };
        let shown = ClientCertificate {
            name: "client",
            serial: 7,
            expired: false,
        };
        let config = self.authority.client_showing(alpn, &self.clients, shown);
        let mut config = Arc::unwrap_or_clone(config);
        config.enable_sni = sni.is_some();
        let host = sni.unwrap_or("open.test");
        Client::tls_with(self.gateway.https(), Arc::new(config), host, h2).await
    }

    async fn ask(&self, sni: Option<&str>, host: &str, h2: bool) -> (u16, String) {
        let mut client = self.connect(sni, h2).await.expect("a handshake");
        let response = client.get(host, "/").await.expect("an answer");
        let reason = response.headers().get("x-portcullis-reason");
        let reason = reason.map_or("", |reason| reason.to_str().expect("text"));
        (response.status().as_u16(), reason.to_owned())
    }

    fn openssl(&self, host: &str, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.gateway.https().to_string()])
            .args(["-servername", host])
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_19_a_request_for_a_host_of_other_settings_is_misdirected() {
    let site = site().await;
    for h2 in [false, true] {
        for (sni, host) in [
            ("open.test", "open.test"),
            ("open.test", "OPEN.test."),
            ("open.test", "open.test:8443"),
            // Other hosts with the same settings, said in other words.
            ("open.test", "same.test"),
            ("open.test", "open.mtls.test"),
            ("open.test", "unknown.test"),
            ("mtls.test", "mtls.test"),
            ("mtls.test", "a.mtls.test"),
            ("x.y.mtls.test", "mtls.test"),
            ("strict.test", "strict.test"),
        ] {
            let (status, reason) = site.ask(Some(sni), host, h2).await;
            assert_eq!(status, 200, "{sni} {host} {h2}: {reason}");
        }
        let seen = site.backend.requests();
        for (sni, host) in [
            ("open.test", "mtls.test"),
            ("open.test", "MTLS.test"),
            ("open.test", "mtls.test."),
            ("open.test", "mtls.test:443"),
            ("open.test", "MtLs.TeSt.:8443"),
            ("open.test", "a.mtls.test"),
            ("open.test", "x.y.mtls.test"),
            ("open.test", "strict.test"),
            ("open.test", "old.test"),
            ("strict.test", "open.test"),
            ("mtls.test", "open.test"),
            ("mtls.test", "open.mtls.test"),
            ("open.mtls.test", "mtls.test"),
        ] {
            let (status, reason) = site.ask(Some(sni), host, h2).await;
            assert_eq!(
                (status, &*reason),
                (421, "tls/other-settings"),
                "{sni} {host} {h2}"
            );
        }
        assert_eq!(site.backend.requests(), seen, "no backend saw any of them");
    }
    let counted = site
        .gateway
        .metric("portcullis_refusals_total{reason=\"other-settings\",stage=\"tls\"}");
    assert_eq!(counted, Some(26.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_20_a_client_without_sni_is_served_what_has_the_settings_of_the_listener() {
    let site = site().await;
    for h2 in [false, true] {
        assert_eq!(site.ask(None, "open.test", h2).await.0, 200);
        assert_eq!(site.ask(None, "same.test", h2).await.0, 200);
        for host in ["mtls.test", "strict.test", "x.y.mtls.test"] {
            assert_eq!(site.ask(None, host, h2).await.0, 421, "{host}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sees_the_421_and_the_connection_closes() {
    let site = site().await;
    let resolve = format!("open.test:{}:127.0.0.1", site.gateway.https().port());
    let url = format!("https://open.test:{}/", site.gateway.https().port());
    for flag in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["-sik", flag, "--resolve", &resolve])
            .args(["-H", "Host: mtls.test", &url])
            .output()
            .expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(text.contains(" 421"), "{flag}: {text}");
        assert!(text.contains("tls/other-settings"), "{flag}: {text}");
        assert_eq!(
            text.contains("connection: close"),
            flag == "--http1.1",
            "{flag}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_needs_client_certificates_is_not_served_in_clear() {
    let site = site().await;
    let get = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        portcullis_tests::raw(site.gateway.http(), request.as_bytes())
    };
    for host in [
        "mtls.test",
        "MTLS.test.",
        "x.y.mtls.test",
        "b.mtls.test",
        "mtls.test:80",
    ] {
        let answer = get(host);
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        assert!(answer.contains("tls/clear-text"), "{host}: {answer}");
    }
    // A redirect tells nothing, and is how clients come to https.
    assert!(get("a.mtls.test").starts_with("HTTP/1.1 302"));
    for host in ["open.test", "open.mtls.test", "strict.test"] {
        assert!(get(host).starts_with("HTTP/1.1 200"), "{host}");
    }
    // Who names its listeners means them.
    let named = POLICIES.replace("- {name: mtls,", "- {name: mtls, listeners: [https],");
    site.gateway.reload(&yaml(&site.backend, &named));
    assert!(get("mtls.test").starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_suites_and_protocols_are_those_of_the_host() {
    let site = site().await;
    let strict = site.openssl("strict.test", &["-tls1_2"]);
    assert!(strict.contains("protocol version"), "{strict}");
    assert!(site.openssl("strict.test", &[]).contains("TLSv1.3"));
    assert!(site.openssl("open.test", &["-tls1_2"]).contains("TLSv1.2"));

    let old = site.openssl("old.test", &["-alpn", "h2,http/1.1"]);
    assert!(old.contains("ECDHE-ECDSA-CHACHA20-POLY1305"), "{old}");
    assert!(old.contains("ALPN protocol: http/1.1"), "{old}");
    let newer = site.openssl("old.test", &["-tls1_3"]);
    assert!(newer.contains("protocol version"), "{newer}");
    let suite = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    let other = site.openssl("old.test", &suite);
    assert!(other.contains("handshake failure"), "{other}");
    assert!(
        site.openssl("open.test", &suite)
            .contains("Cipher is ECDHE-ECDSA-AES128")
    );
    let none = site.openssl("old.test", &["-alpn", "h2"]);
    assert!(none.contains("no application protocol"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_is_held_to_the_settings_of_a_reload() {
    let site = site().await;
    for h2 in [false, true] {
        let mut open = site.connect(Some("open.test"), h2).await.expect("open");
        let mut other = site.connect(Some("same.test"), h2).await.expect("open");
        assert_eq!(
            open.get("open.test", "/").await.expect("open").status(),
            200
        );
        assert_eq!(
            other.get("same.test", "/").await.expect("open").status(),
            200
        );
        let tightened = POLICIES.replace(
            "hosts: [same.test]",
            "hosts: [same.test], clientCertificates: {mode: required, ca: ca.pem}",
        );
        site.gateway.reload(&yaml(&site.backend, &tightened));
        assert_eq!(
            other.get("same.test", "/").await.expect("open").status(),
            421
        );
        assert_eq!(
            open.get("same.test", "/").await.expect("open").status(),
            421
        );
        let mut open = site.connect(Some("open.test"), h2).await.expect("open");
        assert_eq!(
            open.get("open.test", "/").await.expect("open").status(),
            200
        );
        site.gateway.reload(&yaml(&site.backend, POLICIES));
        wait_for("the settings of before", || {
            site.openssl("same.test", &[]).contains("Cipher is TLS")
        });
    }
}
