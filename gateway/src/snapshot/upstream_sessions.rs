//! The TLS sessions of an endpoint, which new connections to it take up.
//!
//! In: the settings of a backend. Out: settings for one of its endpoints, which remember
//! that endpoint's sessions and no others: replicas seldom know each other's tickets. They
//! outlive a snapshot, and end when whom the backend trusts, or who we say we are, changes.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, NamedGroup,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};

/// Tickets that are kept. Each is good for one connection, so that of a burst of
/// connections as many take up a session. rustls keeps 8: with 32 connections at once, each
/// made anew, a quarter went without.
const MAX_TICKETS: usize = 32;

/// Time after which the sessions are forgotten: who takes up a session is not asked for a
/// certificate, so that one that has run out would never be noticed.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// TLS settings of the connections to one endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointTls(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    identity: u64,
    at: Instant,
    config: Arc<ClientConfig>,
}

impl EndpointTls {
    /// The settings, with the sessions of those before where these have the same identity
    /// and are not too old.
    pub(super) fn config(
        &self,
        identity: u64,
        settings: &ClientConfig,
        now: Instant,
    ) -> Arc<ClientConfig> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made
            && made.identity == identity
            && now.saturating_duration_since(made.at) < MAX_AGE
        {
            return Arc::clone(&made.config);
        }
        let mut config = settings.clone();
        config.resumption = Resumption::store(Arc::new(Sessions::default()));
        let config = Arc::new(config);
        *made = Some(Made {
            identity,
            at: now,
            config: Arc::clone(&config),
        });
        config
    }
}

/// Sessions of one server.
#[derive(Default)]
struct Sessions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The group of its last key exchange, to begin the next with.
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// Oldest first.
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Sessions {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without what is in it: keys.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// The name is always that of the backend.
impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.kept().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.kept().tls12 = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.kept().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let tickets = &mut self.kept().tls13;
        if tickets.len() >= MAX_TICKETS {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept().tls13.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;

    use super::*;

    fn settings() -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    }

    #[test]
    fn settings_stay_while_their_identity_does_and_no_longer_than_their_age() {
        let (tls, settings, start) = (EndpointTls::default(), settings(), Instant::now());
        let first = tls.config(1, &settings, start);
        let almost = start + MAX_AGE - Duration::from_secs(1);
        assert!(Arc::ptr_eq(&first, &tls.config(1, &settings, almost)));
        let other = tls.config(2, &settings, start);
        assert!(!Arc::ptr_eq(&first, &other));
        let later = tls.config(2, &settings, start + MAX_AGE);
        assert!(!Arc::ptr_eq(&other, &later));
    }
}
