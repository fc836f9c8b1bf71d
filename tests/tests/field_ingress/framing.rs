//! Heads that two parsers may read differently, and heads that are large.

use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::Full;
use portcullis_tests::{
    Authority, Backend, Client, Gateway, Raw, Scripted, raw, status_of, wait_for,
};
use tokio_tungstenite::tungstenite::Message;

use crate::ask;

fn config(backends: &str, routes: &str) -> String {
    format!(
        "listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]\nbackends: [{backends}]\nroutes: [{routes}]\n"
    )
}

/// The backend sends its 101 and a first frame in one go, and then echoes.
#[tokio::test(flavor = "multi_thread")]
async fn ing_28_two_thousand_upgrades_that_are_answered_at_once_all_work() {
    let backend = Scripted::start(|mut line| async move {
        let head = line.head().await;
        let key = head
            .lines()
            .find_map(|field| {
                let (name, value) = field.split_once(": ")?;
                name.eq_ignore_ascii_case("sec-websocket-key")
                    .then_some(value)
            })
            .unwrap_or_default();
        let accept =
            tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n\u{81}\u{5}first"
        );
        // The frame has a byte beyond ASCII: it is one byte, not two of UTF-8.
        let answer: Vec<u8> = answer.chars().map(|c| c as u8).collect();
        line.send(&answer).await;
        let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(
            line.stream,
            tokio_tungstenite::tungstenite::protocol::Role::Server,
            None,
        )
        .await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let endpoint = format!(
        "{{name: one, endpoints: [{{address: {}}}]}}",
        backend.address
    );
    let gateway = Gateway::start(&config(
        &endpoint,
        "{name: ws, rules: [{backends: [{name: one}]}]}",
    ));
    let http = gateway.http();
    let clients = (0..20).map(|client| {
        tokio::spawn(async move {
            for n in 0..100 {
                let url = format!("ws://{http}/chat");
                let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
                let first = socket.next().await.transpose()?;
                anyhow::ensure!(first == Some(Message::text("first")), "{first:?}");
                let said = Message::text(format!("{client} {n}"));
                socket.send(said.clone()).await?;
                let echo = socket.next().await.transpose()?;
                anyhow::ensure!(echo == Some(said), "{echo:?}");
                socket.close(None).await?;
            }
            Ok(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("no panic").expect("every tunnel works");
    }
    assert_eq!(backend.connections(), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_29_a_length_beside_chunks_is_refused() {
    let backend = Backend::start("one").await;
    let endpoint = format!(
        "{{name: one, endpoints: [{{address: {}}}]}}",
        backend.address
    );
    let gateway = Gateway::start(&config(
        &endpoint,
        "{name: any, rules: [{backends: [{name: one}]}]}",
    ));
    let (length, chunked) = ("Content-Length: 41\r\n", "Transfer-Encoding: chunked\r\n");
    for fields in [[length, chunked], [chunked, length]] {
        let request = format!(
            "PUT /up HTTP/1.1\r\nHost: a.test\r\n{}\r\n0\r\n\r\nGET /priv HTTP/1.1\r\nHost: a.test\r\n\r\n",
            fields.concat()
        );
        let mut client = Raw::connect(gateway.http());
        let answer = client.send(request.as_bytes()).read_all();
        assert_eq!(status_of(&answer), 400, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_31_one_authority_decides_everything() {
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    let gateway = Gateway::start(&format!(
        r"
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
accessLists: [{{name: others, deny: [127.0.0.0/8]}}]
backends:
- {{name: a, endpoints: [{{address: {}}}]}}
- {{name: b, endpoints: [{{address: {}}}]}}
routes:
- {{name: a, hosts: [a.test], rules: [{{backends: [{{name: a}}]}}]}}
- {{name: b, hosts: [b.test], policies: {{access: [others]}}, rules: [{{backends: [{{name: b}}]}}]}}
",
        a.address, b.address
    ));
    for (target, host, status) in [
        ("http://a.test/x", "b.test", 400),
        ("http://b.test/x", "a.test", 400),
        ("http://b.test/x", "b.test", 403),
        ("http://a.test/x", "a.test", 200),
    ] {
        let answer = ask(gateway.http(), host, target, "");
        assert_eq!(status_of(&answer), status, "{target} {host}: {answer}");
    }
    assert_eq!((a.requests(), b.requests()), (1, 0));
    assert_eq!(
        (a.last().target.as_str(), a.last().header("host")),
        ("/x", "a.test")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_32_there_is_one_host_and_it_is_one_name() {
    let (a, d) = (Backend::start("a").await, Backend::start("d").await);
    let gateway = Gateway::start(&config(
        &format!(
            "{{name: a, endpoints: [{{address: {}}}]}}, {{name: d, endpoints: [{{address: {}}}]}}",
            a.address, d.address
        ),
        "{name: a, hosts: [a.test], rules: [{backends: [{name: a}]}]}, {name: others, rules: [{backends: [{name: d}]}]}",
    ));
    for (line, fields, expected) in [
        ("GET / HTTP/1.1", "", "400"),
        ("GET / HTTP/1.1", "Host: a.test\r\nHost: b.test\r\n", "400"),
        ("GET / HTTP/1.1", "Host: a.test\r\nHost: a.test\r\n", "400"),
        ("GET / HTTP/1.1", "Host:\r\n", "400"),
        ("GET / HTTP/1.1", "Host: a.test, b.test\r\n", "400"),
        ("GET / HTTP/1.1", "Host: a.test/x\r\n", "400"),
        ("GET / HTTP/1.0", "", "d /"),
        ("GET / HTTP/1.1", "Host: a.test\r\n", "a /"),
    ] {
        let request = format!("{line}\r\n{fields}Connection: close\r\n\r\n");
        let answer = raw(gateway.http(), request.as_bytes());
        let found = match status_of(&answer) {
            200 => answer
                .split_once("\r\n\r\n")
                .map_or("", |(_, body)| body)
                .to_owned(),
            status => status.to_string(),
        };
        assert_eq!(found, expected, "{line} {fields:?}: {answer}");
    }
}

/// Ours to choose: names with `_` pass, for those that have such, but none that a CGI
/// would take for a field that the gateway sets.
#[tokio::test(flavor = "multi_thread")]
async fn ing_34_a_name_with_an_underscore_is_no_way_to_forge_a_field() {
    let backend = Backend::start("one").await;
    let endpoint = format!(
        "{{name: one, endpoints: [{{address: {}}}]}}",
        backend.address
    );
    let gateway = Gateway::start(&config(
        &endpoint,
        "{name: any, rules: [{backends: [{name: one}]}]}",
    ));
    let forged = "X_Forwarded_For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\nX-Forwarded_Proto: https\r\nX_FORWARDED_HOST: evil.test\r\nX_Request_Id: mine\r\nSSL_Client_Verify: SUCCESS\r\n";
    let fields = format!("api_key: k\r\n{forged}");
    assert_eq!(status_of(&ask(gateway.http(), "a.test", "/", &fields)), 200);
    let seen = backend.last();
    assert_eq!(seen.header("api_key"), "k");
    for line in forged.lines() {
        let name = line.split(':').next().expect("a name").to_lowercase();
        assert!(!seen.headers.contains_key(&name), "{name}");
    }
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.header("x-real-ip"), "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_35_a_head_that_is_too_large_gets_a_status_over_both_versions() {
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "any", &["a.test"]);
    let yaml = |limit: &str| {
        format!(
            r"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0', limits: {{maxHeaderSize: {limit}}}}}
- {{name: https, protocol: https, address: '127.0.0.1:0', limits: {{maxHeaderSize: {limit}}}}}
certificates: [{{name: any, certificate: any.crt, key: any.key}}]
backends: [{{name: one, endpoints: [{{address: {}}}]}}]
routes: [{{name: any, rules: [{{backends: [{{name: one}}]}}]}}]
",
            backend.address
        )
    };
    let gateway = Gateway::start_in(folder, &yaml("10kB"), &[]);
    for (limit, sizes) in [
        (
            20_000,
            [
                (4_000, 200),
                (16_000, 200),
                (21_000, 431),
                (40_000, 431),
                (70_000, 431),
            ],
        ),
        (
            64_000,
            [
                (4_000, 200),
                (16_000, 200),
                (21_000, 200),
                (40_000, 200),
                (70_000, 431),
            ],
        ),
    ] {
        gateway.reload(&yaml(&format!("{}kB", limit / 1000)));
        for (size, status) in sizes {
            let value = "x".repeat(size);
            let whole = vec![format!("c={value}")];
            let crumbs: Vec<_> = (0..20)
                .map(|n| format!("c{n}={}", &value[..size / 20]))
                .collect();
            for cookies in [whole, crumbs] {
                let fields: String = cookies
                    .iter()
                    .map(|cookie| format!("Cookie: {cookie}\r\n"))
                    .collect();
                let answer = ask(gateway.http(), "a.test", "/", &fields);
                let what = format!("{limit}: {size} in {}", cookies.len());
                assert_eq!(status_of(&answer), status, "{what}: {answer}");
                let mut client = Client::tls(gateway.https(), &authority, "a.test", true)
                    .await
                    .expect("TLS");
                let mut request = Request::get("https://a.test/");
                for cookie in &cookies {
                    request = request.header("cookie", cookie);
                }
                let request = request.body(Full::default()).expect("a request");
                let answer = client.send(request).await;
                let answer = answer.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_eq!(answer.status(), status, "{what} over HTTP/2");
                if status == 200 {
                    assert_eq!(
                        backend.last().header("cookie"),
                        cookies.join("; "),
                        "{what}"
                    );
                }
                // Other streams of the connection live on.
                let other = client.get("a.test", "/").await.expect("the connection");
                assert_eq!(other.status(), 200, "{what}: another stream");
            }
        }
    }
    // HTTP/2 itself answers what is far above the limit; all the rest is told.
    let told = |protocol: &str| {
        let lines = gateway.access_lines();
        let refused = lines
            .iter()
            .filter(|line| line["status"] == 431 && line["protocol"] == protocol);
        refused.count()
    };
    wait_for("the lines of the log", || {
        (told("HTTP/1.1"), told("HTTP/2.0")) == (8, 6)
    });
}
