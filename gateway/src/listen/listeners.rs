//! The listeners that run, and how they change.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use portcullis_config::model::{Listener, ListenerProtocol};
use tokio::{net::TcpListener, sync::watch};

use super::{ConnectionFacts, Stream, TcpHandler, accept::AcceptLoop, socket::bind};
use crate::{
    telemetry::{AccessLog, Metrics},
    tls::Tls,
    udp::{self, Listening, UdpServices},
};

/// Serves accepted connections.
#[async_trait]
pub trait ConnectionHandler: Send + Sync {
    /// Serves one connection until it ends. When `drain` becomes true it should
    /// end after the request it is working on.
    async fn handle(
        &self,
        stream: Stream,
        facts: Arc<ConnectionFacts>,
        drain: watch::Receiver<bool>,
    );
}

/// A listener that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener:?} cannot listen on {address}: {reason}")]
pub struct ListenError {
    /// Position of the listener in the configuration.
    pub index: usize,
    /// Its name.
    pub listener: String,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub reason: String,
}

/// The listeners that run.
pub struct Listeners {
    handler: Arc<dyn ConnectionHandler>,
    tcp: Arc<dyn TcpHandler>,
    udp: Arc<UdpServices>,
    tls: Arc<Tls>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    open: Arc<AtomicU32>,
    running: Mutex<Vec<Running>>,
    /// Listeners of datagrams that are removed, as long as they have sessions: their
    /// sockets are theirs until then.
    draining: Mutex<Vec<Weak<Listening>>>,
}

struct Running {
    settings: Arc<ArcSwap<Listener>>,
    bound: SocketAddr,
    open: Arc<AtomicU32>,
    kind: Kind,
}

enum Kind {
    /// Connections, which are told to drain.
    Connections(watch::Sender<bool>),
    Datagrams(Arc<Listening>),
}

/// How a listener comes by its socket.
enum Bound {
    /// It has one.
    Kept,
    Connections(TcpListener),
    Datagrams(udp::Socket),
    /// One that drains serves again.
    Resumed(Arc<Listening>),
}

/// A change of the listeners whose sockets are bound already; nothing accepts on
/// them before [`Listeners::commit`], and dropping the plan closes them.
pub struct Plan {
    listeners: Vec<(Listener, Bound)>,
}

impl Listeners {
    /// Makes a manager with no listeners.
    pub fn new(
        handler: Arc<dyn ConnectionHandler>,
        tcp: Arc<dyn TcpHandler>,
        udp: UdpServices,
        tls: Arc<Tls>,
        metrics: Arc<Metrics>,
        access_log: Arc<AccessLog>,
    ) -> Self {
        Self {
            handler,
            tcp,
            udp: Arc::new(udp),
            tls,
            metrics,
            access_log,
            open: Arc::default(),
            running: Mutex::default(),
            draining: Mutex::default(),
        }
    }

    /// Binds what is new in these listeners.
    ///
    /// # Errors
    /// Every listener that cannot be bound; nothing changes then.
    pub fn plan(&self, wanted: &[Listener]) -> Result<Plan, Vec<ListenError>> {
        let running = self.lock();
        let mut errors = Vec::new();
        let mut listeners = Vec::new();
        for (index, listener) in wanted.iter().enumerate() {
            if running
                .iter()
                .any(|running| is_same(&running.settings.load(), listener))
            {
                listeners.push((listener.clone(), Bound::Kept));
                continue;
            }
            match self.bind(listener) {
                Ok(bound) => listeners.push((listener.clone(), bound)),
                Err(error) => errors.push(ListenError {
                    index,
                    listener: listener.name.clone(),
                    address: listener.address,
                    reason: error.to_string(),
                }),
            }
        }
        if errors.is_empty() {
            Ok(Plan { listeners })
        } else {
            Err(errors)
        }
    }

    fn bind(&self, listener: &Listener) -> io::Result<Bound> {
        if listener.protocol != ListenerProtocol::Udp {
            return bind(listener.address).map(Bound::Connections);
        }
        let mut draining = lock(&self.draining);
        draining.retain(|known| known.strong_count() > 0);
        let drains: Vec<_> = draining.iter().filter_map(Weak::upgrade).collect();
        let is_this = |known: &&Arc<Listening>| is_same(&known.settings.load(), listener);
        if let Some(known) = drains.iter().find(is_this) {
            return Ok(Bound::Resumed(Arc::clone(known)));
        }
        udp::Socket::bind(listener.address)
            .map(Bound::Datagrams)
            .map_err(|error| {
                // Not another process, as one would think.
                let has_port = |known: &&Arc<Listening>| {
                    known.local().port() == listener.address.port()
                };
                let drains = drains.iter().find(has_port);
                match drains.filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
                    Some(known) => io::Error::other(format!(
                        "{error}: the listener {:?} that was removed has it until its sessions have ended, process.drainTimeout at the most",
                        known.settings.load().name
                    )),
                    None => error,
                }
            })
    }

    /// Starts what is new, changes the settings of what stays, and stops
    /// accepting on what is gone; open connections end by themselves.
    pub fn commit(&self, plan: Plan) {
        let mut running = self.lock();
        let mut before: Vec<Running> = running.drain(..).collect();
        for (listener, bound) in plan.listeners {
            match bound {
                Bound::Connections(socket) => running.extend(self.start(listener, socket)),
                Bound::Datagrams(socket) => running.push(self.start_datagrams(listener, socket)),
                Bound::Resumed(listening) => {
                    tracing::info!(listener = %listener.name, "listening again");
                    listening.settings.store(Arc::new(listener));
                    lock(&self.draining)
                        .retain(|known| !std::ptr::eq(known.as_ptr(), &raw const *listening));
                    listening.resume();
                    running.push(Running::of_datagrams(listening));
                }
                Bound::Kept => {
                    let at = before
                        .iter()
                        .position(|known| is_same(&known.settings.load(), &listener));
                    running.extend(
                        at.map(|at| before.swap_remove(at))
                            .inspect(|kept| kept.settings.store(Arc::new(listener))),
                    );
                }
            }
        }
        for gone in before {
            tracing::info!(listener = %gone.settings.load().name, address = %gone.bound, "listener removed");
            self.drain(gone);
        }
    }

    fn start(&self, listener: Listener, socket: TcpListener) -> Option<Running> {
        let bound = match socket.local_addr() {
            Ok(bound) => bound,
            Err(error) => {
                tracing::error!(listener = %listener.name, %error, "listener has no address");
                return None;
            }
        };
        tracing::info!(listener = %listener.name, address = %bound, "listening");
        let (drain, draining) = watch::channel(false);
        let settings = Arc::new(ArcSwap::from_pointee(listener));
        let open = Arc::<AtomicU32>::default();
        let accept = Arc::new(AcceptLoop {
            settings: Arc::clone(&settings),
            handler: Arc::clone(&self.handler),
            tcp: Arc::clone(&self.tcp),
            tls: Arc::clone(&self.tls),
            metrics: Arc::clone(&self.metrics),
            access_log: Arc::clone(&self.access_log),
            open: Arc::clone(&open),
            all_open: Arc::clone(&self.open),
            per_address: Arc::default(),
            drain: draining,
        });
        tokio::spawn(accept.run(socket));
        Some(Running {
            settings,
            bound,
            open,
            kind: Kind::Connections(drain),
        })
    }

    fn start_datagrams(&self, listener: Listener, socket: udp::Socket) -> Running {
        tracing::info!(listener = %listener.name, address = %socket.local(), "listening");
        let settings = Arc::new(ArcSwap::from_pointee(listener));
        let open = Arc::default();
        Running::of_datagrams(Listening::start(
            settings, socket, &self.udp, &open, &self.open,
        ))
    }

    fn drain(&self, gone: Running) {
        match gone.kind {
            Kind::Connections(drain) => {
                drain.send_replace(true);
            }
            Kind::Datagrams(listening) => {
                listening.drain();
                lock(&self.draining).push(Arc::downgrade(&listening));
            }
        }
    }

    /// Where the listeners are bound, by name.
    pub fn bound(&self) -> Vec<(String, SocketAddr)> {
        self.lock()
            .iter()
            .map(|running| (running.settings.load().name.clone(), running.bound))
            .collect()
    }

    /// Connections open now, those of removed listeners included.
    pub fn open_connections(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections open now on one listener.
    pub fn open_on(&self, name: &str) -> u32 {
        let running = self.lock();
        let found = running
            .iter()
            .find(|running| running.settings.load().name == name);
        found.map_or(0, |running| running.open.load(Ordering::Relaxed))
    }

    /// Stops accepting and tells every connection to end after its request.
    pub fn stop(&self) {
        for running in self.lock().drain(..) {
            self.drain(running);
        }
    }

    /// Waits until no connection is open, or until the time is over; returns how
    /// many are left.
    pub async fn wait_closed(&self, limit: Duration) -> u32 {
        let deadline = Instant::now() + limit;
        while self.open_connections() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.open_connections()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        lock(&self.running)
    }
}

impl Running {
    fn of_datagrams(listening: Arc<Listening>) -> Self {
        Self {
            settings: Arc::clone(&listening.settings),
            bound: listening.local(),
            open: Arc::clone(listening.open()),
            kind: Kind::Datagrams(listening),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a socket can go on under the new settings: the address is what it is
/// bound to. Port 0 means a new port for each new name.
fn is_same(running: &Listener, wanted: &Listener) -> bool {
    let is_udp = |listener: &Listener| listener.protocol == ListenerProtocol::Udp;
    is_udp(running) == is_udp(wanted)
        && running.address == wanted.address
        && (wanted.address.port() != 0 || running.name == wanted.name)
}
