//! Problems told where `kubectl describe` shows them: as Events of their objects.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use portcullis_config::problem::Problem;
use serde_json::json;
use tokio::sync::watch::Receiver;

use super::{
    contact::ANSWER,
    event::of_problem,
    shared::Shared,
    watch::{is_of_server, reason},
};

/// API servers forget an Event after an hour: what is still wrong is told again before.
const AGAIN: Duration = Duration::from_secs(50 * 60);
/// Problems that are remembered as told.
const REMEMBERED: usize = 8192;
/// Events that may come at once, and how long each takes after that.
const BURST: u32 = 50;
const PACE: Duration = Duration::from_millis(500);

/// What was told of a problem.
#[derive(Debug)]
struct Told {
    at: Instant,
    count: i32,
}

/// Tells problems as they come, each once and then seldom.
pub(super) async fn tell_problems(
    shared: Arc<Shared>,
    instance: String,
    mut problems: Receiver<Arc<Vec<Problem>>>,
) {
    let mut told: HashMap<String, Told> = HashMap::new();
    let mut tokens = Tokens::default();
    let mut failed: Option<String> = None;
    loop {
        let current = Arc::clone(&problems.borrow_and_update());
        let objects = shared.objects();
        for problem in current.iter() {
            let Some(event) = of_problem(problem, &objects, &instance) else {
                continue;
            };
            let key = event.metadata.name.clone().unwrap_or_default();
            let before = told.get(&key).map(|told| (told.at, told.count));
            if before.is_some_and(|(at, _)| at.elapsed() < AGAIN) {
                continue;
            }
            if before.is_none() && told.len() >= REMEMBERED {
                told.retain(|_, told| told.at.elapsed() < AGAIN);
                if told.len() >= REMEMBERED {
                    tracing::warn!(REMEMBERED, "too many problems to tell each as an Event");
                    break;
                }
            }
            tokens.wait().await;
            let count = before.map_or(1, |(_, count)| count.saturating_add(1));
            let outcome = tokio::time::timeout(ANSWER, publish(&shared, event, count)).await;
            let failure = match outcome {
                Ok(Ok(())) => None,
                // It would be refused again, and the others need not wait for it.
                Ok(Err(error)) if !is_of_server(&error) => {
                    let reason = reason(&error);
                    tracing::warn!(event = key, %reason, "an Event was refused");
                    None
                }
                Ok(Err(error)) => Some(reason(&error)),
                Err(_) => Some("no answer".to_owned()),
            };
            if failure.is_some() && failure != failed {
                let reason = failure.clone().unwrap_or_default();
                tracing::warn!(%reason, "an Event could not be written");
            }
            if failure.is_none() {
                let at = Instant::now();
                told.insert(key, Told { at, count });
            }
            failed = failure;
            // Those that are gone need not be told, and a server that does not answer is left alone.
            if failed.is_some() || problems.has_changed().unwrap_or(true) {
                break;
            }
        }
        drop(objects);
        let pause = match failed {
            Some(_) => Duration::from_secs(10),
            None => Duration::from_secs(60),
        };
        match tokio::time::timeout(pause, problems.changed()).await {
            Ok(Err(_)) => return,
            // A server that fails is not asked again at each change.
            Ok(Ok(())) if failed.is_some() => tokio::time::sleep(pause).await,
            _ => {}
        }
    }
}

async fn publish(shared: &Shared, event: Event, count: i32) -> kube::Result<()> {
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let name = event.metadata.name.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(shared.client.clone(), &namespace);
    match api.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        // The namespace is going away, and what is in it.
        Err(kube::Error::Api(status)) if status.code == 404 || is_ending(&status) => return Ok(()),
        created => return created.map(|_| ()),
    }
    let series = json!({ "series": {
        "count": count.max(2),
        "lastObservedTime": MicroTime(Timestamp::now()),
    } });
    api.patch(&name, &PatchParams::default(), &Patch::Merge(series))
        .await
        .map(|_| ())
}

fn is_ending(status: &kube::core::Status) -> bool {
    let causes = status.details.as_ref().map(|details| &details.causes);
    causes.is_some_and(|causes| {
        causes
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
    })
}

/// How many Events may be written now.
#[derive(Debug)]
struct Tokens {
    left: u32,
    since: Instant,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            left: BURST,
            since: Instant::now(),
        }
    }
}

impl Tokens {
    async fn wait(&mut self) {
        let gained = self.since.elapsed().as_millis() / PACE.as_millis();
        let gained = u32::try_from(gained).unwrap_or(BURST);
        if gained > 0 {
            self.since = Instant::now();
            self.left = BURST.min(self.left.saturating_add(gained));
        }
        match self.left {
            0 => {
                tokio::time::sleep(PACE).await;
                self.since = Instant::now();
            }
            _ => self.left -= 1,
        }
    }
}
