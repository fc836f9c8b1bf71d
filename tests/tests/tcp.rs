//! TCP listeners: every connection is passed on.

use portcullis_tests::{Echo, Gateway, Raw, wait_for};

fn yaml(listeners: &str, echoes: &[&Echo]) -> String {
    let endpoints: Vec<String> = echoes
        .iter()
        .map(|echo| format!("{{address: '{}'}}", echo.address))
        .collect();
    format!(
        "listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
{listeners}
routes: [{{name: any, rules: [{{respond: {{status: 204}}}}]}}]
tcpRoutes: [{{name: database, backends: [{{name: database}}]}}]
backends: [{{name: database, endpoints: [{}], health: {{interval: 100ms, timeout: 100ms}}}}]
process: {{drainTimeout: 2s}}
",
        endpoints.join(", ")
    )
}

const DATABASE: &str = "- {name: database, protocol: tcp, address: '127.0.0.1:0'}";

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_goes_to_an_endpoint_in_turn_and_the_server_may_speak_first() {
    let (one, two) = (Echo::start("one!").await, Echo::start("two!").await);
    let gateway = Gateway::start(&yaml(DATABASE, &[&one, &two]));
    let at = gateway.at("listeners/database");
    let mut greetings = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::connect(at);
        greetings.push(String::from_utf8(raw.read(4)).expect("text"));
        assert_eq!(
            raw.send(b"anything at all\0\xff").read(17),
            b"anything at all\0\xff"
        );
        // The end of one direction is passed on, and the other goes on.
        raw.send(b"last").finish();
        assert_eq!(raw.read_all(), "last");
    }
    greetings.sort();
    assert_eq!(greetings, ["one!", "one!", "two!", "two!"]);
    let series = "portcullis_tcp_connections_total{outcome=\"closed\",route=\"database\"}";
    wait_for("the connections to end", || {
        gateway.metric(series) == Some(4.0)
    });
    let mut line = serde_json::Value::Null;
    wait_for("a line", || {
        let lines = gateway.access_lines();
        let found = lines.iter().find(|line| line["route"] == "database");
        line = found.cloned().unwrap_or_default();
        found.is_some()
    });
    assert_eq!(line["protocol"], "TCP");
    assert_eq!(
        (&line["bytesIn"], &line["bytesOut"]),
        (&21.into(), &25.into())
    );
    assert!(line["sni"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn much_data_arrives_whole_both_ways() {
    let echo = Echo::start("").await;
    let gateway = Gateway::start(&yaml(DATABASE, &[&echo]));
    let data: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
    let address = gateway.at("listeners/database");
    let stream = std::net::TcpStream::connect(address).expect("it listens");
    let mut writer = stream.try_clone().expect("a socket");
    let sent = data.clone();
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        writer.write_all(&sent).expect("it is read");
        writer.shutdown(std::net::Shutdown::Write).expect("open");
    });
    let mut received = Vec::new();
    use std::io::Read;
    (&stream).read_to_end(&mut received).expect("it is written");
    writing.join().expect("it ends");
    assert!(
        received == data,
        "{} of {} bytes",
        received.len(),
        data.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_goes_drains_its_connections() {
    let (one, two) = (Echo::start("one!").await, Echo::start("two!").await);
    let gateway = Gateway::start(&yaml(DATABASE, &[&one, &two]));
    let mut open = Raw::connect(gateway.at("listeners/database"));
    open.read(4);
    gateway.reload(&yaml("", &[&one]));
    assert!(gateway.try_at("listeners/database").is_none());
    // It goes on for the time of a drain, and no longer.
    assert_eq!(open.send(b"still").read(5), b"still");
    assert!(open.ends());
    wait_for("the line", || {
        let lines = gateway.access_lines();
        lines.iter().any(|line| line["ended"] == "drained")
    });
}
