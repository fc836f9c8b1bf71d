//! A tunnel: what a client and a destination say to each other, within limits.
//!
//! ```text
//! Opening  -> the client is told, its first bytes are judged -> Tunnel -> relay, or a look inside -> record
//! ```
//!
//! There may be very many that are idle, so a [`Tunnel`] has nothing left of how it was opened.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::BytesMut;
use portcullis_config::egress::{Authority, Beginnings};
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{
    audit::Record,
    client::{ClientStream, relay_client},
    decide::{Opened, Proxy},
    first_bytes::{Beginning, judge_first_bytes},
    first_flight::FirstFlight,
    inspection,
    quota::Charge,
    servers::{EgressServices, State},
    standing::{Carried, Standing},
    upstream_proxy::UpstreamStream,
};
use crate::{
    relay::{RelayLimits, Traffic, over},
    snapshot::CompiledEgress,
};

/// A client and the destination that it may reach.
pub(super) struct Opening {
    client: ClientStream,
    /// What the client has sent behind what it asked for.
    buffer: BytesMut,
    opened: Opened,
    authority: Authority,
    record: Record,
}

/// A tunnel that is open.
pub(super) enum Tunnel {
    /// Bytes go both ways.
    Relayed(Box<Relayed>),
    /// It is looked into.
    Inspected(Box<Inspected>),
}

/// A tunnel whose bytes go both ways as they are.
pub(super) struct Relayed {
    client: ClientStream,
    upstream: UpstreamStream,
    charge: Arc<Charge>,
    traffic: Traffic,
    limits: RelayLimits,
    standing: Standing,
    record: Record,
    services: Arc<EgressServices>,
}

/// A tunnel that is looked into.
pub(super) struct Inspected {
    opening: Opening,
    beginning: Beginning,
    egress: Arc<CompiledEgress>,
    services: Arc<EgressServices>,
    state: Arc<State>,
}

impl Opening {
    /// Takes a client, what it has sent behind what it asked for, and what was opened for it.
    pub(super) fn new(
        client: ClientStream,
        buffer: BytesMut,
        opened: Opened,
        authority: Authority,
        record: Record,
    ) -> Self {
        Self {
            client,
            buffer,
            opened,
            authority,
            record,
        }
    }

    /// Tells the client that it is open, and judges its first bytes: none has left until then. `None`
    /// where it is over by that, which is written down.
    pub(super) async fn begin(mut self, answer: &[u8], proxy: Proxy<'_>) -> Option<Tunnel> {
        self.record.status = 200;
        // Also of one that is over before: what its client would have come to is said by its record.
        self.record.inspected = self.opened.inspected;
        let carried = match self.tell(answer).await {
            Err(_) => Err("client_closed"),
            Ok(()) => self.judge(proxy).await,
        };
        match carried {
            Err(reason) => {
                self.record.ended = Some(reason);
                self.record.overdrawn(&self.opened.charge);
                self.record.write(proxy.services);
                None
            }
            Ok(Carried::Judged(beginning)) if self.opened.inspected && beginning.is_good() => {
                Some(Tunnel::Inspected(Box::new(Inspected {
                    opening: self,
                    beginning,
                    egress: Arc::clone(proxy.egress),
                    services: Arc::clone(proxy.services),
                    state: Arc::clone(proxy.state),
                })))
            }
            Ok(carried) => self.send_first(carried, proxy).await,
        }
    }

    async fn tell(&mut self, answer: &[u8]) -> io::Result<()> {
        self.client.write_all(answer).await?;
        self.client.flush().await
    }

    /// Judges the first bytes.
    async fn judge(&mut self, proxy: Proxy<'_>) -> Result<Carried, &'static str> {
        if self.opened.raw {
            return Ok(Carried::Raw);
        }
        let limits = &proxy.egress.limits;
        let judged =
            judge_first_bytes(&mut self.client, &mut self.buffer, &self.authority, limits).await;
        let beginning = judged.ok_or("client_closed")?;
        refuse_for(beginning, &self.opened.beginnings, &mut self.record)?;
        Ok(Carried::Judged(beginning))
    }

    /// Sends what the client has said already, and of TLS all that is said in clear.
    async fn send_first(self, carried: Carried, proxy: Proxy<'_>) -> Option<Tunnel> {
        let Self {
            client,
            buffer,
            opened,
            authority,
            record,
        } = self;
        let charge = opened.charge;
        let holds = (opened.until, Some(Arc::clone(&charge)));
        let hello_limits = &proxy.egress.limits;
        let limits = RelayLimits {
            idle: Some(hello_limits.idle_timeout),
            lifetime: Some(hello_limits.max_lifetime),
        };
        let first = match &carried {
            Carried::Judged(beginning) => beginning.hello().map(|hello| (*beginning, hello)),
            _ => None,
        };
        let mut tunnel = Box::new(Relayed {
            client,
            upstream: opened.upstream,
            traffic: Traffic {
                meter: Some(charge.clone()),
                ..Traffic::default()
            },
            limits,
            standing: Standing::new(proxy.state, &authority, &record, holds, carried),
            charge,
            record,
            services: Arc::clone(proxy.services),
        });
        tunnel.services.metrics.egress_tunnels(1);
        let began = Instant::now();
        if let Some(reason) = tunnel.standing.cut() {
            tunnel.end(Some(reason));
            return None;
        }
        let Relayed {
            client,
            upstream,
            traffic,
            standing,
            record,
            ..
        } = &mut *tunnel;
        let mut flight = FirstFlight::new(client, upstream, traffic, buffer);
        let policies = &opened.beginnings;
        let flown = async {
            let Some((first, hello)) = first else {
                return flight.send_all().await.map(|()| None);
            };
            flight.send(hello).await?;
            let mut both = None;
            if flight.is_asked_again().await? {
                let waited = timeout(hello_limits.client_hello_timeout, flight.next_handshake());
                waited.await.unwrap_or(Err(Some("client_hello_timeout")))?;
                let (client, ahead) = (&mut *flight.client, &mut flight.ahead);
                let second = judge_first_bytes(client, ahead, &authority, hello_limits).await;
                let second = second.ok_or(Some("client_closed"))?;
                refuse_for(second, policies, record)?;
                both = Some(first.and(second));
            }
            flight.send_all().await.map(|()| both)
        };
        // A destination that takes nothing is waited for no longer than one that says nothing.
        let flown = tokio::select! {
            flown = flown => flown,
            reason = over(limits, traffic, || standing.cut()) => Err(Some(reason)),
        };
        let left = hello_limits.max_lifetime.saturating_sub(began.elapsed());
        tunnel.limits.lifetime = Some(left);
        match flown {
            Ok(None) => Some(Tunnel::Relayed(tunnel)),
            Ok(Some(beginning)) => {
                tunnel.standing.began(beginning);
                Some(Tunnel::Relayed(tunnel))
            }
            Err(ended) => {
                tunnel.end(ended);
                None
            }
        }
    }
}

/// Writes down what is said against how a tunnel begins.
///
/// # Errors
/// The reason code of what is refused.
fn refuse_for(
    beginning: Beginning,
    policies: &Beginnings,
    record: &mut Record,
) -> Result<(), &'static str> {
    if let Some(refused) = beginning.refused(policies, record.policy.as_ref()) {
        record.refused_by(&refused);
        if refused.is_final() {
            return Err(refused.reason);
        }
    }
    Ok(())
}

impl Tunnel {
    /// Serves it until it ends, and writes down how.
    pub(super) async fn run(self) {
        match self {
            Self::Relayed(mut tunnel) => {
                let ended = tunnel.relay().await;
                tunnel.end(ended);
            }
            // In a box: it needs much, and a tunnel that is not looked into none of that.
            Self::Inspected(tunnel) => Box::pin(tunnel.look()).await,
        }
    }
}

impl Relayed {
    async fn relay(&mut self) -> Option<&'static str> {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        relay_client(client, upstream, self.limits, &self.traffic, || {
            self.standing.cut()
        })
        .await
    }

    fn end(self: Box<Self>, ended: Option<&'static str>) {
        let Self {
            charge,
            traffic,
            mut record,
            services,
            ..
        } = *self;
        services.metrics.egress_tunnels(-1);
        record.bytes_up = traffic.up.load(Ordering::Relaxed);
        record.bytes_down = traffic.down.load(Ordering::Relaxed);
        record.ended = ended.or_else(|| charge.ended());
        record.overdrawn(&charge);
        record.write(&services);
    }
}

impl Inspected {
    async fn look(self: Box<Self>) {
        let Self {
            opening,
            beginning,
            egress,
            services,
            state,
        } = *self;
        let proxy = Proxy {
            egress: &egress,
            services: &services,
            state: &state,
        };
        let ends = (opening.client, opening.buffer, opening.opened);
        let inside = (opening.authority, opening.record, beginning);
        inspection::serve(ends, inside, proxy).await;
    }
}
