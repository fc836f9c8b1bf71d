//! Listeners and the certificates they serve.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Duration, ListenerTls};

/// A place where ingress traffic comes in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Name, unique among the listeners; routes refer to it.
    pub name: String,
    /// `http`, `https`, `tcp` or `udp`.
    pub protocol: ListenerProtocol,
    /// Address and port. Default `[::]:8080` for http and `[::]:8443` for https, none
    /// for tcp and udp; `[::]` also takes IPv4 clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether every connection starts with a PROXY protocol header, v1 or v2.
    /// Default false. Only the load balancer in front may reach such a listener.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// TLS settings of an https listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Limits on connections and request heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ListenerLimits>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge, in clear.
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS, by ALPN; TLS for hosts of a TCP route is passed on.
    Https,
    /// Bytes, which a TCP route passes on.
    Tcp,
    /// Datagrams, which a UDP route passes on.
    Udp,
}

/// Limits on the connections of one listener; a session of a udp listener counts as one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Connections open at once; a further one is closed at once. Default 20000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Connections open at once from one client address, an IPv6 client by its /64;
    /// a further one is closed at once. Behind a load balancer without PROXY
    /// protocol every client has the same address. Default 0, which is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<u32>,
    /// Time for the PROXY protocol header. Default `3s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_header_timeout: Option<Duration>,
    /// Time for the whole TLS handshake. Default `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_timeout: Option<Duration>,
    /// Size of a ClientHello, where TCP routes are chosen by its SNI; larger is
    /// closed. Default `32KiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_client_hello_size: Option<ByteSize>,
    /// Time for a whole HTTP/1 request head, from its first byte. Default `15s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_timeout: Option<Duration>,
    /// Time a kept-alive connection may be idle between requests. Default `75s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Size of a request head (request line and headers); larger gets 431.
    /// Default `64KiB`, at most `512KiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_header_size: Option<ByteSize>,
    /// Headers in one request; more get 431. Default 100, at most 250.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_headers: Option<u32>,
    /// Age of a connection after which it ends with its next request; over HTTP/2 its
    /// streams go on, and the client opens no more (GOAWAY). Each has nine tenths of it and more,
    /// by chance. Default `1h`; `0` lifts the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connection_age: Option<Duration>,
    /// Requests of one connection, which ends with the last. Default 0, which is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_per_connection: Option<u32>,
    /// Concurrent streams of one HTTP/2 connection. Default 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
}

/// A certificate with its key, read from files and read again when they change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// Name, unique among the certificates.
    pub name: String,
    /// PEM file with the certificate of the key and its issuers, in any order.
    /// Relative to the configuration file.
    pub certificate: String,
    /// PEM file with the private key (PKCS#8, PKCS#1 or SEC1).
    pub key: String,
    /// File with an OCSP response in DER, to be stapled while it is good. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<String>,
    /// Host names to serve it for, exact or `*.suffix` (one label, RFC 9525).
    /// Default: the DNS names that the certificate carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}
