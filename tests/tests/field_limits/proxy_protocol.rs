//! The PROXY protocol beside the checks of load balancers.

use portcullis_tests::{Backend, Gateway, Raw, status_of, wait_for};

fn v2(command: u8, extensions: usize) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let addresses: &[u8] = if command == 0 {
        &[]
    } else {
        &[203, 0, 113, 1, 192, 0, 2, 1, 4, 210, 0, 80]
    };
    header.extend([0x20 | command, if command == 0 { 0 } else { 0x11 }]);
    let mut rest = addresses.to_vec();
    while rest.len() < addresses.len() + extensions {
        // PP2_TYPE_NOOP, which is to be skipped.
        rest.extend([0x04, 0, 97]);
        rest.extend([0; 97]);
    }
    header.extend(u16::try_from(rest.len()).expect("short").to_be_bytes());
    header.extend(rest);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_11_checks_of_a_balancer_are_no_trouble_and_garbage_is_closed() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&format!(
        r"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0', proxyProtocol: true, limits: {{proxyHeaderTimeout: 1s}}}}
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    ));
    let http = gateway.http();
    let get = b"GET /healthz HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    for _ in 0..100 {
        drop(Raw::connect(http));
    }
    // LOCAL, and nothing more.
    Raw::connect(http).send(&v2(0, 0));
    for (what, header, client) in [
        ("LOCAL", v2(0, 0), "127.0.0.1"),
        ("UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("v2", v2(1, 0), "203.0.113.1"),
        ("v2 with extensions", v2(1, 100), "203.0.113.1"),
        ("v2 beyond 536 bytes", v2(1, 1000), "203.0.113.1"),
    ] {
        let request = [&header[..], get].concat();
        let answer = Raw::connect(http).send(&request).read_all();
        assert_eq!(status_of(&answer), 200, "{what}: {answer}");
        assert_eq!(backend.last().header("x-real-ip"), client, "{what}");
        // The same, in segments.
        let mut parts = Raw::connect(http);
        for part in request.chunks(request.len() / 5 + 1) {
            parts.send(part).pause(std::time::Duration::from_millis(10));
        }
        assert_eq!(status_of(&parts.read_all()), 200, "{what}, split");
    }
    let requests = backend.requests();
    for (what, header) in [
        ("no header", Vec::new()),
        (
            "v1 beyond 107 bytes",
            format!("PROXY TCP4 {}\r\n", "1".repeat(120)).into_bytes(),
        ),
        ("v1 without an end", vec![b'P'; 5000]),
        ("v2 beyond the limit", v2(1, 5000)),
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00".to_vec()),
        ("half a header", b"PROXY TC".to_vec()),
    ] {
        let mut client = Raw::connect(http);
        client.send(&header);
        if what != "half a header" {
            client.send(get);
        }
        let answer = client.read_all();
        assert_eq!(answer, "", "{what}");
    }
    assert_eq!(backend.requests(), requests);
    // None of all that is worth a line by itself; it is counted.
    let log = gateway.log();
    // Where the machine allows few, the log begins with a word of that.
    let lines = log.lines().filter(|line| !line.contains("descriptors"));
    let log: String = lines.collect();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    wait_for("the count", || {
        let (_, metrics) = gateway.management("/metrics");
        metrics
            .lines()
            .any(|line| line.contains("proxy_header_failed") && !line.ends_with(" 0"))
    });
    // Health never expects a header.
    assert_eq!(gateway.management("/healthz").0, 200);
}
