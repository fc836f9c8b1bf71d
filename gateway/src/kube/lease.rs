//! Which of the replicas writes what only one may write: the one that holds a Lease.
//!
//! As client-go does it. Clocks of two machines are not compared: a Lease is over when it has not
//! changed for its time by our own clock.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch::Sender,
    time::{Instant, timeout},
};

use super::{ResourceName, watch::reason};

/// How long a Lease counts that is not renewed, in seconds.
const DURATION_SECONDS: i32 = 15;
const DURATION: Duration = Duration::from_secs(DURATION_SECONDS as u64);
/// Whoever cannot renew it for so long gives up, before another may take it.
const RENEWAL: Duration = Duration::from_secs(10);
/// How often it is looked at and renewed.
const RETRY: Duration = Duration::from_secs(2);

/// Who holds a Lease, as long as the process runs.
pub(super) struct Election {
    api: Api<Lease>,
    name: ResourceName,
    me: String,
    seen: Option<Seen>,
}

/// A Lease as it was seen last.
#[derive(Debug)]
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// What to do about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    /// It is ours.
    Renew,
    /// Nobody has it, or its holder is gone.
    Take,
    /// Another holds it.
    Wait,
}

impl Election {
    pub(super) fn new(client: Client, name: ResourceName, me: String) -> Self {
        Self {
            api: Api::namespaced(client, &name.namespace),
            name,
            me,
            seen: None,
        }
    }

    /// Takes part for ever, and says whether the Lease is ours.
    pub(super) async fn run(mut self, leads: Sender<bool>) {
        let mut renewed: Option<Instant> = None;
        let mut is_told = false;
        loop {
            match timeout(RENEWAL / 2, self.attempt()).await {
                Ok(Ok(is_ours)) => {
                    renewed = is_ours.then(Instant::now);
                    is_told = false;
                }
                failed => {
                    let reason = match failed {
                        Ok(Err(error)) => reason(&error),
                        _ => "no answer".to_owned(),
                    };
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(lease = %self.name, %reason, "the Lease could not be had");
                    }
                }
            }
            let is_ours = renewed.is_some_and(|at| at.elapsed() < RENEWAL);
            let changed = leads.send_if_modified(|known| {
                let changed = *known != is_ours;
                *known = is_ours;
                changed
            });
            if changed {
                tracing::info!(lease = %self.name, leads = is_ours, "election");
            }
            tokio::time::sleep(RETRY.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
        }
    }

    /// Takes or renews it where that may be, and tells whether it is ours.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(&self.name.name).await? else {
            let lease = Lease {
                metadata: kube::api::ObjectMeta {
                    name: Some(self.name.name.clone()),
                    ..kube::api::ObjectMeta::default()
                },
                spec: Some(self.spec(&LeaseSpec::default())),
            };
            return self.written(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.act(&spec, Instant::now()) == Act::Wait {
            return Ok(false);
        }
        // With the version that was read: of two that take it one is refused.
        let lease = Lease {
            spec: Some(self.spec(&spec)),
            ..lease
        };
        let replaced = self
            .api
            .replace(&self.name.name, &PostParams::default(), &lease)
            .await;
        self.written(replaced)
    }

    fn written(&mut self, lease: kube::Result<Lease>) -> kube::Result<bool> {
        match lease {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn act(&mut self, spec: &LeaseSpec, now: Instant) -> Act {
        if self.seen.as_ref().is_none_or(|seen| seen.spec != *spec) {
            self.seen = Some(Seen {
                spec: spec.clone(),
                since: now,
            });
        }
        let since = self.seen.as_ref().map_or(now, |seen| seen.since);
        let seconds = spec.lease_duration_seconds.unwrap_or(DURATION_SECONDS);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        match spec.holder_identity.as_deref() {
            Some(holder) if holder == self.me => Act::Renew,
            Some("") | None => Act::Take,
            Some(_) if now.duration_since(since) > duration.min(DURATION * 4) => Act::Take,
            Some(_) => Act::Wait,
        }
    }

    /// How it stands when it is ours.
    fn spec(&self, before: &LeaseSpec) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let is_ours = before.holder_identity.as_ref() == Some(&self.me);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            acquire_time: match is_ours {
                true => before.acquire_time.clone(),
                false => Some(now.clone()),
            },
            renew_time: Some(now),
            lease_transitions: Some(match is_ours || before.holder_identity.is_none() {
                true => transitions,
                false => transitions.saturating_add(1),
            }),
            ..LeaseSpec::default()
        }
    }
}

/// Lets go of a Lease that is ours, so that another need not wait until it is over.
pub(super) async fn release(client: Client, name: &ResourceName, me: &str) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(client, &name.namespace);
    let Some(mut lease) = api.get_opt(&name.name).await? else {
        return Ok(());
    };
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(me) {
        return Ok(());
    }
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    api.replace(&name.name, &PostParams::default(), &lease)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that reaches nobody: these tests ask nothing.
    fn election() -> Election {
        crate::tls::install_provider();
        let config = kube::Config::new("http://192.0.2.1".parse().expect("a URI"));
        let client = Client::try_from(config).expect("a client");
        Election::new(client, ResourceName::new("a", "leader"), "me".into())
    }

    fn held(by: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(by.to_owned()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
            ..LeaseSpec::default()
        }
    }

    #[tokio::test]
    async fn a_lease_is_over_when_it_did_not_change_for_its_time() {
        let mut election = election();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        // However old its holder says that it is.
        assert_eq!(election.act(&held("other", 1), start), Act::Wait);
        assert_eq!(election.act(&held("other", 1), after(15)), Act::Wait);
        assert_eq!(election.act(&held("other", 2), after(16)), Act::Wait);
        assert_eq!(election.act(&held("other", 2), after(31)), Act::Wait);
        assert_eq!(election.act(&held("other", 2), after(32)), Act::Take);
        assert_eq!(election.act(&held("me", 3), after(32)), Act::Renew);
        assert_eq!(election.act(&held("", 4), after(32)), Act::Take);
        assert_eq!(election.act(&LeaseSpec::default(), start), Act::Take);
    }

    #[tokio::test]
    async fn who_takes_it_counts_the_transition_and_who_renews_does_not() {
        let election = election();
        let taken = election.spec(&LeaseSpec {
            lease_transitions: Some(4),
            ..held("other", 1)
        });
        assert_eq!(taken.holder_identity.as_deref(), Some("me"));
        assert_eq!(taken.lease_transitions, Some(5));
        let renewed = election.spec(&taken);
        assert_eq!(renewed.lease_transitions, Some(5));
        assert_eq!(renewed.acquire_time, taken.acquire_time);
    }
}
