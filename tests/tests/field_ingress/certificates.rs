//! Which certificate a name gets, and whom a bad one hurts.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_tests::{Authority, Backend, Client, Gateway, wait_for};

/// The certificate that a name is served, by its fingerprint; empty where the
/// handshake fails.
fn served(gateway: SocketAddr, name: &str) -> String {
    let script = format!(
        "openssl s_client -connect {gateway} -servername {name} </dev/null 2>/dev/null \
         | openssl x509 -noout -fingerprint -sha256 2>/dev/null"
    );
    let output = Command::new("sh").arg("-c").arg(script).output();
    String::from_utf8_lossy(&output.expect("openssl runs").stdout).into_owned()
}

fn of_file(path: &Path) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(path)
        .output();
    String::from_utf8_lossy(&output.expect("openssl runs").stdout).into_owned()
}

fn config(backend: &Backend, tls: &str, certificates: &[&str]) -> String {
    let certificates: Vec<_> = certificates
        .iter()
        .map(|name| {
            let (file, hosts) = name.split_once(' ').unwrap_or((name, ""));
            format!("{{name: {file}, certificate: {file}.crt, key: {file}.key{hosts}}}")
        })
        .collect();
    format!(
        r"
listeners: [{{name: https, protocol: https, address: '127.0.0.1:0', tls: {tls}}}]
certificates: [{}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        certificates.join(", "),
        backend.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_14_one_bad_certificate_leaves_every_other_untouched() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["good1", "good2", "late", "fallback"] {
        authority.write(folder.path(), name, &[&format!("{name}.test")]);
    }
    let names = ["good1", "good2", "fallback", "bad , hosts: [bad.test]"];
    let tls = "{defaultCertificate: fallback}";
    let yaml = config(&backend, tls, &names);
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let folder = gateway.folder();
    let fallback = of_file(&folder.join("fallback.crt"));
    let good = ["good1", "good2"].map(|name| of_file(&folder.join(format!("{name}.crt"))));
    let mut open = Client::tls(gateway.https(), &authority, "good1.test", true)
        .await
        .expect("a connection");
    let (chain, key) = authority.sign(&["bad.test"]);
    let (_, another) = authority.sign(&["bad.test"]);
    let der = {
        fs::write(folder.join("some.pem"), &chain).expect("writable");
        let output = Command::new("openssl")
            .args(["x509", "-outform", "DER", "-in"])
            .arg(folder.join("some.pem"))
            .output();
        output.expect("openssl runs").stdout
    };
    let encrypted = {
        fs::write(folder.join("some.key"), &key).expect("writable");
        let output = Command::new("openssl")
            .args([
                "pkcs8",
                "-topk8",
                "-v2",
                "aes-256-cbc",
                "-passout",
                "pass:x",
                "-in",
            ])
            .arg(folder.join("some.key"))
            .output();
        output.expect("openssl runs").stdout
    };
    assert!(String::from_utf8_lossy(&encrypted).contains("ENCRYPTED"));
    for (what, certificate, key) in [
        ("missing", None, None),
        (
            "another's key",
            Some(chain.as_bytes()),
            Some(another.as_bytes()),
        ),
        ("garbage", Some(b"garbage".as_slice()), Some(key.as_bytes())),
        ("empty", Some(b"".as_slice()), Some(key.as_bytes())),
        ("key only", None, Some(key.as_bytes())),
        ("certificate only", Some(chain.as_bytes()), None),
        ("DER", Some(der.as_slice()), Some(key.as_bytes())),
        (
            "encrypted key",
            Some(chain.as_bytes()),
            Some(encrypted.as_slice()),
        ),
    ] {
        for (ending, content) in [("crt", certificate), ("key", key)] {
            let file = folder.join(format!("bad.{ending}"));
            match content {
                Some(content) => fs::write(&file, content).expect("writable"),
                None => drop(fs::remove_file(&file)),
            }
        }
        // A change beside it is taken, so the bad one was read by then.
        gateway.reload(&format!("{yaml}# {what}\n"));
        let (_, problems) = gateway.admin("/config/problems");
        assert!(problems.contains("bad."), "{what}: {problems}");
        for (name, expected) in ["good1", "good2"].iter().zip(&good) {
            let found = served(gateway.https(), &format!("{name}.test"));
            assert_eq!(&found, expected, "{what}: {name}");
        }
        let found = served(gateway.https(), "bad.test");
        assert_eq!(found, fallback, "{what}");
        let answer = open.get("good1.test", "/").await.expect("open");
        assert_eq!(answer.status(), 200, "{what}");
    }
    // Others go on being added while it is bad.
    let more: Vec<&str> = names.iter().copied().chain(["late"]).collect();
    gateway.reload(&config(&backend, tls, &more));
    let late = of_file(&folder.join("late.crt"));
    assert_eq!(served(gateway.https(), "late.test"), late);
    // A good pair is taken, and stays when it is broken again.
    authority.write(folder, "bad", &["bad.test"]);
    let mended = of_file(&folder.join("bad.crt"));
    wait_for("the good pair", || {
        served(gateway.https(), "bad.test") == mended
    });
    fs::write(folder.join("bad.crt"), "garbage").expect("writable");
    gateway.reload(&format!("{yaml}# again\n"));
    assert_eq!(served(gateway.https(), "bad.test"), mended);
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_17_a_name_gets_the_certificate_that_was_declared_for_it() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "s1", &["a.example.test", "*.example.test"]);
    authority.write(folder.path(), "s2", &["b.example.test", "*.example.test"]);
    authority.write(folder.path(), "fallback", &["fallback.test"]);
    let [s1, s2, fallback] =
        ["s1", "s2", "fallback"].map(|name| of_file(&folder.path().join(format!("{name}.crt"))));
    let declared = [
        "s1 , hosts: [a.example.test]",
        "s2 , hosts: [b.example.test]",
    ];
    let tls = "{defaultCertificate: fallback}";
    let gateway = Gateway::start_in(
        folder,
        &config(&backend, tls, &[declared[0], declared[1], "fallback"]),
        &[],
    );
    for order in [[0, 1], [1, 0]] {
        for round in 0..3 {
            let names = order.map(|n| declared[n]);
            let yaml = config(&backend, tls, &[names[0], "fallback", names[1]]);
            gateway.reload(&format!("{yaml}# {order:?} {round}\n"));
            for (name, expected) in [
                ("a.example.test", &s1),
                ("b.example.test", &s2),
                ("c.example.test", &fallback),
            ] {
                let found = served(gateway.https(), name);
                assert_eq!(&found, expected, "{order:?} {round} {name}");
            }
        }
    }
}

/// An Ingress of a month of 2026 for `a.test` that names the Secret `s`, in a namespace and with
/// a certificate.
fn object(namespace: &str, month: u8, (certificate, key): &(String, String)) -> String {
    let [certificate, key] = [certificate, key].map(|text| BASE64_STANDARD.encode(text));
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: i{month}, namespace: {namespace}, creationTimestamp: '2026-0{month}-01T00:00:00Z'}}
spec:
  tls: [{{hosts: [a.test], secretName: s{month}}}]
  rules: [{{host: a.test, http: {{paths: [{{path: /{month}, pathType: Prefix, backend: {{service: {{name: a, port: {{number: 80}}}}}}}}]}}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: s{month}, namespace: {namespace}}}
data: {{tls.crt: {certificate}, tls.key: {key}}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_17_of_two_secrets_for_a_host_the_one_that_is_valid_is_served() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let past = SystemTime::now() - Duration::from_secs(3600);
    let one = authority.sign(&["a.test"]);
    let two = authority.sign(&["a.test"]);
    let expired = authority.sign_until(&["a.test"], past);
    let of_other = authority.sign(&["b.test"]);
    let broken = ("garbage".to_owned(), "garbage".to_owned());
    let fingerprint = |pair: &(String, String)| {
        let file = folder.path().join("some.pem");
        fs::write(&file, &pair.0).expect("writable");
        of_file(&file)
    };
    let older = "is served with the certificate of Ingress shop/i1, which is older, as long as that is valid";
    let instead =
        "a.test is served by certificate \\\"shop/s2/spare\\\" while this one is not valid";
    let cannot = "this one is not for it and cannot stand in";
    let foreign = "which is older: its certificate comes from that namespace";
    for (first, namespace, second, expected, told) in [
        (&one, "shop", &two, Some(&one), older),
        (&expired, "shop", &two, Some(&two), instead),
        (&broken, "shop", &two, Some(&two), instead),
        (&expired, "shop", &expired, Some(&expired), older),
        (&expired, "shop", &broken, Some(&expired), older),
        (&expired, "shop", &of_other, Some(&expired), cannot),
        (&expired, "other", &two, Some(&expired), foreign),
        // The default one, which is nobody's.
        (&broken, "other", &two, None, foreign),
    ] {
        let gateway = serve(&[object("shop", 1, first), object(namespace, 2, second)]);
        let found = served(gateway.https(), "a.test");
        match expected {
            Some(pair) => assert_eq!(found, fingerprint(pair), "{told}"),
            None => assert!(!found.is_empty() && found != fingerprint(second), "{told}"),
        }
        let (_, problems) = gateway.admin("/config/problems");
        assert!(problems.contains(told), "{told}: {problems}");
    }
    // Time passes, and nothing else.
    let soon = SystemTime::now() + Duration::from_secs(10);
    let expiring = authority.sign_until(&["a.test"], soon);
    let gateway = serve(&[object("shop", 1, &expiring), object("shop", 2, &two)]);
    assert_eq!(
        served(gateway.https(), "a.test"),
        fingerprint(&expiring),
        "too slow to see it"
    );
    let snapshot = gateway.metric("portcullis_config_snapshot");
    wait_for("the one that is valid", || {
        served(gateway.https(), "a.test") == fingerprint(&two)
    });
    assert!(SystemTime::now() >= soon - Duration::from_secs(1));
    assert_eq!(gateway.metric("portcullis_config_snapshot"), snapshot);
}

fn serve(objects: &[String]) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifests = folder.path().join("manifests.yaml");
    fs::write(&manifests, objects.concat()).expect("writable");
    let settings = "listeners: [{name: https, protocol: https, address: '127.0.0.1:0'}]\n";
    let manifests = manifests.display().to_string();
    Gateway::start_in(folder, settings, &["--manifests", &manifests])
}
