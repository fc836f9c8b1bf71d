//! One record of the egress proxy in the audit log.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use portcullis_config::{document::Timestamp, egress::Host};
use serde::Deserialize;

/// Longest reason code that is believed to be one.
const MAX_REASON: usize = 64;

/// Longest name of a policy: that of an object has a namespace, a kind and a name.
const MAX_POLICY: usize = 1024;

/// Longest method of a plain request.
const MAX_METHOD: usize = 32;

/// Longest name in a certificate: a SPIFFE ID has 2048 bytes.
const MAX_CERTIFICATE: usize = 2048;

/// Longest name of a namespace or a ServiceAccount (RFC 1123 subdomain).
const MAX_NAME: usize = 253;

/// Who was seen. Those with a ServiceAccount come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// It has shown a token.
    Account {
        /// Namespace of its ServiceAccount.
        namespace: String,
        /// Name of its ServiceAccount.
        service_account: String,
    },
    /// It has shown a certificate.
    Certificate {
        /// Whether the certificate has a SPIFFE ID.
        spiffe: bool,
        /// That, or the common name of its subject.
        name: String,
    },
    /// It is known by its address alone.
    Address(IpAddr),
}

/// As messages name it: `namespace/serviceAccount`, the certificate, or the address.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account {
                namespace,
                service_account,
            } => write!(f, "{namespace}/{service_account}"),
            Self::Certificate { name, .. } => write!(f, "certificate {name}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// What one record says, as far as it is used here. Everything in it has been judged: hosts are
/// canonical, and names and codes have no letters that could end a comment or a quotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the connection ended.
    pub time: SystemTime,
    /// Who asked.
    pub workload: Workload,
    /// What was asked for; `None` where the proxy did not understand it.
    pub destination: Option<(Host, u16)>,
    /// Method of a plain request; `None` for a tunnel, by CONNECT or SOCKS, and for what is in one.
    pub method: Option<String>,
    /// Whether it is of a request inside a tunnel that is looked into. The tunnel has a record of its own.
    pub in_tunnel: bool,
    /// Whether it is of a tunnel that is looked into.
    pub inspected: bool,
    /// Whether a plain request was sent over TLS.
    pub originated_tls: bool,
    /// Policy that selected the client.
    pub policy: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
    /// Stable reason code.
    pub reason: String,
    /// Text of the policy entry that decided.
    pub rule: Option<String>,
    /// Every address that the name had.
    pub resolved: Vec<IpAddr>,
}

/// `verdict` of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passed.
    Allow,
    /// It was refused.
    Deny,
    /// It passed, and would be refused if the policy were enforced.
    WouldDeny,
    /// It failed behind the decision.
    Error,
}

/// The line as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    time: Timestamp,
    client: SocketAddr,
    identity: Option<WrittenIdentity>,
    certificate: Option<WrittenCertificate>,
    method: String,
    host: String,
    port: u16,
    policy: Option<String>,
    verdict: Verdict,
    reason: String,
    rule: Option<String>,
    /// Of a request inside a tunnel: the id of that.
    tunnel: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    inspected: bool,
    #[serde(default)]
    originated_tls: bool,
    #[serde(default)]
    resolved: Vec<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenIdentity {
    namespace: String,
    service_account: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenCertificate {
    Spiffe(String),
    CommonName(String),
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    kind: Option<String>,
}

/// What a line is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// Something else than an egress record: a WAF record, another log, no JSON.
    Other,
    /// An egress record that cannot be used, and why.
    Unusable(String),
}

impl Record {
    /// Reads a line of the audit log.
    ///
    /// # Errors
    /// Lines that are something else, and records with something in them that the proxy does
    /// not write.
    pub(super) fn parse(line: &[u8]) -> Result<Self, NoRecord> {
        let kind: Kind = serde_json::from_slice(line).map_err(|_| NoRecord::Other)?;
        if kind.kind.as_deref() != Some("egress") {
            return Err(NoRecord::Other);
        }
        let written: Written =
            serde_json::from_slice(line).map_err(|error| NoRecord::Unusable(error.to_string()))?;
        written.judged().map_err(NoRecord::Unusable)
    }
}

impl Written {
    fn judged(self) -> Result<Record, String> {
        let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if self.reason.is_empty()
            || self.reason.len() > MAX_REASON
            || !self.reason.bytes().all(is_code)
        {
            return Err("`reason` is no reason code".to_owned());
        }
        if self
            .policy
            .as_ref()
            .is_some_and(|name| name.len() > MAX_POLICY)
        {
            return Err("`policy` is no name of a policy".to_owned());
        }
        let destination = match self.host.as_str() {
            "" => None,
            host => Some((parse_host(host)?, self.port)),
        };
        if destination.is_some() && self.port == 0 {
            return Err("`port` is 0".to_owned());
        }
        let is_method = |method: &str| {
            let is_letter = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
            (1..=MAX_METHOD).contains(&method.len()) && method.bytes().all(is_letter)
        };
        let method = match self.method.as_str() {
            "CONNECT" | "SOCKS5" => None,
            // Which it is does not matter here, and a client may have written any.
            _ if self.tunnel.is_some() => None,
            // A destination that was not understood may come without one.
            "" if destination.is_none() => None,
            method if is_method(method) => Some(self.method),
            _ => return Err("`method` is no method".to_owned()),
        };
        let workload = match self.identity {
            None => match self.certificate {
                None => Workload::Address(self.client.ip().to_canonical()),
                Some(certificate) => certificate.judged()?,
            },
            Some(identity) => Workload::Account {
                namespace: object_name("namespace", identity.namespace)?,
                service_account: object_name("serviceAccount", identity.service_account)?,
            },
        };
        Ok(Record {
            time: self.time.0,
            workload,
            destination,
            method,
            in_tunnel: self.tunnel.is_some(),
            inspected: self.inspected,
            originated_tls: self.originated_tls,
            policy: self.policy,
            verdict: self.verdict,
            reason: self.reason,
            rule: self.rule,
            resolved: self.resolved,
        })
    }
}

impl WrittenCertificate {
    fn judged(self) -> Result<Workload, String> {
        let (spiffe, name) = match self {
            Self::Spiffe(name) => (true, name),
            Self::CommonName(name) => (false, name),
        };
        let is_plain = |letter: char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\');
        match !name.is_empty() && name.len() <= MAX_CERTIFICATE && name.chars().all(is_plain) {
            true => Ok(Workload::Certificate { spiffe, name }),
            false => Err("`certificate` has a name that cannot be written plainly".to_owned()),
        }
    }
}

/// Reads a host as the proxy writes it: in its one form and in no other.
fn parse_host(text: &str) -> Result<Host, String> {
    let literal = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = match literal {
        Some(literal) => literal.parse().map(Host::Address).ok(),
        None => Host::parse(text).ok(),
    };
    host.filter(|host| host.to_string() == text)
        .ok_or_else(|| "`host` is not in its canonical form".to_owned())
}

fn object_name(field: &str, name: String) -> Result<String, String> {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(format!(
            "`identity.{field}` is no name of a Kubernetes object"
        ));
    }
    Ok(name)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A record as the proxy writes it, with some fields changed; null takes one away.
    pub(in crate::egress_tools) fn line(changes: Value) -> String {
        let mut line = json!({
            "time": "2026-11-20T12:00:00.000Z", "kind": "egress", "requestId": "1",
            "client": "10.244.0.7:40000", "identity": {"namespace": "ci", "serviceAccount": "builder"},
            "method": "CONNECT", "host": "api.example.com", "port": 443, "policy": "p",
            "verdict": "allow", "reason": "allowed", "rule": "api.example.com",
            "resolved": ["93.184.216.34"], "dialled": "93.184.216.34:443",
            "status": 200, "bytesUp": 1, "bytesDown": 1, "durationMs": 1
        });
        for (key, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => line.as_object_mut().expect("an object").remove(key),
                value => line
                    .as_object_mut()
                    .expect("an object")
                    .insert(key.clone(), value.clone()),
            };
        }
        line.to_string()
    }

    /// The record of such a line.
    pub(in crate::egress_tools) fn record(changes: Value) -> Record {
        Record::parse(line(changes).as_bytes()).expect("a record")
    }

    #[test]
    fn a_line_of_the_proxy_is_read_and_others_are_passed_over() {
        let read = record(json!({}));
        assert_eq!(read.workload.to_string(), "ci/builder");
        assert_eq!(
            read.destination,
            Some((Host::Name("api.example.com".into()), 443))
        );
        assert!(read.method.is_none());
        let read =
            record(json!({"identity": null, "client": "[::ffff:10.0.0.1]:5", "method": "GET"}));
        assert_eq!(read.workload, Workload::Address([10, 0, 0, 1].into()));
        assert!(read.method.is_some());
        let read = record(json!({"host": "[2606:4700::1]"}));
        let address = "2606:4700::1".parse().expect("an address");
        assert_eq!(read.destination, Some((Host::Address(address), 443)));
        assert_eq!(record(json!({"host": "", "port": 0})).destination, None);
        assert!(!read.in_tunnel && !read.inspected);
        assert!(record(json!({"inspected": true})).inspected);
        // Whatever its method is: a client may have written any.
        let inside = record(json!({"method": "b-r 1", "tunnel": "0", "path": "/"}));
        assert!(inside.in_tunnel && inside.method.is_none());
        for other in ["", "text", "[]", "{}", "{\"kind\":\"waf\"}", "{\"kind\":1}"] {
            assert_eq!(
                Record::parse(other.as_bytes()),
                Err(NoRecord::Other),
                "{other}"
            );
        }
    }

    #[test]
    fn what_the_proxy_does_not_write_is_not_believed() {
        for (changes, names) in [
            (json!({"time": "yesterday"}), "yesterday"),
            (json!({"client": "10.0.0.1"}), "socket address"),
            (json!({"host": "API.example.com"}), "`host`"),
            (json!({"host": "a.test\n  - evil.test"}), "`host`"),
            (json!({"host": "127.1"}), "`host`"),
            (json!({"host": "[10.0.0.1]"}), "`host`"),
            (json!({"port": 0}), "`port`"),
            (json!({"port": 65_536}), "65536"),
            (json!({"reason": "not allowed\n"}), "`reason`"),
            (json!({"verdict": "perhaps"}), "perhaps"),
            (json!({"policy": "p".repeat(MAX_POLICY + 1)}), "`policy`"),
            (
                json!({"identity": {"namespace": "ci\n", "serviceAccount": "a"}}),
                "`identity.namespace`",
            ),
            (
                json!({"identity": {"namespace": "ci", "serviceAccount": "a/b"}}),
                "`identity.serviceAccount`",
            ),
        ] {
            let line = line(changes);
            match Record::parse(line.as_bytes()) {
                Err(NoRecord::Unusable(why)) => {
                    assert!(why.contains(names), "{line}: {why}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
