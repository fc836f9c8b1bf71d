//! The egress proxy.

use std::{collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    ByteSize, Duration, EgressIdentity, EgressInjection, EgressInspection, EgressTlsOrigination,
    EgressUpstreamProxy, EgressWorkloads, ListenerTls, Rate, Timestamp,
};

/// The egress section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Egress {
    /// Where workloads reach the proxy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<EgressListener>,
    /// How names are resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<EgressResolver>,
    /// Pod, Service and node ranges of the cluster; they count as private.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_ranges: Vec<String>,
    /// Who clients are, by more than their addresses. Default: nothing but these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<EgressIdentity>,
    /// Limits on connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<EgressLimits>,
    /// How TLS is looked into, for entries with `inspect`. Default: it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection: Option<EgressInspection>,
    /// How requests in clear are sent over TLS, for entries with `originateTls`. Default: to
    /// destinations that those trust who look into TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_origination: Option<EgressTlsOrigination>,
    /// Proxies that destinations are reached through. Default: none, and all are reached directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream_proxies: Vec<EgressUpstreamProxy>,
    /// What clients are told that are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusals: Option<EgressRefusals>,
    /// What namespaces with a label get, so that their pods go out through the proxy. Default:
    /// nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workloads: Option<EgressWorkloads>,
    /// Floors: what they deny no other policy allows, and what `policies` may say of their
    /// clients is said by `delegate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_policies: Vec<EgressPolicy>,
    /// Who may reach what. A client that no policy selects reaches nothing; one that several
    /// select reaches what any of them allows and none denies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<EgressPolicy>,
}

/// A place where workloads reach the egress proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressListener {
    /// Name, unique among the egress listeners.
    pub name: String,
    /// Address and port. Default `[::]:3128`, or `[::]:1080` for `socks5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What workloads speak. Default `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<EgressProtocol>,
    /// TLS that workloads speak to the proxy, with certificates of `certificates` by SNI. The default
    /// of `alpn` is `http/1.1` here, and `socks5` has none. Default: none, and the port speaks in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

/// What workloads speak to the egress proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EgressProtocol {
    /// HTTP/1.1: CONNECT, and plain requests in absolute form; over TLS also CONNECT of HTTP/2.
    #[default]
    Http,
    /// SOCKS version 5 (RFC 1928): CONNECT, and names are looked up here.
    Socks5,
}

/// How the egress proxy resolves names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressResolver {
    /// Addresses with port of DNS servers. Default: those of the system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Time for a look-up with all its attempts. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Names remembered at once. Default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_entries: Option<u32>,
}

/// Limits of the egress proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressLimits {
    /// Connections of clients at once. Default 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Tunnels of one HTTP/2 connection to the proxy at once. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// Time for the TLS handshake of a listener with `tls`. Default `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_timeout: Option<Duration>,
    /// Time for a whole request head, and idle time between requests. Default `15s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_timeout: Option<Duration>,
    /// Size of a request head. Default `32KiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_head_size: Option<ByteSize>,
    /// Time to connect to one address. Default `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// Time for the whole TLS ClientHello inside a tunnel. Default `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_hello_timeout: Option<Duration>,
    /// Size of the TLS ClientHello inside a tunnel. Default `32KiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_client_hello_size: Option<ByteSize>,
    /// Time in which nothing passes, in either direction, before a connection is closed. Default
    /// `10m`: interactive sessions are silent for long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Longest life of a tunnel. Default `1d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Duration>,
    /// Counts of quotas at once, one for each client and each quota that it is counted by. Where
    /// they are spent a new client of a quota is refused, `quota_state_full`: none that still
    /// counts is forgotten. Default 100000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_quota_counts: Option<u32>,
}

/// What clients of the egress proxy are told that are refused, beside the reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressRefusals {
    /// How people ask for access: a text or a URL, one line of at most 200 characters. It stands
    /// in the body of a refusal that a change of policies could lift. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// Who may reach what. The custom resources `EgressPolicy` and `ClusterEgressPolicy` have this
/// shape too, but for the name, which is theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressPolicy {
    /// Name, unique among all policies.
    pub name: String,
    /// Whom it is about; a client is selected by any of them.
    pub subjects: Vec<EgressSubject>,
    /// `enforce`, `report` or `open`. Default `enforce`. No mode lifts what is
    /// always blocked: loopback, link-local, metadata, multicast, the proxy itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<EgressMode>,
    /// What is done with a tunnel whose ClientHello may name another host than it shows
    /// (ECH, RFC 9849). Default `allow`: browsers send that extension always, also where
    /// there is nothing to encrypt, and nobody can tell the two apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_client_hello: Option<EncryptedClientHello>,
    /// Destinations that may be reached; none means nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<EgressEntry>,
    /// Destinations that may not, whatever `allow` of any policy says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<EgressEntry>,
    /// Lets every public name be reached that `deny` does not name. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_all: bool,
    /// Refuses all that its clients ask for, whatever its mode and other policies say, and cuts
    /// their tunnels. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// What each client may use of all that this policy allows; in `clusterPolicies` of
    /// everything, whoever allows it. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<EgressQuota>,
    /// Of `clusterPolicies` alone: what `policies` may say of the clients that it selects.
    /// Default: anything that is not denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate: Option<EgressDelegate>,
}

/// What one client may use. A request over it gets 429 (RFC 6585 section 4) with `Retry-After`.
///
/// A client is a pod, or a ServiceAccount where the pod is not known, a certificate, or an address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressQuota {
    /// Bytes that it may send in `window`, at least 1; names that it asks for are among them. What
    /// is open is cut when they are spent. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<ByteSize>,
    /// The time that `bytesOut` is for. It begins with the client's first request, and the next
    /// one with the first request or byte after it. At most `31d`, default `1d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// Tunnels and plain requests at once, at least 1. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Sustained rate of new tunnels and plain requests, as `10/s` or `300/m`; as many as its
    /// count may come at once. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// What policies may say of the clients of a policy of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressDelegate {
    /// Destinations that they may allow; what else they allow is refused. An empty list leaves
    /// them nothing. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<EgressEntry>>,
    /// Modes that they may have; one that has another is enforced. Default
    /// `[enforce, report, open]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modes: Option<Vec<EgressMode>>,
}

/// Clients that a policy is about: those to whom all that is said here applies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressSubject {
    /// Namespace of their ServiceAccount, as their token says. Default: any, and none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of their ServiceAccount in `namespace`. Default: every one there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Labels of their pod, all of which it must have with these values; with `namespace`, and
    /// `egress.identity.pods`. Default: any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// SPIFFE ID of their certificate, or `spiffe://DOMAIN/PATH/*` for all below a path. Default:
    /// any, and no certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// Common name of their certificate, where that has no SPIFFE ID. Default: any, and no
    /// certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_name: Option<String>,
    /// Addresses and CIDR ranges of clients. Default: every address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
}

/// Whether a policy acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EgressMode {
    /// Refuse what is not allowed.
    #[default]
    Enforce,
    /// Let it pass and say in the audit log what would have been refused.
    Report,
    /// Let it pass.
    Open,
}

/// What is done with a ClientHello that has the extension `encrypted_client_hello`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncryptedClientHello {
    /// It is judged by the name that it shows.
    #[default]
    Allow,
    /// It is refused, and with it browsers. A tunnel that may be `raw` is not looked into.
    Refuse,
}

/// A destination: a host or `*.suffix` as text, or a map.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EgressEntry {
    /// A host or `*.suffix`.
    Host(String),
    /// With ports and more.
    Rule(EgressRule),
}

/// A destination with its conditions. Exactly one of host, regex and cidr is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressRule {
    /// A host name, or `*.suffix` for one or more labels before it, never the suffix itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// A regular expression that matches the whole host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// A range of addresses, for destinations named by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Ports. Default `[80, 443]`, and `[443]` with `inspect` or `originateTls`; in `deny` every
    /// port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// Methods of requests that can be seen: plain ones, and those inside TLS that is looked
    /// into. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Path prefixes of requests that can be seen, by whole segments. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Until when the entry holds; tunnels that are open by it alone are cut then.
    /// Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether private addresses may be reached through this entry. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Whether a tunnel may carry something other than TLS. Default false: on
    /// any port but 80 a tunnel starts with a ClientHello for the host.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// Whether TLS is looked into, with `egress.inspection`: each request inside is judged by
    /// itself, by its method and path as well. Clients must trust the authority that is named
    /// there. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inspect: bool,
    /// Whether plain requests are sent over TLS: those for port 80 to port 443, those for another
    /// port to that one. The destination must show a certificate for its name. A plain request that
    /// such an entry names goes over TLS or nowhere, whatever other entries say of it in clear.
    /// Default false.
    #[serde(rename = "originateTls", skip_serializing_if = "std::ops::Not::not")]
    pub originate_tls: bool,
    /// The profile of `wafProfiles` that requests are inspected by, head and body, before they
    /// leave; with `inspect` or `originateTls`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waf: Option<String>,
    /// A credential that requests are given; with `inspect` or `originateTls`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject: Option<Box<EgressInjection>>,
    /// Not in `deny`: what each client may use of what this entry allows, or leaves to policies.
    /// All quotas that a request meets count it. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Box<EgressQuota>>,
    /// Whether a wildcard may stand right below a public suffix, as `*.com` or
    /// `*.elb.amazonaws.com`. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public_suffix: bool,
}

impl<'de> Deserialize<'de> for EgressEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = EgressEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a host, `*.suffix`, or a map with host, regex or cidr")
            }

            fn visit_str<E: serde::de::Error>(self, host: &str) -> Result<EgressEntry, E> {
                Ok(EgressEntry::Host(host.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EgressEntry, A::Error> {
                EgressRule::deserialize(MapAccessDeserializer::new(map)).map(EgressEntry::Rule)
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

impl JsonSchema for EgressEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EgressEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rule = generator.subschema_for::<EgressRule>();
        json_schema!({ "anyOf": [{ "type": "string" }, rule] })
    }
}
