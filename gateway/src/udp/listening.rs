//! A udp listener: its sessions, and what they are judged by.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use portcullis_config::model::Listener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    failures::Failures,
    own::{OwnAddresses, Ports},
    session::{EVICTED, Ended, Key, MAX_TRIES, OpenRoute, Passed, Session, Upstream, connect},
    socket::{Datagram, Socket},
};
use crate::{
    listen::PerAddress,
    places::Places,
    relay::TICK,
    slots::Slot,
    snapshot::{CompiledUdpRoute, Snapshot},
    tcp::{Denied, access},
    telemetry::{AccessLog, ConnectionRecord, Metrics},
};

/// Room for any datagram.
const BUFFER: usize = 64 << 10;

/// Rest after an error of the socket.
const REST: Duration = Duration::from_millis(50);

/// Lines in a second that the access log has of datagrams that were refused, and as many
/// of sessions that gave way.
const MAX_LINES: u32 = 10;

/// What passing datagrams on works with.
pub struct UdpServices {
    /// The snapshot that new sessions are judged by.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// One line for each session.
    pub access_log: Arc<AccessLog>,
    /// The ports of the listeners that pass them on.
    pub ports: Arc<Ports>,
    /// Room for the sessions of all listeners.
    pub(crate) sessions: Arc<Places>,
}

/// A listener, as long as its sessions are open.
pub(crate) struct Listening {
    pub(crate) settings: Arc<ArcSwap<Listener>>,
    services: Arc<UdpServices>,
    socket: Arc<Socket>,
    open: Arc<AtomicU32>,
    all_open: Arc<AtomicU32>,
    per_address: Arc<PerAddress>,
    phase: Mutex<Phase>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Serving,
    /// Since then there are no new sessions.
    Draining(Instant),
    Ended,
}

impl Listening {
    /// Starts a listener on a socket; `open` counts its sessions, `all_open` those of
    /// all listeners.
    pub(crate) fn start(
        settings: Arc<ArcSwap<Listener>>,
        socket: Socket,
        services: &Arc<UdpServices>,
        open: &Arc<AtomicU32>,
        all_open: &Arc<AtomicU32>,
    ) -> Arc<Self> {
        let listening = Arc::new(Self {
            settings,
            services: Arc::clone(services),
            socket: Arc::new(socket),
            open: Arc::clone(open),
            all_open: Arc::clone(all_open),
            per_address: Arc::default(),
            phase: Mutex::new(Phase::Serving),
        });
        tokio::spawn(Arc::clone(&listening).run());
        listening
    }

    /// Where it is bound.
    pub(crate) fn local(&self) -> SocketAddr {
        self.socket.local()
    }

    /// Counts its sessions.
    pub(crate) fn open(&self) -> &Arc<AtomicU32> {
        &self.open
    }

    /// Begins no more sessions; those that are open go on for most of the time that
    /// the process waits for open connections.
    pub(crate) fn drain(&self) {
        *self.phase() = Phase::Draining(Instant::now());
    }

    /// Serves on, with the sessions that are still open.
    pub(crate) fn resume(self: &Arc<Self>) {
        let before = std::mem::replace(&mut *self.phase(), Phase::Serving);
        if let Phase::Ended = before {
            tokio::spawn(Arc::clone(self).run());
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let (ended, mut ends) = unbounded_channel();
        let mut sessions = Sessions {
            listening: &self,
            open: HashMap::new(),
            number: 0,
            ended,
            refused: Lines::default(),
            evicted: Lines::default(),
            own: OwnAddresses::default(),
            failures: Failures::default(),
        };
        let _port = self.services.ports.enter(self.local().port());
        let mut buffer = vec![0; BUFFER];
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = self.socket.receive(&mut buffer) => match received {
                    Ok(datagram) => {
                        // Before a flood of new ones: what gave way is gone at once.
                        while let Ok((key, number)) = ends.try_recv() {
                            sessions.ended(key, number);
                        }
                        sessions.take(datagram, &buffer[..datagram.size]);
                    }
                    Err(error) => {
                        let listener = &self.settings.load().name;
                        tracing::warn!(%listener, %error, "receive failed");
                        self.services.metrics.connection(listener, "accept_failed");
                        tokio::time::sleep(REST).await;
                    }
                },
                Some((key, number)) = ends.recv() => sessions.ended(key, number),
                _ = tick.tick() => {
                    sessions.sweep();
                    let mut phase = self.phase();
                    if matches!(*phase, Phase::Draining(_)) && sessions.open.is_empty() {
                        // Under the lock, so that it cannot be resumed meanwhile.
                        *phase = Phase::Ended;
                        return;
                    }
                }
            }
        }
    }
}

/// The sessions of a listener.
struct Sessions<'a> {
    listening: &'a Arc<Listening>,
    open: HashMap<Key, Session>,
    /// Number of the last session.
    number: u64,
    ended: UnboundedSender<Ended>,
    refused: Lines,
    evicted: Lines,
    own: OwnAddresses,
    failures: Failures,
}

impl Sessions<'_> {
    /// Takes a datagram of a client.
    fn take(&mut self, datagram: Datagram, bytes: &[u8]) {
        let key = (datagram.from, datagram.to);
        let ports = &self.listening.services.ports;
        // Nothing can be sent to port 0.
        if datagram.from.port() == 0 || ports.sent(datagram.from, datagram.to, &mut self.own) {
            return;
        }
        for _ in 0..MAX_TRIES {
            let session = match self.open.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) => {
                    // Nobody has a session for what is not passed on.
                    if self.is_too_large(datagram) {
                        return;
                    }
                    let Some(session) = self.begin(key) else {
                        return;
                    };
                    self.open.entry(key).or_insert(session)
                }
            };
            let route = Arc::clone(&session.route);
            if is_too_large(datagram, &route) {
                return route.metrics.dropped("too-large");
            }
            let exchange = Arc::clone(&session.exchange);
            match exchange.pass(bytes, &route) {
                Passed::Yes => return,
                Passed::Over => self.end(key, exchange.why()),
            }
        }
    }

    /// Drops a datagram without a session that is too large for the route of the listener.
    fn is_too_large(&self, datagram: Datagram) -> bool {
        let snapshot = self.listening.services.snapshot.load();
        let settings = self.listening.settings.load();
        let route = snapshot.udp_routes.of_listener(&settings.name);
        let too_large = route.filter(|route| is_too_large(datagram, route));
        if let Some(route) = too_large {
            route.metrics.dropped("too-large");
        }
        too_large.is_some()
    }

    /// Begins a session where the client may have one.
    fn begin(&mut self, key: Key) -> Option<Session> {
        let listening = self.listening;
        let (services, settings) = (&listening.services, listening.settings.load_full());
        let metrics = &services.metrics;
        if !matches!(*listening.phase(), Phase::Serving) {
            metrics.connection(&settings.name, "draining");
            return None;
        }
        let counted = Counted::enter(listening, &settings);
        if listening.open.load(Ordering::Relaxed) > settings.limits.max_connections {
            metrics.connection(&settings.name, "over_limit");
            return None;
        }
        let max = settings.limits.max_connections_per_address;
        let of_address = match max {
            0 => None,
            max => match listening.per_address.enter(key.0.ip(), max) {
                Some(counted) => Some(counted),
                None => {
                    listening.per_address.tell(&settings.name, key.0.ip(), max);
                    metrics.connection(&settings.name, "over_address_limit");
                    return None;
                }
            },
        };
        let snapshot = services.snapshot.load_full();
        let route = snapshot.udp_routes.of_listener(&settings.name);
        let tried = self.failures.of(key.0.ip(), Instant::now());
        let opened = open(route, &services.sessions, key, tried);
        match (opened, route) {
            (Ok((upstream, slot)), Some(route)) => {
                metrics.connection(&settings.name, "served");
                self.number += 1;
                let held = Box::new((slot, counted, of_address, OpenRoute::enter(route)));
                let session = Session::begin(
                    (key, self.number),
                    route,
                    snapshot.version,
                    upstream,
                    held,
                    &listening.socket,
                    &self.ended,
                );
                route.open.enter(session.newcomer());
                services.sessions.enter(session.newcomer());
                Some(session)
            }
            (Err(denied), _) => {
                self.refuse(key, &settings.name, route, &denied);
                None
            }
            (Ok(_), None) => None,
        }
    }

    /// Tells of a datagram that began no session.
    fn refuse(
        &mut self,
        key: Key,
        listener: &str,
        route: Option<&Arc<CompiledUdpRoute>>,
        denied: &Denied,
    ) {
        let services = &self.listening.services;
        services.metrics.refusal(denied.stage, denied.reason);
        if let Some(route) = route {
            route.metrics.session(denied.stage);
        }
        // Anybody can send many, in the name of others: they must not fill the log.
        if self.refused.has_room() {
            services.access_log.write_connection(&ConnectionRecord {
                client: key.0,
                peer: key.0,
                route: route.map(|route| route.route.name.as_str()),
                refused_by: Some(denied.stage),
                reason: Some(denied.reason),
                decided_by: denied.by.as_deref(),
                ..ConnectionRecord::new(listener, "UDP", SystemTime::now(), Duration::ZERO)
            });
        }
    }

    /// Takes that a session has ended by itself, unless another is in its place.
    fn ended(&mut self, key: Key, number: u64) {
        let found = self.open.get(&key);
        if let Some(session) = found.filter(|session| session.number == number) {
            let why = session.exchange.why();
            self.end(key, why);
        }
    }

    /// Ends what must not go on.
    fn sweep(&mut self) {
        self.failures.sweep(Instant::now());
        let snapshot = self.listening.services.snapshot.load_full();
        let name = self.listening.settings.load().name.clone();
        let taking = snapshot.udp_routes.of_listener(&name);
        if let Some(route) = taking {
            route.open.sweep();
        }
        self.listening.services.sessions.sweep();
        let patience = snapshot.model.process.drain_timeout;
        // In time for its line to be written before the process ends.
        let is_over = |since: Instant| since.elapsed() + 2 * TICK >= patience;
        let draining = match *self.listening.phase() {
            Phase::Draining(since) => Some(since),
            _ => None,
        };
        let mut ends: Vec<(Key, &'static str)> = Vec::new();
        for (key, session) in &mut self.open {
            let route = &session.route.route;
            // A listener that is gone has no route, and its sessions go on for a while.
            let is_taken =
                draining.is_some() || taking.is_some_and(|taking| taking.route.name == route.name);
            let ended = match snapshot.udp_routes.named(&route.name) {
                _ if session.exchange.silent_for() >= route.idle => Some("idle_timeout"),
                _ if draining.is_some_and(is_over) => Some("drained"),
                Some(now) if is_taken => {
                    again(&mut session.is_astray, false);
                    judge_again(session, key.0, now, snapshot.version, is_over)
                }
                // New routes come a moment before new listeners: what does not agree may do
                // so with the next sweep.
                Some(_) => again(&mut session.is_astray, true).then_some("route-removed"),
                None => Some("route-removed"),
            };
            ends.extend(ended.map(|why| (*key, why)));
        }
        for (key, why) in ends {
            self.end(key, why);
        }
    }

    /// Ends a session, and tells of it.
    fn end(&mut self, key: Key, why: &'static str) {
        let Some(session) = self.open.remove(&key) else {
            return;
        };
        let (exchange, route) = (&session.exchange, &session.route);
        if exchange.has_failed() {
            let endpoint = exchange.upstream.endpoint.address;
            self.failures.note(key.0.ip(), endpoint, Instant::now());
        }
        let (up, down) = (&exchange.up, &exchange.down);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        route.metrics.session(why);
        route.metrics.up.inc_by(read(&up.bytes));
        route.metrics.down.inc_by(read(&down.bytes));
        // As with those that are refused.
        if why == EVICTED && !self.evicted.has_room() {
            return;
        }
        let name = &self.listening.settings.load().name;
        let upstream = &exchange.upstream;
        let access_log = &self.listening.services.access_log;
        access_log.write_connection(&ConnectionRecord {
            client: key.0,
            peer: key.0,
            route: Some(&route.route.name),
            backend: Some(&upstream.backend.backend.name),
            endpoint: Some(upstream.endpoint.address),
            bytes_in: Some(read(&up.bytes)),
            bytes_out: Some(read(&down.bytes)),
            datagrams_in: Some(read(&up.datagrams)),
            datagrams_out: Some(read(&down.datagrams)),
            ended: Some(why),
            ..ConnectionRecord::new(name, "UDP", session.time, exchange.began.elapsed())
        });
    }
}

fn is_too_large(datagram: Datagram, route: &CompiledUdpRoute) -> bool {
    datagram.is_cut || datagram.size as u64 > route.route.max_datagram_size
}

/// Makes a way to an endpoint, where the client may pass.
fn open(
    route: Option<&Arc<CompiledUdpRoute>>,
    all: &Places,
    (client, _): Key,
    tried: Vec<SocketAddr>,
) -> Result<(Upstream, [Slot; 2]), Denied> {
    let route = route.ok_or_else(|| Denied::new("route", "no-route"))?;
    access(&route.route.access, client, client)?;
    let full = || Denied::new("limit", "too-many-sessions");
    // In this order: who gives way in the route makes room among all.
    let slot = route.open.take().ok_or_else(full)?;
    let of_all = all.take().ok_or_else(|| full().by("maxUdpSessions"))?;
    Ok((connect(route, client.ip(), tried)?, [slot, of_all]))
}

/// Notes whether something is so; tells whether it has been so before too.
fn again(before: &mut bool, now: bool) -> bool {
    std::mem::replace(before, now) && now
}

/// Why a session must end by what has changed since it began.
fn judge_again(
    session: &mut Session,
    client: SocketAddr,
    route: &CompiledUdpRoute,
    version: u64,
    is_over: impl Fn(Instant) -> bool,
) -> Option<&'static str> {
    if session.judged != version {
        session.judged = version;
        if access(&route.route.access, client, client).is_err() {
            return Some("access-changed");
        }
    }
    let upstream = &session.exchange.upstream;
    let endpoint = &upstream.endpoint;
    let backend = route.targets.named(&upstream.backend.backend.name);
    let Some(backend) = backend.filter(|_| !endpoint.is_gone()) else {
        let since = *session.leaving.get_or_insert_with(Instant::now);
        return is_over(since).then_some("endpoint-removed");
    };
    session.leaving = None;
    // Nobody tells a client of UDP that its endpoint is dead.
    let is_left_out = !backend.takes_requests(endpoint);
    (is_left_out && backend.has_other_up(&[endpoint.address])).then_some("endpoint-down")
}

/// Counts a session while it is open.
struct Counted {
    listening: Arc<Listening>,
    listener: String,
}

impl Counted {
    fn enter(listening: &Arc<Listening>, settings: &Listener) -> Self {
        listening.open.fetch_add(1, Ordering::Relaxed);
        listening.all_open.fetch_add(1, Ordering::Relaxed);
        let metrics = &listening.services.metrics;
        metrics.connections_open(&settings.name, 1);
        Self {
            listening: Arc::clone(listening),
            listener: settings.name.clone(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.listening.open.fetch_sub(1, Ordering::Relaxed);
        self.listening.all_open.fetch_sub(1, Ordering::Relaxed);
        let metrics = &self.listening.services.metrics;
        metrics.connections_open(&self.listener, -1);
    }
}

/// Bounds the lines of one second.
#[derive(Debug, Default)]
struct Lines {
    second: Option<Instant>,
    written: u32,
}

impl Lines {
    fn has_room(&mut self) -> bool {
        let is_same = |since: Instant| since.elapsed() < Duration::from_secs(1);
        if !self.second.is_some_and(is_same) {
            (self.second, self.written) = (Some(Instant::now()), 0);
        }
        self.written += 1;
        self.written <= MAX_LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_once_is_not_so_again() {
        let mut astray = false;
        let sweeps = [true, false, true, true, true, false];
        let ends = sweeps.map(|now| again(&mut astray, now));
        assert_eq!(ends, [false, false, false, true, true, false]);
    }

    #[test]
    fn the_log_has_some_refusals_of_a_second() {
        let mut lines = Lines::default();
        let written = (0..1000).filter(|_| lines.has_room()).count();
        assert_eq!(written, 10);
        lines.second = Instant::now().checked_sub(Duration::from_secs(1));
        assert!(lines.has_room());
    }
}
