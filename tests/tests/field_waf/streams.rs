//! Protocols and responses that have no end to wait for.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Full};
use portcullis_tests::{
    Authority, Backend, Client, Gateway, Line, Raw, Scripted, h2c, status_of, wait_for,
};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::{
    Error, Message, client::IntoClientRequest, handshake::client::generate_key,
};

use super::{browser, config, crs, route, send};

/// Says what rules see of a request.
const LOOK: &str = r#"
      - inline: |
          SecRule &REQUEST_HEADERS:HOST "!@eq 1" "id:1,phase:1,deny,status:410"
          SecRule REQUEST_HEADERS:Host "!@streq a.test" "id:2,phase:1,deny,status:411"
          SecRule SERVER_NAME "!@streq a.test" "id:3,phase:1,deny,status:412"
          SecRule REQUEST_PROTOCOL "!@rx ^HTTP/(?:1\.1|2\.0)$" "id:4,phase:1,deny,status:413"
          SecRule &REQUEST_HEADERS_NAMES:uSER-aGENT "!@eq 1" "id:5,phase:1,deny,status:414"
          SecRule ARGS "@streq protocol" "id:6,phase:2,deny,status:418,chain"
            SecRule REQUEST_PROTOCOL "@streq HTTP/2.0"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn waf_30_over_http_2_rules_see_the_authority_as_host() {
    let Some(crs) = crs("") else { return };
    let backend = Backend::start("one").await;
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    authority.write(folder.path(), "any", &["a.test"]);
    let profiles = format!("- name: crs\n  rules:{LOOK}      - {crs}");
    let yaml = config(
        backend.address,
        &profiles,
        &route("a.test", "{waf: {profile: crs}}"),
    )
    .replace(
        "listeners: [",
        "certificates: [{name: any, certificate: any.crt, key: any.key}]\n\
         listeners: [{name: https, protocol: https, address: '127.0.0.1:0'}, ",
    );
    let gateway = Gateway::start_in(folder, &yaml, &[]);
    let tls = |h2| Client::tls(gateway.https(), &authority, "a.test", h2);
    let mut clients = [
        h2c(gateway.http()).await,
        tls(true).await.expect("TLS"),
        tls(false).await.expect("TLS"),
    ];
    for client in &mut clients {
        let is_h2 = matches!(client, Client::H2(_));
        let make = |request: http::request::Builder| {
            let request = request
                .header("User-Agent", "Mozilla/5.0")
                .header("accept", "*/*");
            match is_h2 {
                true => request,
                false => request.header("host", "a.test"),
            }
        };
        let get =
            make(Request::get(client.uri("a.test", "/"))).body(Full::default().boxed_unsync());
        let answer = client
            .send(get.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", gateway.audit_lines());
        // A body without a length is no offence there.
        let parts = futures_util::stream::iter(["name=", "value"]);
        let parts = parts.map(|part| Ok(hyper::body::Frame::data(bytes::Bytes::from(part))));
        let body = http_body_util::StreamBody::new(parts);
        let post = make(Request::post(client.uri("a.test", "/form")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let answer = client
            .send(post.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", gateway.audit_lines());
        assert_eq!(backend.last().body_len, 10);
        let asked = make(Request::get(client.uri("a.test", "/?q=protocol")));
        let asked = asked
            .body(Full::default().boxed_unsync())
            .expect("a request");
        let answer = client.send(asked).await.expect("an answer");
        assert_eq!(answer.status(), if is_h2 { 418 } else { 200 });
    }
    // Two names for one thing would be two readings.
    let mut client = h2c(gateway.http()).await;
    for (host, status) in [("a.test", 200), ("b.test", 400)] {
        let request = Request::get("http://a.test/")
            .header("host", host)
            .header("user-agent", "Mozilla/5.0")
            .header("accept", "*/*")
            .body(Full::default().boxed_unsync());
        let answer = client
            .send(request.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), status, "{host}");
    }
}

const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n";
const PAGE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";

/// Begins an answer, and ends it when the client has shown what it has: by asking again.
async fn slow(mut line: Line, go: std::sync::Arc<tokio::sync::Notify>) {
    loop {
        let head = line.head().await;
        if head.is_empty() {
            return;
        }
        let is_page = head.starts_with("GET /page");
        line.send(if is_page { PAGE } else { EVENTS }).await;
        go.notified().await;
        if !is_page {
            return;
        }
        line.send(b"4\r\nlast\r\n0\r\n\r\n").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waf_33_events_are_never_held_and_pages_only_where_rules_may_refuse_them() {
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let signal = go.clone();
    let backend = Scripted::start(move |line| slow(line, go.clone())).await;
    let rules = |access: &str| {
        format!(
            "[{{inline: 'SecResponseBodyAccess {access}'}}, \
             {{inline: 'SecResponseBodyMimeType text/plain text/html text/event-stream'}}, \
             {{inline: 'SecRule RESPONSE_BODY \"@contains secret\" \"id:1,phase:4,deny\"'}}]"
        )
    };
    let profiles = format!(
        "- {{name: off, rules: {}}}\n- {{name: on, rules: {}}}",
        rules("Off"),
        rules("On")
    );
    let routes = route("off.test", "{waf: {profile: off}}")
        + &route("on.test", "{waf: {profile: on}}")
        + &route("detect.test", "{waf: {profile: on, mode: detect}}");
    let gateway = Gateway::start(&config(backend.address, &profiles, &routes));
    for host in ["off.test", "on.test", "detect.test"] {
        for path in ["/events", "/page"] {
            let mut stream = tokio::net::TcpStream::connect(gateway.http())
                .await
                .expect("open");
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
                .await
                .expect("open");
            let mut seen = Vec::new();
            let first: &[u8] = if path == "/page" {
                b"first"
            } else {
                b"data: one"
            };
            let held = host == "on.test" && path == "/page";
            // The backend sends no more until it is told to. What is held stays away for as
            // long as one cares to wait.
            let patience = if held {
                Duration::from_millis(500)
            } else {
                Duration::from_secs(10)
            };
            let read = async {
                while !seen.windows(first.len()).any(|window| window == first) {
                    assert_ne!(
                        stream.read_buf(&mut seen).await.expect("open"),
                        0,
                        "{host}{path}"
                    );
                }
            };
            let came = tokio::time::timeout(patience, read).await.is_ok();
            assert_eq!(
                came,
                !held,
                "{host}{path}: {}",
                String::from_utf8_lossy(&seen)
            );
            assert!(!held || seen.is_empty(), "{host}{path}");
            signal.notify_one();
            stream.read_to_end(&mut seen).await.expect("open");
            let all = String::from_utf8_lossy(&seen);
            assert_eq!(all.contains("last"), path == "/page", "{host}: {all}");
        }
    }
    // That nobody looked at the events is told.
    let series = |rule: &str| {
        format!(
            "portcullis_waf_not_inspected_total{{part=\"response-body\",reason=\"stream\",rule=\"{rule}\"}}"
        )
    };
    for (rule, told) in [
        ("on/0", Some(1.0)),
        ("detect/0", Some(1.0)),
        ("off/0", None),
    ] {
        wait_for("the count", || gateway.metric(&series(rule)) == told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waf_34_a_web_socket_opens_behind_the_core_rules_and_attacks_do_not_open_it() {
    let Some(crs) = crs("") else { return };
    let backend = Backend::start("one").await;
    let inline =
        "'SecRule RESPONSE_HEADERS:Sec-WebSocket-Protocol \"@streq leak\" \"id:1,phase:3,deny\"'";
    let profiles = format!("- {{name: crs, rules: [{{inline: {inline}}}, {crs}]}}");
    let routes = route("block.test", "{waf: {profile: crs}}")
        + &route("detect.test", "{waf: {profile: crs, mode: detect}}");
    for logs in ["", "logs: {access: 'off', audit: audit.log}"] {
        let yaml = config(backend.address, &profiles, &routes) + logs;
        let gateway = Gateway::start(&yaml);
        let open = |host: &'static str, target: &'static str| {
            let address = gateway.http();
            async move {
                let mut request = format!("ws://{address}{target}")
                    .into_client_request()
                    .expect("a request");
                let headers = request.headers_mut();
                headers.insert("host", host.parse().expect("a value"));
                headers.insert("user-agent", "Mozilla/5.0".parse().expect("a value"));
                headers.insert("accept", "*/*".parse().expect("a value"));
                headers.insert(
                    "sec-websocket-key",
                    generate_key().parse().expect("a value"),
                );
                let stream = tokio::net::TcpStream::connect(address).await.expect("open");
                tokio_tungstenite::client_async(request, stream).await
            }
        };
        for host in ["block.test", "detect.test"] {
            let (mut socket, response) = open(host, "/chat?room=7").await.expect("an upgrade");
            assert_eq!(response.status(), 101);
            // Frames are nobody's business.
            for message in [
                Message::text("<script>alert(1)</script>"),
                Message::binary(vec![0, 1, 2]),
                Message::binary(vec![7; 1 << 20]),
            ] {
                socket.send(message.clone()).await.expect("open");
                assert_eq!(socket.next().await.expect("open").expect("open"), message);
            }
            socket.close(None).await.expect("open");
        }
        let before = backend.requests();
        let attack = "/chat?q=%3Cscript%3Ealert(1)%3C/script%3E";
        let Err(Error::Http(refused)) = open("block.test", attack).await else {
            panic!("it opened");
        };
        assert_eq!(refused.status(), 403);
        assert_eq!(backend.requests(), before);
        let (_, detected) = open("detect.test", attack).await.expect("an upgrade");
        assert_eq!(detected.status(), 101);
    }
    // Phase 3 sees the head of the 101.
    for (protocol, status) in [("chat", 101), ("leak", 403)] {
        let backend = Scripted::start(move |mut line| async move {
            line.head().await;
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
            );
            line.send(head.as_bytes()).await;
        })
        .await;
        let profiles = format!("- {{name: crs, rules: [{{inline: {inline}}}]}}");
        let gateway = Gateway::start(&config(
            backend.address,
            &profiles,
            &route("a.test", "{waf: {profile: crs}}"),
        ));
        let mut raw = Raw::connect(gateway.http());
        raw.send(b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        let answer = raw.response();
        assert_eq!(status_of(&answer), status, "{answer}");
        let is_told = answer
            .to_ascii_lowercase()
            .contains("sec-websocket-protocol: chat");
        assert_eq!(is_told, status == 101, "{answer}");
        // The gateway serves on.
        assert_eq!(
            send(&gateway, browser(Request::get("/"), "none.test", ""))
                .await
                .status(),
            404
        );
    }
}
