//! What pods have used of what a policy allows them, at an egress proxy that knows them by their
//! addresses.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{edge::edge, egress_bed::Bed};

/// The namespace of the proxy and of its clients.
const SYSTEM: &str = "egress-quotas";

/// Bytes that a pod may send.
const LIMIT: usize = 1_000_000;
/// Bytes of each request in a tunnel, and how many of them are more than that.
const REQUEST: usize = 100_000;
const REQUESTS: usize = 11;

fn settings(destination: &str) -> Value {
    let account = |name: &str| json!({"namespace": SYSTEM, "serviceAccount": name});
    json!({
        "identity": {"level": "address", "pods": {}},
        "policies": [{
            "name": "uploads",
            "subjects": [account("builder"), account("default")],
            "allow": [{
                "cidr": destination, "ports": [8080], "private": true, "raw": true,
                "quota": {"bytesOut": "1MB", "window": "1d"},
            }],
        }],
    })
}

/// Sends requests through a tunnel until one is not answered, and says how many were.
async fn upload(mut tunnel: TcpStream, requests: usize) -> usize {
    let head = |length| {
        format!("POST / HTTP/1.1\r\nHost: upload.test\r\nContent-Length: {length}\r\n\r\n")
    };
    // With the head it is `REQUEST` bytes; the number in it has a digit less than that one.
    let length = REQUEST + 1 - head(REQUEST).len();
    let mut request = head(length).into_bytes();
    request.resize(REQUEST, b'x');
    for answered in 0..requests {
        let exchange = async {
            tunnel.write_all(&request).await.ok()?;
            let mut answer = Vec::new();
            // The body is one line.
            while !answer.ends_with(b"}\n") {
                let read = tunnel.read_buf(&mut answer).await.ok()?;
                (read > 0).then_some(())?;
            }
            answer.starts_with(b"HTTP/1.1 200").then_some(())
        };
        let done = tokio::time::timeout(Duration::from_secs(30), exchange).await;
        if done.expect("an answer or an end").is_none() {
            return answered;
        }
    }
    requests
}

#[test]
fn k16_a_tunnel_that_sends_more_than_its_quota_is_closed_and_others_of_its_pod_with_it() {
    let Some(edge) = edge() else { return };
    let cluster = edge.cluster;
    let mut bed = Bed::install(cluster, SYSTEM, &["--update-status=false"]);
    bed.pod("builder", "builder", "app: client");
    bed.pod("other", "default", "app: client");
    bed.configure(&settings(&bed.destination), &json!({}));
    bed.ready();
    let bed = bed;
    let [builder, other] = ["builder", "other"].map(|pod| bed.uid(pod));
    bed.wait(&builder, "", "200 -");
    bed.wait(&other, "", "200 -");
    let uploads = |from: &str, requests| {
        let asking = bed.asking("");
        cluster.within(from, move || async move {
            let (_, tunnel) = asking.await;
            upload(tunnel.expect("a tunnel"), requests).await
        })
    };
    let held = [&builder, &other].map(|pod| bed.keep_asking(pod));
    assert_eq!(
        uploads(&builder, REQUESTS),
        LIMIT / REQUEST,
        "not one byte more"
    );
    bed.wait(&builder, "", "429 quota_bytes_out");
    let answer = bed.answer(&builder, "");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");

    // Whom the same policy allows the same has a quota of its own.
    assert_eq!(bed.ask(&other, ""), "200 -");
    assert_eq!(uploads(&other, 3), 3);
    let [of_builder, of_other] = held.map(|asking| asking.end());
    assert!(!of_builder.is_held, "all that it has open is closed");
    let is_quota = |answer: &String| answer == "429 quota_bytes_out";
    assert!(of_builder.others.iter().all(is_quota), "{of_builder:?}");
    assert!(
        of_other.is_held && of_other.others.is_empty(),
        "{of_other:?}"
    );

    let of_pod = |record: &Value, pod: &str| record["identity"]["podUid"] == pod;
    cluster.wait("the records", || {
        let records = cluster.records_in(SYSTEM);
        let mut own = records.iter().filter(|record| of_pod(record, &builder));
        let is_cut = |record: &&Value| {
            let sent = record["bytesUp"].as_u64().unwrap_or_default();
            record["ended"] == "quota_bytes_out" && sent >= (LIMIT - REQUEST) as u64
        };
        let is_refused =
            |record: &Value| record["status"] == 429 && record["reason"] == "quota_bytes_out";
        own.clone().any(|record| is_cut(&record)) && own.any(is_refused)
    });
}
