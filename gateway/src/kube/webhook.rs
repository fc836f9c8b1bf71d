//! Admission webhooks: questions of the API server over HTTPS, whether an object can be served, and what a
//! pod is given.
//!
//! It reads and answers, and changes nothing itself. Whoever reaches its port may ask: an answer tells
//! what is wrong with an object that the asker has sent, or what is given to any pod, and nothing of
//! other objects. What it costs is bounded: connections, the time of each, bodies that are held, and questions that
//! are thought about, these for each of the two paths by themselves.

mod certificate;
mod connections;
#[cfg(test)]
mod tests;
mod turns;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use self::{
    certificate::Certificate,
    connections::{Connection, Connections},
    turns::{NotRead, Turns},
};
use super::{
    ResourceName, admission,
    injection::{self, Around, Given},
    review::Review,
    shared::Shared,
};

/// Where objects that are served are asked about.
const VALIDATE: &str = "/validate";
/// Where pods are asked about.
const INJECT: &str = "/inject";
/// Connections at once. An API server keeps 25 idle ones at most for each address (client-go).
const MAX_CONNECTIONS: usize = 256;
/// Time for the handshake and the first head: who connects has something to ask.
const FIRST: Duration = Duration::from_secs(10);
/// Time for a head after that. API servers keep their connections.
const HEAD: Duration = Duration::from_secs(90);
/// Largest head.
const MAX_HEAD: usize = 32 << 10;
/// Time for a body and for the turn of its question. API servers wait no longer, as docs tell to set them.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the webhook listens, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where it listens.
    pub address: SocketAddr,
    /// The Secret with its certificate.
    pub certificate: ResourceName,
}

/// What connections share.
struct Server {
    shared: Arc<Shared>,
    name: ResourceName,
    certificate: Certificate,
    to_validate: Turns,
    to_inject: Turns,
    settings: admission::KnownSettings,
    first: Duration,
}

/// What is done with a question; nothing where it cannot be told yet.
type Answer = fn(&Server, &Review) -> Option<Value>;

/// Serves for ever.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, certificate: ResourceName) {
    Server::new(shared, certificate, FIRST)
        .serve(listener, MAX_CONNECTIONS)
        .await;
}

impl Server {
    fn new(shared: Arc<Shared>, certificate: ResourceName, first: Duration) -> Arc<Self> {
        Arc::new(Self {
            shared,
            name: certificate,
            certificate: Certificate::default(),
            to_validate: Turns::default(),
            to_inject: Turns::default(),
            settings: admission::KnownSettings::default(),
            first,
        })
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, max_connections: usize) {
        let connections = Connections::new(max_connections);
        // They end with this task.
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = Arc::new(connections.enter().await);
                    let server = Arc::clone(&self);
                    tasks.spawn(async move {
                        tokio::select! {
                            () = connection.ends() => {}
                            () = server.connection(stream, &connection) => {}
                        }
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, connection: &Arc<Connection>) {
        let secrets = &self.shared.objects().secrets;
        let secret = secrets.get(&self.name).cloned();
        let Some(config) = self.certificate.settings(&self.name, secret) else {
            return;
        };
        let first = Instant::now() + self.first;
        let accepted = timeout_at(first, TlsAcceptor::from(config).accept(stream)).await;
        let Ok(Ok(stream)) = accepted else {
            return;
        };
        let service = service_fn(|request| {
            let (server, connection) = (Arc::clone(&self), Arc::clone(connection));
            async move {
                let _question = connection.ask();
                let mut response = server.respond(request).await;
                if connection.is_in_the_way() {
                    let close = header::HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let is_late = async {
            if timeout_at(first, connection.asked()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = is_late => {}
            // A client that goes away is no news.
            _ = served => {}
        }
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (answer, turns): (Answer, _) = match request.uri().path() {
            VALIDATE => (Self::judge, &self.to_validate),
            INJECT => (Self::inject, &self.to_inject),
            _ => return text(StatusCode::NOT_FOUND, "only /validate and /inject\n"),
        };
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
        }
        let until = Instant::now() + ANSWER;
        let question = match timeout_at(until, turns.read(request.into_body())).await {
            Ok(Ok(question)) => question,
            Ok(Err(NotRead)) => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "larger than 4 MiB\n");
            }
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        };
        let Ok(Some(turn)) = timeout_at(until, turns.think()).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many questions\n");
        };
        let server = Arc::clone(&self);
        // Thinking must not hold up requests. It goes on where the client has gone, and keeps its turn.
        let answered = tokio::task::spawn_blocking(move || {
            // Whole: a closure takes the body alone of it, and leaves its turn behind.
            let (_turn, question) = (turn, question);
            let review = Review::read(question.body.clone())?;
            Ok::<_, serde_json::Error>(answer(&server, &review))
        });
        match answered.await {
            Ok(Ok(Some(answer))) => {
                let mut response = Response::new(Full::from(answer.to_string()));
                let json = header::HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Ok(Ok(None)) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "no configuration is in force yet: what pods are given is not known\n",
            ),
            Ok(Err(error)) => text(
                StatusCode::BAD_REQUEST,
                &format!("no AdmissionReview of admission.k8s.io/v1: {error}\n"),
            ),
            Err(error) => {
                tracing::error!(%error, "a question of the API server was not answered");
                text(StatusCode::INTERNAL_SERVER_ERROR, "not answered\n")
            }
        }
    }

    fn judge(&self, review: &Review) -> Option<Value> {
        let shared = &self.shared;
        let (objects, options) = (shared.objects(), shared.options.load());
        let in_force = Arc::clone(&shared.verdicts.borrow());
        let egress = in_force.section.as_deref();
        let answer = admission::answer(review, &objects, &options, &self.settings, egress);
        Some(answer)
    }

    fn inject(&self, review: &Review) -> Option<Value> {
        let shared = &self.shared;
        let known = shared.workloads.known();
        let around = Around {
            workloads: match &known {
                Some(workloads) => Given::Known(workloads.as_deref()),
                None => Given::NotYet,
            },
            own_namespace: &shared.own_namespace,
            api_server: shared.api_server,
        };
        injection::answer(review, around)
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response
}
