//! What is sent with a certificate: its issuers in order, and an OCSP response
//! while there is a good one.

use std::{fs, path::Path, process::Command};

use portcullis_tests::{Authority, Gateway, replace, wait_for};

const CONFIG: &str = "
listeners: [{name: https, protocol: https, address: '127.0.0.1:0'}]
certificates: [{name: shop, certificate: shop.crt, key: shop.key, ocsp: shop.ocsp}]
routes: [{name: any, rules: [{redirect: {host: b.test}}]}]
";

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn client(gateway: &Gateway, more: &[&str]) -> String {
    let address = gateway.https().to_string();
    let arguments = ["s_client", "-connect", &address, "-servername", "shop.test"];
    openssl(gateway.folder(), &[&arguments, more].concat())
}

/// Has an authority's responder write what it has to say of `about`.
fn respond(folder: &Path, about: &str, revoked: bool, more: &[&str]) {
    let serial = openssl(folder, &["x509", "-in", about, "-noout", "-serial"]);
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    let line = match revoked {
        true => format!("R\t401231235959Z\t250101000000Z\t{serial}\tunknown\t/CN=shop\n"),
        false => format!("V\t401231235959Z\t\t{serial}\tunknown\t/CN=shop\n"),
    };
    fs::write(folder.join("index.txt"), line).expect("writable");
    let files = ["-index", "index.txt", "-CA", "ca.pem", "-issuer", "ca.pem"];
    let signer = ["-rsigner", "ca.pem", "-rkey", "ca.key"];
    let out = ["-cert", about, "-respout", "made.ocsp"];
    let made = openssl(
        folder,
        &[&["ocsp"], &files[..], &signer, &out, more].concat(),
    );
    let bytes = fs::read(folder.join("made.ocsp")).unwrap_or_else(|_| panic!("{made}"));
    replace(&folder.join("shop.ocsp"), bytes);
}

/// The response in force with another time of its next update. No signature is
/// good for it, which is for clients to see.
fn with_next_update(folder: &Path, time: &[u8]) -> Vec<u8> {
    let mut response = fs::read(folder.join("shop.ocsp")).expect("a response");
    // Produced at, this update, next update: each a GeneralizedTime of 15 bytes.
    let at = response
        .windows(2)
        .enumerate()
        .filter(|(_, tag)| *tag == [0x18, 15])
        .nth(2)
        .expect("three times")
        .0;
    response[at + 2..at + 17].copy_from_slice(time);
    response
}

/// A folder with a site's certificate and its authority's files.
fn folder(authority: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "shop", &["shop.test"]);
    authority.write(folder.path(), "other", &["other.test"]);
    replace(&folder.path().join("ca.pem"), authority.pem());
    replace(&folder.path().join("ca.key"), authority.key_pem());
    folder
}

#[test]
fn ing_16_a_bundle_in_any_order_is_sent_leaf_first_and_then_its_issuers() {
    let root = Authority::named("root");
    let middle = root.intermediate("middle");
    let folder = folder(&middle);
    let leaf = fs::read_to_string(folder.path().join("shop.crt")).expect("a certificate");
    let bundle = root.pem() + &middle.pem() + &leaf;
    replace(&folder.path().join("shop.crt"), &bundle);
    replace(&folder.path().join("root.pem"), root.pem());
    let config = CONFIG.replace(", ocsp: shop.ocsp", "");
    let gateway = Gateway::start_in(folder, &config, &[]);
    let text = client(&gateway, &["-showcerts", "-CAfile", "root.pem"]);
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    let sent: Vec<&str> = text.matches("-----BEGIN CERTIFICATE-----").collect();
    assert_eq!(sent.len(), 3, "{text}");
    let positions: Vec<_> = ["i:CN = middle", "i:CN = root"]
        .map(|issuer| text.find(issuer).expect(issuer))
        .into();
    assert!(positions.is_sorted(), "{text}");

    // Without the certificate of the key, and with the key of an authority.
    for (file, text, reason) in [
        (
            "shop.crt",
            root.pem() + &middle.pem(),
            "no certificate in it is that of the key",
        ),
        ("shop.key", middle.key_pem(), "that of an authority"),
    ] {
        replace(&gateway.folder().join(file), text);
        if file == "shop.key" {
            replace(&gateway.folder().join("shop.crt"), &bundle);
        }
        wait_for(reason, || {
            gateway.admin("/config/problems").1.contains(reason)
        });
        let text = client(&gateway, &["-CAfile", "root.pem"]);
        assert!(
            text.contains("Verify return code: 0 (ok)"),
            "the last good one: {text}"
        );
    }
}

#[test]
fn a_good_ocsp_response_is_stapled_and_no_other() {
    let authority = Authority::new();
    let folder = folder(&authority);
    respond(folder.path(), "shop.crt", false, &["-ndays", "7"]);
    let gateway = Gateway::start_in(folder, CONFIG, &[]);
    let stapled = || {
        let text = client(&gateway, &["-status"]);
        let is_there = text.contains("OCSP Response Status: successful");
        assert_ne!(is_there, text.contains("no response sent"), "{text}");
        is_there
    };
    let problems = || gateway.admin("/config/problems").1;
    assert!(stapled());
    assert!(!problems().contains("ocsp"), "{}", problems());
    let expiry = gateway.metric("portcullis_ocsp_expiry_timestamp_seconds{certificate=\"shop\"}");
    assert!(expiry > Some(0.0), "{expiry:?}");

    // A broken file, and one that is about another: the response of before goes on.
    replace(&gateway.folder().join("shop.ocsp"), "garbage");
    wait_for("garbage", || problems().contains("no OCSP response in DER"));
    assert!(stapled());
    respond(gateway.folder(), "other.crt", false, &["-ndays", "7"]);
    wait_for("another's", || {
        problems().contains("is not about this certificate")
    });
    assert!(stapled());
    // A revoked one is not hidden behind it.
    respond(gateway.folder(), "shop.crt", true, &["-ndays", "7"]);
    wait_for("a revoked one", || problems().contains("is revoked"));
    assert!(!stapled());
    respond(gateway.folder(), "shop.crt", false, &["-ndays", "7"]);
    wait_for("a good one", || !problems().contains("ocsp"));
    assert!(stapled());

    // A response that grows old while nothing changes is not sent any more.
    let soon = Command::new("date")
        .args(["-u", "-d", "+3 seconds", "+%Y%m%d%H%M%SZ"])
        .output()
        .expect("date runs");
    replace(
        &gateway.folder().join("shop.ocsp"),
        with_next_update(gateway.folder(), soon.stdout.trim_ascii()),
    );
    let series = "portcullis_ocsp_expiry_timestamp_seconds{certificate=\"shop\"}";
    wait_for("a short one", || gateway.metric(series) < expiry);
    wait_for("its end", || !stapled());
    assert!(!problems().contains("ocsp"), "{}", problems());
    // The certificate is served all the same, and another one has no response.
    authority.write(gateway.folder(), "shop", &["shop.test"]);
    wait_for("another certificate", || {
        problems().contains("is not about this certificate")
    });
    assert!(!stapled());
    assert!(problems().contains("nothing is stapled"), "{}", problems());
}
