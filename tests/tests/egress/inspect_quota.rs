//! Quotas of tunnels that are looked into.

use portcullis_tests::{status_of, wait_for};

use super::{inspected::Inspected, site::reason};

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
