//! Sessions that are taken up again, by another gateway with the same key and by no other.

use std::{fs, process::Command};

use portcullis_tests::{Authority, Gateway, replace, wait_for};

const CONFIG: &str = "
listeners: [{name: https, protocol: https, address: '127.0.0.1:0', tls: {ticketKeys: [current, previous]}}]
certificates: [{name: shop, certificate: shop.crt, key: shop.key}]
routes: [{name: any, rules: [{redirect: {host: b.test}}]}]
";

fn key(seed: u8, length: u8) -> Vec<u8> {
    (0..length)
        .map(|byte| byte.wrapping_mul(7) ^ seed)
        .collect()
}

fn gateway(authority: &Authority, current: &[u8], previous: &[u8], config: &str) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "shop", &["shop.test"]);
    replace(&folder.path().join("current"), current);
    replace(&folder.path().join("previous"), previous);
    replace(
        &folder.path().join("request"),
        "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
    );
    Gateway::start_in(folder, config, &[])
}

fn connect(gateway: &Gateway, more: &[&str]) -> String {
    let request = fs::File::open(gateway.folder().join("request")).expect("a request");
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &gateway.https().to_string()])
        .args(["-servername", "shop.test", "-ign_eof"])
        .args(more)
        .stdin(request)
        .output()
        .expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("HTTP/1.1 302"), "{text}");
    text
}

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// Begins a session of each version, into files.
fn begin(gateway: &Gateway) -> [String; 2] {
    VERSIONS.map(|version| {
        let file = gateway.folder().join(format!("session{version}"));
        let file = file.to_str().expect("a path").to_owned();
        assert!(connect(gateway, &[version, "-sess_out", &file]).contains("New, TLSv1."));
        file
    })
}

/// Whether a gateway takes them up.
fn takes_up(gateway: &Gateway, sessions: &[String; 2]) -> bool {
    let [first, second] = [0, 1].map(|index| {
        let text = connect(gateway, &[VERSIONS[index], "-sess_in", &sessions[index]]);
        let reused = text.contains("Reused, TLSv1.");
        assert_ne!(reused, text.contains("New, TLSv1."), "{text}");
        reused
    });
    assert_eq!(first, second, "both versions are alike");
    first
}

#[test]
fn gateways_with_one_key_take_up_each_others_sessions_also_after_a_rotation() {
    let authority = Authority::new();
    let (old, new, newest) = (key(1, 80), key(2, 48), key(3, 80));
    let one = gateway(&authority, &old, &old, CONFIG);
    let two = gateway(&authority, &old, &old, CONFIG);
    let foreign = gateway(&authority, &new, &newest, CONFIG);
    let alone = CONFIG.replace(", tls: {ticketKeys: [current, previous]}", "");
    let alone = gateway(&authority, &old, &old, &alone);

    let sessions = begin(&one);
    for (gateway, takes) in [
        (&one, true),
        (&two, true),
        (&foreign, false),
        (&alone, false),
    ] {
        assert_eq!(takes_up(gateway, &sessions), takes);
    }
    let own = begin(&alone);
    assert!(takes_up(&alone, &own));
    assert!(!takes_up(&one, &own));

    let rotate = |current: &[u8], previous: &[u8]| {
        for gateway in [&one, &two] {
            let logged = gateway.log().matches("ticket keys changed").count();
            replace(&gateway.folder().join("previous"), previous);
            replace(&gateway.folder().join("current"), current);
            wait_for("the rotation", || {
                gateway.log().matches("ticket keys changed").count() > logged
            });
        }
    };
    rotate(&new, &old);
    assert!(takes_up(&two, &sessions), "the key of before is known");
    let later = begin(&two);
    assert!(takes_up(&one, &later));
    assert!(
        takes_up(&foreign, &later),
        "it has had this key all the time"
    );
    rotate(&newest, &new);
    assert!(!takes_up(&one, &sessions), "its key is gone");
    assert!(takes_up(&one, &later));
}

#[test]
fn a_key_that_breaks_leaves_those_of_before_in_use_and_none_starts_without() {
    let authority = Authority::new();
    let one = gateway(&authority, &key(1, 80), &key(2, 80), CONFIG);
    let sessions = begin(&one);
    for broken in [&b"short"[..], &[0; 80], b""] {
        replace(&one.folder().join("current"), broken);
        wait_for("the problem", || {
            one.admin("/config/problems")
                .1
                .contains("the keys of before are used")
        });
        assert!(takes_up(&one, &sessions));
        replace(&one.folder().join("current"), key(1, 80));
        wait_for("mending", || {
            !one.admin("/config/problems")
                .1
                .contains("the keys of before are used")
        });
    }
    for (file, reason) in [("current", "has 5 bytes"), ("gone", "No such file")] {
        replace(&one.folder().join("current"), "short");
        let text = CONFIG.replace("[current,", &format!("[{file},"));
        replace(&one.folder().join("a.yaml"), text);
        let output = Command::new(portcullis_tests::portcullis())
            .args(["check", "a.yaml"])
            .current_dir(one.folder())
            .output()
            .expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("tls.ticketKeys[0]") && told.contains(reason),
            "{told}"
        );
        assert!(told.contains("a.yaml:2:"), "{told}");
    }
}
