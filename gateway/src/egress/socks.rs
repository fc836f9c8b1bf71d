//! One client of the egress proxy that speaks SOCKS5 (RFC 1928).
//!
//! CONNECT alone: what UDP carries cannot be judged. A client is known by its address, since
//! a token does not fit the password of RFC 1929; so no method but "none" is taken, and where a
//! token is required every client is refused. Names are looked up here, after the policy has allowed them.

mod request;

use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use bytes::BytesMut;
use portcullis_config::egress::Request;
use tokio::io::AsyncWriteExt;

pub(super) use self::request::{ask, reply, reply_of};

use super::{
    answer::Refusal,
    audit::Record,
    client::ClientStream,
    credentials::Credentials,
    decide::{Proxy, open},
    peer::Peer,
    servers::{EgressServices, State},
    tunnel::{Opening, Tunnel},
};

/// Serves a client until it has its one tunnel, or is refused.
pub(super) async fn serve(
    mut client: ClientStream,
    (address, peer): (SocketAddr, Arc<Peer>),
    services: &Arc<EgressServices>,
    state: &Arc<State>,
) -> Option<Tunnel> {
    let limit = state.egress()?.limits.head_timeout;
    let mut buffer = BytesMut::with_capacity(512);
    let asked = tokio::time::timeout(limit, ask(&mut client, &mut buffer)).await;
    let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            tracing::debug!(client = %address, %error, "egress client closed");
            return None;
        }
    };
    // It may have been long in coming: it is decided on what holds now.
    let egress = state.egress().filter(|_| !state.is_draining())?;
    let mut record = Record::new(address, peer);
    record.describe("SOCKS5", asked.as_ref().ok());
    let authority = match asked {
        Ok(authority) => authority,
        Err(bad) => {
            let refusal = Refusal::new(400, bad.reason);
            refuse(client, &refusal, &bad.answer, record, services).await;
            return None;
        }
    };
    let request = Request {
        authority: &authority,
        http: None,
        now: SystemTime::now(),
    };
    let proxy = Proxy {
        egress: &egress,
        services,
        state,
    };
    match open(proxy, request, Credentials::Impossible, &mut record).await {
        Err(refusal) => {
            let answer = reply_of(code_of(refusal.status, refusal.reason));
            refuse(client, &refusal, &answer, record, services).await;
            None
        }
        Ok(opened) => {
            let opening = Opening::new(client, buffer, opened, authority, record);
            opening.begin(&reply_of(reply::SUCCEEDED), proxy).await
        }
    }
}

async fn refuse(
    mut client: ClientStream,
    refusal: &Refusal,
    answer: &[u8],
    mut record: Record,
    services: &EgressServices,
) {
    record.refused(refusal);
    // The client may be gone already.
    let _ = client.write_all(answer).await;
    let _ = client.shutdown().await;
    record.write(services);
}

/// What a client is told of a refusal.
pub(super) fn code_of(status: u16, reason: &str) -> u8 {
    match (status, reason) {
        (504, "connect_timeout") => reply::TTL_EXPIRED,
        (502, "connect_failed") => reply::CONNECTION_REFUSED,
        (502 | 504, _) => reply::HOST_UNREACHABLE,
        (500.., _) => reply::FAILURE,
        _ => reply::NOT_ALLOWED,
    }
}
