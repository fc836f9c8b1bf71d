//! The endpoints for those who run the gateway, and where everything listens.

use std::{fs, net::SocketAddr, sync::Arc};

use portcullis_config::{
    model::{AdminAddress, Process},
    problem::{Origin, Problem},
};
use serde_json::{Value, json};

use super::{Gateway, lock};
use crate::admin::{self, AdminServer};

/// The endpoints, and what they were bound for.
#[derive(Default)]
pub(super) struct Servers {
    addresses: Option<(SocketAddr, AdminAddress)>,
    management: Option<AdminServer>,
    admin: Option<AdminServer>,
}

impl Gateway {
    pub(super) fn bind_servers(&self, process: &Process) -> Result<(), Box<Problem>> {
        let mut servers = lock(&self.inner.servers);
        let wanted = (process.management, process.admin.clone());
        if servers.addresses.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let problem = |section: &str, address: String, error: std::io::Error| {
            let reason = format!("{section} cannot listen on {address}: {error}");
            let path = format!("{section}.address");
            Box::new(Problem::error(Origin::Internal, path, reason))
        };
        // A weak reference, or the server would keep the gateway that owns it.
        let weak = Arc::downgrade(&self.inner);
        let gone = || admin::Answer::text(503, "shutting down\n");
        if servers.addresses.as_ref().map(|known| known.0) != Some(wanted.0) {
            let view = weak.clone();
            let endpoint = move |path: &str, _: Option<&str>| {
                view.upgrade()
                    .map_or_else(gone, |inner| admin::management(&Self { inner }, path))
            };
            let server = AdminServer::tcp(wanted.0, Arc::new(endpoint), false)
                .map_err(|error| problem("management", wanted.0.to_string(), error))?;
            servers.management = Some(server);
        }
        if servers.addresses.as_ref().map(|known| &known.1) != Some(&wanted.1) {
            let endpoint = move |path: &str, query: Option<&str>| {
                weak.upgrade()
                    .map_or_else(gone, |inner| admin::admin(&Self { inner }, path, query))
            };
            let server = match &wanted.1 {
                AdminAddress::Tcp(address) => AdminServer::tcp(*address, Arc::new(endpoint), true)
                    .map_err(|error| problem("admin", address.to_string(), error))?,
                AdminAddress::Unix(path) => AdminServer::unix(path, Arc::new(endpoint))
                    .map_err(|error| problem("admin", path.display().to_string(), error))?,
            };
            servers.admin = Some(server);
        }
        servers.addresses = Some(wanted);
        Ok(())
    }

    /// Where everything listens, as JSON.
    pub fn bound(&self) -> Value {
        let servers = lock(&self.inner.servers);
        let map = |bound: Vec<(String, SocketAddr)>| -> Value {
            bound
                .into_iter()
                .map(|(name, address)| (name, Value::from(address.to_string())))
                .collect()
        };
        json!({
            "listeners": map(self.inner.listeners.bound()),
            "egress": map(self.inner.egress.bound()),
            "management": servers.management.as_ref().and_then(AdminServer::bound).map(|bound| bound.to_string()),
            "admin": servers.admin.as_ref().and_then(AdminServer::bound).map(|bound| bound.to_string()),
        })
    }

    pub(super) fn write_bound(&self) {
        let Some(path) = &self.inner.bound_file else {
            return;
        };
        let part = path.with_extension("part");
        let written =
            fs::write(&part, self.bound().to_string()).and_then(|()| fs::rename(&part, path));
        if let Err(error) = written {
            tracing::error!(path = %path.display(), %error, "bound addresses not written");
        }
    }
}
