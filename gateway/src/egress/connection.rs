//! One client of the egress proxy that speaks HTTP.

use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use bytes::BytesMut;
use portcullis_config::egress::Request;
use tokio::io::AsyncWriteExt;

use super::{
    answer::{About, Refusal},
    audit::Record,
    client::ClientStream,
    closing::close,
    decide::{Proxy, open},
    head::{Ask, Head, consume, read_head},
    peer::Peer,
    plain::{Plain, plain},
    servers::{EgressServices, State},
    tunnel::{Opening, Tunnel},
};

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
pub(super) async fn refuse(
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
pub(super) fn about(record: &Record, proxy: Proxy<'_>) -> About {
    About {
        id: record.id.clone(),
        destination: (!record.host.is_empty()).then(|| (record.host.clone(), record.port)),
        contact: proxy.egress.contact.clone(),
    }
}
