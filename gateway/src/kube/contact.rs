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
use crate::identity::Pods;

/// How often the API server is asked whether it is there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
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
pub(super) async fn heartbeat(shared: Arc<Shared>, pods: Arc<Pods>, pause: Duration) {
    let mut failures = 0;
    loop {
        tokio::time::sleep(pause).await;
        let failure = match tokio::time::timeout(ANSWER, shared.client.apiserver_version()).await {
            // Who may not ask for it has an answer all the same, and so has whom something in between
            // answers in its own words.
            Ok(Ok(_) | Err(kube::Error::Api(_) | kube::Error::SerdeError(_))) => None,
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
                    // From here on addresses may have become those of other pods.
                    pods.stale();
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

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::kube::SecretAccess;

    const LONG: Duration = Duration::from_secs(600);
    const PAUSE: Duration = Duration::from_millis(10);

    fn shared(client: Client) -> Arc<Shared> {
        let (access, options) = (SecretAccess::Named, Options::default());
        let own = (String::new(), None);
        let shared = Shared::new(client, Vec::new(), access, 100, options, None, own);
        Arc::new(shared)
    }

    /// Answers a number of questions, each on a connection of its own.
    async fn answer(listener: &TcpListener, times: usize) {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let version = r#"{"major":"1","minor":"34","gitVersion":"v1.34.0","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{version}",
                version.len()
            );
            let written = stream.write_all(answer.as_bytes()).await;
            written.expect("an answer");
            // The question is read until its end, or a reset could take the answer away.
            stream.shutdown().await.expect("the end");
            let mut rest = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
        }
    }

    #[tokio::test]
    async fn pods_are_old_from_when_the_api_server_is_not_reached() {
        crate::tls::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut config = Config::new(format!("http://{address}").parse().expect("a URI"));
        config.default_retry = false;
        let shared = shared(Client::try_from(config).expect("a client"));
        let pods = Arc::<Pods>::default();
        pods.fresh();
        let beating = tokio::spawn(heartbeat(Arc::clone(&shared), Arc::clone(&pods), PAUSE));
        answer(&listener, 3).await;
        assert!(pods.are_known(Duration::ZERO), "it is there");
        drop(listener);
        let is_old = async {
            while pods.are_known(Duration::ZERO) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), is_old).await;
        assert!(
            waited.is_ok(),
            "what is known of pods counts as new for ever"
        );
        assert!(pods.are_known(LONG), "it goes on for `maxStale`");
        // When it is there again everything is opened again, which tells that pods are known.
        let mut again = shared.again.subscribe();
        let listener = TcpListener::bind(address).await.expect("the port");
        tokio::select! {
            () = answer(&listener, 1000) => {}
            opened = tokio::time::timeout(Duration::from_secs(30), again.changed()) => {
                assert!(opened.is_ok(), "nothing is opened again");
            }
        }
        beating.abort();
    }
}
