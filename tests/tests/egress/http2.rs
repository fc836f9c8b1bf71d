//! Tunnels over HTTP/2: many on one connection to the proxy.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{self, SendRequest},
};
use http::{Method, Request, Response};
use portcullis_tests::{Authority, Backend, Echo, Gateway, Recorder, TokenIssuer, wait_for};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle};

use super::{
    site::allow,
    tls::{self, RAW, config, shake},
};

const TLS: &str = "tls: {defaultCertificate: proxy, alpn: [h2, http/1.1]}";

/// A connection, and how it ends.
struct Connection {
    sender: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

/// A tunnel that is open.
#[derive(Debug)]
struct Tunnel {
    up: SendStream<Bytes>,
    down: RecvStream,
}

impl Connection {
    async fn to(gateway: &Gateway, authority: &Authority) -> Self {
        let stream = shake(authority, gateway, &["h2", "http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = client::handshake(stream).await.expect("a preface");
        Self {
            sender,
            ended: tokio::spawn(connection),
        }
    }

    /// Asks for a stream.
    async fn ask(
        &mut self,
        request: Request<()>,
    ) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, up) = sender.send_request(request, false)?;
        Ok((response.await?, up))
    }

    /// Opens a tunnel, or returns the status, the reason and the body of a refusal.
    async fn connect(&mut self, target: &str) -> Result<Tunnel, (u16, String, String)> {
        let (response, up) = self.ask(connect(target)).await.expect("an answer");
        let (head, mut down) = response.into_parts();
        if head.status == 200 {
            assert!(head.headers.contains_key("x-request-id"), "{head:?}");
            return Ok(Tunnel { up, down });
        }
        let reason = head.headers["x-portcullis-reason"].to_str().expect("text");
        let mut body = Vec::new();
        while let Some(part) = down.data().await {
            body.extend(part.expect("a body"));
        }
        let body = String::from_utf8(body).expect("text");
        Err((head.status.as_u16(), reason.to_owned(), body))
    }

    async fn refused(&mut self, target: &str) -> (u16, String) {
        let refused = self.connect(target).await.expect_err("a refusal");
        assert!(refused.2.contains("\"message\":"), "{}", refused.2);
        (refused.0, refused.1)
    }
}

impl Tunnel {
    /// Sends a text, and reads it again.
    async fn says(&mut self, text: &'static str) {
        self.up.send_data(text.into(), false).expect("it is open");
        assert_eq!(self.read(text.len()).await, text);
    }

    /// Waits for its end, before which nothing comes.
    async fn ends(&mut self) {
        while let Some(Ok(part)) = self.down.data().await {
            assert!(part.is_empty(), "{part:?}");
        }
    }

    async fn read(&mut self, length: usize) -> String {
        let mut read = Vec::new();
        while read.len() < length {
            let part = self.down.data().await.expect("more").expect("it is open");
            self.down
                .flow_control()
                .release_capacity(part.len())
                .expect("it was taken");
            read.extend(part);
        }
        String::from_utf8(read).expect("text")
    }
}

fn connect(target: &str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri(target);
    request.body(()).expect("a request")
}

fn records(gateway: &Gateway) -> Vec<Value> {
    let mut lines = gateway.audit_lines();
    lines.retain(|line| line["kind"] == "egress");
    lines
}

fn tunnels(gateway: &Gateway) -> Option<f64> {
    gateway.metric("portcullis_egress_tunnels_open")
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_of_one_connection_are_decided_on_and_end_each_by_itself() {
    let authority = Authority::new();
    let echo = Echo::start("").await;
    let gateway = tls::start(
        &authority,
        &config(TLS, "", &allow(RAW)),
        &[(22, echo.address)],
    );
    let mut client = Connection::to(&gateway, &authority).await;
    let mut one = client.connect("raw.example:22").await.expect("a tunnel");
    let mut two = client.connect("RAW.example.:22").await.expect("a tunnel");
    for (target, expected) in [
        ("evil.example:22", (403, "egress/not_allowed")),
        ("raw.example:23", (403, "egress/port_not_allowed")),
        ("127.0.0.1:22", (403, "egress/always_blocked")),
        ("2130706433:22", (400, "egress/numeric_host")),
        ("raw.example", (400, "egress/bad_authority")),
        ("user@raw.example:22", (400, "egress/bad_host")),
        ("raw.example:0", (400, "egress/bad_port")),
    ] {
        let (status, reason) = client.refused(target).await;
        assert_eq!((status, reason.as_str()), expected, "{target}");
    }
    one.says("one").await;
    two.says("two").await;
    wait_for("the tunnels", || tunnels(&gateway) == Some(2.0));
    // One end of one tunnel: the other end answers still, and the other tunnel goes on.
    one.up.send_data("last".into(), true).expect("it is open");
    assert_eq!(one.read(4).await, "last");
    one.ends().await;
    wait_for("its record", || records(&gateway).len() == 8);
    two.says("more").await;
    // A reset is the end of both.
    two.up.send_reset(Reason::CANCEL);
    let at = std::time::Instant::now();
    wait_for("its record", || records(&gateway).len() == 9);
    assert!(at.elapsed() < Duration::from_secs(10), "{:?}", at.elapsed());
    wait_for("its end", || tunnels(&gateway) == Some(0.0));
    let records = records(&gateway);
    let of = |up: u64| records.iter().find(|line| line["bytesUp"] == up);
    for up in [7, 7] {
        let record = of(up).expect("the record of a tunnel");
        assert_eq!(record["method"], "CONNECT", "{record}");
        assert_eq!(record["verdict"], "allow", "{record}");
        assert_eq!(record["bytesDown"], 7, "{record}");
    }
    client.connect("raw.example:22").await.expect("a tunnel");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_data_goes_both_ways_and_is_held_back_where_nobody_reads() {
    let authority = Authority::new();
    let backend = Backend::start_tls("one", authority.server(&["api.example"], &["h2"])).await;
    let recorder = Recorder::start().await;
    let policies = allow("[api.example, {host: raw.example, ports: [22], raw: true}]");
    let gateway = tls::start(
        &authority,
        &config(TLS, "", &policies),
        &[(443, backend.address), (22, recorder.address)],
    );
    let mut client = Connection::to(&gateway, &authority).await;
    let mut up = client.connect("raw.example:22").await.expect("a tunnel");
    let piece = Bytes::from(vec![7; 16 << 10]);
    for _ in 0..512 {
        up.up.reserve_capacity(piece.len());
        while up.up.capacity() < piece.len() {
            let more = std::future::poll_fn(|cx| up.up.poll_capacity(cx)).await;
            more.expect("it is open").expect("capacity");
        }
        up.up.send_data(piece.clone(), false).expect("it is open");
    }
    wait_for("the bytes", || recorder.bytes() == 8 << 20);
    // What is in the tunnel begins with TLS, as in any other.
    let mut bad = client.connect("api.example:443").await.expect("a tunnel");
    bad.up
        .send_data("GET / HTTP/1.1\r\n\r\n".into(), false)
        .expect("it is open");
    wait_for("the record", || {
        records(&gateway)
            .iter()
            .any(|line| line["reason"] == "not_tls" && line["host"] == "api.example")
    });
    assert_eq!(backend.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stream_shows_who_asks() {
    let authority = Authority::new();
    let echo = Echo::start("").await;
    let issuer = TokenIssuer::new("one");
    let jwks = tempfile::tempdir().expect("a temporary folder");
    let file = jwks.path().join("jwks.json");
    std::fs::write(&file, TokenIssuer::jwks(&[&issuer])).expect("writable");
    let tokens = json!({"jwks": file, "issuer": TokenIssuer::ISSUER, "audience": "portcullis"});
    let identity = format!("identity: {{level: required, serviceAccountTokens: {tokens}}}");
    let policies = format!("  - {{name: ci, subjects: [{{namespace: ci}}], allow: {RAW}}}\n");
    let gateway = tls::start(
        &authority,
        &config(TLS, &identity, &policies),
        &[(22, echo.address)],
    );
    let mut client = Connection::to(&gateway, &authority).await;
    let nobody = client
        .ask(connect("raw.example:22"))
        .await
        .expect("an answer")
        .0;
    assert_eq!(nobody.status(), 407);
    assert!(nobody.headers().contains_key("proxy-authenticate"));
    let token = issuer.sign(&TokenIssuer::claims("portcullis", ("ci", "builder"), 600));
    let shown = |times: usize| {
        let mut request = connect("raw.example:22");
        for _ in 0..times {
            let value = format!("Bearer {token}").parse().expect("a value");
            request.headers_mut().append("proxy-authorization", value);
        }
        request
    };
    let answer = client.ask(shown(1)).await.expect("an answer").0;
    assert_eq!(answer.status(), 200);
    // What one stream has shown is nothing to the next.
    let again = client
        .ask(connect("raw.example:22"))
        .await
        .expect("an answer")
        .0;
    assert_eq!(again.status(), 407);
    let twice = client.ask(shown(2)).await.expect("an answer").0;
    assert_eq!(
        twice.headers()["x-portcullis-reason"],
        "egress/duplicate_credentials"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_requests_are_asked_for_in_http1() {
    let authority = Authority::new();
    let backend = Backend::start("one").await;
    let gateway = tls::start(
        &authority,
        &config(TLS, "", &allow("[api.example]")),
        &[(80, backend.address)],
    );
    let mut client = Connection::to(&gateway, &authority).await;
    let plain = Request::get("http://api.example/")
        .body(())
        .expect("a request");
    let error = client.ask(plain).await.expect_err("no answer");
    assert_eq!(error.reason(), Some(Reason::HTTP_1_1_REQUIRED), "{error}");
    wait_for("the record", || records(&gateway).len() == 1);
    let record = &records(&gateway)[0];
    assert_eq!(record["reason"], "http1_required", "{record}");
    assert_eq!(record["method"], "GET", "{record}");
    assert_eq!(backend.requests(), 0);
    // A client that wants HTTP/1.1 has it, and where nothing is said each has.
    let stream = shake(&authority, &gateway, &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let only = "tls: {defaultCertificate: proxy}";
    gateway.reload(&config(only, "", &allow("[api.example]")));
    let stream = shake(&authority, &gateway, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_connections_and_their_silence_are_bounded() {
    let authority = Authority::new();
    let echo = Echo::start("").await;
    let limits = |more: &str| format!("limits: {{maxStreams: 2, {more}}}");
    let start = |more: &str| {
        let yaml = config(TLS, &limits(more), &allow(RAW));
        tls::start(&authority, &yaml, &[(22, echo.address)])
    };
    let gateway = start("maxConnections: 4");
    let mut client = Connection::to(&gateway, &authority).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(client.connect("raw.example:22").await.expect("a tunnel"));
    }
    // The client waits for room: h2 keeps to what the proxy says.
    let third = tokio::time::timeout(Duration::from_secs(1), client.connect("raw.example:22"));
    assert!(third.await.is_err(), "there is no room");
    open.pop();
    open.push(client.connect("raw.example:22").await.expect("a tunnel"));
    // Streams count among all that is open: with the two connections there are four.
    let mut other = Connection::to(&gateway, &authority).await;
    let refused = other
        .ask(connect("raw.example:22"))
        .await
        .expect_err("no room");
    assert_eq!(refused.reason(), Some(Reason::REFUSED_STREAM), "{refused}");
    drop(open);
    wait_for("room", || tunnels(&gateway) == Some(0.0));
    other.connect("raw.example:22").await.expect("a tunnel");

    // Whoever asks for nothing is let go, whoever has a tunnel is not.
    let gateway = start("headTimeout: 1s, idleTimeout: 3s");
    let silent = Connection::to(&gateway, &authority).await;
    let mut busy = Connection::to(&gateway, &authority).await;
    let mut tunnel = busy.connect("raw.example:22").await.expect("a tunnel");
    let ended = tokio::time::timeout(Duration::from_secs(10), silent.ended).await;
    let _ = ended.expect("it ends").expect("no panic");
    tunnel.says("still").await;
    drop(tunnel);
    let ended = tokio::time::timeout(Duration::from_secs(15), busy.ended).await;
    let _ = ended.expect("it ends").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_while_it_is_opened_and_a_connection_that_breaks_are_told() {
    let authority = Authority::new();
    let echo = Echo::start("").await;
    let gateway = tls::start(
        &authority,
        &config(TLS, "", &allow(RAW)),
        &[(22, echo.address)],
    );
    let mut client = Connection::to(&gateway, &authority).await;
    for _ in 0..10 {
        let mut sender = client.sender.clone().ready().await.expect("it is open");
        let (answer, mut up) = sender
            .send_request(connect("raw.example:22"), false)
            .expect("it is open");
        up.send_reset(Reason::CANCEL);
        drop(answer);
    }
    wait_for("the records", || records(&gateway).len() == 10);
    let tunnel = client.connect("raw.example:22").await.expect("a tunnel");
    wait_for("the tunnel", || tunnels(&gateway) == Some(1.0));
    client.ended.abort();
    drop((tunnel, client.sender));
    wait_for("the record", || records(&gateway).len() == 11);
    wait_for("its end", || tunnels(&gateway) == Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_ends_the_tunnels_that_it_forbids_and_a_shutdown_lets_them_end() {
    let authority = Authority::new();
    let echo = Echo::start("").await;
    let both = allow(
        "[{host: raw.example, ports: [22], raw: true}, {host: api.example, ports: [22], raw: true}]",
    );
    let mut gateway = tls::start(&authority, &config(TLS, "", &both), &[(22, echo.address)]);
    let mut client = Connection::to(&gateway, &authority).await;
    let mut stays = client.connect("raw.example:22").await.expect("a tunnel");
    let mut goes = client.connect("api.example:22").await.expect("a tunnel");
    gateway.reload(&config(TLS, "", &allow(RAW)));
    wait_for("the record", || {
        records(&gateway)
            .iter()
            .any(|line| line["ended"] == "policy_changed")
    });
    goes.ends().await;
    stays.says("still").await;
    let address = gateway.at("egress/proxy");
    gateway.signal("TERM");
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    gone.await;
    stays.says("until its end").await;
    stays.up.send_data(Bytes::new(), true).expect("it is open");
    let ended = tokio::time::timeout(Duration::from_secs(10), client.ended).await;
    let _ = ended.expect("it ends").expect("no panic");
    assert!(gateway.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_the_end_of_both_directions() {
    let authority = Authority::new();
    // It does not care for the end of what it is sent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = silent.local_addr().expect("an address");
    let gateway = tls::start(&authority, &config(TLS, "", &allow(RAW)), &[(22, at)]);
    let mut client = Connection::to(&gateway, &authority).await;
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let mut tunnel = client.connect("raw.example:22").await.expect("a tunnel");
        let _held = silent.accept().expect("a connection");
        wait_for("the tunnel", || tunnels(&gateway) == Some(1.0));
        tunnel.up.send_reset(reason);
        wait_for(&format!("its end by {reason}"), || {
            tunnels(&gateway) == Some(0.0)
        });
    }
    // So is the end of the connection, also one that is not announced.
    let tunnel = client.connect("raw.example:22").await.expect("a tunnel");
    let _held = silent.accept().expect("a connection");
    wait_for("the tunnel", || tunnels(&gateway) == Some(1.0));
    client.ended.abort();
    drop((tunnel, client.sender));
    wait_for("its end", || tunnels(&gateway) == Some(0.0));
}

/// A client that takes nothing of what it is sent.
async fn taking_nothing(gateway: &Gateway, authority: &Authority) -> Connection {
    let stream = shake(authority, gateway, &["h2"]).await;
    let mut builder = client::Builder::new();
    builder.initial_window_size(0);
    let (sender, connection) = builder.handshake(stream).await.expect("a preface");
    Connection {
        sender,
        ended: tokio::spawn(connection),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_a_tunnel_that_is_over_takes_no_others_with_it() {
    let authority = Authority::new();
    let echo = Echo::start("a greeting").await;
    let entry = |ports: &str| {
        allow(&format!(
            "[{{host: raw.example, ports: [{ports}], raw: true}}]"
        ))
    };
    let gateway = tls::start(
        &authority,
        &config(TLS, "limits: {idleTimeout: 3s}", &entry("22, 80")),
        &[(22, echo.address), (80, echo.address)],
    );
    let mut client = taking_nothing(&gateway, &authority).await;
    let _over = client.connect("raw.example:22").await.expect("a tunnel");
    let mut other = client.connect("raw.example:80").await.expect("a tunnel");
    wait_for("both", || tunnels(&gateway) == Some(2.0));
    gateway.reload(&config(TLS, "limits: {idleTimeout: 3s}", &entry("80")));
    wait_for("an end", || tunnels(&gateway) == Some(1.0));
    // Longer than any limit but that of the one in use.
    for _ in 0..16 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        other
            .up
            .send_data(Bytes::from_static(b"x"), false)
            .expect("it is open");
    }
    assert_eq!(tunnels(&gateway), Some(1.0));
    // It is not waited for without an end.
    let ended = tokio::time::timeout(Duration::from_secs(40), client.ended).await;
    let _ = ended.expect("it ends").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_most_tunnels_loses_the_connection_also_where_one_is_in_use() {
    let authority = Authority::new();
    let echo = Echo::start("a greeting").await;
    let settings = |ports: &str| {
        let entry = format!("[{{host: raw.example, ports: [{ports}], raw: true}}]");
        config(TLS, "limits: {maxStreams: 3}", &allow(&entry))
    };
    let map = [22, 23, 80].map(|port| (port, echo.address));
    let gateway = tls::start(&authority, &settings("22, 23, 80"), &map);
    let mut client = taking_nothing(&gateway, &authority).await;
    let _over = client.connect("raw.example:22").await.expect("a tunnel");
    let _too = client.connect("raw.example:23").await.expect("a tunnel");
    let _used = client.connect("raw.example:80").await.expect("a tunnel");
    wait_for("all", || tunnels(&gateway) == Some(3.0));
    gateway.reload(&settings("80"));
    wait_for("their ends", || tunnels(&gateway) == Some(1.0));
    let ended = tokio::time::timeout(Duration::from_secs(40), client.ended).await;
    let _ = ended.expect("it ends").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_a_tunnel_that_is_over_loses_the_connection() {
    let authority = Authority::new();
    let echo = Echo::start("a greeting").await;
    let gateway = tls::start(
        &authority,
        &config(TLS, "", &allow(RAW)),
        &[(22, echo.address)],
    );
    let mut client = taking_nothing(&gateway, &authority).await;
    let _tunnel = client.connect("raw.example:22").await.expect("a tunnel");
    wait_for("the tunnel", || tunnels(&gateway) == Some(1.0));
    gateway.reload(&config(TLS, "", &allow("[other.example]")));
    wait_for("its end", || tunnels(&gateway) == Some(0.0));
    let ended = tokio::time::timeout(Duration::from_secs(30), client.ended).await;
    let _ = ended.expect("it ends").expect("no panic");
}
