//! A tunnel: what a client and a destination say to each other, within limits.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::BytesMut;
use portcullis_config::egress::Authority;
use tokio::io::AsyncWriteExt;

use super::{
    audit::Record,
    client::{ClientStream, relay_client},
    decide::{Opened, Proxy},
    first_bytes::judge_first_bytes,
    inspection,
    standing::{Carried, Standing},
};
use crate::relay::{RelayLimits, Traffic};

/// A client and the destination that it may reach.
pub(super) struct Tunnel<'a> {
    client: ClientStream,
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
        client: ClientStream,
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
        let ended = match self.tell(answer).await {
            Err(_) => Some("client_closed"),
            Ok(()) => match self.judge().await {
                Err(reason) => Some(reason),
                Ok(Carried::Judged(beginning)) if self.opened.inspected && beginning.is_good() => {
                    let ends = (self.client, self.buffer, self.opened);
                    let inside = (self.authority, self.record, beginning);
                    return inspection::serve(ends, inside, self.proxy).await;
                }
                Ok(carried) => self.relay(carried).await,
            },
        };
        self.record.ended = ended;
        self.record.overdrawn(&self.opened.charge);
        self.record.write(self.proxy.services);
    }

    async fn tell(&mut self, answer: &[u8]) -> io::Result<()> {
        self.client.write_all(answer).await?;
        self.client.flush().await
    }

    /// Judges the first bytes: none has left until then.
    async fn judge(&mut self) -> Result<Carried, &'static str> {
        if self.opened.raw {
            return Ok(Carried::Raw);
        }
        let limits = &self.proxy.egress.limits;
        let judged =
            judge_first_bytes(&mut self.client, &mut self.buffer, &self.authority, limits).await;
        let beginning = judged.ok_or("client_closed")?;
        let policy = self.record.policy.as_ref();
        if let Some(refused) = beginning.refused(&self.opened.beginnings, policy) {
            self.record.refused_by(&refused);
            if refused.is_final() {
                return Err(refused.reason);
            }
        }
        Ok(Carried::Judged(beginning))
    }

    /// Sends what was read of the client already.
    async fn send(&mut self) -> io::Result<()> {
        self.opened.upstream.write_all(&self.buffer).await?;
        self.opened.upstream.flush().await
    }

    async fn relay(&mut self, carried: Carried) -> Option<&'static str> {
        let charge = Arc::clone(&self.opened.charge);
        let holds = (self.opened.until, Some(Arc::clone(&charge)));
        let state = self.proxy.state;
        let mut standing = Standing::new(state, &self.authority, &self.record, holds, carried);
        let services = self.proxy.services;
        services.metrics.egress_tunnels(1);
        let traffic = Traffic {
            meter: Some(charge.clone()),
            ..Traffic::default()
        };
        let ended = if let Some(reason) = standing.cut() {
            Some(reason)
        } else if !traffic.may_send(self.buffer.len()) {
            charge.ended()
        } else if self.send().await.is_err() {
            Some("upstream_closed")
        } else {
            let sent = std::mem::take(&mut self.buffer).len();
            traffic.up.fetch_add(sent as u64, Ordering::Relaxed);
            let limits = RelayLimits {
                idle: Some(self.proxy.egress.limits.idle_timeout),
                lifetime: Some(self.proxy.egress.limits.max_lifetime),
            };
            let upstream = &mut self.opened.upstream;
            relay_client(&mut self.client, upstream, limits, &traffic, || {
                standing.cut()
            })
            .await
        };
        services.metrics.egress_tunnels(-1);
        self.record.bytes_up = traffic.up.load(Ordering::Relaxed);
        self.record.bytes_down = traffic.down.load(Ordering::Relaxed);
        ended.or_else(|| charge.ended())
    }
}
