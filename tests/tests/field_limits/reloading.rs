//! Changes of files: swaps, halves of a change, what is broken and what is gone.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_tests::{
    Authority, Backend, Client, Gateway, portcullis, status_of, swap_config_map, wait_for,
};

use crate::ask;

/// A version of a configuration: it says its number in a header, and a rule in a file
/// beside it refuses one path.
fn version(backend: &Backend, n: u32) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
management: {{address: '127.0.0.1:0'}}
admin: {{address: '127.0.0.1:0'}}
wafProfiles: [{{name: own, rules: [{{file: rules.conf}}]}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- name: a
  policies: {{waf: {{profile: own}}}}
  rules: [{{backends: [{{name: one}}], responseHeaders: {{set: {{X-Version: '{n}'}}}}}}]
",
        backend.address
    )
}

fn rules(status: u16) -> String {
    format!(
        "SecRule REQUEST_HEADERS:X-Try \"@streq yes\" \"id:10001,phase:1,deny,status:{status}\"\n"
    )
}

fn served(gateway: &Gateway) -> Option<u32> {
    let answer = ask(gateway.http(), "");
    answer.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let named = name.eq_ignore_ascii_case("x-version");
        named.then(|| value.parse().ok()).flatten()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_01_every_swap_of_a_mounted_config_map_is_taken_within_two_seconds() {
    let backend = Backend::start("one").await;
    let memory = Path::new("/dev/shm");
    let mut folders = vec![tempfile::tempdir().expect("a temporary folder")];
    match tempfile::tempdir_in(memory) {
        Ok(folder) => folders.push(folder),
        Err(_) => println!("skipped: /dev/shm is not writable"),
    }
    for folder in folders {
        let mount = folder.path().join("mount");
        fs::create_dir(&mount).expect("writable");
        let swap = |n: u32, status: u16| {
            let files = [
                ("gateway.yaml", version(&backend, n)),
                ("rules.conf", rules(status)),
            ];
            let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
            swap_config_map(&mount, n * 1000 + u32::from(status), &files);
            // A kubelet removes the old data at once.
            let current = fs::read_link(mount.join("..data")).expect("a link");
            for entry in fs::read_dir(&mount).expect("readable").flatten() {
                let name = entry.file_name();
                let old = name.to_string_lossy().starts_with("..") && name != *current;
                if old && entry.path().is_dir() && !entry.path().is_symlink() {
                    fs::remove_dir_all(entry.path()).expect("removable");
                }
            }
        };
        swap(1, 418);
        let gateway = Gateway::run(folder, mount.clone(), &[]);
        assert_eq!(served(&gateway), Some(1));
        let (mut n, mut times) = (1, Vec::new());
        for round in 0..20 {
            // Every fifth time three at once.
            for _ in 0..if round % 5 == 4 { 3 } else { 1 } {
                n += 1;
                swap(n, 418);
                std::thread::sleep(Duration::from_millis(30));
            }
            let swapped = Instant::now();
            wait_for("the new version", || served(&gateway) == Some(n));
            times.push(swapped.elapsed());
        }
        // Another key alone.
        let swapped = Instant::now();
        swap(n, 410);
        let try_it = || status_of(&ask(gateway.http(), "X-Try: yes\r\n"));
        wait_for("the rule", || try_it() == 410);
        times.push(swapped.elapsed());
        // Each was taken; the machine may have been busy with something else for some of them.
        times.sort_unstable();
        assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");
        assert_eq!(served(&gateway), Some(n));
        let refused = r#"portcullis_reloads_total{outcome="refused"}"#;
        assert_eq!(gateway.metric(refused).unwrap_or(0.0), 0.0);
    }
}

/// Runs a gateway that is to end by itself: its code and what it said.
fn fails_to_start(files: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("writable");
    }
    let mut child = Command::new(portcullis())
        .args(["run", "--config", "gateway.yaml"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(fs::File::create(folder.path().join("log")).expect("writable"))
        .spawn()
        .expect("the binary starts");
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut code = None;
    while code.is_none() && Instant::now() < deadline {
        code = child.try_wait().expect("a child can be asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    (code.and_then(|code| code.code()), log)
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_04_what_is_wrong_at_the_first_start_is_told_with_its_place() {
    let backend = Backend::start("one").await;
    let good = version(&backend, 1);
    for (what, yaml, conf, place) in [
        (
            "a port",
            good.replace("protocol: http,", "protocol: http, port: 80,"),
            rules(403),
            "gateway.yaml:2:",
        ),
        (
            "YAML",
            good.replace("routes:", "routes: ["),
            rules(403),
            "gateway.yaml:",
        ),
        (
            "a rule",
            good.clone(),
            "SecRule ARGS \"@nothing x\" \"id:1,phase:1\"\n".into(),
            "rules.conf:1",
        ),
        (
            "no rules",
            good.replace("rules.conf", "none.conf"),
            rules(403),
            "none.conf",
        ),
    ] {
        let (code, log) = fails_to_start(&[("gateway.yaml", &yaml), ("rules.conf", &conf)]);
        assert!(
            code.is_some_and(|code| code != 0),
            "{what}: {code:?}: {log}"
        );
        assert!(log.contains(place), "{what}: {log}");
    }
    // A certificate is its hosts' business alone.
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "good", &["good.test"]);
    fs::write(folder.path().join("bad.crt"), "garbage").expect("writable");
    fs::write(folder.path().join("bad.key"), "garbage").expect("writable");
    fs::write(folder.path().join("rules.conf"), rules(403)).expect("writable");
    let yaml = good.replace(
        "listeners: [",
        "certificates: [{name: good, certificate: good.crt, key: good.key}, {name: bad, certificate: bad.crt, key: bad.key, hosts: [bad.test]}]\nlisteners: [{name: https, protocol: https, address: '127.0.0.1:0'}, ",
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    Client::tls(gateway.https(), &authority, "good.test", true)
        .await
        .expect("its own certificate");
    assert!(gateway.admin("/config/problems").1.contains("bad.crt"));
    assert_eq!(gateway.management("/readyz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_05_a_part_that_is_wrong_lets_the_whole_wait() {
    let backend = Backend::start("one").await;
    let config = |second: &str, fourth: &str, version: u32| {
        let route = |n: u32, path: &str| {
            format!(
                "- {{name: r{n}, hosts: [h{n}.test], rules: [{{matches: [{{path: {{{path}}}}}], policies: {{access: [nobody]}}, backends: [{{name: one}}]}}, {{backends: [{{name: one}}], responseHeaders: {{set: {{X-Version: '{version}'}}}}}}]}}\n"
            )
        };
        let routes: String = (1..=5)
            .map(|n| route(n, if n == 2 { second } else { "prefix: /admin" }))
            .collect();
        format!(
            "listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]\naccessLists: [{{name: nobody, allow: []}}]\nbackends: [{{name: one, endpoints: [{{address: {}}}]}}, {{name: two, endpoints: [{{address: '127.0.0.1:{fourth}'}}]}}]\nroutes:\n{routes}",
            backend.address
        )
    };
    let gateway = Gateway::start(&config("regex: '/admin.*'", "80", 1));
    let status = |n: u32, path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h{n}.test\r\nConnection: close\r\n\r\n");
        status_of(&portcullis_tests::raw(gateway.http(), request.as_bytes()))
    };
    let all_as_before = || {
        for n in 1..=5 {
            assert_eq!((status(n, "/admin"), status(n, "/")), (403, 200), "{n}");
        }
    };
    all_as_before();
    gateway.write_config(&config("regex: '/admin(.*'", "99999", 2));
    wait_for("both problems", || {
        let (_, problems) = gateway.admin("/config/problems");
        problems.contains("routes[1].rules[0]") && problems.contains("99999")
    });
    all_as_before();
    let answer = portcullis_tests::raw(
        gateway.http(),
        b"GET / HTTP/1.1\r\nHost: h1.test\r\nConnection: close\r\n\r\n",
    );
    assert!(
        answer.to_lowercase().contains("x-version: 1\r\n"),
        "{answer}"
    );
    gateway.reload(&config("regex: '/admin.*'", "80", 3));
    all_as_before();
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_13_a_pair_that_comes_in_two_steps_is_taken_when_it_is_one() {
    let backend = Backend::start("one").await;
    let authority = Arc::new(Authority::new());
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "a", &["a.test"]);
    authority.write(folder.path(), "other", &["other.test"]);
    let gateway = Gateway::start_in(
        folder,
        &format!(
            r"
listeners: [{{name: https, protocol: https, address: '127.0.0.1:0', tls: {{defaultCertificate: other}}}}]
certificates: [{{name: a, certificate: a.crt, key: a.key}}, {{name: other, certificate: other.crt, key: other.key}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
            backend.address
        ),
        &[],
    );
    let stop = Arc::new(AtomicBool::new(false));
    let hands = ["a.test", "other.test"].map(|name| {
        let (stop, authority) = (Arc::clone(&stop), Arc::clone(&authority));
        let https = gateway.https();
        tokio::spawn(async move {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                // The client checks the name, so the other certificate would fail.
                let connected = Client::tls(https, &authority, name, true).await;
                connected.unwrap_or_else(|error| panic!("{name}: {error}"));
                made += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            made
        })
    });
    let folder = gateway.folder();
    let expiry = || {
        let (_, problems) = gateway.admin("/config/problems");
        problems
    };
    for _ in 0..2 {
        let (certificate, key) = authority.sign(&["a.test"]);
        fs::write(folder.join("a.crt"), &certificate).expect("writable");
        wait_for("half a change to be told", || expiry().contains("a.crt"));
        tokio::time::sleep(Duration::from_millis(300)).await;
        fs::write(folder.join("a.key"), &key).expect("writable");
        wait_for("the pair to be whole", || !expiry().contains("a.crt"));
        // A certificate without its key.
        let (certificate, key) = authority.sign(&["a.test"]);
        fs::remove_file(folder.join("a.key")).expect("it was there");
        fs::write(folder.join("a.crt"), &certificate).expect("writable");
        wait_for("a missing key to be told", || expiry().contains("a.key"));
        fs::write(folder.join("a.key"), &key).expect("writable");
        wait_for("the pair to be whole", || !expiry().contains("a.key"));
    }
    stop.store(true, Ordering::Relaxed);
    for hand in hands {
        assert!(hand.await.expect("every handshake succeeds") > 10);
    }
}

/// The part about the API server waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn cfg_14_a_configuration_that_is_gone_leaves_the_last_good_one() {
    let backend = Backend::start("one").await;
    let yaml = format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
accessLists: [{{name: nobody, allow: []}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes:
- {{name: closed, hosts: [a.test], policies: {{access: [nobody]}}, rules: [{{backends: [{{name: one}}]}}]}}
- {{name: open, rules: [{{backends: [{{name: one}}]}}]}}
",
        backend.address
    );
    let gateway = Gateway::start(&yaml);
    let open = b"GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n";
    let as_before = |what: &str| {
        assert_eq!(status_of(&ask(gateway.http(), "")), 403, "{what}");
        let answer = portcullis_tests::raw(gateway.http(), open);
        assert_eq!(status_of(&answer), 200, "{what}");
        assert_eq!(gateway.management("/readyz").0, 200, "{what}");
    };
    let refused = || {
        gateway
            .metric(r#"portcullis_reloads_total{outcome="refused"}"#)
            .unwrap_or(0.0)
    };
    let file = gateway.folder().join("portcullis.yaml");
    as_before("at first");
    let before = refused();
    fs::remove_file(&file).expect("it was there");
    wait_for("the loss to be noticed", || refused() > before);
    as_before("gone");
    assert!(
        gateway.log().contains("portcullis.yaml"),
        "{}",
        gateway.log()
    );
    let before = refused();
    fs::write(&file, "").expect("writable");
    wait_for("an empty file to be refused", || refused() > before);
    as_before("empty");
    gateway.write_config(&yaml);
    wait_for("the file to be good again", || {
        !gateway.admin("/config/problems").1.contains("no listener")
    });
    as_before("back");
    // Nobody starts with nothing.
    let (code, log) = fails_to_start(&[]);
    assert!(
        code.is_some_and(|code| code != 0) && log.contains("gateway.yaml"),
        "{log}"
    );
}

/// A file that was mounted by itself (`subPath`) stays what it was, and that is told.
#[test]
fn cfg_02_a_file_that_is_a_mount_of_its_own_is_warned_of() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let yaml = "listeners: [{name: http, protocol: http}]\nroutes: [{name: any, rules: [{respond: {}}]}]\n";
    for name in ["source.yaml", "mounted.yaml"] {
        fs::write(folder.path().join(name), yaml).expect("writable");
    }
    let script = format!(
        "mount --bind '{}' '{}' && exec '{}' check '{}'",
        at("source.yaml"),
        at("mounted.yaml"),
        portcullis().display(),
        at("mounted.yaml"),
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if said.contains("ermitted") {
        println!("skipped: no mounts may be made here");
        return;
    }
    assert!(output.status.success(), "{said}");
    let told = format!(
        "{}: warning: the file is a mount of its own",
        at("mounted.yaml")
    );
    assert!(said.contains(&told), "{said}");
    let plain = Command::new(portcullis())
        .args(["check", &at("source.yaml")])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(!said.contains("mount of its own"), "{said}");
}
