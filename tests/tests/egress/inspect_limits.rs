//! Limits and quotas of tunnels that are looked into.

use std::time::{Duration, Instant};

use portcullis_tests::{status_of, wait_for};

use super::{
    inspected::{INSPECTION, Inspected},
    site::{allow, config, reason},
};

const ENTRIES: &str = "[{host: api.example, inspect: true, quota: {bytesOut: 10KiB}}]";

/// What comes of a tunnel whose quota is spent.
fn is_spent(proxy: &Inspected) {
    wait_for("the record", || {
        let tunnels = proxy.tunnels();
        let mut ended = tunnels.iter();
        ended.any(|tunnel| tunnel["ended"] == "quota_bytes_out")
    });
    let (_, answer) = proxy.site.connect("api.example:443");
    assert_eq!(status_of(&answer), 429, "{answer}");
    assert_eq!(reason(&answer), "egress/quota_bytes_out");
    let series = r#"portcullis_egress_ended_total{reason="quota_bytes_out"}"#;
    assert_eq!(proxy.site.gateway.metric(series), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_inside_count_before_they_leave() {
    let proxy = Inspected::start(ENTRIES).await;
    let body = "x".repeat(4000);
    let post =
        format!("POST /up HTTP/1.1\r\nHost: api.example\r\nContent-Length: 4000\r\n\r\n{body}");
    let mut client = proxy.inside("api.example:443");
    for _ in 0..2 {
        assert_eq!(status_of(&client.ask(&post)), 200);
    }
    assert!(client.send(post.as_bytes()).ends());
    is_spent(&proxy);
    wait_for("its record", || proxy.records().len() == 3);
    let cut = proxy.records_with("ended", "quota_bytes_out");
    assert_eq!(cut.len(), 1, "{cut:?}");
    assert_eq!(proxy.backend.requests(), 2, "{:?}", proxy.backend.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_inside_count_as_well() {
    let proxy = Inspected::start(ENTRIES).await;
    let fill = "x".repeat(3000);
    let get = format!("GET /open HTTP/1.1\r\nHost: api.example\r\nX-Fill: {fill}\r\n\r\n");
    let mut client = proxy.inside("api.example:443");
    for _ in 0..3 {
        assert_eq!(status_of(&client.ask(&get)), 200);
    }
    let refused = client.ask(&get);
    assert_eq!(status_of(&refused), 429, "{refused}");
    assert_eq!(reason(&refused), "egress/quota_bytes_out");
    assert!(client.ends());
    is_spent(&proxy);
    assert_eq!(proxy.backend.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_bodies_are_no_silence() {
    let policies = allow("[{host: api.example, inspect: true}]");
    let proxy = Inspected::start_with(&policies, &["http/1.1"], &[]).await;
    let limited = format!("{INSPECTION}\n  limits: {{idleTimeout: 1s}}");
    proxy.site.gateway.reload(&config(&limited, &policies));
    let mut client = proxy.inside("api.example:443");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let answer = client.ask("GET /status/204 HTTP/1.1\r\nHost: api.example\r\n\r\n");
        assert_eq!(status_of(&answer), 204, "{:?}: {answer}", began.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    // Silence is.
    assert!(client.ends());
    wait_for("the record", || proxy.tunnels().len() == 1);
    assert_eq!(proxy.tunnels()[0]["ended"], "idle_timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_the_end_of_their_tunnel_cuts_say_so() {
    for alpn in ["http/1.1", "h2"] {
        let policies = allow("[{host: api.example, inspect: true}]");
        let proxy = Inspected::start_with(&policies, &[alpn], &[]).await;
        let limited = format!("{INSPECTION}\n  limits: {{maxLifetime: 2s}}");
        proxy.site.gateway.reload(&config(&limited, &policies));
        let version = format!("--{}", alpn.replace("h2", "http2").replace("http/", "http"));
        proxy.curl(&[&version, "https://api.example/sleep/20000"]);
        wait_for("the records", || {
            proxy.records().len() == 1 && proxy.tunnels().len() == 1
        });
        for record in [&proxy.records()[0], &proxy.tunnels()[0]] {
            assert_eq!(record["ended"], "max_lifetime", "{alpn}: {record}");
        }
        assert_eq!(proxy.records()[0]["verdict"], "allow", "{alpn}");
    }
}
