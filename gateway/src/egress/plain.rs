//! A plain request: forwarded as it is, or over TLS where an entry asks for that.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use bytes::BytesMut;
use portcullis_config::{
    egress::{Authority, HttpRequest, Request},
    route::{CanonicalPath, canonical_path},
};

use super::{
    answer::Refusal,
    audit::Record,
    client::ClientStream,
    closing::close,
    connection::{about, refuse},
    credentials::Credentials,
    decide::{Opened, Proxy, open},
    forward::forward,
    inspection,
    overrides::is_echo,
    standing::{Carried, Standing},
};
use crate::relay::Traffic;

/// A plain request, as it is asked for.
pub(super) struct Plain {
    pub(super) authority: Authority,
    pub(super) method: String,
    /// The method that a field asks for.
    pub(super) overriding: Option<String>,
    pub(super) target: String,
    pub(super) credentials: Credentials,
    /// Bytes of its head, which carry something out as well.
    pub(super) length: usize,
}

/// A plain request that may be sent.
pub(super) struct Allowed {
    /// Where to.
    pub(super) authority: Authority,
    /// What goes there.
    pub(super) carried: Carried,
    /// The method that a field asks for.
    pub(super) overriding: Option<String>,
    /// Path and query: the origin gets the path that was decided on.
    pub(super) target: String,
    /// Bytes of its head.
    pub(super) length: usize,
}

/// Serves a plain request. A body may follow its head, so the connection ends with it.
pub(super) async fn plain(
    mut client: ClientStream,
    buffer: BytesMut,
    request: Plain,
    mut record: Record,
    proxy: Proxy<'_>,
) {
    let Plain {
        authority,
        method,
        overriding,
        target,
        credentials,
        length,
    } = request;
    // Nobody needs it, and it shows to whoever asks what stands between (RFC 9110 section 9.3.8).
    if is_echo(&method) {
        let refusal = Refusal::new(403, "trace_refused");
        refuse(&mut client, refusal, record, proxy, false).await;
        return;
    }
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let path = canonical_path(path.as_bytes()).and_then(CanonicalPath::without_escaped_separator);
    let Ok(path) = path else {
        let refusal = Refusal::new(400, "non_canonical_path");
        refuse(&mut client, refusal, record, proxy, false).await;
        return;
    };
    let request = Request {
        authority: &authority,
        http: Some(HttpRequest {
            method: &method,
            overriding: overriding.as_deref(),
            path: path.canonical(),
            tls: false,
        }),
        now: SystemTime::now(),
    };
    let mut opened = match open(proxy, request, credentials, &mut record).await {
        Ok(opened) => opened,
        Err(refusal) => {
            refuse(&mut client, refusal, record, proxy, false).await;
            return;
        }
    };
    let originated = opened.originated.take();
    let tls = originated.is_some();
    let allowed = Allowed {
        authority: originated.unwrap_or(authority),
        carried: Carried::Request {
            method,
            overriding: overriding.clone(),
            path: path.canonical().to_owned(),
            tls,
        },
        overriding,
        target: format!("{}{query}", path.forward()),
        length,
    };
    let ends = (client, buffer, opened);
    match tls {
        true => inspection::originate(ends, allowed, record, proxy).await,
        false => in_clear(ends, allowed, record, proxy).await,
    }
}

async fn in_clear(
    (mut client, buffer, opened): (ClientStream, BytesMut, Opened),
    request: Allowed,
    mut record: Record,
    proxy: Proxy<'_>,
) {
    let authority = &request.authority;
    let charge = opened.charge;
    let holds = (opened.until, Some(Arc::clone(&charge)));
    let mut standing = Standing::new(proxy.state, authority, &record, holds, request.carried);
    let traffic = Arc::new(Traffic {
        meter: Some(charge.clone()),
        ..Traffic::default()
    });
    let refusal = if !traffic.may_send(request.length) {
        charge
            .spent(Instant::now())
            .map(|unpaid| Refusal::quota(&unpaid))
    } else {
        standing.cut().map(Refusal::changed)
    };
    if let Some(refusal) = refusal {
        refuse(&mut client, refusal, record, proxy, false).await;
        return;
    }
    let about = about(&record, proxy);
    let (done, client) = forward(
        client,
        buffer,
        (opened.upstream, opened.forwarder.as_deref()),
        authority,
        &request.target,
        &about,
        &proxy.egress.limits,
        &traffic,
        || standing.cut(),
    )
    .await;
    record.status = done.status;
    record.ended = done.ended.or_else(|| charge.ended());
    if let Some(failed) = done.failed {
        (record.verdict, record.reason) = ("error", failed);
    }
    record.bytes_up = traffic.up.load(Ordering::Relaxed);
    record.bytes_down = traffic.down.load(Ordering::Relaxed);
    record.overdrawn(&charge);
    record.write(proxy.services);
    if let Some(mut client) = client {
        close(&mut client).await;
    }
}
