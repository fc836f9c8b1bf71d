//! Asking endpoints whether they are well.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::BytesMut;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, header};
use portcullis_config::model::{Health, HealthQuestion};
use tokio::task::AbortHandle;

use super::{
    Connection, Connector, Event, Fault, FaultKind, Framing, Patience, RequestLine, Reuse, Target,
    grpc_health,
};
use crate::snapshot::{CompiledBackend, EndpointState};

/// What the question says of who asks.
const USER_AGENT: &[u8] = b"portcullis-health";

/// The checks that run, one task for each backend that has one.
pub(crate) struct HealthChecks {
    connector: Arc<Connector>,
    running: Mutex<BTreeMap<String, Running>>,
}

struct Running {
    backend: Arc<CompiledBackend>,
    task: AbortHandle,
}

impl HealthChecks {
    /// Makes checks of nothing.
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            running: Mutex::default(),
        }
    }

    /// Checks these backends from now on. A check that is the same goes on; to be
    /// called on a runtime.
    pub(crate) fn adopt(&self, backends: &[Arc<CompiledBackend>]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        for backend in backends {
            let name = &backend.backend.name;
            let old = before.remove(name);
            let Some(health) = backend.backend.health.clone() else {
                if let Some(old) = old {
                    old.task.abort();
                }
                // Nobody says any more that an endpoint is unwell.
                for member in backend.endpoints().members() {
                    member.state.checked(true);
                }
                continue;
            };
            let task = match old {
                Some(old) if is_same(&old.backend, backend) && !old.task.is_finished() => old.task,
                old => {
                    if let Some(old) = old {
                        old.task.abort();
                    }
                    let check = run(Arc::clone(&self.connector), Arc::clone(backend), health);
                    tokio::spawn(check).abort_handle()
                }
            };
            let backend = Arc::clone(backend);
            running.insert(name.clone(), Running { backend, task });
        }
        for gone in before.into_values() {
            gone.task.abort();
        }
    }
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for check in running.values() {
            check.task.abort();
        }
    }
}

fn is_same(one: &CompiledBackend, other: &CompiledBackend) -> bool {
    // The endpoints of names are those of the snapshot that serves.
    one.backend == other.backend && one.pool_key == other.pool_key && !other.has_names()
}

/// What the last answers of an endpoint were.
#[derive(Clone, Copy, Default)]
struct Streak {
    good: u32,
    bad: u32,
}

async fn run(connector: Arc<Connector>, backend: Arc<CompiledBackend>, health: Health) {
    let mut streaks: HashMap<SocketAddr, Streak> = HashMap::new();
    // Endpoints, and gateways that start together, do not ask all at one moment.
    let spread = health.interval / 10;
    loop {
        let set = backend.endpoints();
        let asked = set.members().iter().map(|member| async {
            tokio::time::sleep(spread.mul_f64(fastrand::f64())).await;
            check(&connector, &backend, &health, &member.state).await
        });
        let answers = join_all(asked).await;
        for (answer, member) in answers.into_iter().zip(set.members()) {
            let state = &member.state;
            let streak = streaks.entry(state.address).or_default();
            match &answer {
                Ok(()) => (streak.good, streak.bad) = (streak.good.saturating_add(1), 0),
                Err(_) => (streak.good, streak.bad) = (0, streak.bad.saturating_add(1)),
            }
            let healthy = if streak.good >= health.healthy_after {
                true
            } else if streak.bad >= health.unhealthy_after {
                false
            } else {
                continue;
            };
            if state.checked(healthy) {
                tell(&backend, state.address, answer);
            }
        }
        tokio::time::sleep(health.interval - spread).await;
    }
}

fn tell(backend: &CompiledBackend, endpoint: SocketAddr, answer: Result<(), Fault>) {
    let backend = &backend.backend.name;
    match answer {
        Ok(()) => tracing::info!(%backend, %endpoint, "endpoint passes its health check again"),
        Err(fault) => {
            tracing::warn!(%backend, %endpoint, %fault, "endpoint fails its health check and gets no requests");
        }
    }
}

async fn check(
    connector: &Connector,
    backend: &CompiledBackend,
    health: &Health,
    endpoint: &EndpointState,
) -> Result<(), Fault> {
    let target = Target {
        backend,
        endpoint,
        connect: health.timeout,
        reach: health.timeout,
    };
    match tokio::time::timeout(health.timeout, ask(connector, target, health)).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::new(FaultKind::Timeout, "no answer in time")),
    }
}

async fn ask(connector: &Connector, target: Target<'_>, health: &Health) -> Result<(), Fault> {
    if health.question == HealthQuestion::Connection {
        return connector.connect(&target).await;
    }
    let (mut connection, _) = connector.open(&target, Reuse::Never).await?;
    let answer = question(&mut connection, &target, health).await;
    connector.release(connection, &target);
    answer
}

async fn question(
    connection: &mut Connection,
    target: &Target<'_>,
    health: &Health,
) -> Result<(), Fault> {
    let address = target.endpoint.address.to_string();
    let host = health.host.as_deref().unwrap_or(&address).as_bytes();
    match &health.question {
        HealthQuestion::Connection => Ok(()),
        HealthQuestion::Http(path) => get(connection, path, host, patience(health)).await,
        HealthQuestion::Grpc(service) => grpc(connection, service, host, patience(health)).await,
    }
}

fn patience(health: &Health) -> Patience {
    Patience {
        read: Some(health.timeout),
        write: health.timeout,
    }
}

async fn get(
    connection: &mut Connection,
    path: &str,
    host: &[u8],
    patience: Patience,
) -> Result<(), Fault> {
    let line = RequestLine {
        method: &Method::GET,
        target: path.as_bytes(),
        authority: host,
        framing: Framing::None,
        upgrade: false,
    };
    connection.send_head(line, |out| {
        out.put(&header::HOST, b"Host", host);
        out.put(&header::USER_AGENT, b"User-Agent", USER_AGENT);
    })?;
    loop {
        if let Event::Head { head, .. } = connection.next(patience).await?
            && !head.status.is_informational()
        {
            return match head.status.as_u16() {
                200..400 => Ok(()),
                status => Err(unwell(format!("it answers {status}"))),
            };
        }
    }
}

async fn grpc(
    connection: &mut Connection,
    service: &str,
    host: &[u8],
    patience: Patience,
) -> Result<(), Fault> {
    let question = grpc_health::question(service);
    let line = RequestLine {
        method: &Method::POST,
        target: grpc_health::PATH.as_bytes(),
        authority: host,
        framing: Framing::Length(question.len() as u64),
        upgrade: false,
    };
    connection.send_head(line, |out| {
        out.put(&header::CONTENT_TYPE, b"Content-Type", b"application/grpc");
        out.put(&header::TE, b"TE", b"trailers");
        out.put(&header::USER_AGENT, b"User-Agent", USER_AGENT);
    })?;
    connection.send_body(question, true);
    let mut body = BytesMut::new();
    loop {
        match connection.next(patience).await? {
            Event::Progress => {}
            Event::Head { head, end } => match head.status.as_u16() {
                // An error alone comes without a body, its status in the head.
                200 if end => {
                    grpc_status(&head.headers)?;
                    return Err(unwell("no answer of grpc.health.v1".into()));
                }
                200 => {}
                status => return Err(unwell(format!("it answers {status}"))),
            },
            Event::Data { bytes, end } => {
                if body.len() + bytes.len() > grpc_health::MAX_ANSWER {
                    return Err(unwell("its answer is too long".into()));
                }
                body.extend_from_slice(&bytes);
                if end {
                    return Err(unwell("no grpc-status".into()));
                }
            }
            Event::Trailers(trailers) => {
                grpc_status(&trailers)?;
                return grpc_health::judge(&body).map_err(unwell);
            }
        }
    }
}

/// Judges the status of a gRPC call.
fn grpc_status(fields: &HeaderMap) -> Result<(), Fault> {
    match fields.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(status) => Err(unwell(format!(
            "grpc-status {}",
            String::from_utf8_lossy(status)
        ))),
        None => Err(unwell("no grpc-status".into())),
    }
}

fn unwell(reason: String) -> Fault {
    Fault::new(FaultKind::Unwell, reason)
}
