//! The line of a connection that carries no requests: one that is relayed, or
//! that was refused before there could be any.

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
    /// `TLS` or `TCP`.
    pub protocol: &'static str,
    /// Server name that the client asked for.
    pub sni: Option<&'a str>,
    /// Milliseconds from its begin to its end.
    pub duration: Duration,
    /// The part of the gateway that refused it.
    pub refused_by: Option<&'static str>,
    /// Why.
    pub reason: Option<&'static str>,
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
            refused_by: None,
            reason: None,
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
                _ => String::new(),
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
        .text_or_none("refusedBy", record.refused_by)
        .text_or_none("reason", record.reason);
    line.end()
}
