//! UDP routes as a snapshot has them.

use std::{collections::HashMap, sync::Arc};

use portcullis_config::model::{Model, UdpRoute};

use super::{CompiledBackend, Live, Targets};
use crate::{
    places::Places,
    telemetry::{Metrics, UdpMetrics},
};

/// A UDP route with everything it needs at run time.
#[derive(Debug)]
pub struct CompiledUdpRoute {
    /// What the route says.
    pub route: UdpRoute,
    /// Its backends by weight.
    pub targets: Targets,
    /// Metrics with the route's label.
    pub metrics: UdpMetrics,
    /// Its sessions; they outlive a reload.
    pub(crate) open: Arc<Places>,
}

/// All UDP routes.
#[derive(Debug, Default)]
pub struct UdpRoutes {
    by_name: HashMap<String, Arc<CompiledUdpRoute>>,
    by_listener: HashMap<String, Arc<CompiledUdpRoute>>,
}

impl UdpRoutes {
    /// Compiles the routes of a model.
    pub(super) fn compile(
        model: &Model,
        backends: &HashMap<String, Arc<CompiledBackend>>,
        live: &Live,
        metrics: &Metrics,
    ) -> Self {
        let mut routes = Self::default();
        for route in &model.udp_routes {
            let id = format!("udp:{}", route.name);
            let compiled = Arc::new(CompiledUdpRoute {
                targets: Targets::new(&route.backends, backends, live.balancer(id)),
                metrics: metrics.udp_route(&route.name),
                open: live.udp_sessions(route),
                route: route.clone(),
            });
            for listener in model.listeners.iter().filter(|known| route.holds_on(known)) {
                let name = listener.name.clone();
                routes.by_listener.insert(name, Arc::clone(&compiled));
            }
            routes.by_name.insert(route.name.clone(), compiled);
        }
        routes
    }

    /// The route of a name.
    pub fn named(&self, name: &str) -> Option<&Arc<CompiledUdpRoute>> {
        self.by_name.get(name)
    }

    /// The route of the datagrams of a listener.
    pub fn of_listener(&self, listener: &str) -> Option<&Arc<CompiledUdpRoute>> {
        self.by_listener.get(listener)
    }
}
