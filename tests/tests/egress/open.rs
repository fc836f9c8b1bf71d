//! What is open is judged again: tunnels and plain requests.

use std::{process::Command, time::Duration};

use portcullis_tests::{Authority, Raw, Recorder, Scripted, status_of, wait_for};

use super::site::{PUBLIC, Site, allow, client_hello, config, reason};

/// A time in so many seconds, as an entry says it.
fn until(seconds: i64) -> String {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).expect("later");
    let time = i64::try_from(now.as_secs()).expect("a time") + seconds;
    let output = Command::new("date")
        .args(["-u", "-d", &format!("@{time}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    let text = output.expect("date runs").stdout;
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_tunnel_outlives_a_reload_that_allows_it_and_no_other() {
    let recorder = Recorder::start().await;
    let public = format!("{PUBLIC}:22");
    let entry = "{host: raw.example, ports: [22], raw: true}";
    let site = Site::start(
        &allow(&format!("[{entry}]")),
        &[&format!("raw.example={PUBLIC}")],
        &[(&public, recorder.address)],
    );
    let (mut tunnel, answer) = site.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200);
    let proxy = site.proxy();
    site.gateway
        .reload(&config("", &allow(&format!("[{entry}, more.example]"))));
    tunnel.pause(Duration::from_secs(1)).send(b"still here");
    wait_for("the bytes", || recorder.bytes() == 10);
    assert_eq!(site.proxy(), proxy, "the listener stayed");
    site.gateway.reload(&config("", &allow("[more.example]")));
    assert!(tunnel.ends(), "the policy went");
    site.told("raw.example", "ended", "policy_changed");
    assert_eq!(status_of(&site.connect("raw.example:22").1), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_tunnel_is_judged_again_by_all_that_it_was_opened_by() {
    let recorder = Recorder::start().await;
    let entry = "{host: raw.example, ports: [22, 80], raw: true}";
    for (port, policy) in [
        (22, allow("[{host: raw.example, ports: [22, 80]}]")),
        (
            22,
            allow(&format!("[{entry}], deny: [{{cidr: '{PUBLIC}/32'}}]")),
        ),
        // The first bytes are still awaited when the configuration changes.
        (80, allow("[more.example]")),
    ] {
        let public = format!("{PUBLIC}:{port}");
        let site = Site::start(
            &allow(&format!("[{entry}]")),
            &[&format!("raw.example={PUBLIC}")],
            &[(&public, recorder.address)],
        );
        let (mut tunnel, answer) = site.connect(&format!("raw.example:{port}"));
        assert_eq!(status_of(&answer), 200);
        site.gateway.reload(&config("", &policy));
        tunnel.send(b"x");
        assert!(tunnel.ends(), "{port} {policy}");
        site.told("raw.example", "ended", "policy_changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_holds_until_its_time_and_so_do_the_tunnels_that_it_opened() {
    let recorder = Recorder::start().await;
    let map = [
        (&*format!("{PUBLIC}:22"), recorder.address),
        (&*format!("{PUBLIC}:23"), recorder.address),
    ];
    let dns = format!("raw.example={PUBLIC}");
    let entries = |until: &str| {
        allow(&format!(
            "[{{host: raw.example, ports: [22], raw: true, until: {until}}}, \
             {{host: raw.example, ports: [23], raw: true}}, \
             {{host: over.example, until: '2026-01-01T00:00:00Z'}}]"
        ))
    };
    let site = Site::start(&entries(&until(6)), &[&dns], &map);
    assert!(site.gateway.log().contains("the entry has ended"));
    let (_, over) = site.connect("over.example:443");
    assert_eq!(status_of(&over), 403);
    assert_eq!(reason(&over), "egress/grant_expired");

    let (mut tunnel, answer) = site.connect("raw.example:22");
    assert_eq!(status_of(&answer), 200, "{answer}");
    let (mut other, answer) = site.connect("raw.example:23");
    assert_eq!(status_of(&answer), 200, "{answer}");
    tunnel.send(b"before");
    wait_for("the bytes", || recorder.bytes() == 6);
    // A longer grant is one for open tunnels too.
    site.gateway.reload(&config("", &entries(&until(9))));
    std::thread::sleep(Duration::from_secs(7));
    tunnel.send(b"between");
    wait_for("the bytes", || recorder.bytes() == 13);
    assert!(tunnel.ends(), "the grant is over");
    assert_eq!(site.audit("raw.example")["ended"], "grant_expired");
    assert_eq!(
        reason(&site.connect("raw.example:22").1),
        "egress/grant_expired"
    );
    other.send(b"after");
    wait_for("the bytes", || recorder.bytes() == 18);
}

/// What a policy that only reports let into a tunnel is refused where it enforces.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_with_first_bytes_that_were_only_reported_ends_where_they_are_refused() {
    let recorder = Recorder::start().await;
    let public = format!("{PUBLIC}:443");
    let report = |mode: &str, entry: &str| {
        let subjects = "subjects: [{addresses: [127.0.0.0/8]}]";
        let policy = format!("  - {{name: all, {subjects}, mode: {mode}, allow: [{entry}]}}\n");
        config("", &policy)
    };
    let site = Site::start(
        &allow("[api.example]"),
        &[&format!("api.example={PUBLIC}")],
        &[(&public, recorder.address)],
    );
    site.gateway.reload(&report("report", "api.example"));
    let authority = Authority::new();
    let fit = client_hello(&authority, "api.example");
    let mut bytes = 0;
    let mut open = |first: &[u8]| {
        let (mut tunnel, answer) = site.connect("api.example:443");
        assert_eq!(status_of(&answer), 200, "{answer}");
        bytes += first.len() as u64;
        tunnel.send(first);
        wait_for("the first bytes", || recorder.bytes() == bytes);
        tunnel
    };
    let mut fit = open(&fit);
    let other = client_hello(&authority, "evil.example");
    let unfit = [(&other[..], "sni_mismatch"), (b"SSH-2.0-x\r\n", "not_tls")];
    let mut unfit = unfit.map(|(first, told)| (open(first), told));

    // Still only reported: nothing ends.
    site.gateway
        .reload(&report("report", "api.example, more.example"));
    std::thread::sleep(Duration::from_secs(1));
    for (tunnel, _) in &mut unfit {
        tunnel.send(b"still here");
    }
    bytes += 20;
    wait_for("the bytes", || recorder.bytes() == bytes);

    site.gateway.reload(&report("enforce", "api.example"));
    for (tunnel, told) in &mut unfit {
        assert!(tunnel.ends(), "{told}");
    }
    let lines = || {
        let lines = site.gateway.audit_lines().into_iter();
        let cut = lines.filter(|line| line["ended"] == "policy_changed");
        let told = cut.map(|line| format!("{} {}", line["verdict"], line["reason"]));
        let mut told: Vec<String> = told.collect();
        told.sort();
        told
    };
    wait_for("the reasons", || lines().len() == 2);
    let expected = [
        r#""would_deny" "not_tls""#,
        r#""would_deny" "sni_mismatch""#,
    ];
    assert_eq!(lines(), expected);
    fit.send(b"x");
    wait_for("the bytes", || recorder.bytes() == bytes + 1);
}

/// An origin that reads what comes and answers a byte every now and then, without an end.
async fn endless() -> Scripted {
    Scripted::start(async |mut line| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut read, mut write) = line.stream.split();
        let mut buffer = [0; 4096];
        // An answer before the question is none.
        let _ = read.read(&mut buffer).await;
        let reading = async { while let Ok(1..) = read.read(&mut buffer).await {} };
        let writing = async {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
            let mut written = write.write_all(head.as_bytes()).await;
            while written.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                written = write.write_all(b"x").await;
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_ends_with_the_entry_that_allowed_it() {
    let origin = endless().await;
    let public = format!("{PUBLIC}:80");
    let dns = format!("api.example={PUBLIC}");
    let map = [(&*public, origin.address)];
    let entry = |until: &str, path: &str| {
        allow(&format!(
            "[{{host: api.example, paths: [{path}], until: {until}}}]"
        ))
    };
    let site = Site::start(&entry(&until(4), "/ok"), &[&dns], &map);
    let download = "GET http://api.example/ok/file HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let upload = "POST http://api.example/ok/file HTTP/1.1\r\nHost: api.example\r\n\
                  Content-Length: 1000000\r\n\r\nsome";
    for (end, reason) in [("time", "grant_expired"), ("paths", "policy_changed")] {
        if reason == "policy_changed" {
            site.gateway
                .reload(&config("", &entry("2099-01-01T00:00:00Z", "/ok")));
        }
        let mut open: Vec<Raw> = [download, upload]
            .into_iter()
            .map(|request| {
                let mut client = Raw::connect(site.proxy());
                client.send(request.as_bytes());
                let begun = client.read(15);
                assert_eq!(begun, b"HTTP/1.1 200 OK", "{end}");
                client
            })
            .collect();
        if reason == "policy_changed" {
            // What allows it still lets it go on.
            let entries = entry("2098-01-01T00:00:00Z", "/ok");
            site.gateway.reload(&config("", &entries));
            std::thread::sleep(Duration::from_secs(1));
            for client in &mut open {
                assert!(!client.read(1).is_empty(), "{end}");
            }
            let entries = entry("2098-01-01T00:00:00Z", "/other");
            site.gateway.reload(&config("", &entries));
        }
        for client in &mut open {
            assert!(client.ends(), "{end}");
        }
        let ended = || {
            let lines = site.gateway.audit_lines().into_iter();
            let of = lines.filter(|line| line["ended"] == reason && line["status"] == 200);
            of.map(|line| line["method"].to_string())
                .collect::<Vec<_>>()
        };
        wait_for("both lines", || ended().len() == 2);
        let mut methods = ended();
        methods.sort();
        assert_eq!(methods, [r#""GET""#, r#""POST""#]);
        let line = site.audit("api.example");
        assert_eq!(
            (&line["verdict"], &line["reason"]),
            (&"allow".into(), &"allowed".into())
        );
        assert!(line["bytesDown"].as_u64() > Some(0), "{line}");
    }
}
