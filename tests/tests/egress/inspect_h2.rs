//! HTTP/2 inside tunnels: destinations and clients that do as they like with it.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{self, SendRequest},
    server::{self, SendResponse},
};
use http::{HeaderValue, Request, Response};
use portcullis_tests::{Authority, Backend, tls_stream_through, wait_for};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{
    inspected::{INSPECTION, Inspected},
    site::{allow, config},
};

type Taken = (Request<RecvStream>, SendResponse<Bytes>);

/// A proxy before a destination that does by the path of a request what [`answer`] does, and whose
/// clients may be silent for a second.
async fn start() -> Inspected {
    let destination = Authority::named("authority of destinations");
    let tls = TlsAcceptor::from(destination.server(&["api.example"], &["h2"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut backend = Backend::start("one").await;
    backend.address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let stream = tls.accept(stream).await.expect("TLS");
                let mut serving = server::Builder::new();
                serving.initial_window_size(0);
                let mut connection = serving.handshake(stream).await.expect("a preface");
                let mut kept = Vec::new();
                while let Some(Ok(taken)) = connection.accept().await {
                    if taken.0.uri().path() == "/leave" {
                        connection.graceful_shutdown();
                    }
                    kept.push(answer(taken));
                }
            });
        }
    });
    let policies = allow("[{host: api.example, inspect: true}]");
    let proxy = Inspected::with(&policies, backend, &[("trust.crt", &destination.pem())]);
    let limited = format!("{INSPECTION}\n  limits: {{idleTimeout: 1s}}");
    proxy.site.gateway.reload(&config(&limited, &policies));
    proxy
}

/// Answers, and reads no body: what is returned keeps the stream open.
fn answer((request, mut respond): Taken) -> (RecvStream, SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    let mut response = Response::new(());
    match head.uri.path() {
        "/refuse" => respond.send_reset(Reason::REFUSED_STREAM),
        "/break" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/large" => {
            let mut sending = respond.send_response(response, false).expect("open");
            let body = Bytes::from(vec![b'x'; 1 << 20]);
            sending.send_data(body, true).expect("open");
        }
        "/part" => {
            let mut sending = respond.send_response(response, false).expect("open");
            let body = Bytes::from_static(b"part");
            sending.send_data(body, false).expect("open");
        }
        path => {
            if path == "/head" {
                let value = HeaderValue::from_bytes(&[b'x'; 24 << 10]).expect("a value");
                response.headers_mut().insert("x-fill", value);
            }
            respond.send_response(response, true).expect("open");
        }
    }
    (body, respond)
}

/// A client inside a tunnel, with room for all that comes.
async fn client(proxy: &Inspected) -> SendRequest<Bytes> {
    let tls = proxy.authority.client(&["h2"]);
    let stream = tls_stream_through(proxy.site.proxy(), "api.example:443", tls).await;
    let mut asking = client::Builder::new();
    asking.initial_connection_window_size(16 << 20);
    let (client, connection) = asking
        .handshake(stream.expect("TLS"))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    client
}

/// Asks, and sends a body where there is one.
async fn ask(
    client: &mut SendRequest<Bytes>,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Response<RecvStream>, h2::Error> {
    let uri = format!("https://api.example{path}");
    let request = Request::post(uri).body(()).expect("a request");
    *client = client.clone().ready().await?;
    let (response, mut sending) = client.send_request(request, body.is_none())?;
    if let Some(body) = body {
        sending.send_data(body.into(), true)?;
    }
    tokio::time::timeout(Duration::from_secs(10), response)
        .await
        .expect("an answer, or none")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_names_a_host_names_the_same() {
    let proxy = start().await;
    let mut client = client(&proxy).await;
    for (host, status) in [
        ("api.example", 200),
        ("API.example.:443", 200),
        ("other.example", 400),
        ("api.example:8443", 400),
        ("", 400),
    ] {
        let request = Request::get("https://api.example/other").header("host", host);
        client = client.ready().await.expect("it is open");
        let (response, _) = client
            .send_request(request.body(()).expect("a request"), true)
            .expect("it is sent");
        let response = response.await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{host}");
    }
}

/// Reads a body to its end.
async fn read(response: Response<RecvStream>) -> usize {
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(Ok(bytes)) = body.data().await {
        length += bytes.len();
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    length
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_answers_and_does_not_read_ends_its_tunnel() {
    let proxy = start().await;
    let mut client = client(&proxy).await;
    let answer = ask(&mut client, "/early", Some(vec![b'x'; 20_000])).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    // The request is over, and others go on: the tunnel is not silent.
    let mut answered = 0;
    while let Ok(answer) = ask(&mut client, "/other", None).await {
        assert_eq!(answer.status(), 200);
        answered += 1;
        assert!(answered < 100, "it goes on");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(answered > 4, "{answered}");
    wait_for("the record", || proxy.tunnels().len() == 1);
    let tunnel = &proxy.tunnels()[0];
    assert_eq!(tunnel["ended"], "upstream_timeout", "{tunnel}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_read_do_not_stop_the_others() {
    let proxy = start().await;
    let mut client = client(&proxy).await;
    let mut unread = Vec::new();
    for _ in 0..4 {
        let answer = ask(&mut client, "/large", None).await;
        unread.push(answer.expect("an answer"));
    }
    // All comes that may.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let answer = ask(&mut client, "/large", None).await;
    let whole = read(answer.expect("an answer"));
    let whole = tokio::time::timeout(Duration::from_secs(10), whole).await;
    assert_eq!(whole.expect("it goes on"), 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_an_answer_may_be_as_long_as_one_of_a_request() {
    let proxy = start().await;
    let mut client = client(&proxy).await;
    let answer = ask(&mut client, "/head", None).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-fill"].len(), 24 << 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stalls_is_told_by_how_its_tunnel_ended() {
    let proxy = start().await;
    let mut client = client(&proxy).await;
    let answer = ask(&mut client, "/part", None).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    wait_for("the records", || {
        proxy.records().len() == 1 && proxy.tunnels().len() == 1
    });
    for record in [&proxy.records()[0], &proxy.tunnels()[0]] {
        assert_eq!(record["ended"], "idle_timeout", "{record}");
    }
    assert_eq!(proxy.records()[0]["status"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_destination_has_not_taken_may_be_sent_again() {
    let proxy = start().await;
    let mut first = client(&proxy).await;
    let refused = ask(&mut first, "/refuse", None).await;
    let error = refused.expect_err("it is not taken");
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    // One that may have been taken is not.
    let broken = ask(&mut first, "/break", None).await.expect("an answer");
    assert_eq!(broken.status(), 502);
    wait_for("the records", || proxy.records().len() == 2);
    for (path, reason) in [
        ("/refuse", "upstream_refused"),
        ("/break", "upstream_failed"),
    ] {
        let record = &proxy.records_with("path", path)[0];
        assert_eq!(record["verdict"], "error", "{record}");
        assert_eq!(record["reason"], reason, "{record}");
    }
    // One that comes when the destination has said that it leaves.
    let mut second = client(&proxy).await;
    let last = ask(&mut second, "/leave", None).await.expect("an answer");
    assert_eq!(last.status(), 200);
    let error = loop {
        match ask(&mut second, "/other", None).await {
            Ok(answer) => assert_eq!(answer.status(), 200),
            Err(error) => break error,
        }
    };
    let reason = error.reason().expect("it is no fault of the connection");
    assert!(
        error.is_go_away() && reason == Reason::NO_ERROR || reason == Reason::REFUSED_STREAM,
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_idle_for_too_long_is_told_to_go() {
    let proxy = start().await;
    let tls = proxy.authority.client(&["h2"]);
    let stream = tls_stream_through(proxy.site.proxy(), "api.example:443", tls).await;
    let mut stream = stream.expect("TLS");
    // The preface, and SETTINGS without any (RFC 9113 sections 3.4 and 6.5).
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.expect("open");
    let mut told = false;
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.expect("a whole frame");
        // GOAWAY (section 6.8).
        told |= head[3] == 7;
    }
    assert!(told, "it is dropped");
    wait_for("the record", || proxy.tunnels().len() == 1);
    assert_eq!(proxy.tunnels()[0]["ended"], "idle_timeout");
}
