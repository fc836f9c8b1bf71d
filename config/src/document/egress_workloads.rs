//! What namespaces with a label get, so that their pods go out through the egress proxy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Duration};

/// What namespaces with a label get, with `run --kubernetes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressWorkloads {
    /// Key of the label of these namespaces. With the value `enforced` they get the NetworkPolicy of
    /// `networkPolicies`. Default `portcullis.dev/egress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_label: Option<String>,
    /// What pods are given when they are created, through the mutating webhook of
    /// `run --webhook-address`. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub injection: Option<PodInjection>,
    /// What the NetworkPolicy leaves open, with `run --egress-network-policies`. Default: none is
    /// written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policies: Option<KeptNetworkPolicies>,
}

/// What pods are given, so that their programs find the egress proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodInjection {
    /// The proxy as pods reach it, most often by a Service: `http://HOST:PORT`, or `https://` where
    /// it speaks TLS. Port 3128 where none is named.
    pub proxy: String,
    /// How pods show who they are. Default `relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<InjectedIdentity>,
    /// The relay, with `identity: relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<InjectedRelay>,
    /// The token, with `identity: relay` and `identity: token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<InjectedToken>,
    /// Where programs go for what is in the cluster. Default `direct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_traffic: Option<ClusterTraffic>,
    /// What stands in `NO_PROXY` besides: names, `.suffix`, addresses and CIDR ranges of IPv4, without
    /// stars and ports, which clients do not read alike. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
    /// A key of a ConfigMap in the namespace of each pod, with authorities in PEM that programs are to
    /// trust. For most of them it takes the place of the system's, so it must have those as well.
    /// Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<ConfigMapKey>,
}

/// How pods show the egress proxy who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InjectedIdentity {
    /// `portcullis egress relay` is a sidecar, and shows the token of the pod for all programs.
    #[default]
    Relay,
    /// The token is mounted into each container, for programs that show it themselves.
    Token,
    /// They do not: their address says it, or nothing.
    None,
}

/// The relay that pods are given: a native sidecar (Kubernetes 1.29 and later).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InjectedRelay {
    /// Its image, whose entry point is `portcullis`.
    pub image: String,
    /// Its port on the loopback of the pod. Default 3128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its limit of memory, at least `16MiB`. Default `64MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteSize>,
    /// What it asks for of memory, at most `memoryLimit`. A LimitRange may want more. Default `32MiB`, or
    /// `memoryLimit` where that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<ByteSize>,
    /// What it asks for of processors, as `250m`, `0.25` or `2`. Default `10m`, or `cpuLimit` where that is
    /// less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<String>,
    /// Its limit of processors, at least `cpuRequest`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<String>,
    /// A key of a ConfigMap in the namespace of each pod, with the authorities in PEM that the
    /// certificate of the proxy is judged by; with `proxy: https://...` alone. Default: those of the
    /// system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_ca: Option<ConfigMapKey>,
}

/// The token that pods are given: a projected one of their ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InjectedToken {
    /// Its audience. Default that of `egress.identity.serviceAccountTokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How long it is good, from `10m` to `1d`; the kubelet replaces it in time. Default `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Duration>,
}

/// Where programs of pods go for what is in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClusterTraffic {
    /// There: `NO_PROXY` has `.svc`, `.cluster.local`, the ranges of IPv4 of `egress.clusterRanges` and
    /// the address of the API server.
    #[default]
    Direct,
    /// To the proxy, whose policies allow it with `private: true`.
    Proxy,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Key in it.
    pub key: String,
}

/// What stays open in namespaces whose only way out is the egress proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KeptNetworkPolicies {
    /// Namespace of the proxy's pods. Default: that of the gateway which writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_namespace: Option<String>,
    /// Labels of the proxy's pods, all of which they have. Default
    /// `app.kubernetes.io/name: portcullis` and `app.kubernetes.io/component: egress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_labels: Option<BTreeMap<String, String>>,
    /// TCP ports that the proxy's pods listen on, not those of a Service. Default those of
    /// `egress.listeners`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// Whether pods may reach other pods of the cluster. Default `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
    /// Whether pods may ask the DNS of the cluster, through which data can leave. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_dns: bool,
    /// Which pods that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<ClusterDns>,
}

/// Whether pods may reach other pods of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InCluster {
    /// They may, other than those that resolve names.
    Allow,
    /// They reach the proxy alone.
    #[default]
    Deny,
}

/// The pods that resolve names in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterDns {
    /// Their namespace. Default `kube-system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Their labels. Default `k8s-app: kube-dns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The port that they listen on, over UDP and TCP. Default 53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}
