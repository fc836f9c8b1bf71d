use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Config};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::kube::{Options, SecretAccess};

const MOMENT: Duration = Duration::from_millis(200);

/// A webhook that listens, and a client that trusts it.
struct Bed {
    server: Arc<Server>,
    address: SocketAddr,
    tls: TlsConnector,
    _tasks: JoinSet<()>,
}

impl Bed {
    async fn new(first: Duration, max_connections: usize) -> Self {
        crate::tls::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        // Nobody asks the API server.
        let uri = format!("http://{address}").parse().expect("a URI");
        let shared = Shared::new(
            Client::try_from(Config::new(uri)).expect("a client"),
            Vec::new(),
            SecretAccess::Named,
            100,
            Options::default(),
            None,
            ("gateway".to_owned(), None),
        );
        let made = rcgen::generate_simple_self_signed(vec!["webhook".to_owned()]);
        let made = made.expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let secret: Secret = serde_json::from_value(json!({ "data": {
            "tls.crt": BASE64_STANDARD.encode(&certificate),
            "tls.key": BASE64_STANDARD.encode(key),
        } }))
        .expect("a Secret");
        let name = ResourceName::new("gateway", "webhook");
        let mut known = shared.known();
        let objects = Arc::make_mut(&mut known.objects);
        objects.secrets.insert(name.clone(), Arc::new(secret));
        drop(known);
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
        roots.add(certificate.expect("PEM")).expect("an authority");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = Server::new(Arc::new(shared), name, first);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&server).serve(listener, max_connections));
        Self {
            server,
            address,
            tls: TlsConnector::from(Arc::new(config)),
            _tasks: tasks,
        }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let name = "webhook".try_into().expect("a name");
        let stream = self.tls.connect(name, stream).await;
        stream.expect("the certificate is good")
    }

    /// The answer to a question, whose connection stays.
    async fn ask(&self, path: &str, question: &Value) -> (String, TlsStream<TcpStream>) {
        let mut stream = self.connect().await;
        let body = question.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: webhook\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let question = [head, body].concat();
        stream.write_all(question.as_bytes()).await.expect("sent");
        let mut answer = vec![0; 4096];
        let read = timeout(ANSWER, stream.read(&mut answer)).await;
        answer.truncate(read.expect("an answer").expect("bytes"));
        (String::from_utf8(answer).expect("text"), stream)
    }
}

/// Whether a connection ends within some time.
async fn ends(stream: &mut TlsStream<TcpStream>, within: Duration) -> bool {
    let read = timeout(within, stream.read(&mut [0; 16])).await;
    read.is_ok_and(|read| !matches!(read, Ok(1..)))
}

fn created(namespace: &str) -> Value {
    json!({ "request": {
        "uid": "u-1", "namespace": namespace, "operation": "CREATE",
        "kind": { "group": "", "version": "v1", "kind": "Pod" },
        "object": { "spec": { "containers": [] } },
    } })
}

#[tokio::test]
async fn before_a_configuration_is_in_force_the_api_server_is_told_to_ask_again() {
    let bed = Bed::new(FIRST, 8).await;
    let (answer, _) = bed.ask(INJECT, &created("shop")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("no configuration is in force yet"),
        "{answer}"
    );
    let (answer, _) = bed.ask(VALIDATE, &created("shop")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // A configuration that says nothing of pods is known as well.
    let workloads = &bed.server.shared.workloads;
    workloads.send_if_modified(|_| false);
    let (answer, _) = bed.ask(INJECT, &created("shop")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("no `egress.workloads.injection`"),
        "{answer}"
    );
}

#[tokio::test]
async fn who_asks_nothing_is_soon_gone_and_who_has_asked_stays() {
    let bed = Bed::new(MOMENT, 8).await;
    let (_, mut asked) = bed.ask(VALIDATE, &created("shop")).await;
    let mut silent = bed.connect().await;
    let mut raw = TcpStream::connect(bed.address).await.expect("it listens");
    assert!(ends(&mut silent, MOMENT * 10).await, "no head came");
    let read = timeout(MOMENT * 10, raw.read(&mut [0; 16])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "no handshake: {read:?}");
    assert!(!ends(&mut asked, MOMENT * 2).await);
}

#[tokio::test]
async fn silent_connections_hold_up_no_question() {
    let bed = Bed::new(Duration::from_secs(60), 4).await;
    let (_, mut kept) = bed.ask(VALIDATE, &created("shop")).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(bed.connect().await);
        let (answer, _) = bed.ask(VALIDATE, &created("shop")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(!ends(&mut kept, MOMENT).await, "others have never asked");
}

#[tokio::test]
async fn questions_at_one_path_do_not_wait_for_those_at_the_other() {
    let bed = Bed::new(FIRST, 8).await;
    let turns = &bed.server.to_validate;
    let (_one, _other) = (turns.think().await, turns.think().await);
    assert!(timeout(MOMENT, turns.think()).await.is_err(), "two are all");
    bed.server.shared.workloads.send_if_modified(|_| false);
    let (answer, _) = bed.ask(INJECT, &created("shop")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
