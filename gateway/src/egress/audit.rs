//! One record for each tunnel and each plain request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use portcullis_config::{
    egress::{Authority, Grant, Refused},
    model::EgressMode,
};
use serde::Serialize;

use super::{answer::Refusal, identify::Known, peer::Peer, quota::Charge, servers::EgressServices};
use crate::telemetry::Decision;

/// What the audit log tells of one connection.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Id of the connection or request.
    #[serde(skip)]
    pub id: String,
    /// When it began.
    #[serde(skip)]
    pub began: Instant,
    /// The client.
    pub client: SocketAddr,
    /// Who it is, where it has shown that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Known>,
    /// Who it is by its certificate, where it has shown one that says so.
    #[serde(rename = "certificate", skip_serializing_if = "is_unnamed")]
    pub peer: Arc<Peer>,
    /// `CONNECT`, `SOCKS5`, or the method of a plain request.
    pub method: String,
    /// Canonical host; empty where none was understood.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Policy that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Arc<str>>,
    /// `allow`, `deny`, `would_deny` or `error`.
    pub verdict: &'static str,
    /// Stable reason code.
    pub reason: &'static str,
    /// Text of the policy entry that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// Whether a tunnel is one whose TLS is looked into.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inspected: bool,
    /// Whether a plain request was sent over TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub originated_tls: bool,
    /// What a request has besides that goes over TLS and is seen.
    #[serde(flatten)]
    pub inside: Option<Inside>,
    /// Every address that the name had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<IpAddr>,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialled: Option<SocketAddr>,
    /// The upstream proxy that it went through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_proxy: Option<Arc<str>>,
    /// Status sent to the client.
    pub status: u16,
    /// Bytes from the client.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
    /// Milliseconds from the head to the end.
    pub duration_ms: u64,
    /// Why a tunnel or a plain request ended that neither side closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
}

/// What the audit log tells of a request inside a tunnel, or of a plain one that is sent over TLS.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inside {
    /// Id of the tunnel's own record, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// Path as the client sent it, without the query; cut where it is long.
    pub path: String,
    /// Id of the WAF rule that refuses it, or would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waf_rule: Option<String>,
    /// The header that a credential was put in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub injected: Option<String>,
}

/// Bytes of a path that are told.
const MAX_PATH: usize = 2048;

impl Inside {
    fn new(tunnel: Option<String>, path: &str) -> Self {
        Self {
            tunnel,
            path: path[..path.floor_char_boundary(MAX_PATH)].to_owned(),
            waf_rule: None,
            injected: None,
        }
    }
}

fn is_unnamed(peer: &Arc<Peer>) -> bool {
    peer.identity().is_none()
}

impl Record {
    pub(super) fn new(client: SocketAddr, peer: Arc<Peer>) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            began: Instant::now(),
            client,
            identity: None,
            peer,
            method: String::new(),
            host: String::new(),
            port: 0,
            policy: None,
            verdict: "error",
            reason: "internal",
            rule: None,
            inspected: false,
            originated_tls: false,
            inside: None,
            resolved: Vec::new(),
            dialled: None,
            upstream_proxy: None,
            status: 0,
            bytes_up: 0,
            bytes_down: 0,
            duration_ms: 0,
            ended: None,
        }
    }

    /// The record of a request inside a tunnel, by that of the tunnel.
    pub(super) fn inside(tunnel: &Self, method: &str, path: &str) -> Self {
        let client = (tunnel.client, Arc::clone(&tunnel.peer));
        Self {
            identity: tunnel.identity.clone(),
            method: method.to_owned(),
            host: tunnel.host.clone(),
            port: tunnel.port,
            resolved: tunnel.resolved.clone(),
            dialled: tunnel.dialled,
            upstream_proxy: tunnel.upstream_proxy.clone(),
            inside: Some(Inside::new(Some(tunnel.id.clone()), path)),
            ..Self::new(client.0, client.1)
        }
    }

    /// The same record of a plain request that is seen on its way into TLS.
    pub(super) fn seen(&self, path: &str) -> Self {
        Self {
            inside: Some(Inside::new(None, path)),
            ..self.clone()
        }
    }

    /// Whether it is that of a request inside a tunnel.
    pub(super) fn is_in_tunnel(&self) -> bool {
        let inside = self.inside.as_ref();
        inside.is_some_and(|inside| inside.tunnel.is_some())
    }

    /// Notes what is asked for, as far as it was understood.
    pub(super) fn describe(&mut self, method: &str, authority: Option<&Authority>) {
        self.method = method.to_owned();
        if let Some(authority) = authority {
            self.host = authority.host.to_string();
            self.port = authority.port;
        }
    }

    /// Notes what allows it.
    pub(super) fn allowed(&mut self, grant: &Grant) {
        self.verdict = "allow";
        self.reason = match grant.rule {
            Some(_) => "allowed",
            None => "allow_all",
        };
        self.policy = Some(Arc::clone(&grant.policy));
        self.rule.clone_from(&grant.rule);
    }

    /// Notes what policies say against it, and whether that acts.
    pub(super) fn refused_by(&mut self, refused: &Refused) {
        self.verdict = match (refused.is_final(), refused.mode) {
            (true, _) => "deny",
            (false, EgressMode::Open) => "allow",
            (false, _) => "would_deny",
        };
        self.reason = refused.reason;
        self.policy.clone_from(&refused.policy);
        self.rule.clone_from(&refused.rule);
    }

    /// Whether it is allowed, and nothing is said against it in any mode.
    pub(super) fn is_allowed(&self) -> bool {
        matches!(self.reason, "allowed" | "allow_all")
    }

    /// Notes what a quota would have refused while it was open, had its policy enforced.
    pub(super) fn overdrawn(&mut self, charge: &Charge) {
        // What is told already goes on being told: it would have been refused before.
        let is_allowed = self.is_allowed();
        if let Some(told) = charge.told().filter(|_| is_allowed) {
            self.refused_by(&told);
        }
    }

    /// Notes a refusal.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.verdict = if matches!(refusal.status, 502..=504) {
            "error"
        } else {
            "deny"
        };
        self.reason = refusal.reason;
        if matches!(refusal.status, 403 | 429) {
            self.policy.clone_from(&refusal.policy);
        }
        self.rule.clone_from(&refusal.rule);
        self.status = refusal.status;
    }

    /// Writes, counts and shows the record.
    pub(super) fn write(mut self, services: &EgressServices) {
        self.duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        services.metrics.egress_decision(
            self.policy.as_deref().unwrap_or("none"),
            self.verdict,
            self.reason,
        );
        // What a tunnel has inside is among what is counted of the tunnel.
        if !self.is_in_tunnel() {
            if let Some(reason) = self.ended {
                services.metrics.egress_ended(reason);
            }
            services
                .metrics
                .egress_bytes(self.bytes_up, self.bytes_down);
        }
        services.audit_log.write("egress", &self.id, &self);
        services.decisions.tell(|| Decision {
            inbound: false,
            allowed: matches!(self.verdict, "allow" | "would_deny"),
            status: self.status,
            subject: format!("{} {}:{}", self.method, self.host, self.port),
            reason: match &self.policy {
                Some(policy) => format!("{} ({policy})", self.reason),
                None => self.reason.to_owned(),
            },
            request_id: self.id.clone(),
        });
    }
}
