//! The listeners of the egress proxy, and how they change.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_config::{
    model::{Egress, EgressListener, EgressProtocol},
    problem::{Origin, Problem},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    TestAnswers, client, connection, http2,
    quota::{Charge, Quotas},
    resolver::Resolver,
    socks,
    tunnel::Tunnel,
};
use crate::{
    identity::{Pods, ReviewTokens},
    inspect::BodyBudget,
    listen::bind,
    relay::TICK,
    snapshot::{CompiledEgress, Snapshot},
    telemetry::{AuditLog, Decisions, Metrics},
    tls::Tls,
};

/// What the egress proxy works with.
#[derive(Clone)]
pub struct EgressServices {
    /// The snapshot that decisions are made by.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// One line for each connection.
    pub audit_log: Arc<AuditLog>,
    /// TLS of listeners that speak it.
    pub tls: Arc<Tls>,
    /// Decisions, for whoever watches.
    pub decisions: Decisions,
    /// The pods of the cluster, where there is one.
    pub pods: Option<Arc<Pods>>,
    /// The memory that bodies held for inspection may take.
    pub budget: Arc<BodyBudget>,
    /// The API server of the cluster, where there is one.
    pub reviewer: Option<Arc<dyn ReviewTokens>>,
    /// Answers for tests; empty in production.
    pub test: TestAnswers,
}

/// The listeners of the egress proxy.
pub struct EgressServers {
    services: Arc<EgressServices>,
    state: Arc<State>,
    running: Mutex<Vec<Running>>,
}

/// What connections share.
pub(super) struct State {
    snapshot: Arc<ArcSwap<Snapshot>>,
    tls: Arc<Tls>,
    resolver: ArcSwapOption<Resolver>,
    pods: Option<Arc<Pods>>,
    quotas: Arc<Quotas>,
    open: AtomicU32,
    draining: OnceLock<Instant>,
}

struct Running {
    name: String,
    address: SocketAddr,
    bound: SocketAddr,
    /// What is spoken, as the listener says; none where it is over.
    spoken: watch::Sender<Option<Arc<EgressListener>>>,
}

impl Running {
    /// Whether its socket is that of a listener.
    fn is(&self, listener: &EgressListener) -> bool {
        let same_name = || self.name == listener.name;
        self.address == listener.address && (self.address.port() != 0 || same_name())
    }
}

/// A change of the listeners whose sockets are bound already.
#[derive(Debug)]
pub struct EgressPlan {
    listeners: Vec<(EgressListener, Option<TcpListener>)>,
    /// `None` keeps the one that runs.
    resolver: Option<Arc<Resolver>>,
    needs_pods: bool,
}

impl State {
    /// The egress section that is in force.
    pub(super) fn egress(&self) -> Option<Arc<CompiledEgress>> {
        self.snapshot.load().egress.clone()
    }

    pub(super) fn resolver(&self) -> Option<Arc<Resolver>> {
        self.resolver.load_full()
    }

    pub(super) fn pods(&self) -> Option<&Pods> {
        self.pods.as_deref()
    }

    /// Numbers of the snapshot and of the table of TLS that are in force.
    pub(super) fn version(&self) -> (u64, u64) {
        (self.snapshot.load().version, self.tls.generation())
    }

    /// What something that is opened takes of quotas; it holds nothing yet.
    pub(super) fn charge(&self) -> Arc<Charge> {
        Arc::new(Charge::new(Arc::clone(&self.quotas)))
    }

    /// What certificates of clients are judged by.
    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Whether what is open must end now, so that its record is written before the process ends.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.get().is_some_and(|since| {
            let timeout = self.snapshot.load().model.process.drain_timeout;
            since.elapsed() + 2 * TICK >= timeout
        })
    }
}

impl EgressServers {
    /// Makes a proxy with no listeners.
    pub fn new(services: EgressServices) -> Self {
        let state = State {
            snapshot: Arc::clone(&services.snapshot),
            tls: Arc::clone(&services.tls),
            resolver: ArcSwapOption::empty(),
            pods: services.pods.clone(),
            quotas: Arc::default(),
            open: AtomicU32::new(0),
            draining: OnceLock::new(),
        };
        Self {
            services: Arc::new(services),
            state: Arc::new(state),
            running: Mutex::default(),
        }
    }

    /// Binds what is new and makes a resolver where its settings changed.
    ///
    /// # Errors
    /// Every listener that cannot be bound, and a resolver that cannot be made;
    /// nothing changes then.
    pub fn plan(&self, egress: Option<&Egress>) -> Result<EgressPlan, Vec<Problem>> {
        let Some(egress) = egress else {
            return Ok(EgressPlan {
                listeners: Vec::new(),
                resolver: None,
                needs_pods: false,
            });
        };
        let mut problems = Vec::new();
        let mut problem = |path: String, reason: String| {
            problems.push(Problem::error(Origin::Internal, path, reason));
        };
        let identity = egress.identity.as_ref();
        let needs_pods = identity.is_some_and(|identity| identity.pods_max_stale.is_some());
        if needs_pods && self.services.pods.is_none() {
            let reason = "the pods of a cluster are known with `run --kubernetes` alone";
            problem("egress.identity.pods".into(), reason.into());
        }
        let tokens = identity.and_then(|identity| identity.tokens.as_ref());
        let needs_reviewer = tokens.is_some_and(|tokens| tokens.review().is_some());
        if needs_reviewer && self.services.reviewer.is_none() {
            let reason = "there is an API server to ask with `run --kubernetes` alone; without a cluster `jwks` has the keys";
            let place = "egress.identity.serviceAccountTokens.tokenReview";
            problem(place.into(), reason.into());
        }
        let running = self.lock();
        let mut listeners = Vec::new();
        for (index, listener) in egress.listeners.iter().enumerate() {
            let EgressListener { name, address, .. } = listener;
            if running.iter().any(|known| known.is(listener)) {
                listeners.push((listener.clone(), None));
                continue;
            }
            match bind(*address) {
                Ok(socket) => listeners.push((listener.clone(), Some(socket))),
                Err(error) => problem(
                    format!("egress.listeners[{index}].address"),
                    format!("egress listener {name:?} cannot listen on {address}: {error}"),
                ),
            }
        }
        let serves = self
            .state
            .resolver
            .load()
            .as_ref()
            .is_some_and(|resolver| resolver.serves(egress));
        let resolver = if serves {
            None
        } else {
            Resolver::new(egress, self.services.test.clone())
                .map_err(|reason| problem("egress.resolver".into(), reason))
                .ok()
                .map(Arc::new)
        };
        if problems.is_empty() {
            Ok(EgressPlan {
                listeners,
                resolver,
                needs_pods,
            })
        } else {
            Err(problems)
        }
    }

    /// Starts what is new and stops accepting on what is gone. Open tunnels are
    /// decided on again, and cut where they are no longer allowed.
    pub fn commit(&self, plan: EgressPlan) {
        if let Some(pods) = self.services.pods.as_ref().filter(|_| plan.needs_pods) {
            pods.want();
        }
        if let Some(resolver) = plan.resolver {
            self.state.resolver.store(Some(resolver));
        }
        let mut running = self.lock();
        let mut before: Vec<Running> = running.drain(..).collect();
        for (listener, socket) in plan.listeners {
            match socket {
                Some(socket) => running.extend(self.start(listener, socket)),
                None => {
                    let kept = before.iter().position(|known| known.is(&listener));
                    running.extend(kept.map(|at| {
                        let kept = before.swap_remove(at);
                        kept.spoken.send_replace(Some(Arc::new(listener.clone())));
                        Running {
                            name: listener.name,
                            ..kept
                        }
                    }));
                }
            }
        }
        for gone in before {
            tracing::info!(listener = %gone.name, address = %gone.bound, "egress listener removed");
            gone.spoken.send_replace(None);
        }
    }

    fn start(&self, listener: EgressListener, socket: TcpListener) -> Option<Running> {
        let bound = socket.local_addr().ok()?;
        let EgressListener {
            name,
            address,
            protocol,
            tls,
        } = &listener;
        tracing::info!(listener = %name, address = %bound, ?protocol, tls = tls.is_some(), "egress proxy listening");
        let (name, address) = (name.clone(), *address);
        let (spoken, speaks) = watch::channel(Some(Arc::new(listener)));
        tokio::spawn(accept(
            socket,
            Arc::clone(&self.services),
            Arc::clone(&self.state),
            speaks,
        ));
        Some(Running {
            name,
            address,
            bound,
            spoken,
        })
    }

    /// Where the listeners are bound, by name.
    pub fn bound(&self) -> Vec<(String, SocketAddr)> {
        self.lock()
            .iter()
            .map(|running| (running.name.clone(), running.bound))
            .collect()
    }

    /// Stops accepting; a client gets no second request.
    pub fn stop(&self) {
        self.state.draining.get_or_init(Instant::now);
        for running in self.lock().drain(..) {
            running.spoken.send_replace(None);
        }
    }

    /// Waits until no connection is open, or until the time is over; returns how
    /// many are left.
    pub async fn wait_closed(&self, limit: Duration) -> u32 {
        let deadline = Instant::now() + limit;
        while self.state.open.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.state.open.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(
    listening: TcpListener,
    services: Arc<EgressServices>,
    state: Arc<State>,
    mut spoken: watch::Receiver<Option<Arc<EgressListener>>>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listening.accept() => accepted,
            _ = spoken.wait_for(Option::is_none) => return,
        };
        let Some(listener) = spoken.borrow().clone() else {
            return;
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(open) = Open::enter(&state, &services) else {
            continue;
        };
        let (services, state) = (Arc::clone(&services), Arc::clone(&state));
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        tokio::spawn(async move {
            let _open = open;
            // In a box, so that what it takes to open a tunnel is gone while one is idle.
            let opened = Box::pin(serve(socket, address, listener, services, state)).await;
            if let Some(tunnel) = opened {
                tunnel.run().await;
            }
        });
    }
}

/// Serves a client up to its tunnel, if it opens one.
async fn serve(
    socket: TcpStream,
    address: SocketAddr,
    listener: Arc<EgressListener>,
    services: Arc<EgressServices>,
    state: Arc<State>,
) -> Option<Tunnel> {
    let connected = client::connect(socket, address, &listener, &services, &state).await?;
    let client = connected.stream;
    let from = (address, Arc::new(connected.peer));
    match listener.protocol {
        EgressProtocol::Http if connected.http2 => {
            http2::serve(client, from, &services, &state).await;
            None
        }
        EgressProtocol::Http => connection::serve(client, from, &services, &state).await,
        EgressProtocol::Socks5 => socks::serve(client, from, &services, &state).await,
    }
}

/// One of those that may be open at once: a connection, or a stream of one of HTTP/2.
pub(super) struct Open(Arc<State>);

impl Open {
    /// `None` where as many are open as may be, which is counted.
    pub(super) fn enter(state: &Arc<State>, services: &EgressServices) -> Option<Self> {
        let limit = state
            .egress()
            .map_or(0, |egress| egress.limits.max_connections);
        state.open.fetch_add(1, Ordering::Relaxed);
        let open = Self(Arc::clone(state));
        if state.open.load(Ordering::Relaxed) > limit {
            services.metrics.connection("egress", "over_limit");
            return None;
        }
        Some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
