//! The line of a connection that carries no requests: one that is relayed, a session
//! of datagrams, or one that was refused before there could be any.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::{AccessLog, Decision, access_log::cap, json_line::JsonLine, timestamp::with_timestamp};

/// What the access log tells of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionRecord<'a> {
    /// When it began, RFC 3339 with milliseconds.
    pub time: SystemTime,
    /// Id of the connection.
    pub id: String,
    /// Listener it came in on.
    pub listener: &'a str,
    /// The client, from the PROXY header where there is one.
    pub client: SocketAddr,
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// `TLS`, `TCP` or `UDP`.
    pub protocol: &'static str,
    /// Server name that the client asked for.
    pub sni: Option<&'a str>,
    /// Milliseconds from its begin to its end.
    pub duration: Duration,
    /// TCP or UDP route it took.
    pub route: Option<&'a str>,
    /// Backend it went to.
    pub backend: Option<&'a str>,
    /// Endpoint it went to.
    pub endpoint: Option<SocketAddr>,
    /// Endpoints that were tried, where more than one.
    pub attempts: Option<u32>,
    /// Bytes from the client, where it was passed on.
    pub bytes_in: Option<u64>,
    /// Bytes to the client, where it was passed on.
    pub bytes_out: Option<u64>,
    /// Datagrams from the client, of a session.
    pub datagrams_in: Option<u64>,
    /// Datagrams to the client, of a session.
    pub datagrams_out: Option<u64>,
    /// Why it ended, where neither side closed it.
    pub ended: Option<&'static str>,
    /// The part of the gateway that refused it.
    pub refused_by: Option<&'static str>,
    /// Why.
    pub reason: Option<&'static str>,
    /// Name of the list or backend that decided.
    pub decided_by: Option<&'a str>,
}

impl<'a> ConnectionRecord<'a> {
    /// A record of a connection of which nothing more is known.
    pub fn new(
        listener: &'a str,
        protocol: &'static str,
        time: SystemTime,
        duration: Duration,
    ) -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            time,
            id: uuid::Uuid::new_v4().simple().to_string(),
            listener,
            client: nobody,
            peer: nobody,
            protocol,
            sni: None,
            duration,
            route: None,
            backend: None,
            endpoint: None,
            attempts: None,
            bytes_in: None,
            bytes_out: None,
            datagrams_in: None,
            datagrams_out: None,
            ended: None,
            refused_by: None,
            reason: None,
            decided_by: None,
        }
    }
}

impl AccessLog {
    /// Writes one connection.
    pub fn write_connection(&self, record: &ConnectionRecord<'_>) {
        if !self.writer().is_off() {
            self.writer().write(line(record).as_bytes());
        }
        self.decisions().tell(|| Decision {
            inbound: true,
            allowed: record.refused_by.is_none(),
            status: 0,
            subject: format!("{} {}", record.protocol, record.sni.unwrap_or_default()),
            reason: match (record.refused_by, record.reason) {
                (Some(stage), Some(reason)) => format!("{stage}/{reason}"),
                _ => record
                    .backend
                    .map_or_else(String::new, |backend| format!("to {backend}")),
            },
            request_id: record.id.clone(),
        });
    }
}

fn line(record: &ConnectionRecord<'_>) -> String {
    let mut line = JsonLine::with_capacity(256);
    with_timestamp(record.time, |time| {
        line.text("time", time);
    });
    let (client, peer) = (
        record.client.ip().to_canonical(),
        record.peer.ip().to_canonical(),
    );
    line.text("connectionId", &record.id)
        .text("listener", record.listener)
        .address("client", client);
    if peer != client {
        line.address("peer", peer);
    }
    line.text("protocol", record.protocol)
        .text_or_none("sni", record.sni.map(cap))
        .millis("durationMs", record.duration)
        .text_or_none("route", record.route)
        .text_or_none("backend", record.backend);
    if let Some(endpoint) = record.endpoint {
        line.socket("endpoint", endpoint);
    }
    for (key, number) in [
        ("attempts", record.attempts.map(u64::from)),
        ("bytesIn", record.bytes_in),
        ("bytesOut", record.bytes_out),
        ("datagramsIn", record.datagrams_in),
        ("datagramsOut", record.datagrams_out),
    ] {
        if let Some(number) = number {
            line.number(key, number);
        }
    }
    line.text_or_none("ended", record.ended)
        .text_or_none("refusedBy", record.refused_by)
        .text_or_none("reason", record.reason)
        .text_or_none("decidedBy", record.decided_by);
    line.end()
}
