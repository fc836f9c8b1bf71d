//! Certificates by SNI, versions, rotation, and what one bad certificate does to others.

use std::{fs, process::Command, time::Duration};

use portcullis_tests::{Authority, Backend, Client, Gateway, wait_for};
use rustls::{AlertDescription, Error as TlsError};

/// A gateway with certificates for `shop.example`, `*.wild.example` and a default one.
struct Site {
    authority: Authority,
    gateway: Gateway,
}

const RULES: &str = "
routes:
- name: any
  rules: [{backends: [{name: one}]}]
";

fn config(backend: &Backend, tls: &str, certificates: &[&str]) -> String {
    let certificates: String = certificates
        .iter()
        .map(|name| format!("- {{name: {name}, certificate: {name}.crt, key: {name}.key}}\n"))
        .collect();
    format!(
        "listeners: [{{name: https, protocol: https, address: '127.0.0.1:0', tls: {tls}}}]
certificates:
{certificates}backends: [{{name: one, endpoints: [{{address: {}}}]}}]
{RULES}",
        backend.address
    )
}

async fn site(tls: &str) -> Site {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "shop", &["shop.example"]);
    authority.write(
        folder.path(),
        "wild",
        &["*.wild.example", "deep.wild.example"],
    );
    authority.write(folder.path(), "fallback", &["fallback.example"]);
    let backend = Backend::start("one").await;
    let yaml = config(&backend, tls, &["shop", "wild", "fallback"]);
    Site {
        authority,
        gateway: Gateway::start_in(folder, &yaml, &[]),
    }
}

impl Site {
    /// Whether a client that asks for a host trusts what it gets.
    async fn reaches(&self, host: &str, h2: bool) -> anyhow::Result<()> {
        let mut client = Client::tls(self.gateway.https(), &self.authority, host, h2).await?;
        let response = client.get(host, "/").await?;
        anyhow::ensure!(response.status() == 200, "{}", response.status());
        Ok(())
    }

    /// What `openssl s_client` prints.
    fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.gateway.https().to_string()])
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }
}

fn alert(error: &anyhow::Error) -> Option<AlertDescription> {
    let io = error.downcast_ref::<std::io::Error>()?;
    match io.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_chosen_by_name_then_by_wildcard() {
    let site = site("{}").await;
    for h2 in [false, true] {
        for host in ["shop.example", "a.wild.example", "deep.wild.example"] {
            site.reaches(host, h2)
                .await
                .unwrap_or_else(|error| panic!("{host}: {error}"));
        }
        // One label only, and no default: the handshake ends with the alert of RFC 6066.
        for host in ["a.b.wild.example", "other.example", "wild.example"] {
            let error = site.reaches(host, h2).await.expect_err(host);
            assert_eq!(
                alert(&error),
                Some(AlertDescription::UnrecognisedName),
                "{host}: {error}"
            );
        }
    }
    assert!(
        site.openssl(&["-noservername"]).contains("alert"),
        "no name and no default ends in an alert"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_gets_the_default_certificate_where_there_is_one() {
    let site = site("{defaultCertificate: fallback}").await;
    for arguments in [vec!["-servername", "other.example"], vec!["-noservername"]] {
        let text = site.openssl(&[&arguments[..], &["-showcerts"]].concat());
        let leaf = text.split_once("-----BEGIN").expect("a certificate").1;
        let leaf = format!("-----BEGIN{leaf}");
        let end = leaf.find("-----END CERTIFICATE-----").expect("an end") + 25;
        let served = &leaf[..end];
        let file = fs::read_to_string(site.gateway.folder().join("fallback.crt"))
            .expect("it is there")
            .replace('\r', "");
        assert_eq!(served, file.trim_end(), "{arguments:?}");
    }
    site.reaches("shop.example", true).await.expect("its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_and_the_least_is_a_setting() {
    let name = ["-servername", "shop.example"];
    let both = site("{}").await;
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let text = both.openssl(&[&name[..], &[flag, "-alpn", "h2,http/1.1"]].concat());
        assert!(
            text.contains(version) && text.contains("ALPN protocol: h2"),
            "{text}"
        );
    }
    for flag in ["-tls1_1", "-tls1"] {
        let text = both.openssl(&[&name[..], &[flag]].concat());
        assert!(text.contains("Cipher is (NONE)"), "{flag}: {text}");
    }
    let newest = site("{minVersion: '1.3'}").await;
    let text = newest.openssl(&[&name[..], &["-tls1_2"]].concat());
    assert!(text.contains("protocol version"), "{text}");
    assert!(newest.openssl(&name).contains("TLSv1.3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_or_key_hurts_no_other_host() {
    let site = site("{}").await;
    let folder = site.gateway.folder();
    let (good, _) = site.authority.sign(&["shop.example"]);
    let key = fs::read_to_string(folder.join("wild.key")).expect("a key");
    for (what, certificate) in [
        ("garbage", "no certificate".to_owned()),
        ("empty", String::new()),
        ("a key that is another's", good),
    ] {
        let refused = site
            .gateway
            .metric("portcullis_reloads_total{outcome=\"refused\"}");
        fs::write(folder.join("shop.crt"), certificate).expect("writable");
        fs::write(folder.join("shop.key"), &key).expect("writable");
        wait_for(what, || {
            let (_, problems) = site.gateway.admin("/config/problems");
            problems.contains("shop")
        });
        assert_eq!(
            site.gateway
                .metric("portcullis_reloads_total{outcome=\"refused\"}"),
            refused,
            "a bad certificate refuses no configuration"
        );
        // The other host serves; the broken one keeps the last good certificate.
        site.reaches("a.wild.example", true)
            .await
            .expect("not its business");
        site.reaches("shop.example", true)
            .await
            .expect("the last good one");
    }
    site.authority.write(folder, "shop", &["shop.example"]);
    wait_for("mending", || {
        !site.gateway.admin("/config/problems").1.contains("shop")
    });
    site.reaches("shop.example", false).await.expect("mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_never_good_is_told_and_its_host_alone_fails() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "wild", &["*.wild.example"]);
    authority.write(folder.path(), "shop", &["shop.example"]);
    fs::write(folder.path().join("shop.crt"), "garbage").expect("writable");
    let backend = Backend::start("one").await;
    let gateway = Gateway::start_in(folder, &config(&backend, "{}", &["shop", "wild"]), &[]);
    let site = Site { authority, gateway };
    site.reaches("a.wild.example", true)
        .await
        .expect("it is good");
    let error = site.reaches("shop.example", true).await.expect_err("none");
    assert_eq!(alert(&error), Some(AlertDescription::UnrecognisedName));
    let (_, problems) = site.gateway.admin("/config/problems");
    assert!(problems.contains("shop.crt"), "{problems}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_certificate_is_served_and_open_connections_stay() {
    let site = site("{}").await;
    let mut open = Client::tls(site.gateway.https(), &site.authority, "shop.example", true)
        .await
        .expect("a connection");
    let fingerprint = || {
        let text = site.openssl(&["-servername", "shop.example", "-showcerts"]);
        let from = text.find("-----BEGIN").expect("a certificate");
        let to = text.find("-----END").expect("a certificate");
        text[from..to].to_owned()
    };
    let first = fingerprint();
    site.authority
        .write(site.gateway.folder(), "shop", &["shop.example"]);
    wait_for("the new certificate", || fingerprint() != first);
    assert_eq!(
        open.get("shop.example", "/").await.expect("open").status(),
        200
    );
    assert!(!open.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_of_a_certificate_are_told() {
    let site = site("{}").await;
    let (_, text) = site.gateway.management("/metrics");
    assert!(
        text.lines().any(|line| line
            .starts_with("portcullis_certificate_expiry_timestamp_seconds{certificate=\"shop\"}")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_ended_and_garbage_too() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "shop", &["shop.example"]);
    let backend = Backend::start("one").await;
    let yaml = config(&backend, "{}", &["shop"]).replace(
        "protocol: https,",
        "protocol: https, limits: {handshakeTimeout: 300ms},",
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let silent = portcullis_tests::Raw::connect(gateway.https());
    let mut garbage = portcullis_tests::Raw::connect(gateway.https());
    garbage.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    // A byte now and then resets no deadline.
    let mut slow = portcullis_tests::Raw::connect(gateway.https());
    for _ in 0..5 {
        slow.send(b"\x16").pause(Duration::from_millis(100));
    }
    for mut connection in [silent, garbage, slow] {
        assert!(connection.ends(), "the gateway ends it");
    }
    let site = Site { authority, gateway };
    site.reaches("shop.example", true)
        .await
        .expect("others go on");
}
