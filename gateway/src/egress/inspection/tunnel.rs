//! A tunnel that is looked into.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::BytesMut;
use portcullis_config::{egress::Authority, model::EgressLimits};
use tokio::sync::{Notify, watch};
use tokio_rustls::server::TlsStream;

use super::{
    super::{
        answer::Refusal,
        audit::Record,
        client::ClientStream,
        decide::{Opened, Proxy},
        first_bytes::Beginning,
        servers::{EgressServices, State},
        standing::{Carried, Standing},
    },
    Protocol,
    handshake::{Hello, Outer},
    http1, http2,
    open::OpenRequests,
    tasks::{Ending, Tasks},
    upstream::{Upstream, connect},
};
use crate::{
    relay::{RelayLimits, TICK, over},
    snapshot::{CompiledEgress, DestinationTls},
};

/// What the requests of a tunnel share.
pub(super) struct Inside {
    pub(super) services: Arc<EgressServices>,
    pub(super) state: Arc<State>,
    /// Whom the tunnel is to.
    pub(super) authority: Authority,
    /// What is told of the tunnel, or of the one plain request.
    pub(super) tunnel: Record,
    pub(super) limits: EgressLimits,
    /// Requests of HTTP/2 at once.
    pub(super) max_streams: u32,
    pub(super) upstream: Upstream,
    /// What both sides speak.
    pub(super) protocol: Protocol,
    pub(super) open: Arc<OpenRequests>,
    /// Whether the connection to the destination is over.
    pub(super) gone: watch::Receiver<bool>,
    /// Tells that the client is to be taken leave of.
    pub(super) leaving: Notify,
}

/// For how long a client is waited for that is told of the end.
const LEAVE: Duration = Duration::from_secs(1);

impl Inside {
    /// What is told of a request.
    pub(super) fn record(&self, method: &str, path: &str) -> Record {
        match self.tunnel.originated_tls {
            true => self.tunnel.seen(path),
            false => Record::inside(&self.tunnel, method, path),
        }
    }

    /// Attends to what is served until it is over; tells why it ended, where it had to. Who has proved
    /// its name by an authority that is not trusted any more has proved nothing: `trusted` is what the
    /// destination was verified by, and `trusts` what verifies such ones now.
    pub(super) async fn attend(
        &self,
        serving: impl Future<Output = ()>,
        mut standing: Standing,
        trusted: &DestinationTls,
        trusts: impl Fn(&CompiledEgress) -> Option<&DestinationTls>,
    ) -> Option<&'static str> {
        let open = &self.open;
        // What is silent before it answers is told so by a status, which comes first.
        let silence = self.limits.idle_timeout + 4 * TICK;
        let limits = RelayLimits {
            idle: Some(silence),
            lifetime: Some(self.limits.max_lifetime),
        };
        let cut = || {
            open.look();
            let now = self.state.egress();
            let now = now.as_ref().and_then(|egress| trusts(egress));
            let is_untrusted = now.is_some_and(|now| !now.trusts_as(trusted));
            standing
                .cut()
                .or_else(|| is_untrusted.then_some("policy_changed"))
                .or_else(|| open.stuck(silence))
        };
        let mut serving = pin!(serving);
        tokio::select! {
            () = serving.as_mut() => None,
            reason = over(limits, &open.activity, cut) => {
                // A client that has nothing under way is told, so that it does not take its next
                // request for lost; what is under way is cut.
                if open.is_idle() {
                    self.leaving.notify_one();
                    let _ = tokio::time::timeout(LEAVE, serving.as_mut()).await;
                }
                open.end(reason);
                Some(reason)
            }
        }
    }

    /// Waits until no further request is taken: the proxy stops, the destination has closed, or the
    /// tunnel ends.
    pub(super) async fn closing(&self) {
        let mut gone = self.gone.clone();
        let closed = async {
            // Where it was never reached each request is told so.
            if matches!(self.upstream, Upstream::Failed(_))
                || gone.wait_for(|gone| *gone).await.is_err()
            {
                pending::<()>().await;
            }
        };
        let stopping = async {
            while !self.state.is_draining() {
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            () = closed => {}
            () = stopping => {}
            () = self.leaving.notified() => {}
        }
    }
}

/// Looks into a tunnel that has begun with a good ClientHello, until it ends.
pub(in crate::egress) async fn serve(
    (client, buffer, opened): (ClientStream, BytesMut, Opened),
    (authority, mut record, beginning): (Authority, Record, Beginning),
    proxy: Proxy<'_>,
) {
    let charge = Arc::clone(&opened.charge);
    proxy.services.metrics.egress_tunnels(1);
    let looked_into = look(
        (client, buffer, opened),
        &authority,
        beginning,
        &mut record,
        proxy,
    )
    .await;
    proxy.services.metrics.egress_tunnels(-1);
    match looked_into {
        Ok(ended) => record.ended = ended.or_else(|| charge.ended()),
        Err(reason) => {
            record.verdict = "error";
            record.reason = reason;
            record.ended = Some(reason);
        }
    }
    record.overdrawn(&charge);
    record.write(proxy.services);
}

/// Why a tunnel ended that neither side closed.
///
/// # Errors
/// The reason code of what is no tunnel: a client that does not take the certificate.
async fn look(
    (client, buffer, opened): (ClientStream, BytesMut, Opened),
    authority: &Authority,
    beginning: Beginning,
    record: &mut Record,
    proxy: Proxy<'_>,
) -> Result<Option<&'static str>, &'static str> {
    let (state, limits) = (proxy.state, &proxy.egress.limits);
    let carried = Carried::Inspected(beginning);
    let holds = (opened.until, Some(Arc::clone(&opened.charge)));
    let mut standing = Standing::new(state, authority, record, holds, carried);
    if let Some(reason) = standing.cut() {
        return Ok(Some(reason));
    }
    let (Some(inspection), Some(settings)) = (&proxy.egress.inspection, settings(proxy)) else {
        // An entry that asks for it is refused without.
        return Err("inspection_failed");
    };
    let tasks = Ending(Tasks::default());
    let limit = limits.handshake_timeout;
    let hello = Hello::read(client, buffer, limit).await?;
    let (over_it, gone) = watch::channel(false);
    let connected = connect(
        opened.upstream,
        authority,
        &inspection.destinations.client,
        &hello.offered,
        (limits, &tasks.0),
        over_it,
    )
    .await;
    let (upstream, protocol) = connected.unwrap_or_else(|refusal| {
        let protocol = hello.offered.first().copied();
        (
            Upstream::Failed(refusal),
            protocol.unwrap_or(Protocol::Http1),
        )
    });
    let leaf = inspection.authority.certificate(&authority.host).await;
    let leaf = leaf.map_err(|error| {
        tracing::error!(%error, "a tunnel cannot be looked into");
        "inspection_failed"
    })?;
    if let Upstream::Failed(Refusal { reason, .. }) = &upstream {
        (record.verdict, record.reason) = ("error", reason);
    }
    let stream = hello.finish(&leaf.pair, protocol, limit).await?;
    let inside = Arc::new(Inside {
        services: Arc::clone(proxy.services),
        state: Arc::clone(state),
        authority: authority.clone(),
        tunnel: record.clone(),
        limits: limits.clone(),
        max_streams: settings.max_streams,
        upstream,
        protocol,
        open: Arc::new(OpenRequests::new(opened.charge, settings.max_streams)),
        gone,
        leaving: Notify::new(),
    });
    let open = Arc::clone(&inside.open);
    let trusted = &inspection.destinations;
    let served = requests(stream, &inside, &tasks.0);
    let ended = inside
        .attend(served, standing, trusted, |now| {
            now.inspection.as_ref().map(|now| &now.destinations)
        })
        .await;
    open.look();
    record.bytes_up = open.traffic.up.load(Ordering::Relaxed);
    record.bytes_down = open.traffic.down.load(Ordering::Relaxed);
    Ok(ended)
}

fn settings<'p>(proxy: Proxy<'p>) -> Option<&'p portcullis_config::model::EgressInspection> {
    let settings: &portcullis_config::model::Egress = proxy.egress;
    settings.inspection.as_ref()
}

async fn requests(stream: TlsStream<Outer>, inside: &Arc<Inside>, tasks: &Tasks) {
    match inside.protocol {
        Protocol::Http1 => http1::serve(stream, inside).await,
        Protocol::Http2 => http2::serve(stream, inside, tasks).await,
    }
}
