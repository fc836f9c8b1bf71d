//! gRPC as tonic speaks it, directly and through the gateway: a call looks the same.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response, uri::PathAndQuery};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use portcullis_tests::{Authority, Gateway, Nobody, raw, status_of};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Code, Status,
    body::Body,
    client::Grpc,
    metadata::MetadataValue,
    server::{ServerStreamingService, StreamingService, UnaryService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// The one message of every method.
#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

fn text(text: impl Into<String>) -> Text {
    Text { text: text.into() }
}

type Codec = ProstCodec<Text, Text>;
type Answers = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;
type Future<T> =
    Pin<Box<dyn std::future::Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

/// What the server was told of streams that ended before their time.
type Cancelled = mpsc::UnboundedSender<()>;

/// A service of one method by its path.
#[derive(Clone)]
struct Method {
    name: String,
    cancelled: Cancelled,
}

fn failure() -> Status {
    let mut status = Status::failed_precondition("not now: 50 % — später");
    status
        .metadata_mut()
        .insert("x-reason", MetadataValue::from_static("closed"));
    status
}

impl UnaryService<Text> for Method {
    type Response = Text;
    type Future = Future<Text>;

    fn call(&mut self, request: tonic::Request<Text>) -> Self::Future {
        let name = self.name.clone();
        Box::pin(async move {
            if name == "/test.Echo/Fail" {
                return Err(failure());
            }
            let told = request.metadata().get("x-told").cloned();
            let mut response = tonic::Response::new(request.into_inner());
            if let Some(told) = told {
                response.metadata_mut().insert("x-told", told);
            }
            Ok(response)
        })
    }
}

impl ServerStreamingService<Text> for Method {
    type Response = Text;
    type ResponseStream = Answers;
    type Future = Future<Answers>;

    fn call(&mut self, request: tonic::Request<Text>) -> Self::Future {
        let (name, cancelled) = (self.name.clone(), self.cancelled.clone());
        Box::pin(async move {
            let word = request.into_inner().text;
            let answers: Answers = if name == "/test.Echo/Five" {
                let five = stream::iter(0..5).map(move |n| Ok(text(format!("{word} {n}"))));
                Box::pin(five.chain(stream::once(async { Err(failure()) })))
            } else {
                Box::pin(Endless {
                    cancelled,
                    said: false,
                })
            };
            Ok(tonic::Response::new(answers))
        })
    }
}

impl StreamingService<Text> for Method {
    type Response = Text;
    type ResponseStream = Answers;
    type Future = Future<Answers>;

    fn call(&mut self, request: tonic::Request<tonic::Streaming<Text>>) -> Self::Future {
        Box::pin(async move {
            let answers: Answers = Box::pin(request.into_inner());
            Ok(tonic::Response::new(answers))
        })
    }
}

/// One message, and then nothing until somebody ends it.
struct Endless {
    cancelled: Cancelled,
    said: bool,
}

impl Stream for Endless {
    type Item = Result<Text, Status>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::replace(&mut self.said, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(text("first"))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.cancelled.send(());
    }
}

struct Server {
    address: SocketAddr,
    cancelled: mpsc::UnboundedReceiver<()>,
    te: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (cancelled, told) = mpsc::unbounded_channel();
        let te: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&te);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (cancelled, seen) = (cancelled.clone(), Arc::clone(&seen));
                let service = service_fn(move |request: Request<Incoming>| {
                    let value = request.headers().get("te");
                    let value = value
                        .and_then(|value| value.to_str().ok())
                        .unwrap_or("none");
                    seen.lock().expect("no panic").push(value.to_owned());
                    let method = Method {
                        name: request.uri().path().to_owned(),
                        cancelled: cancelled.clone(),
                    };
                    async move { Ok::<_, Infallible>(serve(method, request).await) }
                });
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            cancelled: told,
            te,
        }
    }
}

async fn serve(method: Method, request: Request<Incoming>) -> Response<Body> {
    let mut grpc = tonic::server::Grpc::new(Codec::default());
    match method.name.as_str() {
        "/test.Echo/Unary" | "/test.Echo/Fail" => grpc.unary(method, request).await,
        "/test.Echo/Five" | "/test.Echo/Endless" => grpc.server_streaming(method, request).await,
        "/test.Echo/Both" => grpc.streaming(method, request).await,
        // Trailers and no body, in the head.
        _ => Status::unimplemented("no such method").into_http(),
    }
}

/// A way to the server: the name of it, and a client.
struct Way {
    name: &'static str,
    client: Grpc<Channel>,
}

async fn ways(server: &Server, gateway: &Gateway, authority: &Authority) -> Vec<Way> {
    let trust = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("grpc.example");
    let https = Endpoint::try_from(format!("https://{}", gateway.https())).expect("an address");
    let tls = https.tls_config(trust).expect("a good authority");
    vec![
        Way {
            name: "directly",
            client: plain(server.address).await,
        },
        Way {
            name: "in clear",
            client: plain(gateway.http()).await,
        },
        Way {
            name: "over TLS",
            client: Grpc::new(tls.connect().await.expect("a connection")),
        },
    ]
}

async fn plain(address: SocketAddr) -> Grpc<Channel> {
    let endpoint = Endpoint::try_from(format!("http://{address}")).expect("an address");
    Grpc::new(endpoint.connect().await.expect("a connection"))
}

fn gateway(server: SocketAddr, authority: &Authority) -> Gateway {
    let folder = tempfile::tempdir().expect("a temporary folder");
    authority.write(folder.path(), "any", &["grpc.example"]);
    let yaml = format!(
        r"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: https, protocol: https, address: '127.0.0.1:0'}}
certificates: [{{name: any, certificate: any.crt, key: any.key}}]
wafProfiles: [{{name: baseline}}]
backends: [{{name: one, protocol: http2, endpoints: [{{address: {server}}}]}}]
routes: [{{name: any, policies: {{waf: {{profile: baseline}}}}, rules: [{{backends: [{{name: one}}]}}]}}]
"
    );
    Gateway::start_in(folder, &yaml, &[])
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(method)
}

/// What a caller sees of an end.
fn end(status: &Status) -> (Code, String, Option<String>) {
    let reason = status.metadata().get("x-reason");
    let reason = reason.and_then(|value| value.to_str().ok().map(str::to_owned));
    (status.code(), status.message().to_owned(), reason)
}

async fn unary(
    client: &mut Grpc<Channel>,
    method: &'static str,
) -> Result<tonic::Response<Text>, Status> {
    client.ready().await.expect("a connection");
    let mut request = tonic::Request::new(text("hello"));
    request
        .metadata_mut()
        .insert("x-told", MetadataValue::from_static("something"));
    let call = client.unary(request, path(method), Codec::default());
    tokio::time::timeout(PATIENCE, call).await.expect("an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn ing_43_a_call_through_the_gateway_is_as_a_direct_one() {
    let server = Server::start().await;
    let authority = Authority::new();
    let gateway = gateway(server.address, &authority);
    for Way { name, mut client } in ways(&server, &gateway, &authority).await {
        let answer = unary(&mut client, "/test.Echo/Unary")
            .await
            .expect("an answer");
        assert_eq!(
            answer.metadata().get("x-told").expect("it came back"),
            "something",
            "{name}"
        );
        assert_eq!(answer.get_ref().text, "hello", "{name}");
        // An error with the head alone, and one with details of its own.
        let none = unary(&mut client, "/test.Echo/None")
            .await
            .expect_err("no method");
        let expected = (Code::Unimplemented, "no such method".to_owned(), None);
        assert_eq!(end(&none), expected, "{name}");
        let failed = unary(&mut client, "/test.Echo/Fail")
            .await
            .expect_err("it fails");
        assert_eq!(end(&failed), end(&failure()), "{name}");
        // Five messages, and then an error in the trailers.
        client.ready().await.expect("a connection");
        let request = tonic::Request::new(text("word"));
        let five = client.server_streaming::<Text, Text, _>(
            request,
            path("/test.Echo/Five"),
            Codec::default(),
        );
        let mut five = five.await.expect("a stream").into_inner();
        for n in 0..5 {
            let message = five.message().await.expect("no end yet");
            assert_eq!(message, Some(text(format!("word {n}"))), "{name}");
        }
        let last = five.message().await.expect_err("it fails in the end");
        assert_eq!(end(&last), end(&failure()), "{name}");
    }
    assert!(
        server
            .te
            .lock()
            .expect("no panic")
            .iter()
            .all(|te| te == "trailers")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_as_they_are_sent() {
    let server = Server::start().await;
    let authority = Authority::new();
    let gateway = gateway(server.address, &authority);
    for Way { name, mut client } in ways(&server, &gateway, &authority).await {
        let (sender, sent) = mpsc::channel::<Text>(1);
        let sent = stream::unfold(sent, |mut sent| async move {
            sent.recv().await.map(|message| (message, sent))
        });
        client.ready().await.expect("a connection");
        let both = client.streaming(
            tonic::Request::new(sent),
            path("/test.Echo/Both"),
            Codec::default(),
        );
        let mut both = tokio::time::timeout(PATIENCE, both)
            .await
            .expect("in time")
            .expect("a stream")
            .into_inner();
        // Each is answered before the next is sent: nothing waits for more.
        for n in 0..50 {
            let message = text(format!("{n} ").repeat(n + 1));
            sender.send(message.clone()).await.expect("open");
            let echo = tokio::time::timeout(PATIENCE, both.message()).await;
            assert_eq!(
                echo.expect("in time").expect("open"),
                Some(message),
                "{name}"
            );
        }
        // A message of more than a window of HTTP/2.
        let big = text("x".repeat(3 << 20));
        sender.send(big.clone()).await.expect("open");
        let echo = tokio::time::timeout(PATIENCE, both.message()).await;
        assert_eq!(echo.expect("in time").expect("open"), Some(big), "{name}");
        drop(sender);
        let echo = tokio::time::timeout(PATIENCE, both.message()).await;
        assert_eq!(echo.expect("in time").expect("a good end"), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_ends_at_the_server() {
    let mut server = Server::start().await;
    let authority = Authority::new();
    let gateway = gateway(server.address, &authority);
    for Way { name, mut client } in ways(&server, &gateway, &authority).await {
        client.ready().await.expect("a connection");
        let request = tonic::Request::new(text("word"));
        let endless = client.server_streaming::<Text, Text, _>(
            request,
            path("/test.Echo/Endless"),
            Codec::default(),
        );
        let mut endless = endless.await.expect("a stream").into_inner();
        let first = tokio::time::timeout(PATIENCE, endless.message()).await;
        assert_eq!(
            first.expect("in time").expect("open"),
            Some(text("first")),
            "{name}"
        );
        assert!(server.cancelled.try_recv().is_err(), "{name}: it goes on");
        drop(endless);
        let told = tokio::time::timeout(PATIENCE, server.cancelled.recv()).await;
        assert_eq!(told.expect(name), Some(()), "{name}");
        // The connection lives on.
        let answer = unary(&mut client, "/test.Echo/Unary").await;
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_and_a_plain_request_have_an_end() {
    let server = Server::start().await;
    let authority = Authority::new();
    let gone = Nobody::here();
    let down = gateway(gone.address, &authority);
    let began = Instant::now();
    let mut client = plain(down.http()).await;
    let status = unary(&mut client, "/test.Echo/Unary")
        .await
        .expect_err("down");
    let expected = "upstream/connect-failed".to_owned();
    assert_eq!(end(&status), (Code::Unavailable, expected, None));
    let refusal = r#"portcullis_refusals_total{reason="connect-failed",stage="upstream"}"#;
    assert_eq!(down.metric(refusal), Some(1.0));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // The server is asked, and says what it thinks of it.
    let up = gateway(server.address, &authority);
    let answer = raw(
        up.http(),
        b"GET /test.Echo/None HTTP/1.1\r\nHost: grpc.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status_of(&answer), 200, "{answer}");
    assert!(
        answer.to_lowercase().contains("grpc-status: 12"),
        "{answer}"
    );
}
