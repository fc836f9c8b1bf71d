//! The examples serve, as far as one machine can: on free ports, with certificates made for them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use portcullis_tests::{
    Authority, Backend, Client, Gateway, TokenIssuer, raw, status_of, wait_for,
};

/// An example with its addresses moved to free ports of this machine.
fn example(name: &str, moves: &[(&str, &str)]) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/examples")).join(name);
    let mut text = fs::read_to_string(path).expect("the example is there");
    for (from, to) in moves {
        assert!(text.contains(from), "{name} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

fn folder() -> tempfile::TempDir {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).expect("writable");
    authority.write(&certs, "tls", &["shop.example.com", "*.shop.example.com"]);
    authority.write(&certs, "gateway", &["gateway.example.com"]);
    fs::write(
        certs.join("affinity.key"),
        "0123456789abcdef0123456789abcdef",
    )
    .expect("writable");
    // No good response: the certificate is served without.
    fs::write(certs.join("tls.ocsp"), "none").expect("writable");
    fs::write(certs.join("internal-ca.crt"), authority.pem()).expect("writable");
    authority.write(&certs, "gateway", &["gateway.internal"]);
    fs::write(certs.join("affinity.key"), "0123456789abcdef\n").expect("writable");
    fs::write(certs.join("clients-ca.crt"), authority.pem()).expect("writable");
    fs::write(certs.join("clients.crl"), authority.revoke(&[], 2090)).expect("writable");
    fs::write(certs.join("workloads-ca.crt"), authority.pem()).expect("writable");
    fs::write(certs.join("egress-ca.crt"), authority.pem()).expect("writable");
    fs::write(certs.join("egress-ca.key"), authority.key_pem()).expect("writable");
    fs::write(certs.join("workloads.crl"), authority.revoke(&[], 2090)).expect("writable");
    fs::write(
        folder.path().join("users.htpasswd"),
        "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
    )
    .expect("writable");
    fs::write(folder.path().join("api-token"), "token\n").expect("writable");
    fs::write(folder.path().join("proxy-credentials"), "user:password\n").expect("writable");
    let keys = TokenIssuer::jwks(&[&TokenIssuer::new("one")]);
    fs::write(folder.path().join("jwks.json"), keys).expect("writable");
    let keys = folder.path().join("keys");
    fs::create_dir(&keys).expect("writable");
    for (name, seed) in [("current", 7), ("previous", 11)] {
        let bytes: Vec<u8> = (0..80u8).map(|byte| byte.wrapping_mul(seed)).collect();
        fs::write(keys.join(name), bytes).expect("writable");
    }
    fs::create_dir(folder.path().join("rules")).expect("writable");
    fs::create_dir(folder.path().join("logs")).expect("writable");
    fs::create_dir(folder.path().join("pages")).expect("writable");
    fs::write(
        folder.path().join("pages/error.html"),
        "<h1>${status} ${error}</h1>",
    )
    .expect("writable");
    fs::write(
        folder.path().join("rules/shop.conf"),
        "SecRule REQUEST_HEADERS:X-Shop \"@streq closed\" \"id:10002,phase:1,deny,status:403\"\n",
    )
    .expect("writable");
    fs::write(
        folder.path().join("rules/admin.conf"),
        "SecRule ARGS:debug \"@streq on\" \"id:10011,phase:1,deny,status:404\"\n",
    )
    .expect("writable");
    write_rule_set(&folder.path().join("crs"));
    folder
}

/// A rule set with the files and the settings of the CRS.
fn write_rule_set(crs: &Path) {
    for part in ["rules", "plugins"] {
        fs::create_dir_all(crs.join(part)).expect("writable");
    }
    let write = |path: &str, text: &str| fs::write(crs.join(path), text).expect("writable");
    write(
        "crs-setup.conf",
        "SecAction \"id:900990,phase:1,pass,nolog,setvar:tx.crs_setup_version=4000\"\n",
    );
    let setting = |(index, name): (usize, &str)| {
        let id = 901110 + index;
        format!("SecRule &TX:{name} \"@eq 0\" \"id:{id},phase:1,pass,nolog,setvar:tx.{name}=1\"\n")
    };
    let settings = [
        "blocking_paranoia_level",
        "detection_paranoia_level",
        "inbound_anomaly_score_threshold",
        "outbound_anomaly_score_threshold",
    ];
    let settings: String = settings.into_iter().enumerate().map(setting).collect();
    write("rules/REQUEST-901-INITIALIZATION.conf", &settings);
    write(
        "rules/REQUEST-942-APPLICATION-ATTACK-SQLI.conf",
        "SecRule ARGS \"@detectSQLi\" \"id:942100,phase:2,block\"\n",
    );
    write("plugins/empty-config.conf", "");
}

fn get(gateway: &Gateway, listener: &str, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw(
        gateway.at(&format!("listeners/{listener}")),
        request.as_bytes(),
    )
}

#[test]
fn the_quickstart_serves() {
    let yaml = example(
        "quickstart.yaml",
        &[
            (
                "protocol: http #",
                "protocol: http\n    address: 127.0.0.1:0 #",
            ),
            (
                "protocol: https #",
                "protocol: https\n    address: 127.0.0.1:0 #",
            ),
            (
                "- name: proxy #",
                "- name: proxy\n      address: 127.0.0.1:0 #",
            ),
            // Nobody listens there: what reaches the backend is a 502.
            ("127.0.0.1:3000", "127.0.0.1:1"),
        ],
    );
    let gateway = Gateway::start_in(folder(), &yaml, &[]);
    let status = |path| status_of(&get(&gateway, "http", "shop.example.com", path));
    assert_eq!(status("/"), 502);
    assert_eq!(status("/?q=%3Cscript%3Ealert(1)%3C/script%3E"), 403);
    let burst: Vec<u16> = (0..60).map(|_| status("/")).collect();
    assert!(burst.contains(&429), "{burst:?}");
    assert!(gateway.try_at("listeners/https").is_some());
    let proxy = gateway.at("egress/proxy");
    let refused = raw(proxy, b"CONNECT api.github.com:443 HTTP/1.1\r\nHost: api.github.com:443\r\nConnection: close\r\n\r\n");
    // The example is for workloads of 10.0.0.0/8, and this machine is none.
    assert_eq!(status_of(&refused), 403, "{refused}");
}

#[test]
fn the_full_example_serves() {
    let yaml = example(
        "full.yaml",
        &[
            ("\"[::]:8080\"", "127.0.0.1:0"),
            ("\"[::]:8443\"", "127.0.0.1:0"),
            ("10.0.0.10:8081", "127.0.0.1:0"),
            ("10.0.0.10:5432", "127.0.0.1:0"),
            ("10.0.0.10:53\n", "127.0.0.1:0\n"),
            ("\"[::]:3128\"", "127.0.0.1:0"),
            ("\"[::]:3129\"", "127.0.0.1:0"),
            ("\"[::]:9090\"", "127.0.0.1:0"),
            ("127.0.0.1:9091", "127.0.0.1:0"),
            ("access: stdout", "access: access.log"),
            // Pods are known where there is a cluster.
            (
                "    pods: # those of the cluster are known, with `run --kubernetes`; default: they are not\n      \
                 maxStale: 10m # how long that counts while the API server is not reached; default 10m\n",
                "",
            ),
            (
                "          podLabels: {app: runner} # of its pod, with `identity.pods`; default: any\n",
                "",
            ),
            // Nobody is asked: no server is there.
            (
                "[10.96.0.10:53] # default: those of the system, with",
                "['127.0.0.1:9'] # default: those of the system, with",
            ),
        ],
    );
    let gateway = Gateway::start_in(folder(), &yaml, &[]);
    let redirect = get(&gateway, "http", "shop.example.com", "/x?y=1");
    assert_eq!(status_of(&redirect), 308, "{redirect}");
    assert!(
        redirect.contains("https://shop.example.com/x?y=1"),
        "{redirect}"
    );
    // A route that names the host goes before the one for every host.
    let moved = get(&gateway, "http", "old.example.com", "/x?y=1");
    assert_eq!(status_of(&moved), 301, "{moved}");
    assert!(
        moved.contains("https://shop.example.com:8443/welcome?y=1"),
        "{moved}"
    );
    let admin = get(&gateway, "http", "admin.example.com", "/");
    assert_eq!(
        status_of(&admin),
        403,
        "nobody here is in the office: {admin}"
    );
    // The egress proxy shows first that it refuses.
    wait_for("readiness", || gateway.management("/readyz").0 == 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_kubernetes_api_server_lets_in_who_is_allowed() {
    let inner = Authority::named("kubernetes");
    let server = inner.server(&["kube.example.com"], &["h2", "http/1.1"]);
    let server = Backend::start_tls("apiserver", server).await;
    // The second and third server of the control plane are down.
    let server_at = server.address.to_string();
    let moves = [
        (
            "protocol: https #",
            "protocol: https\n    address: 127.0.0.1:0 #",
        ),
        ("10.0.0.11:6443", server_at.as_str()),
        ("10.0.0.12:6443", "127.0.0.1:1"),
        ("10.0.0.13:6443", "127.0.0.1:2"),
    ];
    let denied = example("kube-api.yaml", &moves);
    let gateway = Gateway::start_in(folder(), &denied, &[]);
    let connect = |h2| Client::tls(gateway.https(), &inner, "kube.example.com", h2);
    assert!(
        connect(true).await.is_err(),
        "nobody here is an administrator"
    );
    assert_eq!(server.requests(), 0);
    gateway.reload(&denied.replace("203.0.113.0/24", "127.0.0.0/8"));
    for h2 in [false, true] {
        let mut client = connect(h2).await.expect("the API server's own certificate");
        let answer = client.get("kube.example.com", "/version").await;
        assert_eq!(answer.expect("an answer").body(), "apiserver /version");
    }
    // Another name is no way in.
    let other = Client::tls(gateway.https(), &inner, "other.example.com", true).await;
    assert!(other.is_err());
}

#[test]
fn the_egress_example_serves() {
    let yaml = example(
        "egress.yaml",
        &[(
            "- name: proxy #",
            "- name: proxy\n      address: 127.0.0.1:0 #",
        )],
    );
    let gateway = Gateway::start_in(folder(), &yaml, &[]);
    let answer = raw(
        gateway.at("egress/proxy"),
        b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
    );
    // This machine is in no policy.
    assert_eq!(status_of(&answer), 403, "{answer}");
    assert!(answer.contains("egress/no_policy"), "{answer}");
}
