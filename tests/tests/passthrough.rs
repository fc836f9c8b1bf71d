//! TLS that is passed on by SNI, beside hosts whose TLS ends here.

use std::{process::Command, sync::Arc, time::Duration};

use portcullis_tests::{Authority, Backend, Client, Echo, Gateway, Nobody, Raw, raw, wait_for};

/// The first bytes of a client that asks for a host.
fn client_hello(host: &str) -> Vec<u8> {
    let config = Arc::unwrap_or_clone(Authority::new().client(&["h2"]));
    let name = rustls_pki_types::ServerName::try_from(host.to_owned()).expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory has room");
    bytes
}

struct Site {
    gateway: Gateway,
    site: Authority,
}

/// A gateway that ends TLS of `shop.test` and passes on what `tcp` says.
fn site(backend: &Backend, listener: &str, tcp: &str) -> Site {
    let site = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    site.write(
        folder.path(),
        "shop",
        &["shop.test", "api.test", "x.api.test"],
    );
    Site {
        gateway: Gateway::start_in(folder, &yaml(backend, listener, tcp), &[]),
        site,
    }
}

fn yaml(backend: &Backend, listener: &str, tcp: &str) -> String {
    format!(
        "listeners:
- {{name: https, protocol: https, address: '127.0.0.1:0'{listener}}}
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
certificates: [{{name: shop, certificate: shop.crt, key: shop.key}}]
accessLists:
- {{name: here, allow: [127.0.0.0/8]}}
- {{name: elsewhere, allow: [192.0.2.0/24]}}
- {{name: office, allow: [203.0.113.0/24], deny: [203.0.113.66]}}
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
backends:
- {{name: one, endpoints: [{{address: {}}}]}}
{tcp}",
        backend.address
    )
}

fn api(endpoint: impl std::fmt::Display, backend: &str, route: &str) -> String {
    format!(
        "- {{name: api, endpoints: [{{address: '{endpoint}'}}]{backend}}}
tcpRoutes:
- {{name: api, hosts: [api.test, '*.api.test'], backends: [{{name: api}}]{route}}}
"
    )
}

impl Site {
    /// The access log line of the connection that ended last.
    fn connection(&self, reason: &str) -> serde_json::Value {
        let mut found = serde_json::Value::Null;
        wait_for("the line of the connection", || {
            let lines = self.gateway.access_lines();
            let is_it = |line: &&serde_json::Value| {
                line["connectionId"].is_string()
                    && (line["reason"] == reason || line["ended"] == reason)
            };
            found = lines.iter().rfind(is_it).cloned().unwrap_or_default();
            !found.is_null()
        });
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_passed_on_and_its_neighbour_ends_here_on_one_port() {
    let inner = Authority::named("inner");
    let hosts = ["api.test", "x.api.test", "deep.x.api.test"];
    let api_backend = Backend::start_tls("api", inner.server(&hosts, &["h2", "http/1.1"])).await;
    let one = Backend::start("one").await;
    let site = site(&one, "", &api(api_backend.address, "", ""));
    for h2 in [false, true] {
        for host in ["api.test", "x.api.test", "deep.x.api.test"] {
            let mut client = Client::tls(site.gateway.https(), &inner, host, h2)
                .await
                .expect("the backend's own certificate");
            let answer = client.get(host, "/a").await.expect("an answer");
            assert_eq!(answer.body(), "api /a");
            // What the client wrote is what the backend reads.
            assert_eq!(api_backend.last().header("x-forwarded-for"), "");
        }
        let mut client = Client::tls(site.gateway.https(), &site.site, "shop.test", h2)
            .await
            .expect("our certificate");
        assert_eq!(
            client
                .get("shop.test", "/a")
                .await
                .expect("an answer")
                .body(),
            "one /a"
        );
        // A host whose TLS is passed on is none of a connection that ends here.
        for host in ["api.test", "API.test.", "x.api.test:443"] {
            let mut client = Client::tls(site.gateway.https(), &site.site, "shop.test", h2)
                .await
                .expect("our certificate");
            let answer = client.get(host, "/").await.expect("an answer");
            assert_eq!(answer.status(), 421, "{host}");
            let reason = &answer.headers()["x-portcullis-reason"];
            assert_eq!(reason, "tls/passthrough-host", "{host}");
        }
    }
    // Names in SNI are compared whatever their case.
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &site.gateway.https().to_string()])
        .args(["-servername", "API.test"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("CN = inner"), "{text}");
    let closed = "portcullis_tcp_connections_total{outcome=\"closed\",route=\"api\"}";
    wait_for("the connections to end", || {
        site.gateway.metric(closed) == Some(7.0)
    });
    let up = site
        .gateway
        .metric("portcullis_tcp_bytes_total{direction=\"up\",route=\"api\"}");
    assert!(up > Some(1000.0), "{up:?}");
    let mut line = serde_json::Value::Null;
    wait_for("its line", || {
        let lines = site.gateway.access_lines();
        let found = lines.iter().find(|line| line["sni"] == "x.api.test");
        line = found.cloned().unwrap_or_default();
        found.is_some()
    });
    assert_eq!(line["route"], "api");
    assert_eq!(line["backend"], "api");
    assert_eq!(line["endpoint"], api_backend.address.to_string());
    assert_eq!(line["protocol"], "TLS");
    assert_eq!(line["client"], "127.0.0.1");
    assert!(line["bytesIn"].as_u64() > Some(200) && line["bytesOut"].as_u64() > Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_may_not_come_reaches_no_endpoint() {
    let (echo, one) = (Echo::start("").await, Backend::start("one").await);
    let denied = api(echo.address, "", ", access: [here, elsewhere]");
    let allowed = api(echo.address, "", ", access: [here]");
    let site = site(&one, "", &denied);
    let hello = client_hello("api.test");
    assert_eq!(raw(site.gateway.https(), &hello), "");
    let line = site.connection("not-allowed");
    assert_eq!(
        (&line["refusedBy"], &line["decidedBy"]),
        (&"access".into(), &"elsewhere".into())
    );
    assert_eq!(line["sni"], "api.test");
    assert_eq!(echo.connections(), 0);
    let refused = "portcullis_tcp_connections_total{outcome=\"access\",route=\"api\"}";
    assert_eq!(site.gateway.metric(refused), Some(1.0));

    site.gateway.reload(&yaml(&one, "", &allowed));
    let mut open = Raw::connect(site.gateway.https());
    assert_eq!(open.send(&hello).read(hello.len()), hello);
    let gauge = "portcullis_tcp_connections_open{route=\"api\"}";
    assert_eq!(site.gateway.metric(gauge), Some(1.0));
    // A list that comes later counts for open connections too, and so does a route that goes.
    site.gateway.reload(&yaml(&one, "", &denied));
    assert!(open.ends());
    assert_eq!(site.connection("access-changed")["bytesOut"], hello.len());
    assert_eq!(site.gateway.metric(gauge), Some(0.0));
    site.gateway.reload(&yaml(&one, "", &allowed));
    let mut open = Raw::connect(site.gateway.https());
    assert_eq!(open.send(&hello).read(hello.len()), hello);
    site.gateway.reload(&yaml(&one, "", ""));
    assert!(open.ends());
    site.connection("route-removed");
    let mut client = Client::tls(site.gateway.https(), &site.site, "api.test", true)
        .await
        .expect("TLS of the host ends here now");
    assert_eq!(
        client
            .get("api.test", "/")
            .await
            .expect("an answer")
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_header_tells_the_client_in_and_out() {
    let one = Backend::start("one").await;
    for (version, expected) in [
        ("v1", b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 ".to_vec()),
        (
            "v2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\x12\x67".to_vec(),
        ),
    ] {
        let echo = Echo::start("").await;
        let site = site(
            &one,
            ", proxyProtocol: true",
            &api(
                echo.address,
                &format!(", proxyProtocol: {version}"),
                ", access: [office]",
            ),
        );
        let hello = client_hello("api.test");
        let connect = |client: &str| {
            let mut raw = Raw::connect(site.gateway.https());
            raw.send(format!("PROXY TCP4 {client} 127.0.0.1 4711 443\r\n").as_bytes())
                .send(&hello);
            raw
        };
        for client in ["203.0.113.66", "198.51.100.1"] {
            assert!(connect(client).ends());
            assert_eq!(echo.connections(), 0, "{client}");
        }
        let mut open = connect("203.0.113.9");
        assert!(
            open.read(expected.len()).starts_with(&expected),
            "{version}"
        );
        wait_for("all of it", || {
            let seen = echo.seen().concat();
            seen.starts_with(&expected) && seen.ends_with(&hello)
        });
        drop(open);
        wait_for("the line", || {
            let lines = site.gateway.access_lines();
            lines.iter().any(|line| {
                line["client"] == "203.0.113.9"
                    && line["peer"] == "127.0.0.1"
                    && line["route"] == "api"
            })
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_in_number_and_in_silence() {
    let (echo, one) = (Echo::start("").await, Backend::start("one").await);
    let site = site(
        &one,
        "",
        &api(
            echo.address,
            "",
            ", maxConnections: 1, timeouts: {idle: 1s}",
        ),
    );
    let hello = client_hello("api.test");
    let mut first = Raw::connect(site.gateway.https());
    assert_eq!(first.send(&hello).read(hello.len()), hello);
    assert_eq!(
        raw(site.gateway.https(), &hello),
        "",
        "one more than may be"
    );
    let line = site.connection("too-many-connections");
    assert_eq!(line["refusedBy"], "limit");
    assert_eq!(echo.connections(), 1);
    // A connection that speaks now and then stays; one that is silent ends.
    for _ in 0..4 {
        first.pause(Duration::from_millis(500));
        assert_eq!(first.send(b"x").read(1), b"x");
    }
    assert!(first.ends());
    site.connection("idle_timeout");
    let mut next = Raw::connect(site.gateway.https());
    assert_eq!(
        next.send(&hello).read(hello.len()),
        hello,
        "its place is free"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hello_is_bounded_in_time_and_size_and_may_come_in_pieces() {
    let (echo, one) = (Echo::start("").await, Backend::start("one").await);
    let limits = ", limits: {handshakeTimeout: 700ms, maxClientHelloSize: 4KiB}";
    let site = site(&one, limits, &api(echo.address, "", ""));
    let hello = client_hello("api.test");
    // In records of a few bytes, and in packets of one byte.
    let mut pieces = Vec::new();
    for piece in hello[5..].chunks(40) {
        let length = u8::try_from(piece.len()).expect("short");
        pieces.extend_from_slice(&[22, 3, 1, 0, length]);
        pieces.extend_from_slice(piece);
    }
    let mut open = Raw::connect(site.gateway.https());
    for byte in pieces.chunks(1) {
        open.send(byte);
    }
    assert_eq!(open.read(pieces.len()), pieces);
    assert_eq!(echo.connections(), 1);
    // A byte now and then resets no deadline.
    let mut slow = Raw::connect(site.gateway.https());
    for byte in hello[..8].chunks(1) {
        slow.send(byte).pause(Duration::from_millis(150));
    }
    assert!(slow.ends());
    // One without end, of records of one byte; and what is no TLS at all.
    let mut endless = vec![22, 3, 1, 0, 4, 1, 0, 255, 255];
    endless.extend([22, 3, 1, 0, 1, 0].repeat(2000));
    for bytes in [
        &endless[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[22, 3, 1, 0, 0],
        b"\x16\x03\x01\xff\xff\x01",
    ] {
        assert!(
            Raw::connect(site.gateway.https()).send(bytes).ends(),
            "{bytes:?}"
        );
    }
    assert_eq!(echo.connections(), 1);
    let failed = "portcullis_connections_total{listener=\"https\",outcome=\"handshake_failed\"}";
    assert_eq!(site.gateway.metric(failed), Some(5.0));
    let mut client = Client::tls(site.gateway.https(), &site.site, "shop.test", true)
        .await
        .expect("others go on");
    assert_eq!(
        client
            .get("shop.test", "/")
            .await
            .expect("an answer")
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_passed_over_and_left_out() {
    let (echo, one) = (Echo::start("").await, Backend::start("one").await);
    let gone = Nobody::here();
    let gone_at = gone.address;
    let backend = format!(
        "- name: api
  endpoints: [{{address: '{gone_at}'}}, {{address: '{}'}}]
  ejection: {{failures: 2, time: 60s}}
- {{name: none, endpoints: [{{address: '{gone_at}'}}]}}
tcpRoutes:
- {{name: api, hosts: [api.test], backends: [{{name: api}}]}}
- {{name: none, hosts: [none.test], backends: [{{name: none}}]}}
",
        echo.address
    );
    let site = site(&one, "", &backend);
    let hello = client_hello("api.test");
    for _ in 0..6 {
        let mut open = Raw::connect(site.gateway.https());
        assert_eq!(open.send(&hello).read(hello.len()), hello);
    }
    assert_eq!(echo.connections(), 6);
    let up = format!("portcullis_endpoint_up{{backend=\"api\",endpoint=\"{gone_at}\"}}");
    assert_eq!(site.gateway.metric(&up), Some(0.0));
    let failed = "portcullis_upstream_requests_total{backend=\"api\",outcome=\"connect_failed\"}";
    assert_eq!(site.gateway.metric(failed), Some(2.0));
    wait_for("the lines", || {
        let lines = site.gateway.access_lines();
        let twice = lines.iter().filter(|line| line["attempts"] == 2).count();
        twice == 2
    });
    assert_eq!(raw(site.gateway.https(), &client_hello("none.test")), "");
    let line = site.connection("connect-failed");
    assert_eq!(
        (&line["refusedBy"], &line["decidedBy"]),
        (&"upstream".into(), &"none".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_outlives_a_reload_and_is_cut_when_the_drain_is_over() {
    let (echo, one) = (Echo::start("").await, Backend::start("one").await);
    let tcp = api(echo.address, "", "") + "process: {drainTimeout: 3s}\n";
    let mut site = site(&one, "", &tcp);
    let hello = client_hello("api.test");
    let mut open = Raw::connect(site.gateway.https());
    assert_eq!(open.send(&hello).read(hello.len()), hello);
    site.gateway
        .reload(&format!("# again\n{}", yaml(&one, "", &tcp)));
    assert_eq!(open.send(b"after").read(5), b"after");
    site.gateway.signal("TERM");
    assert_eq!(open.send(b"drain").read(5), b"drain");
    assert!(open.ends());
    assert!(site.gateway.wait().success());
    assert_eq!(site.connection("drained")["bytesIn"], hello.len() + 10);
}
