//! TCP routes as a snapshot has them.

use std::{collections::HashMap, sync::Arc};

use portcullis_config::model::{Model, TcpRoute};

use super::{CompiledBackend, Live, Targets};
use crate::{
    slots::Slots,
    telemetry::{Metrics, TcpMetrics},
};

/// A TCP route with everything it needs at run time.
#[derive(Debug)]
pub struct CompiledTcpRoute {
    /// What the route says.
    pub route: TcpRoute,
    /// Its backends by weight.
    pub targets: Targets,
    /// Metrics with the route's label.
    pub metrics: TcpMetrics,
    /// Its connections; they outlive a reload.
    pub(crate) open: Arc<Slots>,
}

/// All TCP routes.
#[derive(Debug, Default)]
pub struct TcpRoutes {
    by_name: HashMap<String, Arc<CompiledTcpRoute>>,
    /// By the tcp listener whose connections it takes.
    by_listener: HashMap<String, Arc<CompiledTcpRoute>>,
}

impl TcpRoutes {
    /// Compiles the routes of a model.
    pub(super) fn compile(
        model: &Model,
        backends: &HashMap<String, Arc<CompiledBackend>>,
        live: &Live,
        metrics: &Metrics,
    ) -> Self {
        let mut routes = Self::default();
        for route in &model.tcp_routes {
            let id = format!("tcp:{}", route.name);
            let compiled = Arc::new(CompiledTcpRoute {
                targets: Targets::new(&route.backends, backends, live.balancer(id)),
                metrics: metrics.tcp_route(&route.name),
                open: live.tcp_connections(route),
                route: route.clone(),
            });
            if route.hosts.is_empty() {
                for listener in model.listeners.iter().filter(|known| route.holds_on(known)) {
                    let name = listener.name.clone();
                    routes.by_listener.insert(name, Arc::clone(&compiled));
                }
            }
            routes.by_name.insert(route.name.clone(), compiled);
        }
        routes
    }

    /// The route of a name.
    pub fn named(&self, name: &str) -> Option<&Arc<CompiledTcpRoute>> {
        self.by_name.get(name)
    }

    /// The route of the connections of a tcp listener.
    pub fn of_listener(&self, listener: &str) -> Option<&Arc<CompiledTcpRoute>> {
        self.by_listener.get(listener)
    }
}
