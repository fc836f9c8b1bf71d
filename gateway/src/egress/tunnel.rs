//! A tunnel: what a client and a destination say to each other, within limits.

use std::{sync::atomic::Ordering, time::SystemTime};

use bytes::BytesMut;
use portcullis_config::egress::Authority;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    audit::Record,
    decide::{Opened, Proxy, Standing, standing},
    first_bytes::judge_first_bytes,
};
use crate::relay::{RelayLimits, Traffic, relay};

/// A client and the destination that it may reach.
pub(super) struct Tunnel<'a> {
    client: TcpStream,
    /// What the client has sent behind what it asked for.
    buffer: BytesMut,
    opened: Opened,
    authority: Authority,
    record: Record,
    proxy: Proxy<'a>,
}

impl<'a> Tunnel<'a> {
    /// Takes a client, what it has sent behind what it asked for, and what was opened for it.
    pub(super) fn new(
        client: TcpStream,
        buffer: BytesMut,
        opened: Opened,
        authority: Authority,
        record: Record,
        proxy: Proxy<'a>,
    ) -> Self {
        Self {
            client,
            buffer,
            opened,
            authority,
            record,
            proxy,
        }
    }

    /// Tells the client that it is open, judges its first bytes and relays until the end.
    pub(super) async fn run(mut self, answer: &[u8]) {
        self.record.status = 200;
        let ended = match self.client.write_all(answer).await {
            Err(_) => Some("client_closed"),
            Ok(()) => match self.judge().await {
                Err(reason) => Some(reason),
                Ok(()) => self.relay().await,
            },
        };
        self.record.ended = ended;
        self.record.write(self.proxy.services);
    }

    /// Judges the first bytes: none has left until then.
    async fn judge(&mut self) -> Result<(), &'static str> {
        if self.opened.raw {
            return Ok(());
        }
        let limits = &self.proxy.egress.limits;
        let judged =
            judge_first_bytes(&mut self.client, &mut self.buffer, &self.authority, limits).await;
        let Err(reason) = judged else {
            return Ok(());
        };
        if reason == "client_closed" {
            return Err(reason);
        }
        self.record.reason = reason;
        if self.opened.lenient {
            self.record.verdict = "would_deny";
            return Ok(());
        }
        self.record.verdict = "deny";
        Err(reason)
    }

    async fn relay(&mut self) -> Option<&'static str> {
        // None yet: a configuration may have come since the decision, while the
        // destination was dialled and the first bytes were awaited.
        let mut judged = None;
        let mut until = self.opened.until;
        let (peer, resolved) = (self.record.client.ip(), self.record.resolved.clone());
        let (authority, state, raw) = (&self.authority, self.proxy.state, self.opened.raw);
        let mut cut = || {
            let (version, now) = (state.version(), SystemTime::now());
            let is_over = until.is_some_and(|until| until <= now);
            if judged.replace(version) == Some(version) && !is_over {
                return None;
            }
            let egress = state.egress();
            let stands =
                egress.map(|egress| standing(&egress, peer, authority, &resolved, raw, now));
            match stands {
                Some(Standing::Until(later)) => {
                    until = later;
                    None
                }
                Some(Standing::Over) => Some("grant_expired"),
                Some(Standing::Refused) | None => Some("policy_changed"),
            }
        };
        let services = self.proxy.services;
        services.metrics.egress_tunnels(1);
        let traffic = Traffic::default();
        let ended = if let Some(reason) = cut() {
            Some(reason)
        } else if self.opened.upstream.write_all(&self.buffer).await.is_err() {
            Some("upstream_closed")
        } else {
            let sent = std::mem::take(&mut self.buffer).len();
            traffic.up.fetch_add(sent as u64, Ordering::Relaxed);
            let limits = RelayLimits {
                idle: self.proxy.egress.limits.idle_timeout,
                lifetime: Some(self.proxy.egress.limits.max_lifetime),
            };
            let upstream = &mut self.opened.upstream;
            relay(&mut self.client, upstream, limits, &traffic, cut).await
        };
        services.metrics.egress_tunnels(-1);
        self.record.bytes_up = traffic.up.load(Ordering::Relaxed);
        self.record.bytes_down = traffic.down.load(Ordering::Relaxed);
        ended
    }
}
