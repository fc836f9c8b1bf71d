//! The life of a connection that is passed on.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use portcullis_config::{access::AccessVerdict, model::AccessList};
use tokio::sync::watch;

use super::connect::{Upstream, connect};
use crate::{
    listen::{TcpConnection, TcpHandler},
    relay::{RelayLimits, TICK, Traffic, relay},
    slots::Slot,
    snapshot::{CompiledTcpRoute, Snapshot},
    telemetry::{AccessLog, ConnectionRecord, Metrics},
};

/// What passing connections on works with.
pub struct TcpServices {
    /// The snapshot that new connections are judged by.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// One line for each connection.
    pub access_log: Arc<AccessLog>,
}

/// Passes connections on.
pub struct TcpRelay {
    services: TcpServices,
}

/// Why a connection is closed before a byte of it went anywhere.
pub(crate) struct Denied {
    pub(crate) stage: &'static str,
    pub(crate) reason: &'static str,
    /// Name of the list or backend that decided.
    pub(crate) by: Option<String>,
}

impl Denied {
    pub(crate) fn new(stage: &'static str, reason: &'static str) -> Self {
        Self {
            stage,
            reason,
            by: None,
        }
    }

    /// No endpoint takes anything.
    pub(crate) fn no_endpoint() -> Self {
        Self::new("upstream", "no-endpoint")
    }

    /// Names what decided.
    pub(crate) fn by(mut self, name: &str) -> Self {
        self.by = Some(name.to_owned());
        self
    }
}

impl TcpRelay {
    /// Makes it.
    pub fn new(services: TcpServices) -> Self {
        Self { services }
    }

    /// Connects where the client may pass.
    async fn open(
        &self,
        connection: &TcpConnection,
        route: Option<&Arc<CompiledTcpRoute>>,
    ) -> Result<(Upstream, Slot), Denied> {
        let route = route.ok_or_else(|| Denied::new("route", "no-route"))?;
        access(&route.route.access, connection.client, connection.peer)?;
        let slot = route
            .open
            .take()
            .ok_or_else(|| Denied::new("limit", "too-many-connections"))?;
        Ok((connect(route, connection).await?, slot))
    }

    /// Passes bytes on until it ends; tells why, where neither side closed it.
    async fn pass(
        &self,
        connection: &mut TcpConnection,
        upstream: &mut Upstream,
        route: &CompiledTcpRoute,
        traffic: &Traffic,
        drain: &watch::Receiver<bool>,
    ) -> Option<&'static str> {
        let limits = RelayLimits {
            idle: Some(route.route.idle),
            lifetime: None,
        };
        let facts = Facts {
            name: &route.route.name,
            client: connection.client,
            peer: connection.peer,
        };
        let mut judged = None;
        let mut draining: Option<Instant> = None;
        let cut = || {
            let snapshot = self.services.snapshot.load();
            if judged.replace(snapshot.version) != Some(snapshot.version)
                && let Some(reason) = facts.judge_again(&snapshot)
            {
                return Some(reason);
            }
            if *drain.borrow() {
                let since = draining.get_or_insert_with(Instant::now);
                // In time for its line to be written before the process ends.
                if since.elapsed() + 2 * TICK >= snapshot.model.process.drain_timeout {
                    return Some("drained");
                }
            }
            None
        };
        let (client, endpoint) = (&mut connection.socket, &mut upstream.stream);
        relay(client, endpoint, limits, traffic, cut).await
    }
}

/// What a connection that is open is judged by.
struct Facts<'a> {
    name: &'a str,
    client: SocketAddr,
    peer: SocketAddr,
}

impl Facts<'_> {
    /// Why a connection must end under a configuration that came since.
    fn judge_again(&self, snapshot: &Snapshot) -> Option<&'static str> {
        match snapshot.tcp_routes.named(self.name) {
            None => Some("route-removed"),
            Some(route) => access(&route.route.access, self.client, self.peer)
                .err()
                .map(|_| "access-changed"),
        }
    }
}

/// Whether a client passes all of these lists.
///
/// # Errors
/// The first list that it does not pass.
pub(crate) fn access(
    lists: &[Arc<AccessList>],
    client: SocketAddr,
    peer: SocketAddr,
) -> Result<(), Denied> {
    let (client, peer) = (client.ip().to_canonical(), peer.ip().to_canonical());
    for list in lists {
        let reason = match list.judge(client, peer) {
            AccessVerdict::Allow => continue,
            AccessVerdict::Denied => "denied",
            AccessVerdict::NotAllowed => "not-allowed",
        };
        return Err(Denied::new("access", reason).by(&list.name));
    }
    Ok(())
}

#[async_trait]
impl TcpHandler for TcpRelay {
    async fn pass_on(&self, mut connection: TcpConnection, drain: watch::Receiver<bool>) {
        let (time, began) = (SystemTime::now(), Instant::now());
        let snapshot = self.services.snapshot.load_full();
        let routes = &snapshot.tcp_routes;
        let route = match &connection.route {
            Some(name) => routes.named(name),
            None => routes.of_listener(&connection.listener),
        };
        let opened = self.open(&connection, route).await;
        let traffic = Traffic::default();
        let (mut ended, mut denied, mut served) = (None, None, None);
        match (opened, route) {
            (Ok((mut upstream, _slot)), Some(route)) => {
                let sent = connection.ahead.len() as u64;
                traffic.up.store(sent, Ordering::Relaxed);
                connection.ahead = Default::default();
                let _open = OpenRoute::enter(route);
                ended = self
                    .pass(&mut connection, &mut upstream, route, &traffic, &drain)
                    .await;
                let backend = Arc::clone(&upstream.backend);
                served = Some((backend, upstream.endpoint, upstream.attempts));
            }
            (Err(why), _) => denied = Some(why),
            (Ok(_), None) => {}
        }
        let (up, down) = (
            traffic.up.load(Ordering::Relaxed),
            traffic.down.load(Ordering::Relaxed),
        );
        if let Some(denied) = &denied {
            self.services.metrics.refusal(denied.stage, denied.reason);
        }
        if let Some(route) = route {
            let outcome = denied.as_ref().map(|denied| denied.stage);
            route
                .metrics
                .connection(outcome.or(ended).unwrap_or("closed"));
            route.metrics.up.inc_by(up);
            route.metrics.down.inc_by(down);
        }
        let protocol = if connection.route.is_some() {
            "TLS"
        } else {
            "TCP"
        };
        let passed = served.is_some();
        self.services
            .access_log
            .write_connection(&ConnectionRecord {
                client: connection.client,
                peer: connection.peer,
                sni: connection.sni.as_deref(),
                route: route.map(|route| route.route.name.as_str()),
                backend: served
                    .as_ref()
                    .map(|(backend, ..)| backend.backend.name.as_str()),
                endpoint: served.as_ref().map(|(_, endpoint, _)| *endpoint),
                attempts: served
                    .as_ref()
                    .map(|(.., tries)| *tries)
                    .filter(|tries| *tries > 1),
                bytes_in: passed.then_some(up),
                bytes_out: passed.then_some(down),
                ended,
                refused_by: denied.as_ref().map(|denied| denied.stage),
                reason: denied.as_ref().map(|denied| denied.reason),
                decided_by: denied.as_ref().and_then(|denied| denied.by.as_deref()),
                ..ConnectionRecord::new(&connection.listener, protocol, time, began.elapsed())
            });
    }
}

/// Counts a connection while it is passed on.
struct OpenRoute(prometheus::IntGauge);

impl OpenRoute {
    fn enter(route: &CompiledTcpRoute) -> Self {
        route.metrics.open.inc();
        Self(route.metrics.open.clone())
    }
}

impl Drop for OpenRoute {
    fn drop(&mut self) {
        self.0.dec();
    }
}
