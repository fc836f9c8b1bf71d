//! How long Ingresses take to be served, on a real API server.
//!
//! In: the API server, and how many objects there are before and are added or changed. Out: the time
//! from the moment the API server has accepted each until a request is answered by it, and how many
//! answers were wrong meanwhile. Which gateway is measured is not known here.

mod api;
mod objects;
mod traffic;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use portcullis_tests::Authority;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

pub use self::api::Api;
use self::{objects::Objects, traffic::Traffic};

/// The node that the gateway runs on.
pub const NODE: &str = "10.90.0.11";

/// The longest that one object is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(2);
/// Objects that are made at once before anything is measured.
const AT_ONCE: usize = 8;

/// What is there, and what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Ingresses that are there before.
    pub before: usize,
    /// Ingresses that are added, one by one.
    pub added: usize,
    /// Changes of one Ingress among them, one by one.
    pub changes: usize,
    /// Whether each Ingress has a TLS Secret of its own.
    pub tls: bool,
    /// Endpoints that each Ingress has besides the one that answers, of a Service of its own.
    pub endpoints: usize,
}

/// What was measured of one kind of change.
#[derive(Debug, Default)]
pub struct Measured {
    /// Each time from accepted to served.
    pub milliseconds: Vec<f64>,
    /// Answers meanwhile that were not what they should have been.
    pub wrong: usize,
}

/// Ingresses on an API server, and who asks for them.
pub struct Bed {
    api: Api,
    objects: Objects,
    traffic: Traffic,
    scenario: Scenario,
}

impl Bed {
    /// Makes what is there before, and the backend that answers for all of it; within the network
    /// of the node.
    ///
    /// # Errors
    /// When the API server takes one of them not.
    pub async fn prepare(api: Api, scenario: Scenario) -> anyhow::Result<Self> {
        let backend = TcpListener::bind((NODE, 0)).await?;
        let port = backend.local_addr()?.port();
        tokio::spawn(traffic::answer(backend));
        let authority = scenario.tls.then(Authority::new);
        let traffic = Traffic::new(authority.as_ref())?;
        let objects = Objects::new(authority, scenario.endpoints);
        for (path, object) in objects::shared(port) {
            api.create(path, &object).await?;
        }
        let bed = Self {
            api,
            objects,
            traffic,
            scenario,
        };
        let mut made = JoinSet::new();
        for number in 0..scenario.before {
            if made.len() >= AT_ONCE {
                made.join_next().await.context("one is made")???;
            }
            let (api, all) = (bed.api.clone(), bed.objects.of(number));
            made.spawn(async move { create(&api, all).await });
        }
        while let Some(done) = made.join_next().await {
            done??;
        }
        Ok(bed)
    }

    /// Waits until the last of those before is served, and says how long that took.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn ready(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        if let Some(last) = self.scenario.before.checked_sub(1) {
            self.wait_for(&objects::host(last), began).await?;
        }
        Ok(began.elapsed())
    }

    /// Adds Ingresses, one by one.
    ///
    /// # Errors
    /// When one is refused, or not served in time.
    pub async fn add(&self) -> anyhow::Result<Measured> {
        let mut measured = Measured::default();
        let before = self.scenario.before;
        for number in before..before + self.scenario.added {
            create(&self.api, self.objects.of(number)).await?;
            let host = objects::host(number);
            let served = self.wait_for(&host, Instant::now()).await?;
            measured.milliseconds.push(served);
            measured.wrong += self.wrong(number, number + 1).await;
        }
        Ok(measured)
    }

    /// Changes an Ingress among those that are there, one change after the other: each time it has
    /// another host.
    ///
    /// # Errors
    /// When a change is refused, or not served in time.
    pub async fn change(&self) -> anyhow::Result<Measured> {
        let mut measured = Measured::default();
        let all = self.scenario.before + self.scenario.added;
        let changed = all / 2;
        for number in 0..self.scenario.changes {
            let host = format!("changed-{number}.test");
            let ingress = self.objects.ingress(changed, Some(&host));
            self.api.replace(objects::INGRESSES, &ingress).await?;
            let served = self.wait_for(&host, Instant::now()).await?;
            measured.milliseconds.push(served);
            measured.wrong += self.wrong(number, all).await;
            // It has lost the host of the change before.
            if let Some(before) = number.checked_sub(1) {
                let answer = self.traffic.ask(&format!("changed-{before}.test")).await;
                measured.wrong += usize::from(answer != Some(404));
            }
        }
        Ok(measured)
    }

    /// Asks for a host until it is answered, and says how many milliseconds that took.
    async fn wait_for(&self, host: &str, since: Instant) -> anyhow::Result<f64> {
        while self.traffic.ask(host).await != Some(200) {
            ensure!(since.elapsed() < PATIENCE, "{host} is not served");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(since.elapsed().as_secs_f64() * 1e3)
    }

    /// How many of two answers of one that must be served are wrong, another one each time: in
    /// clear, and with its own certificate where it has one.
    async fn wrong(&self, number: usize, of: usize) -> usize {
        let host = objects::host(number * 7919 % of);
        let clear = self.traffic.ask(&host).await;
        let secure = self.traffic.ask_secure(&host).await;
        usize::from(clear != Some(200)) + usize::from(secure != Some(200))
    }
}

async fn create(api: &Api, all: Vec<(&'static str, Value)>) -> anyhow::Result<()> {
    for (path, object) in all {
        api.create(path, &object).await?;
    }
    Ok(())
}
