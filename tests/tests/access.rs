//! Who a client is, and whom an access list lets in.

use std::net::SocketAddr;

use portcullis_tests::{Backend, Gateway, Raw, raw, status_of};

fn config(backend: &Backend, listener: &str, trusted: &str, list: &str) -> String {
    format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'{listener}}}]
clientAddress: {{trustedProxies: {trusted}}}
accessLists: [{{name: office, {list}}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, policies: {{access: [office]}}, rules: [{{backends: [{{name: one}}]}}]}}]
",
        backend.address
    )
}

fn get(gateway: SocketAddr, headers: &str) -> u16 {
    let request =
        format!("GET / HTTP/1.1\r\nHost: any.example\r\n{headers}Connection: close\r\n\r\n");
    status_of(&raw(gateway, request.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoofed_header_beats_no_allow_list() {
    let backend = Backend::start("one").await;
    let office = "allow: [203.0.113.0/24]";
    let untrusting = Gateway::start(&config(&backend, "", "[]", office));
    for headers in [
        "",
        "X-Forwarded-For: 203.0.113.1\r\n",
        "X-Real-IP: 203.0.113.1\r\n",
        "Forwarded: for=203.0.113.1\r\n",
        "True-Client-IP: 203.0.113.1\r\n",
        "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 203.0.113.1\r\n",
        "X-Forwarded-For: 203.0.113.1, 127.0.0.1\r\n",
    ] {
        assert_eq!(get(untrusting.http(), headers), 403, "{headers}");
    }
    let trusting = Gateway::start(&config(&backend, "", "[127.0.0.0/8, 10.0.0.0/8]", office));
    for (headers, status) in [
        // The right-most hop that is no trusted proxy counts.
        ("X-Forwarded-For: 203.0.113.1\r\n", 200),
        ("X-Forwarded-For: 203.0.113.1, 10.1.2.3\r\n", 200),
        ("X-Forwarded-For: 203.0.113.1, 198.51.100.7\r\n", 403),
        (
            "X-Forwarded-For: 203.0.113.1, 198.51.100.7, 10.1.2.3\r\n",
            403,
        ),
        ("X-Forwarded-For: 198.51.100.7, 203.0.113.1\r\n", 200),
        // Several fields are one list.
        (
            "X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 198.51.100.7\r\n",
            403,
        ),
        (
            "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 203.0.113.1\r\n",
            200,
        ),
        // What is no address ends the walk: nothing left of it is believed.
        ("X-Forwarded-For: 203.0.113.1, unknown\r\n", 403),
        ("X-Forwarded-For: 203.0.113.1, ,\r\n", 403),
        ("X-Forwarded-For: 203.0.113.1:1234\r\n", 200),
        ("X-Forwarded-For: ::ffff:203.0.113.1\r\n", 200),
        ("X-Real-IP: 203.0.113.1\r\n", 403),
        ("", 403),
    ] {
        assert_eq!(get(trusting.http(), headers), status, "{headers}");
    }
    assert_eq!(backend.last().header("x-real-ip"), "203.0.113.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_goes_before_allow_and_an_empty_list_lets_nobody_pass() {
    let backend = Backend::start("one").await;
    for (list, status) in [
        ("allow: [127.0.0.0/8]", 200),
        ("allow: ['127.0.0.1/32'], deny: [127.0.0.1]", 403),
        ("deny: [127.0.0.0/8]", 403),
        ("deny: [10.0.0.0/8]", 200),
        ("allow: []", 403),
        ("allow: ['::ffff:127.0.0.0/104']", 200),
    ] {
        let gateway = Gateway::start(&config(&backend, "", "[]", list));
        assert_eq!(get(gateway.http(), ""), status, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_networks_are_one_look_up() {
    let backend = Backend::start("one").await;
    let networks: Vec<String> = (0..20_000)
        .map(|n| format!("10.{}.{}.{}/30", n / 8192, n / 32 % 256, n % 32 * 8))
        .collect();
    let list = format!("allow: [{}]", networks.join(", "));
    let gateway = Gateway::start(&config(&backend, "", "[127.0.0.1]", &list));
    for (client, status) in [
        ("10.0.0.3", 200),
        ("10.0.0.4", 403),
        ("10.2.112.251", 200),
        ("10.2.112.252", 403),
        ("11.0.0.1", 403),
    ] {
        let header = format!("X-Forwarded-For: {client}\r\n");
        assert_eq!(get(gateway.http(), &header), status, "{client}");
    }
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(addresses.len()).expect("short").to_be_bytes());
    header.extend(addresses);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_header_tells_the_client_on_listeners_that_ask_for_it() {
    let backend = Backend::start("one").await;
    let office = "allow: [203.0.113.0/24, '2001:db8::/32']";
    let gateway = Gateway::start(&config(
        &backend,
        ", proxyProtocol: true, limits: {proxyHeaderTimeout: 300ms}",
        "[]",
        office,
    ));
    let request = b"GET / HTTP/1.1\r\nHost: any.example\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    let v4 = |last: u8| [&[203, 0, 113, last][..], &[192, 0, 2, 1], &[4, 210, 0, 80]].concat();
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 1;
    let with_tlv = [&v4(1)[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    for (what, header, status) in [
        (
            "v1",
            b"PROXY TCP4 203.0.113.1 192.0.2.1 1234 80\r\n".to_vec(),
            200,
        ),
        (
            "v1 of another",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 1234 80\r\n".to_vec(),
            403,
        ),
        (
            "v1 over IPv6",
            b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n".to_vec(),
            200,
        ),
        ("v2", v2(1, 0x11, &v4(1)), 200),
        ("v2 with a TLV", v2(1, 0x11, &with_tlv), 200),
        ("v2 over IPv6", v2(1, 0x21, &v6), 200),
        // The balancer speaks for itself: its own address counts.
        ("v1 unknown", b"PROXY UNKNOWN\r\n".to_vec(), 403),
        ("v2 local", v2(0, 0, &[]), 403),
    ] {
        let answer = raw(gateway.http(), &[&header[..], request].concat());
        assert_eq!(status_of(&answer), status, "{what}: {answer}");
    }
    for (what, header) in [
        ("none", Vec::new()),
        ("v1 without addresses", b"PROXY TCP4\r\n".to_vec()),
        (
            "v1 with a bad address",
            b"PROXY TCP4 1.2.3 192.0.2.1 1 2\r\n".to_vec(),
        ),
        ("v1 without an end", vec![b'P'; 300]),
        ("v2 cut short", v2(1, 0x11, &[203, 0, 113, 1])),
        ("v2 of another version", {
            let mut header = v2(1, 0x11, &v4(1));
            header[12] = 0x31;
            header
        }),
        ("two", [v2(1, 0x11, &v4(1)), v2(1, 0x11, &v4(1))].concat()),
    ] {
        let answer = raw(gateway.http(), &[&header[..], request].concat());
        assert_ne!(status_of(&answer), 200, "{what}: {answer}");
    }
    // A header that comes in parts is one; one that never comes is given up.
    let mut slow = Raw::connect(gateway.http());
    for part in v2(1, 0x11, &v4(1)).chunks(5) {
        slow.send(part).pause(std::time::Duration::from_millis(5));
    }
    assert_eq!(status_of(&slow.send(request).response()), 200);
    assert!(Raw::connect(gateway.http()).ends());
    // A listener that does not ask for it takes it for no request.
    let plain = Gateway::start(&config(&backend, "", "[]", office));
    let header = b"PROXY TCP4 203.0.113.1 192.0.2.1 1234 80\r\n";
    let answer = raw(plain.http(), &[&header[..], request].concat());
    assert_eq!(status_of(&answer), 400, "{answer}");
}
