//! Requests for a host on a connection that was not made for it (RFC 9110
//! section 15.5.20).
//!
//! A browser takes one HTTP/2 connection for every host of its certificate, and
//! any client may name any host. So the host of each request is held against the
//! settings that its connection was made with, or certificates of clients and
//! versions could be walked around by naming another host in SNI.

use std::sync::{Arc, atomic::Ordering};

use portcullis_config::model::Rule;

use super::{Refusal, Stage, view::RequestView};
use crate::{
    listen::{ConnectionFacts, TlsConnection},
    tls::{Governed, HostTls, Tls, TlsTable, refusal_reason},
};

/// Refuses a request whose host has other TLS settings than its connection.
pub(super) fn check(tls: &Tls, facts: &ConnectionFacts, view: &RequestView) -> Result<(), Refusal> {
    if facts.is_of_another_listener() {
        return Err(refuse("listener-changed"));
    }
    let Some(connection) = &facts.tls else {
        return Ok(());
    };
    let as_asked = connection.sni.as_deref() == Some(&*view.host);
    if as_asked && connection.generation.load(Ordering::Relaxed) == tls.generation() {
        return Ok(());
    }
    let table = tls.table();
    compare(&table, facts, connection, view)?;
    if as_asked {
        connection
            .generation
            .store(table.generation, Ordering::Relaxed);
    }
    Ok(())
}

/// Refuses a request in clear for a host whose clients must show a certificate. A
/// redirect, to https before all, is answered without.
pub(super) fn check_clear(
    tls: &Tls,
    facts: &ConnectionFacts,
    view: &RequestView,
    rule: &Rule,
) -> Result<(), Refusal> {
    if facts.tls.is_none() && tls.refuses_in_clear(&facts.listener, &view.host, &rule.listeners) {
        return Err(refuse("clear-text"));
    }
    Ok(())
}

fn compare(
    table: &TlsTable,
    facts: &ConnectionFacts,
    connection: &TlsConnection,
    view: &RequestView,
) -> Result<(), Refusal> {
    let host = Some(view.host.as_str()).filter(|host| !host.is_empty());
    let wanted = match table.find(&facts.listener, host) {
        Some(Governed::Terminated(wanted)) => wanted,
        Some(Governed::Passed(_)) => return Err(refuse("passthrough-host")),
        None => return Err(refuse("other-settings")),
    };
    let has = connection.terms.load();
    if Arc::ptr_eq(&has, wanted) {
        return Ok(());
    }
    if has.settings != wanted.settings {
        return Err(refuse("other-settings"));
    }
    // The same settings, whose files have changed: what they say now counts.
    judge_again(connection, wanted)?;
    connection.terms.store(Arc::clone(wanted));
    Ok(())
}

fn judge_again(connection: &TlsConnection, wanted: &HostTls) -> Result<(), Refusal> {
    let client = connection.client.as_ref();
    let chain = client.map_or(&[][..], |client| &client.chain);
    wanted
        .admits(chain)
        .map_err(|error| refuse(refusal_reason(&error).unwrap_or("client-certificate-invalid")))
}

fn refuse(reason: &'static str) -> Refusal {
    Refusal::new(421, Stage::Tls, reason)
}
