//! The connection to the API server: how it is found, and whether it is there.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, Config};

use super::{
    Options,
    shared::Shared,
    watch::{Pauses, reason},
};

/// How often the API server is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Time for a small answer.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// The label of a Node that says its zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// A client with what a file says, else with what a pod is given.
pub(super) async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(file) => {
            let named = || format!("--kubeconfig {}", file.display());
            let read = kube::config::Kubeconfig::read_from(file).with_context(named)?;
            let options = kube::config::KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(read, &options).await;
            config.with_context(named)?
        }
        None => Config::incluster()
            .context("--kubernetes: not in a pod; outside of one, --kubeconfig says where")?,
    };
    config.connect_timeout = Some(ANSWER);
    // Every caller tries again by itself, and knows what for.
    config.default_retry = false;
    Client::try_from(config).context("the client of the API server")
}

/// Asks the API server again and again whether it is there: a watch cannot tell silence from
/// a server that is gone. When it is there again everything is opened again, at once.
pub(super) async fn heartbeat(shared: Arc<Shared>) {
    let mut failures = 0;
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let failure = match tokio::time::timeout(ANSWER, shared.client.apiserver_version()).await {
            // Who may not ask for it has an answer all the same.
            Ok(Ok(_) | Err(kube::Error::Api(_))) => None,
            Ok(Err(error)) => Some(reason(&error)),
            Err(_) => Some(format!("no answer in {} s", ANSWER.as_secs())),
        };
        match failure {
            Some(reason) => {
                failures += 1;
                // One may be a connection that was kept too long.
                if failures >= 2 {
                    shared
                        .freshness
                        .all_stale(&format!("the API server: {reason}"));
                }
            }
            None => {
                if failures > 0 {
                    shared.again.send_modify(|count| *count += 1);
                }
                failures = 0;
            }
        }
    }
}

/// Finds the zone of a Node.
pub(super) async fn find_zone(shared: Arc<Shared>, node: String) {
    let nodes: Api<Node> = Api::all(shared.client.clone());
    let mut pauses = Pauses::default();
    loop {
        match tokio::time::timeout(ANSWER, nodes.get_metadata(&node)).await {
            Ok(Ok(found)) => {
                let zone = found.metadata.labels.unwrap_or_default().remove(ZONE);
                if zone.is_some() {
                    let mut options = Options::clone(&shared.options.load());
                    options.zone = zone;
                    shared.options.store(Arc::new(options));
                    shared.changed();
                }
                return;
            }
            Ok(Err(kube::Error::Api(status))) => {
                let reason = status.message;
                tracing::warn!(node, %reason, "the zone is not known: endpoints of all zones are used");
                return;
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(pauses.next()).await,
        }
    }
}
