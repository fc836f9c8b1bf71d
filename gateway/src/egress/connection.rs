//! One client of the egress proxy that speaks HTTP.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use bytes::BytesMut;
use portcullis_config::{
    egress::{Authority, HttpRequest, Request},
    route::{CanonicalPath, canonical_path},
};
use tokio::io::AsyncWriteExt;

use super::{
    answer::{About, Refusal},
    audit::Record,
    client::ClientStream,
    closing::close,
    credentials::Credentials,
    decide::{Proxy, open},
    forward::forward,
    head::{Ask, Head, consume, read_head},
    overrides::is_echo,
    peer::Peer,
    servers::{EgressServices, State},
    standing::{Carried, Standing},
    tunnel::{Opening, Tunnel},
};
use crate::relay::Traffic;

/// Serves a client until it closes, opens a tunnel or a request was forwarded; returns the tunnel.
/// A refusal keeps the connection open, so that a client may ask again.
pub(super) async fn serve(
    mut client: ClientStream,
    (address, peer): (SocketAddr, Arc<Peer>),
    services: &Arc<EgressServices>,
    state: &Arc<State>,
) -> Option<Tunnel> {
    let mut buffer = BytesMut::with_capacity(2048);
    while let Some(egress) = state.egress() {
        if state.is_draining() {
            return None;
        }
        let limits = &egress.limits;
        let max = usize::try_from(limits.max_head_size).unwrap_or(usize::MAX);
        let head = match read_head(&mut client, &mut buffer, max, limits.head_timeout).await {
            Ok(head) => head,
            Err(error) => {
                tracing::debug!(client = %address, %error, "egress client closed");
                return None;
            }
        };
        // The head may have been long in coming: it is decided on what holds now.
        let egress = state.egress()?;
        let proxy = Proxy {
            egress: &egress,
            services,
            state,
        };
        let mut record = Record::new(address, Arc::clone(&peer));
        let (ask, credentials, length) = match head {
            Head::Closed => return None,
            Head::Bad { reason, status } => {
                refuse(
                    &mut client,
                    Refusal::new(status, reason),
                    record,
                    proxy,
                    false,
                )
                .await;
                return None;
            }
            Head::Ask {
                ask,
                credentials,
                length,
                ..
            } => (ask, credentials, length),
        };
        match ask {
            Ask::Connect(authority) => {
                record.describe("CONNECT", Some(&authority));
                consume(&mut buffer, length);
                let request = Request {
                    authority: &authority,
                    http: None,
                    now: SystemTime::now(),
                };
                match open(proxy, request, credentials, &mut record).await {
                    // Bytes behind a refused CONNECT were meant for the tunnel, not for us.
                    Err(refusal) if buffer.is_empty() => {
                        if !refuse(&mut client, refusal, record, proxy, true).await {
                            return None;
                        }
                    }
                    Err(refusal) => {
                        refuse(&mut client, refusal, record, proxy, false).await;
                        return None;
                    }
                    Ok(opened) => {
                        let answer = format!(
                            "HTTP/1.1 200 Connection Established\r\nx-request-id: {}\r\n\r\n",
                            record.id
                        );
                        let opening = Opening::new(client, buffer, opened, authority, record);
                        return opening.begin(answer.as_bytes(), proxy).await;
                    }
                }
            }
            Ask::Http {
                authority,
                method,
                overriding,
                target,
            } => {
                record.describe(&method, Some(&authority));
                let request = Plain {
                    authority,
                    method,
                    overriding,
                    target,
                    credentials,
                    length,
                };
                plain(client, buffer, request, record, proxy).await;
                return None;
            }
        }
    }
    None
}

/// Writes a refusal; tells whether the connection is still good.
async fn refuse(
    client: &mut ClientStream,
    refusal: Refusal,
    mut record: Record,
    proxy: Proxy<'_>,
    keep_open: bool,
) -> bool {
    record.refused(&refusal);
    let services = proxy.services;
    let written = async {
        let about = about(&record, proxy);
        let response = refusal.response(&about, keep_open);
        client.write_all(&response).await?;
        client.flush().await
    };
    // Who reads no answers gets none.
    let limit = proxy.egress.limits.head_timeout;
    let written = tokio::time::timeout(limit, written).await;
    let written = written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    record.write(services);
    if !keep_open {
        close(client).await;
    }
    written.is_ok()
}

/// What a client is told of its request, as far as it was understood.
fn about(record: &Record, proxy: Proxy<'_>) -> About {
    About {
        id: record.id.clone(),
        destination: (!record.host.is_empty()).then(|| (record.host.clone(), record.port)),
        contact: proxy.egress.contact.clone(),
    }
}

/// A plain request, as it is asked for.
struct Plain {
    authority: Authority,
    method: String,
    /// The method that a field asks for.
    overriding: Option<String>,
    target: String,
    credentials: Credentials,
    /// Bytes of its head, which carry something out as well.
    length: usize,
}

/// Serves a plain request. A body may follow its head, so the connection ends with it.
async fn plain(
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
    let services = proxy.services;
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
    let opened = match open(proxy, request, credentials, &mut record).await {
        Ok(opened) => opened,
        Err(refusal) => {
            refuse(&mut client, refusal, record, proxy, false).await;
            return;
        }
    };
    let carried = Carried::Request {
        method: method.clone(),
        overriding: overriding.clone(),
        path: path.canonical().to_owned(),
        tls: false,
    };
    let charge = opened.charge;
    let holds = (opened.until, Some(Arc::clone(&charge)));
    let mut standing = Standing::new(proxy.state, &authority, &record, holds, carried);
    let traffic = Arc::new(Traffic {
        meter: Some(charge.clone()),
        ..Traffic::default()
    });
    let refusal = if !traffic.may_send(length) {
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
        &authority,
        // The origin gets the path that was decided on.
        &format!("{}{query}", path.forward()),
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
    record.write(services);
    if let Some(mut client) = client {
        close(&mut client).await;
    }
}
