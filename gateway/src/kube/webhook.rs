//! Admission webhooks: questions of the API server over HTTPS, whether an object can be served, and what a
//! pod is given.
//!
//! It reads and answers, and changes nothing itself. Whoever reaches its port may ask: an answer tells
//! what is wrong with an object that the asker has sent, or what is given to any pod, and nothing of
//! other objects.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Secret;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    ResourceName, admission,
    injection::{self, Around},
    review::Review,
    shared::Shared,
};

/// Where objects that are served are asked about.
const VALIDATE: &str = "/validate";
/// Where pods are asked about.
const INJECT: &str = "/inject";
/// Largest question: an object is at most 1.5 MiB in etcd, and an update comes with its old version.
const MAX_BODY: usize = 4 << 20;
/// Connections at once.
const MAX_CONNECTIONS: usize = 64;
/// Questions that are thought about at once.
const MAX_QUESTIONS: usize = 2;
/// Time for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time for a head. API servers keep their connections.
const HEAD: Duration = Duration::from_secs(90);
/// Time for a body, and for an answer.
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
    certificate: ResourceName,
    tls: Mutex<Tls>,
    questions: Semaphore,
    settings: admission::KnownSettings,
}

/// The certificate, as TLS takes it.
#[derive(Default)]
struct Tls {
    /// The Secret that was looked at last.
    tried: Option<Arc<Secret>>,
    /// The last good settings.
    config: Option<Arc<ServerConfig>>,
}

/// Serves for ever.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, certificate: ResourceName) {
    let server = Arc::new(Server {
        shared,
        certificate,
        tls: Mutex::default(),
        questions: Semaphore::new(MAX_QUESTIONS),
        settings: admission::KnownSettings::default(),
    });
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    server.connection(stream).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let Some(config) = self.tls() else {
            return;
        };
        let accepted = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
        let Ok(Ok(stream)) = accepted else {
            return;
        };
        let service = service_fn(move |request| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        // A client that goes away is no news.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// The settings of the certificate as it is now, or as it was when it was good last.
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        let secret = self
            .shared
            .objects()
            .secrets
            .get(&self.certificate)
            .cloned();
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let Tls { tried, config } = &mut *tls;
        let is_tried = match (&tried, &secret) {
            (Some(tried), Some(secret)) => Arc::ptr_eq(tried, secret),
            (None, None) => config.is_some(),
            _ => false,
        };
        if !is_tried {
            let made = match &secret {
                Some(secret) => settings(secret),
                None => Err("there is no such Secret".to_owned()),
            };
            match made {
                Ok(made) => *config = Some(Arc::new(made)),
                Err(reason) => {
                    let serves = config.is_some();
                    tracing::error!(secret = %self.certificate, reason, serves, "certificate of the webhook");
                }
            }
            *tried = secret;
        }
        config.clone()
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match request.uri().path() {
            VALIDATE => Self::judge,
            INJECT => Self::inject,
            _ => return text(StatusCode::NOT_FOUND, "only /validate and /inject\n"),
        };
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
        }
        let body = Limited::new(request.into_body(), MAX_BODY).collect();
        let body = match timeout(ANSWER, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "larger than 4 MiB\n"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        };
        let Ok(Ok(_turn)) = timeout(ANSWER, self.questions.acquire()).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many questions\n");
        };
        let server = Arc::clone(&self);
        // Thinking must not hold up requests.
        let answered = tokio::task::spawn_blocking(move || {
            let review = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            Ok::<_, String>(answer(&server, review))
        });
        match answered.await {
            Ok(Ok(answer)) => {
                let mut response = Response::new(Full::from(answer.to_string()));
                let json = header::HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Ok(Err(reason)) => text(
                StatusCode::BAD_REQUEST,
                &format!("no AdmissionReview of admission.k8s.io/v1: {reason}\n"),
            ),
            Err(error) => {
                tracing::error!(%error, "a question of the API server was not answered");
                text(StatusCode::INTERNAL_SERVER_ERROR, "not answered\n")
            }
        }
    }
}

impl Server {
    fn judge(&self, review: Review) -> Value {
        let shared = &self.shared;
        let (objects, options) = (shared.objects(), shared.options.load());
        let in_force = Arc::clone(&shared.verdicts.borrow());
        let egress = in_force.section.as_deref();
        admission::answer(review, &objects, &options, &self.settings, egress)
    }

    fn inject(&self, review: Review) -> Value {
        let shared = &self.shared;
        let workloads = shared.workloads.borrow().clone();
        let api_server = shared.api_server.map(|address| address.to_string());
        let around = Around {
            workloads: workloads.as_deref(),
            own_namespace: &shared.own_namespace,
            api_server: api_server.as_deref(),
        };
        injection::answer(review, around)
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response
}

fn settings(secret: &Secret) -> Result<ServerConfig, String> {
    let key = |name: &str| {
        let data = secret.data.as_ref();
        let value = data.and_then(|data| data.get(name));
        value.ok_or_else(|| format!("it has no key {name}"))
    };
    let chain = CertificateDer::pem_slice_iter(&key("tls.crt")?.0)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("tls.crt: {error}"))?;
    let private = PrivateKeyDer::from_pem_slice(&key("tls.key")?.0)
        .map_err(|error| format!("tls.key: {error}"))?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| error.to_string())
}
