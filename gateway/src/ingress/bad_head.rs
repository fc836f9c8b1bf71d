//! Heads that cannot be read: refused, counted and logged like any other.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;
use tokio::io::AsyncWriteExt;

use super::{Ingress, Refusal, Services, Session, Stage, client, request_id::new_request_id};
use crate::{listen::ConnectionFacts, telemetry::RequestFacts};

/// Time in which the client must take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Ingress {
    /// Refuses a head with this status and closes the connection.
    pub(super) async fn refuse_head(&self, session: Session, facts: &ConnectionFacts, status: u16) {
        let reason = match status {
            431 => "head-too-large",
            _ => "malformed",
        };
        let refusal = Refusal::new(status, Stage::Normalise, reason);
        let id = new_request_id();
        tell(self.services(), facts, &refusal, &id);
        // Over HTTP/2 a head comes whole, or its stream is reset.
        let Session::H1(session) = session else {
            return;
        };
        let Ok(answer) = wire(&refusal, &id) else {
            return;
        };
        let mut stream = session.into_inner();
        // What comes now is not the head any more, and may be read away.
        facts.head_complete();
        let written = async {
            stream.write_all(&answer).await?;
            stream.flush().await
        };
        if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, written).await {
            client::linger(stream).await;
        }
    }
}

fn tell(services: &Services, facts: &ConnectionFacts, refusal: &Refusal, id: &str) {
    let stage = refusal.stage.name();
    services.metrics.refusal(stage, refusal.reason);
    let unknown = Method::from_bytes(b"UNKNOWN").unwrap_or_default();
    services
        .metrics
        .unrouted(&facts.listener, &unknown, refusal.status, Duration::ZERO);
    if !services.access_log.is_read() {
        return;
    }
    let peer = facts.peer.ip().to_canonical();
    let client = facts.client.ip().to_canonical();
    services.access_log.write(&RequestFacts {
        time: SystemTime::now(),
        request_id: id,
        listener: &facts.listener,
        client: Some(client),
        peer: Some(peer).filter(|peer| *peer != client),
        protocol: "HTTP/1.1",
        tls: facts.tls_facts(),
        method: "",
        host: "",
        path: "",
        query: None,
        status: refusal.status,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        rule: None,
        backend: None,
        endpoint: None,
        attempts: None,
        upstream: None,
        user: None,
        user_agent: None,
        waf: None,
        refused_by: Some(stage),
        reason: Some(refusal.reason),
        decided_by: None,
    });
}

fn wire(refusal: &Refusal, id: &str) -> pingora::Result<Bytes> {
    let (head, body) = refusal.response(id)?;
    let mut bytes = BytesMut::with_capacity(512);
    bytes.put_slice(format!("HTTP/1.1 {}\r\n", head.status).as_bytes());
    head.header_to_h1_wire(&mut bytes);
    bytes.put_slice(b"Connection: close\r\n\r\n");
    bytes.put_slice(&body);
    Ok(bytes.freeze())
}
