//! A plain request that is sent over TLS.
//!
//! It is decided on as one inside TLS that is looked into, and goes the same way: canonical,
//! inspected, given credentials, and only to a destination that has shown a certificate for its name.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use http::header;
use tokio::sync::{Notify, watch};

use super::{
    super::{
        answer::Refusal,
        audit::Record,
        client::ClientStream,
        closing::close,
        connection::refuse,
        decide::{Opened, Proxy},
        forward::serve_one,
        plain::Allowed,
        standing::Standing,
    },
    Protocol,
    exchange::{Asked, answer},
    http1::begin,
    open::OpenRequests,
    tasks::{Ending, Tasks},
    tunnel::Inside,
    upstream::{Upstream, connect},
};

/// Serves the one request whose head is in the buffer, then closes.
pub(in crate::egress) async fn originate(
    (mut client, buffer, opened): (ClientStream, BytesMut, Opened),
    request: Allowed,
    record: Record,
    proxy: Proxy<'_>,
) {
    let (state, limits) = (proxy.state, &proxy.egress.limits);
    let Some(destinations) = &proxy.egress.origination else {
        // It is there where an entry is that asks for it.
        let refusal = Refusal::new(503, "not_ready");
        refuse(&mut client, refusal, record, proxy, false).await;
        return;
    };
    let authority = request.authority;
    let holds = (opened.until, Some(Arc::clone(&opened.charge)));
    let mut standing = Standing::new(state, &authority, &record, holds, request.carried);
    let tasks = Ending(Tasks::default());
    let (over_it, gone) = watch::channel(false);
    // The client asks in HTTP/1, and so does its request.
    let offered = [Protocol::Http1];
    let upstream = match standing.cut() {
        Some(reason) => Upstream::Failed(Refusal::changed(reason)),
        None => {
            let (client, around) = (&destinations.client, (limits, &tasks.0));
            let connecting = connect(
                opened.upstream,
                &authority,
                client,
                &offered,
                around,
                over_it,
            );
            connecting
                .await
                .map_or_else(Upstream::Failed, |(upstream, _)| upstream)
        }
    };
    let (id, method) = (record.id.clone(), record.method.clone());
    let asked = Asked {
        authority: Ok(authority.clone()),
        overriding: request.overriding,
        target: request.target,
        length: request.length,
    };
    let inside = Arc::new(Inside {
        services: Arc::clone(proxy.services),
        state: Arc::clone(state),
        authority,
        tunnel: record,
        limits: limits.clone(),
        max_streams: 1,
        upstream,
        protocol: Protocol::Http1,
        open: Arc::new(OpenRequests::new(opened.charge, 1)),
        gone,
        leaving: Notify::new(),
    });
    let asked = Mutex::new(Some(asked));
    let serving = serve_one(client, buffer, &id, |mut request| {
        // It is for this proxy, and nothing that looks at what leaves.
        request.headers_mut().remove(header::PROXY_AUTHORIZATION);
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let asked = asked.unwrap_or_else(Asked::second);
        answer(Arc::clone(&inside), asked, request)
    });
    let served = async {
        if let Some(mut client) = serving.await {
            close(&mut client).await;
        }
    };
    inside
        .attend(served, standing, destinations, |now| {
            now.origination.as_ref()
        })
        .await;
    let untaken = asked.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(untaken) = untaken {
        // hyper reads a head otherwise than we do, and has answered by itself.
        begin(&inside, &method, &untaken.target).refused(&Refusal::new(400, "bad_head"));
    }
}
